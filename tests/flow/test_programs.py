"""The same people through both programs: the rules of the program file decide, and nothing else differs."""

import asyncio
import datetime as dt
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from uuid import uuid4
from zoneinfo import ZoneInfo

import pytest

from deploy.demo.endorsing import draft
from deploy.demo.journey import Member, Stage, confirm, each, read_link, sign_up
from deploy.demo.people import Invented
from tests.flow.conftest import System, running_system
from tests.flow.staging import pass_until, staging
from tests.flow.visitor import until
from tests.harness import PROGRAM_2017, PROGRAM_2025

DAILY = [{"dow": day, "start": "15:00", "end": "21:00"} for day in range(7)]
WITHOUT_CALL = "34, without a call"
FILED = {"office_level_in": "office_within", "filing_confirmed": "filing_confirmed"}


@dataclass(frozen=True, slots=True)
class Days:
    """The days that the rules ask about."""

    applied: dt.date
    election: dt.date


@dataclass(frozen=True, slots=True)
class Judged:
    """What the system said of one applicant."""

    application_id: str
    first: str
    """The outcome at the submission, when only the year of birth was known."""
    outcome: str
    rule_version: str
    codes: dict[str, str]


def years_before(day: dt.date, years: int) -> dt.date:
    """The birthday of somebody who becomes `years` old on that day."""
    return day.replace(year=day.year - years)


def births(days: Days) -> dict[str, dt.date]:
    """Everybody's date of birth, by what is special about them."""
    day = dt.timedelta(days=1)
    return {
        "34": years_before(days.applied, 34),
        WITHOUT_CALL: years_before(days.applied, 34),
        "35 tomorrow": years_before(days.applied + day, 35),
        "35 today": years_before(days.applied, 35),
        "38": years_before(days.applied, 38),
        "41": years_before(days.applied, 41),
        "40 on election day": years_before(days.election + day, 41),
        "41 on election day": years_before(days.election, 41),
    }


def days_from(now: dt.datetime, days: int, zone: ZoneInfo) -> Days:
    """Apply that many days from now, or where years turn a day or two later; the election is in the June after."""
    applied = now.astimezone(zone).date() + dt.timedelta(days=days)
    while (applied.month, applied.day) in ((2, 28), (2, 29), (12, 31)):
        applied += dt.timedelta(days=1)
    return Days(applied, dt.date(applied.year + 1, 6, 15))


def member(stage: Stage, form: str, label: str, **facts: Any) -> Member:
    """Somebody who fills that form, as far as the program asks."""
    asked = {item.field for item in stage.program.form(form).fields} | {"name", "email", "language"}
    answers = {
        "name": f"Pat {label}",
        "email": f"{uuid4().hex}@example.org",
        "state": "OH",
        "language": "en",
        "spoken_languages": ["en"],
        "time_zone": "America/New_York",
        "availability": DAILY,
        **facts,
    }
    signup = {"form": form, "consents": [], **{name: answers[name] for name in answers if name in asked}}
    return Member(Invented(uuid4(), signup, confirms=True, attends=True, accepts=True, files=True))


async def staff_session(system: System, stage: Stage) -> str:
    """A new account of the staff, signed in."""
    email = f"{uuid4().hex}@example.org"
    await system.command("staff", "add", "--name", "Dee Ruiz", "--email", email, "--role", "staff")
    token = await read_link(stage, email, "/account/sign-in/")
    return str((await stage.client.post("signup", "/v1/account/session", {"token": token}))["session"])


