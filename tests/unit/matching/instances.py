"""Seeded `hustings-match/1` instances, one function per family; all people are made up by chance."""

from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from random import Random
from typing import Any
from zoneinfo import ZoneInfo

Instance = dict[str, Any]

WEIGHTS = {
    "base": 1000,
    "same_state": 240,
    "same_division": 90,
    "office": 210,
    "office_undecided": 105,
    "track_each": 95,
    "track_max": 2,
    "urbanicity": 110,
    "lived": 140,
    "lived_no_pref": 70,
    "exp_ok": 90,
    "exp_short": 35,
    "soon_max": 84,
    "soon_per_day": 12,
    "wait_per_day": 40,
}
STATES = {
    "NY": "America/New_York",
    "PA": "America/New_York",
    "GA": "America/New_York",
    "IL": "America/Chicago",
    "TX": "America/Chicago",
    "CO": "America/Denver",
    "AZ": "America/Phoenix",
    "CA": "America/Los_Angeles",
    "AK": "America/Anchorage",
    "PR": "America/Puerto_Rico",
}
OFFICES = ("school_board", "city_council", "mayor", "state_house")
TRACKS = ("federal_worker", "educator", "parent", "union", "climate")
LIVED = ("woman", "immigrant", "first_gen", "caregiver")
WINTER = datetime(2027, 1, 11, tzinfo=UTC)


def zulu(instant: datetime) -> str:
    return instant.astimezone(UTC).strftime("%Y-%m-%dT%H:%M:%SZ")


def some(rng: Random, values: tuple[str, ...], most: int) -> list[str]:
    return rng.sample(values, rng.randint(0, most))


def windows(rng: Random, count: int, early: int = 16, late: int = 20) -> list[dict[str, Any]]:
    found = []
    for dow in rng.sample(range(7), count):
        start = rng.randint(early * 2, late * 2)
        end = min(47, start + rng.randint(1, 5))
        found.append({"dow": dow, "start": clock(start), "end": clock(end)})
    return found


def clock(half_hours: int) -> str:
    return f"{half_hours // 2:02d}:{half_hours % 2 * 30:02d}"


def volunteer(rng: Random, number: int) -> Instance:
    state = rng.choice(list(STATES))
    return {
        "id": f"v{number:04d}",
        "tz": STATES[state],
        "state": state,
        "district": f"{state}-{rng.randint(1, 9):03d}",
        "urbanicity": rng.choice(("urban", "suburban", "rural")),
        "langs": rng.choice((["en"], ["en"], ["en"], ["en", "es"])),
        "gender": rng.choice(("woman", "man", "other")),
        "offices": some(rng, OFFICES, 3),
        "tracks": some(rng, TRACKS, 3),
        "lived": some(rng, LIVED, 3),
        "exp": rng.randint(0, 3),
        "weekly_cap": rng.randint(1, 4),
        "conflict_districts": [],
        "avail": windows(rng, rng.randint(1, 3)),
    }


def candidate(rng: Random, number: int, start: datetime = WINTER) -> Instance:
    state = rng.choice(list(STATES))
    return {
        "id": f"c{number:05d}",
        "tz": STATES[state],
        "state": state,
        "district": f"{state}-{rng.randint(1, 9):03d}",
        "urbanicity": rng.choice(("urban", "suburban", "rural")),
        "langs": rng.choice((["en"], ["en"], ["en", "es"], ["es"])),
        "office": rng.choice((*OFFICES, None)),
        "tracks": some(rng, TRACKS, 3),
        "wants_lived": some(rng, LIVED, 2),
        "need_exp": rng.randint(0, 2),
        "require_gender": None,
        "blocks": [],
        "signed_up_utc": zulu(start - timedelta(hours=rng.randint(0, 400))),
        "avail": windows(rng, rng.randint(1, 3)),
    }


def instance(
    seed: int, candidates: int, volunteers: int, *, start: datetime = WINTER, days: int = 7, slot_minutes: int = 30
) -> Instance:
    """The plain family: people like any other."""
    rng = Random(seed)
    return {
        "format": "hustings-match/1",
        "horizon": {"start_utc": zulu(start), "days": days, "slot_minutes": slot_minutes},
        "weights": dict(WEIGHTS),
        "volunteers": [volunteer(rng, n) for n in range(volunteers)],
        "candidates": [candidate(rng, n, start) for n in range(candidates)],
        "booked": [],
    }


def surge(seed: int, candidates: int = 400, volunteers: int = 80) -> Instance:
    """Everybody who signs up looks alike: one state, one track, the same evenings."""
    made = instance(seed, candidates, volunteers)
    for person in made["candidates"]:
        person |= {
            "tz": STATES["NY"],
            "state": "NY",
            "langs": ["en"],
            "office": None,
            "tracks": ["federal_worker"],
            "wants_lived": [],
            "need_exp": 0,
            "avail": [{"dow": dow, "start": "18:00", "end": "20:30"} for dow in (0, 2)],
        }
    return made


def ties(seed: int, candidates: int = 80, volunteers: int = 30) -> Instance:
    """Identical people with identical hours: every call of a day is worth the same."""
    made = instance(seed, candidates, volunteers)
    every_day = [{"dow": dow, "start": "17:00", "end": "19:00"} for dow in range(7)]
    for side in ("candidates", "volunteers"):
        first = made[side][0]
        made[side] = [
            first | {"id": p["id"], "langs": ["en"], "tz": STATES["IL"], "avail": every_day} for p in made[side]
        ]
    return made


