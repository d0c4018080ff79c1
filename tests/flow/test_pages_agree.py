"""What people are told of their calls, on their pages and by calendar files, is what the databases hold."""

import asyncio
import datetime as dt
from collections.abc import AsyncIterator
from dataclasses import dataclass
from typing import Any

import pytest
from icalendar import Calendar

from deploy.demo.client import Client
from deploy.demo.journey import sign_in
from tests.flow.conftest import System
from tests.flow.staging import staging
from tests.flow.topics import at_rest
from tests.harness import PROGRAM_2025

# Everybody who ever had a booked call, on either side.
PEOPLE = """
    SELECT p.person_id::text FROM people p JOIN bookings b ON p.person_id = b.{side}_id
    WHERE b.confirmed_at IS NOT NULL GROUP BY 1 ORDER BY 1
"""
CALLS = """
    SELECT b.call_id::text, CASE WHEN b.prospect_id = me.person_id THEN 'prospect' ELSE 'volunteer' END, b.state,
           lower(b.during), upper(b.during), coalesce(hours.time_zone, me.time_zone), b.hold_expires_at,
           other.first_name, b.outcome, b.missed_by, b.replaces::text, b.replaced_by::text
    FROM people me JOIN bookings b ON me.person_id IN (b.prospect_id, b.volunteer_id)
    JOIN people other ON other.person_id IN (b.prospect_id, b.volunteer_id) AND other.person_id <> me.person_id
    LEFT JOIN availability hours ON hours.person_id = me.person_id
    WHERE me.person_id = $1::uuid ORDER BY lower(b.during) DESC, b.call_id
"""
QUEUE = "SELECT state, since, parked_reason FROM queue_entries WHERE person_id = $1::uuid AND purpose = 'one_on_one'"
BOOKED = """
    SELECT DISTINCT ON (calendar_uid) calendar_uid::text, lower(during), upper(during), sequence
    FROM bookings WHERE $1::uuid IN (prospect_id, volunteer_id) AND confirmed_at IS NOT NULL
    ORDER BY calendar_uid, sequence DESC
"""
HELPERS = """
    SELECT DISTINCT v.first_name FROM bookings b JOIN people v ON v.person_id = b.volunteer_id
    WHERE b.prospect_id = $1::uuid AND b.state IN ('confirmed', 'completed') ORDER BY 1
"""
COMPLETED = "SELECT min(closed_at) FROM bookings WHERE prospect_id = $1::uuid AND state = 'completed'"
ME = """
    SELECT name, state, zip, birth_year, office, tracks, language, spoken_languages, time_zone, signed_up_at,
           confirmed_at
    FROM people WHERE id = $1::uuid
"""
FACTS = ("name", "state", "zip", "birth_year", "office", "tracks", "language", "spoken_languages", "time_zone")
EMAIL = "SELECT email FROM person_emails WHERE person_id = $1::uuid ORDER BY added_at"
ROLES = "SELECT role FROM roles WHERE person_id = $1::uuid ORDER BY 1"


@dataclass(frozen=True, slots=True)
class Known:
    """Somebody with calls: their address, and a session."""

    person_id: str
    email: str
    session: str


@dataclass(frozen=True, slots=True)
class Crowd:
    """A system after a crowd, and some of those who had calls."""

    system: System
    client: Client
    people: list[Known]


def moment(text: str | None) -> dt.datetime | None:
    """A time of JSON."""
    return None if text is None else dt.datetime.fromisoformat(text)


@pytest.fixture(scope="module")
async def crowd(system: System) -> AsyncIterator[Crowd]:
    """A small crowd on the shared system, at rest; everybody of it who had a booked call."""
    demo = ("--prospects", "40", "--volunteers", "8", "--seed", "2017")
    await asyncio.to_thread(system.run, "deploy.demo", *demo, timeout_seconds=240)
    await at_rest(system)
    async with staging(system, PROGRAM_2025) as stage:
        people = []
        for side in ("prospect", "volunteer"):
            for (person_id,) in await system.fetch("matching", PEOPLE.format(side=side)):
                [(email,)] = await system.fetch("signup", EMAIL, person_id)
                session = (await sign_in(stage, email))["session"]
                people.append(Known(person_id, email, session))
        assert len({known.person_id for known in people}) > 10
        yield Crowd(system, stage.client, people)


