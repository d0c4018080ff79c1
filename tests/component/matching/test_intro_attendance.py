"""Group calls: who came, and what follows from it."""

import asyncio
import datetime as dt
from typing import Any

import pytest

from services.matching.app import SERVICE
from services.matching.settings import Settings
from shared.events.envelope import new_id
from shared.events.matching import (
    IntroCallAttended,
    IntroCallInvited,
    IntroCallMissed,
)
from tests.component.matching.intro_stage import STAFF, Stage, only
from tests.conftest import DatabaseFactory
from tests.harness import (
    PROGRAM_2017,
    client_of,
    make_settings,
    running,
    take_outbox,
)


async def test_attendance_is_recorded_once_and_missed_can_become_attended(stage: Stage) -> None:
    ids = await stage.people(4)
    call = await stage.schedule(days=2)
    for person in ids[:3]:
        await stage.answer(call, person)
    path = f"/v1/intro-calls/{call['intro_call_id']}/attendance"
    early = await stage.staff(path, {"attended": [str(ids[0])]})
    assert (early.status_code, early.json()["code"]) == (409, "too_early")
    await stage.database.advance_clock(dt.timedelta(days=3))
    following = await stage.schedule(days=5)
    await take_outbox(stage.service)
    marks = {"attended": [str(ids[0])], "missed": [str(ids[1]), str(ids[2])]}
    first, again = await stage.staff(path, marks), await stage.staff(path, marks)
    assert (first.json()["attended_now"], first.json()["missed_now"]) == (1, 2)
    assert (again.json()["attended_now"], again.json()["missed_now"]) == (0, 0)
    events = await take_outbox(stage.service)
    assert [e.person_id for e in only(events, IntroCallAttended)] == [ids[0]]
    assert [e.person_id for e in only(events, IntroCallMissed)] == ids[1:3]
    invited = only(events, IntroCallInvited)
    assert [(e.person_id, str(e.intro_call_id)) for e in invited] == [(p, following["intro_call_id"]) for p in ids[1:3]]
    said = await stage.said("intro_missed", ids[1], call)
    assert dt.datetime.fromisoformat(said.data["next_starts_at"]) == dt.datetime.fromisoformat(following["starts_at"])
    assert (await stage.said("intro_invitation", ids[1], following)).reason == "said_elsewhere"
    # The second was there after all: the mark changes, and what the miss led to is taken back.
    await stage.staff(path, {"attended": [str(ids[1])]})
    [attended] = await take_outbox(stage.service)
    assert attended == IntroCallAttended(intro_call_id=call["intro_call_id"], person_id=ids[1])
    assert (await stage.said("intro_missed", ids[1], call)).reason == "attended"
    assert (await stage.said("intro_invitation", ids[1], following)).reason == "unknown"
    wrong = await stage.staff(path, {"missed": [str(ids[1])]})
    assert (wrong.status_code, wrong.json()["code"]) == (409, "already_attended")
    # Somebody without a seat may have come, but not have missed it.
    unexpected = await stage.staff(path, {"missed": [str(ids[3])]})
    assert (unexpected.status_code, unexpected.json()["code"]) == (409, "no_seat")
    assert (await stage.staff(path, {"attended": [str(ids[3])]})).json()["attended"] == 3
    both = await stage.staff(path, {"attended": [str(ids[0])], "missed": [str(ids[0])]})
    unknown = await stage.staff(path, {"attended": [str(new_id())]})
    assert (both.status_code, unknown.json()["code"]) == (422, "unknown_person")
    assert await take_outbox(stage.service) == [
        IntroCallAttended(intro_call_id=call["intro_call_id"], person_id=ids[3])
    ]


async def test_racing_marks_emit_once(stage: Stage) -> None:
    ids = await stage.people(5)
    call = await stage.schedule(days=1)
    for person in ids:
        await stage.answer(call, person)
    await stage.database.advance_clock(dt.timedelta(days=2))
    await take_outbox(stage.service)
    marks = {"attended": [str(p) for p in ids]}
    path = f"/v1/intro-calls/{call['intro_call_id']}/attendance"
    answers = await asyncio.gather(*(stage.staff(path, marks) for _ in range(6)))
    assert sorted(a.json()["attended_now"] for a in answers) == [0, 0, 0, 0, 0, 5]
    assert len(await take_outbox(stage.service)) == 5


@pytest.mark.parametrize(("program", "queued"), [(PROGRAM_2017, 1), (None, 0)])
async def test_attending_leads_to_the_queue_where_a_one_on_one_is_promised(
    databases: DatabaseFactory, program: Any, queued: int
) -> None:
    database = await databases("matching")
    changes = {"program": program} if program else {}
    async with running(SERVICE, make_settings(Settings, database, **changes)) as service:
        stage = Stage(service, database)
        [person] = await stage.people(1)
        call = await stage.schedule(days=1)
        await stage.answer(call, person)
        await database.advance_clock(dt.timedelta(days=2))
        await stage.staff(f"/v1/intro-calls/{call['intro_call_id']}/attendance", {"attended": [str(person)]})
        rows = await database.fetch("SELECT person_id FROM queue_entries WHERE purpose = 'one_on_one'")
        assert rows == [(person,)] * queued


async def test_attendance_page_marks_only_whom_it_showed(stage: Stage) -> None:
    came, missed, unseen = await stage.people(3)
    call = await stage.schedule(days=1)
    for person in (came, missed, unseen):
        await stage.answer(call, person)
    await stage.database.advance_clock(dt.timedelta(days=2))
    path = f"/intro-calls/staff/{call['intro_call_id']}"
    await take_outbox(stage.service)
    async with client_of(stage.service, STAFF, Accept="text/html") as client:
        page = await client.get(path)
        # Signup does not answer in this test: ids stand in for names.
        assert all(str(person) in page.text for person in (came, missed, unseen))
        form = {"attended": [str(came)], "expected": [str(came), str(missed)], "others_missed": "yes", "page": "1"}
        sent = await client.post(f"{path}/attendance", data=form)
        assert (sent.status_code, sent.headers["location"]) == (303, f"{path}?done=recorded&page=1")
        again = await client.post(f"{path}/attendance", data={"page": "1"})
        assert again.status_code == 303
    events = await take_outbox(stage.service)
    assert [e.person_id for e in only(events, IntroCallAttended)] == [came]
    assert [e.person_id for e in only(events, IntroCallMissed)] == [missed]
