"""An independent judge of answers to `hustings-match/1` instances.

Standard library only, written from the rules and not from the solver, with which it shares no code: it takes the
raw instance, works on instants in seconds and knows nothing of grids of people, tables or networks.
"""

from collections import defaultdict
from collections.abc import Collection, Iterable, Mapping
from datetime import UTC, date, datetime, time, timedelta
from typing import Any
from zoneinfo import ZoneInfo

Instance = Mapping[str, Any]
Pair = tuple[str, str]

REGIONS = {
    "New England": {"CT", "MA", "ME", "NH", "RI", "VT"},
    "Middle Atlantic": {"NJ", "NY", "PA"},
    "East North Central": {"IL", "IN", "MI", "OH", "WI"},
    "West North Central": {"IA", "KS", "MN", "MO", "ND", "NE", "SD"},
    "South Atlantic": {"DC", "DE", "FL", "GA", "MD", "NC", "SC", "VA", "WV"},
    "East South Central": {"AL", "KY", "MS", "TN"},
    "West South Central": {"AR", "LA", "OK", "TX"},
    "Mountain": {"AZ", "CO", "ID", "MT", "NM", "NV", "UT", "WY"},
    "Pacific": {"AK", "CA", "HI", "OR", "WA"},
    "Territories": {"AS", "GU", "MP", "PR", "VI"},
}


def seconds(instant: str) -> int:
    return int(datetime.fromisoformat(instant).timestamp())


def local_seconds(day: date, clock: str, zone: ZoneInfo) -> int:
    """The epoch second of a wall-clock time; the first of two, and past a gap by the gap's length."""
    naive = datetime.combine(day, time.fromisoformat(clock))
    return int((naive - zone_offset(naive, zone)).replace(tzinfo=UTC).timestamp())


def zone_offset(naive: datetime, zone: ZoneInfo) -> timedelta:
    offset = zone.utcoffset(naive.replace(tzinfo=zone, fold=0))
    assert offset is not None
    return offset


def spans(person: Mapping[str, Any], first: int, last: int) -> list[tuple[int, int]]:
    """All stated windows that could matter between two epoch seconds, as epoch seconds."""
    zone = ZoneInfo(person["tz"])
    day = datetime.fromtimestamp(first, UTC).date() - timedelta(days=3)
    found = []
    while day <= datetime.fromtimestamp(last, UTC).date() + timedelta(days=3):
        found += [
            (local_seconds(day, w["start"], zone), local_seconds(day, w["end"], zone))
            for w in person["avail"]
            if w["dow"] == day.weekday()
        ]
        day += timedelta(days=1)
    return found


def forbidden(
    instance: Instance,
    candidate: Mapping[str, Any],
    volunteer: Mapping[str, Any],
    conflicts: Collection[Pair] = (),
    never_again: Collection[Pair] = (),
) -> list[str]:
    """Names of the rules that forbid this pair at any time."""
    pair = (candidate["id"], volunteer["id"])
    required = candidate["require_gender"]
    broken = {
        "language": not any(x in volunteer["langs"] for x in candidate["langs"]),
        "gender": required is not None and required != volunteer["gender"],
        "block": volunteer["id"] in candidate["blocks"],
        "conflict": candidate["district"] in volunteer["conflict_districts"] or pair in conflicts,
        "never again": pair in never_again,
        "same person": candidate["id"] == volunteer["id"],
    }
    return [rule for rule, is_broken in broken.items() if is_broken]