async def test_calls_are_told_as_they_are_booked(crowd: Crowd) -> None:
    told: dict[str, Any] = {}
    held: dict[str, Any] = {}
    for known in crowd.people:
        answer = await crowd.client.get("matching", "/v1/calls", known.session)
        place = answer["queue"]
        told[known.person_id] = (
            [(place["state"], moment(place["since"]), place["parked_reason"])] if place["state"] else [],
            [
                (
                    call["call_id"],
                    call["role"],
                    call["state"],
                    moment(call["starts_at"]),
                    moment(call["ends_at"]),
                    call["time_zone"],
                    moment(call["expires_at"]),
                    call["with_name"],
                    call["outcome"],
                    call["missed_by"],
                    call["replaces"],
                    call["replaced_by"],
                )
                for call in answer["calls"]
            ],
        )
        held[known.person_id] = (
            await crowd.system.fetch("matching", QUEUE, known.person_id),
            await crowd.system.fetch("matching", CALLS, known.person_id),
        )
    assert told == held
    states = {call[2] for _place, calls in told.values() for call in calls}
    assert "completed" in states


async def test_own_page_tells_what_signup_and_matching_hold(crowd: Crowd) -> None:
    told: dict[str, Any] = {}
    held: dict[str, Any] = {}
    for known in crowd.people:
        me = await crowd.client.get("signup", "/v1/me", known.session)
        reached = {stage["id"]: moment(stage["reached_at"]) for stage in me["stages"]}
        is_prospect = "prospect" in me["roles"]
        told[known.person_id] = (
            [(*(me[name] for name in FACTS), moment(me["signed_up_at"]), moment(me["confirmed_at"]))],
            [(email,) for email in me["emails"]],
            [(role,) for role in sorted(me["roles"])],
            [(name,) for name in sorted(me["helpers"])] if is_prospect else [],
            [(reached["one_on_one"],)] if is_prospect else [],
        )
        fetch = crowd.system.fetch
        held[known.person_id] = (
            await fetch("signup", ME, known.person_id),
            await fetch("signup", EMAIL, known.person_id),
            await fetch("signup", ROLES, known.person_id),
            sorted(await fetch("matching", HELPERS, known.person_id)) if is_prospect else [],
            await fetch("matching", COMPLETED, known.person_id) if is_prospect else [],
        )
        assert (reached["signed_up"], reached["confirmed"]) == (moment(me["signed_up_at"]), moment(me["confirmed_at"]))
    assert told == held
    assert any(one_on_one != [(None,)] for *_rest, one_on_one in held.values() if one_on_one)


async def test_calendar_files_in_the_mail_say_when_the_calls_are(crowd: Crowd) -> None:
    mailed: dict[str, Any] = {}
    held: dict[str, Any] = {}
    for known in crowd.people:
        events = {}
        for mail in await asyncio.to_thread(crowd.system.mailbox.messages, known.email):
            for attachment in mail["attachments"]:
                [event] = Calendar.from_ical(attachment["content"]).walk("VEVENT")
                uid = str(event["uid"]).removesuffix("@hustings")
                if not uid.startswith("intro-call-"):
                    # A moved call comes again under its number: the last file is what a calendar shows.
                    events[uid] = (event.decoded("dtstart"), event.decoded("dtend"), event.decoded("sequence"))
        mailed[known.person_id] = events
        rows = await crowd.system.fetch("matching", BOOKED, known.person_id)
        held[known.person_id] = {uid: (starts_at, ends_at, number) for uid, starts_at, ends_at, number in rows}
    assert mailed == held
    assert all(held.values())