async def hold_calls(system: System, stage: Stage, called: list[Member], volunteers: list[Member]) -> None:
    """Everybody gets their one-on-one: offered by a round, accepted, held, and attested by the volunteer."""
    by_id = {someone.person_id: someone for someone in (*called, *volunteers)}
    bookings = """
        SELECT DISTINCT ON (prospect_id) call_id::text, prospect_id::text, volunteer_id::text, upper(during)
        FROM bookings WHERE state = $1 AND prospect_id = ANY($2::uuid[]) ORDER BY prospect_id
    """
    advised = """
        SELECT count(DISTINCT person_id) FROM advisories WHERE kind = 'one_on_one' AND person_id = ANY($1::uuid[])
    """
    people = [someone.person_id for someone in called]

    async def offered() -> list[tuple[Any, ...]]:
        held = await system.fetch("matching", bookings, "held", people)
        return held if len(held) == len(called) else []

    async def accept(offer: tuple[Any, ...]) -> None:
        call_id, prospect, _volunteer, _ends_at = offer
        await stage.client.post("matching", f"/v1/calls/{call_id}/accept", None, by_id[prospect].session)

    async def attest(offer: tuple[Any, ...]) -> None:
        call_id, _prospect, volunteer, _ends_at = offer
        body = {"outcome": "will_run"}
        await stage.client.post("matching", f"/v1/calls/{call_id}/attest", body, by_id[volunteer].session)

    async def known() -> bool:
        for someone in called:
            me = await stage.client.get("signup", "/v1/me", someone.session)
            if {found["id"]: found["state"] for found in me["stages"]}["one_on_one"] != "done":
                return False
        rows = await system.fetch("endorsement", advised, people)
        return rows == [(len(called),)]

    await stage.advance("30m")
    offers = await until(offered, "an offer to everybody")
    await each(offers, accept, lambda: None)
    await pass_until(system, max(ends_at for *_rest, ends_at in offers) + dt.timedelta(minutes=20))
    await each(offers, attest, lambda: None)
    await until(known, "the calls to be known where they count")


async def apply(stage: Stage, someone: Member, birth_date: dt.date, days: Days, staff: str) -> Judged:
    """Declare a candidacy, have it confirmed, apply; tell the date of birth where the year leaves it open."""
    call, session = stage.client, someone.session
    candidacy = {
        "office": "city_council",
        "state": "OH",
        "district": "3",
        "election_date": days.election.isoformat(),
        "term": f"{days.election.year}–{days.election.year + 4}",
        "ballot_name": someone.invented.signup["name"],
        "official_link": "https://elections.example.org/oh/candidates",
        "filed_on": days.applied.isoformat(),
    }
    candidacy_id = (await call.post("endorsement", "/v1/candidacies", candidacy, session))["candidacy_id"]
    await call.post("endorsement", f"/v1/candidacies/{candidacy_id}/confirmation", None, staff)
    begun = await call.post("endorsement", "/v1/applications", {"candidacy_id": candidacy_id}, session)
    path = f"/v1/applications/{begun['application_id']}"
    filled = draft(stage, someone) | {"birth_year": birth_date.year}
    await call.put("endorsement", path, filled, session)
    first = (await call.post("endorsement", f"{path}/submission", None, session))["eligibility"]
    if first["outcome"] == "undetermined":
        assert first["missing"] == ["birth_date"]
        await call.post("endorsement", f"{path}/facts", {"birth_date": birth_date.isoformat()}, session)
    verdict = (await call.get("endorsement", path, session))["eligibility"]
    codes = {check["test"]: check["code"] for check in verdict["checks"]}
    return Judged(begun["application_id"], first["outcome"], verdict["outcome"], verdict["rule_version"], codes)


async def drive(system: System, stage: Stage, staff: str) -> dict[str, Judged]:
    """Everybody from the sign-up to the verdict; with one-on-ones where this program's rules ask for them."""
    program = stage.program
    zone = ZoneInfo(program.organization.time_zone)
    needs_call = any(rule.test == "stage_reached" for rule in program.eligibility_at(stage.now().date()).rules)
    days = days_from(stage.now(), program.one_on_one.horizon_days + 2 if needs_call else 1, zone)
    born = births(days)
    people = {label: member(stage, "run", label, birth_year=date.year) for label, date in born.items()}
    # Nobody takes more than the two calls a week that are usual.
    volunteers = [member(stage, "volunteer", f"Volunteer {n}") for n in range(len(people) if needs_call else 0)]
    everybody = [*people.values(), *volunteers]
    await sign_up(stage, everybody, lambda: None)
    await confirm(stage, everybody, lambda: None)
    if needs_call:
        called = [someone for label, someone in people.items() if label != WITHOUT_CALL]
        await hold_calls(system, stage, called, volunteers)
    await pass_until(system, dt.datetime.combine(days.applied, dt.time(12), zone))
    judged = [apply(stage, someone, born[label], days, staff) for label, someone in people.items()]
    return dict(zip(people, await asyncio.gather(*judged), strict=True))