def utility(instance: Instance, candidate: Mapping[str, Any], volunteer: Mapping[str, Any], start: int) -> int:
    w = instance["weights"]
    begin = seconds(instance["horizon"]["start_utc"])
    points: int = w["base"]
    if candidate["state"] == volunteer["state"]:
        points += w["same_state"]
    elif any({candidate["state"], volunteer["state"]} <= states for states in REGIONS.values()):
        points += w["same_division"]
    if candidate["office"] is None:
        points += w["office_undecided"]
    elif candidate["office"] in volunteer["offices"]:
        points += w["office"]
    shared = [x for x in candidate["tracks"] if x in volunteer["tracks"]]
    points += w["track_each"] * min(len(shared), w["track_max"])
    if candidate["urbanicity"] == volunteer["urbanicity"]:
        points += w["urbanicity"]
    if not candidate["wants_lived"]:
        points += w["lived_no_pref"]
    elif any(x in volunteer["lived"] for x in candidate["wants_lived"]):
        points += w["lived"]
    points += w["exp_short"] if volunteer["exp"] < candidate["need_exp"] else w["exp_ok"]
    points += max(0, w["soon_max"] - w["soon_per_day"] * ((start - begin) // 86_400))
    hours = (begin - seconds(candidate["signed_up_utc"])) // 3600
    points += max(0, hours * w["wait_per_day"] // 24)
    return points


def judge(
    instance: Instance,
    answer: Iterable[Mapping[str, str]],
    *,
    conflicts: Collection[Pair] = (),
    never_again: Collection[Pair] = (),
    busy: Collection[tuple[str, str]] = (),
) -> tuple[set[str], int]:
    """The names of all broken rules, and the utility. `busy` are (candidate, start_utc) already taken."""
    begin = seconds(instance["horizon"]["start_utc"])
    length = instance["horizon"]["slot_minutes"] * 60
    end = begin + instance["horizon"]["days"] * 86_400
    candidates = {c["id"]: c for c in instance["candidates"]}
    volunteers = {v["id"]: v for v in instance["volunteers"]}
    broken: set[str] = set()
    points = 0
    met: set[str] = set()
    diary: dict[str, list[int]] = defaultdict(list)
    for booking in instance.get("booked", ()):
        diary[booking["volunteer"]].append(seconds(booking["start_utc"]))
    for line in answer:
        candidate, volunteer = candidates.get(line["candidate"]), volunteers.get(line["volunteer"])
        if candidate is None or volunteer is None:
            broken.add("unknown person")
            continue
        start = seconds(line["start_utc"])
        broken.update(forbidden(instance, candidate, volunteer, conflicts, never_again))
        if candidate["id"] in met:
            broken.add("one call per candidate")
        met.add(candidate["id"])
        if any(abs(start - other) < length for other in diary[volunteer["id"]]):
            broken.add("one call at a time")
        diary[volunteer["id"]].append(start)
        if (start - begin) % length or start < begin or start + length > end:
            broken.add("grid")
        for side, person in (("candidate", candidate), ("volunteer", volunteer)):
            if not any(a <= start and start + length <= b for a, b in spans(person, start, start + length)):
                broken.add(f"{side} hours")
        if any(c == candidate["id"] and abs(start - seconds(at)) < length for c, at in busy):
            broken.add("candidate busy")
        points += utility(instance, candidate, volunteer, start)
    broken.update("cap" for v, calls in diary.items() if v in volunteers and len(calls) > volunteers[v]["weekly_cap"])
    return broken, points


def possible_calls(instance: Instance) -> list[tuple[str, str, int, int]]:
    """Every call that is allowed by itself: (candidate, volunteer, start in epoch seconds, utility)."""
    begin = seconds(instance["horizon"]["start_utc"])
    length = instance["horizon"]["slot_minutes"] * 60
    end = begin + instance["horizon"]["days"] * 86_400
    taken = {(b["volunteer"], seconds(b["start_utc"])) for b in instance.get("booked", ())}

    def starts(person: Mapping[str, Any]) -> set[int]:
        return {
            begin + k * length
            for a, b in spans(person, begin, end)
            for k in range(-((begin - a) // length), (b - begin) // length)
            if begin <= begin + k * length and begin + (k + 1) * length <= end
        }

    hours = {v["id"]: {s for s in starts(v) if (v["id"], s) not in taken} for v in instance["volunteers"]}
    return [
        (c["id"], v["id"], start, utility(instance, c, v, start))
        for c in instance["candidates"]
        for mine in [starts(c)]
        for v in instance["volunteers"]
        if not forbidden(instance, c, v)
        for start in sorted(mine & hours[v["id"]])
    ]


def room(instance: Instance) -> dict[str, int]:
    """Calls each volunteer may still take."""
    left = {v["id"]: v["weekly_cap"] for v in instance["volunteers"]}
    for booking in instance.get("booked", ()):
        left[booking["volunteer"]] -= 1
    return {v: max(0, n) for v, n in left.items()}


def best_utility(instance: Instance) -> int:
    """The optimum by trying everything; for a handful of people only."""
    calls: dict[str, list[tuple[str, int, int]]] = defaultdict(list)
    for candidate, volunteer, start, points in possible_calls(instance):
        calls[candidate].append((volunteer, start, points))
    people = list(calls)
    left = room(instance)
    taken: set[tuple[str, int]] = set()

    def best(place: int) -> int:
        if place == len(people):
            return 0
        most = best(place + 1)
        for volunteer, start, points in calls[people[place]]:
            if left[volunteer] and (volunteer, start) not in taken:
                left[volunteer] -= 1
                taken.add((volunteer, start))
                most = max(most, points + best(place + 1))
                taken.remove((volunteer, start))
                left[volunteer] += 1
        return most

    return best(0)