def greedy_trap(seed: int, pairs: int = 40) -> Instance:
    """Odd candidates suit every volunteer a little better, even ones can only have one of them: take turns."""
    rng = Random(seed)
    made = instance(seed, 2 * pairs, 2 * pairs)
    hour = [{"dow": 1, "start": "18:00", "end": "18:30"}]
    plain = {"tz": STATES["NY"], "state": "NY", "avail": hour, "tracks": [], "urbanicity": "urban"}
    for number, person in enumerate(made["volunteers"]):
        langs = ["en", "es"] if number % 2 == 0 else ["en"]
        person |= plain | {"langs": langs, "weekly_cap": 1, "exp": 3, "offices": ["mayor"] * (number % 2 == 0)}
        person["lived"] = []
    for number, person in enumerate(made["candidates"]):
        langs = ["es"] if number % 2 == 0 else ["en"]
        person |= plain | {"langs": langs, "office": "mayor", "wants_lived": [], "need_exp": 0}
        person["signed_up_utc"] = zulu(WINTER - timedelta(days=0 if number % 2 == 0 else 3))
    rng.shuffle(made["volunteers"])
    rng.shuffle(made["candidates"])
    return made


def dense(seed: int, candidates: int = 150, volunteers: int = 60) -> Instance:
    """Blocks, requirements, conflicts and bookings everywhere."""
    rng = Random(seed)
    made = prebooked(seed, candidates, volunteers)
    ids = [v["id"] for v in made["volunteers"]]
    districts = sorted({c["district"] for c in made["candidates"]})
    for person in made["volunteers"]:
        person["conflict_districts"] = rng.sample(districts, 15)
    for person in made["candidates"]:
        person["blocks"] = rng.sample(ids, 12)
        person["require_gender"] = rng.choice((None, "woman", "man"))
    return made


def scarce_language(seed: int, candidates: int = 200, volunteers: int = 60) -> Instance:
    """A third of the candidates speak only Spanish, as do few volunteers."""
    made = instance(seed, candidates, volunteers)
    for number, person in enumerate(made["candidates"]):
        person["langs"] = ["es"] if number % 3 == 0 else ["en"]
    for number, person in enumerate(made["volunteers"]):
        person["langs"] = ["en", "es"] if number % 15 == 0 else ["en"]
    return made


def rural(seed: int, candidates: int = 200, volunteers: int = 60) -> Instance:
    """Most candidates live in rural places, most volunteers don't."""
    rng = Random(seed)
    made = instance(seed, candidates, volunteers)
    for person in made["candidates"]:
        person["urbanicity"] = rng.choice(("rural", "rural", "rural", "urban"))
    for person in made["volunteers"]:
        person["urbanicity"] = rng.choice(("urban", "urban", "suburban", "rural"))
    return made


def prebooked(seed: int, candidates: int = 200, volunteers: int = 80) -> Instance:
    """Calls stand already, some in the middle of stated hours."""
    rng = Random(seed)
    made = instance(seed, candidates, volunteers)
    for person in made["volunteers"][: volunteers * 2 // 3]:
        window = rng.choice(person["avail"])
        zone = ZoneInfo(person["tz"])
        day = next(d for d in range(1, 8) if (WINTER + timedelta(days=d)).weekday() == window["dow"])
        hour, minute = map(int, window["start"].split(":"))
        local = (WINTER + timedelta(days=day)).replace(hour=hour, minute=minute, tzinfo=zone)
        if local < WINTER + timedelta(days=7, minutes=-30):
            made["booked"].append({"volunteer": person["id"], "start_utc": zulu(local)})
    return made


def _clock_change(seed: int, start: datetime, candidates: int, volunteers: int) -> Instance:
    rng = Random(seed)
    made = instance(seed, candidates, volunteers, start=start)
    for side in ("candidates", "volunteers"):
        for person in made[side]:
            # Around the change itself, Sunday from midnight, and an ordinary evening after it.
            at = rng.randint(0, 4)
            person["avail"] = [
                {"dow": 6, "start": clock(at), "end": clock(at + rng.randint(1, 5))},
                *windows(rng, 1),
            ]
    return made


def clocks_forward(seed: int, candidates: int = 200, volunteers: int = 80) -> Instance:
    """The week of 14 March 2027: Sunday's 02:00 to 03:00 does not exist."""
    return _clock_change(seed, datetime(2027, 3, 11, tzinfo=UTC), candidates, volunteers)


def clocks_back(seed: int, candidates: int = 200, volunteers: int = 80) -> Instance:
    """The week of 7 November 2027: Sunday's 01:00 to 02:00 happens twice."""
    return _clock_change(seed, datetime(2027, 11, 4, tzinfo=UTC), candidates, volunteers)


def no_candidates(seed: int) -> Instance:
    return instance(seed, 0, 20)


def no_volunteers(seed: int) -> Instance:
    return instance(seed, 20, 0)


FAMILIES: dict[str, Callable[[int], Instance]] = {
    "plain": lambda seed: instance(seed, 150, 100),
    "surge": surge,
    "ties": ties,
    "greedy_trap": greedy_trap,
    "dense": dense,
    "scarce_language": scarce_language,
    "rural": rural,
    "prebooked": prebooked,
    "clocks_forward": clocks_forward,
    "clocks_back": clocks_back,
    "no_candidates": no_candidates,
    "no_volunteers": no_volunteers,
}