@pytest.fixture(scope="module")
def system_2017(new_home: Callable[[str], Path]) -> Iterator[System]:
    """A stack that runs the program of 2017."""
    with running_system(new_home("system_2017"), HUSTINGS_PROGRAM=str(PROGRAM_2017)) as running:
        yield running


def verdicts(judged: dict[str, Judged]) -> dict[str, tuple[str, str]]:
    """Outcome at the submission, and in the end."""
    return {label: (one.first, one.outcome) for label, one in judged.items()}


async def test_program_of_2025_judges_by_the_age_on_election_day(system: System) -> None:
    async with staging(system, PROGRAM_2025) as stage:
        staff = await staff_session(system, stage)
        judged = await drive(system, stage, staff)
        replay = await stage.client.get("endorsement", "/v1/applications/replay?version=2024-born-1984", staff)
        unchanged = await stage.client.get("endorsement", "/v1/applications/replay?version=2025-age-40", staff)
    assert verdicts(judged) == {
        "34": ("eligible", "eligible"),
        WITHOUT_CALL: ("eligible", "eligible"),
        "35 tomorrow": ("eligible", "eligible"),
        "35 today": ("eligible", "eligible"),
        "38": ("eligible", "eligible"),
        "41": ("ineligible", "ineligible"),
        "40 on election day": ("undetermined", "eligible"),
        "41 on election day": ("undetermined", "ineligible"),
    }
    assert {one.rule_version for one in judged.values()} == {"2025-age-40"}
    within, above = {"age_at_most": "age_within", **FILED}, {"age_at_most": "age_above", **FILED}
    too_old = ("41", "41 on election day")
    assert {label: one.codes for label, one in judged.items()} == {
        label: above if label in too_old else within for label in judged
    }

    # All were born in 1984 or later: by those rules the two who are too old would have been within.
    labels = {one.application_id: label for label, one in judged.items()}
    flips = {
        labels[flip["application_id"]]: (flip["rule_version"], flip["before"], flip["after"], flip["codes"])
        for flip in replay["flips"]
        if flip["application_id"] in labels
    }
    assert flips == {label: ("2025-age-40", "ineligible", "eligible", []) for label in too_old}
    assert (replay["version"], unchanged["flips"]) == ("2024-born-1984", [])


async def test_program_of_2017_judges_by_the_age_at_the_application_and_asks_for_the_call(system_2017: System) -> None:
    async with staging(system_2017, PROGRAM_2017) as stage:
        staff = await staff_session(system_2017, stage)
        judged = await drive(system_2017, stage, staff)
        replay = await stage.client.get("endorsement", "/v1/applications/replay?version=2017-under-35", staff)
    assert verdicts(judged) == {
        "34": ("eligible", "eligible"),
        WITHOUT_CALL: ("ineligible", "ineligible"),
        "35 tomorrow": ("undetermined", "eligible"),
        "35 today": ("undetermined", "ineligible"),
        "38": ("ineligible", "ineligible"),
        "41": ("ineligible", "ineligible"),
        "40 on election day": ("ineligible", "ineligible"),
        "41 on election day": ("ineligible", "ineligible"),
    }
    assert {one.rule_version for one in judged.values()} == {"2017-under-35"}
    within = {"younger_than": "age_within", **FILED, "stage_reached": "stage_reached"}
    young = ("34", "35 tomorrow", WITHOUT_CALL)
    expected = {label: within if label in young else {**within, "younger_than": "age_above"} for label in judged}
    expected[WITHOUT_CALL] = {**within, "stage_reached": "stage_not_reached"}
    assert {label: one.codes for label, one in judged.items()} == expected
    assert replay == {"version": "2017-under-35", "applications": len(judged), "flips": []}
