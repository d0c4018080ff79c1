"""Group calls against a real database: races, redelivery, clocks, links."""

import asyncio
import datetime as dt
import time
from collections.abc import AsyncIterator
from typing import Any, TypeVar
from uuid import UUID
from zoneinfo import ZoneInfo

import pytest
from icalendar import Calendar

from services.matching.actions import intro_calls as actions
from services.matching.app import SERVICE
from services.matching.domain.intro_calls import UNANSWERED_LIMIT
from services.matching.settings import Settings
from services.matching.store.intro_calls_people import IntroPerson, upsert_people
from services.matching.web.intro_calls_messages import INTRO_TEMPLATES, answer_path, calendar_path, message_data
from shared.directory import Profile
from shared.events import Event
from shared.events.envelope import new_id
from shared.events.matching import (
    IntroCallAnswered,
    IntroCallAttended,
    IntroCallCancelled,
    IntroCallDropped,
    IntroCallInvited,
    IntroCallMissed,
    IntroCallPromoted,
    IntroCallReminderDue,
    IntroCallScheduled,
)
from shared.events.signup import PersonConfirmed, RoleAdded
from shared.inbox import Record
from shared.messages import Item
from shared.service import Service
from shared.web.sessions import Principal
from tests.conftest import DatabaseFactory
from tests.harness import (
    CLUSTER,
    PROGRAM_2017,
    Database,
    as_records,
    client_of,
    deliver,
    fire_timers,
    internal_client,
    make_settings,
    running,
    take_outbox,
)

E = TypeVar("E", bound=Event)
STAFF = Principal(new_id(), frozenset({"staff"}), account_id=new_id())


class Stage:
    """A running service, its database, and what tests do again and again."""

    def __init__(self, service: Service, database: Database) -> None:
        self.service = service
        self.database = database
        self.settings = service.context.settings

    async def now(self) -> dt.datetime:
        moment: dt.datetime = await self.service.context.pool.fetchval("SELECT business_now()")
        return moment

    async def schedule(self, *, days: int = 7, **changes: Any) -> dict[str, Any]:
        """A call so many days ahead at 18:30 in Chicago, counted by Chicago's days."""
        day = (await self.now()).astimezone(ZoneInfo("America/Chicago")).date() + dt.timedelta(days=days)
        body = {
            "title": "Thinking about running?",
            "date": day.isoformat(),
            "time": "18:30",
            "time_zone": "America/Chicago",
            "join_url": "https://calls.example/abc",
            **changes,
        }
        async with client_of(self.service, STAFF) as client:
            answer = await client.post("/v1/intro-calls", json=body)
        assert answer.status_code == 201, answer.text
        found: dict[str, Any] = answer.json()
        return found

    async def staff(self, path: str, body: dict[str, Any] | None = None) -> Any:
        async with client_of(self.service, STAFF) as client:
            return await client.post(path, json=body)

    async def people(self, count: int, **changes: Any) -> list[UUID]:
        """So many prospects who have confirmed, invited to nothing."""
        ids = [new_id() for _ in range(count)]
        facts = {"language": "en", "tracks": (), "time_zone": "America/New_York", "prospect": True, **changes}
        async with self.service.context.workshop.begin() as work:
            await upsert_people(work.connection, [IntroPerson(i, confirmed_at=work.now, **facts) for i in ids])
        return ids

    async def confirm(self, *ids: UUID, **changes: Any) -> list[Record]:
        """Deliver `PersonConfirmed` of these people through the inbox; the records, to deliver them again."""
        facts = {"roles": ("prospect",), "language": "en", "time_zone": "America/New_York", **changes}
        events = [PersonConfirmed(person_id=i, signup_id=i, **facts) for i in ids]
        records = await as_records(self.service, events)
        await self.service._inbox.take(records, cluster_id=CLUSTER)
        return records

    async def answer(self, call: dict[str, Any], person_id: UUID, answer: str = "going") -> Any:
        async with client_of(self.service, Principal(person_id)) as client:
            return await client.post(f"/v1/intro-calls/{call['intro_call_id']}/answer", json={"answer": answer})

    async def going(self, call: dict[str, Any]) -> tuple[int, int]:
        """The counter, and the rows it counts."""
        [(counter, rows)] = await self.database.fetch(
            "SELECT going, (SELECT count(*) FROM intro_seats WHERE intro_call_id = $1 AND state = 'going')"
            " FROM intro_calls WHERE intro_call_id = $1",
            UUID(call["intro_call_id"]),
        )
        return counter, rows

    async def said(self, template: str, person_id: UUID, call: dict[str, Any]) -> Any:
        item = Item(id="1", template=template, person_id=person_id, reference=call["intro_call_id"])
        async with self.service.context.workshop.begin() as work:
            return await message_data(work.connection, item, settings=self.settings, program=work.program, now=work.now)


def only(events: list[Event], kind: type[E]) -> list[E]:
    """The events of one type."""
    return [event for event in events if isinstance(event, kind)]


@pytest.fixture
async def stage(databases: DatabaseFactory) -> AsyncIterator[Stage]:
    """The service under the program of 2025."""
    database = await databases("matching")
    async with running(SERVICE, make_settings(Settings, database)) as service:
        yield Stage(service, database)


async def test_scheduling_invites_those_whom_the_call_fits(stage: Stage) -> None:
    fits, spanish, rural = (
        await stage.people(2),
        await stage.people(1, language="es"),
        await stage.people(1, tracks=("rural", "women")),
    )
    await stage.people(1, prospect=False)
    call = await stage.schedule(capacity=20, minutes=45)
    assert (call["invited_now"], call["invited"], call["capacity"], call["minutes"]) == (3, 3, 20, 45)
    events = await take_outbox(stage.service)
    assert sorted(e.person_id for e in only(events, IntroCallInvited)) == sorted([*fits, *rural])
    [scheduled] = only(events, IntroCallScheduled)
    assert scheduled == IntroCallScheduled(
        intro_call_id=call["intro_call_id"], starts_at=call["starts_at"], minutes=45, capacity=20, language="en"
    )
    # Everybody holds an invitation now, so another call invites the one it alone fits.
    other = await stage.schedule(days=8, language="es")
    assert other["invited_now"] == 1
    [invited] = only(await take_outbox(stage.service), IntroCallInvited)
    assert invited.person_id == spanish[0]


async def test_track_call_invites_only_its_track(stage: Stage) -> None:
    await stage.people(2)
    [rural] = await stage.people(1, tracks=("rural",))
    call = await stage.schedule(track="rural")
    assert call["invited_now"] == 1
    [invited] = only(await take_outbox(stage.service), IntroCallInvited)
    assert invited.person_id == rural


async def test_confirmed_prospect_is_invited_to_the_next_call_once(stage: Stage) -> None:
    later = await stage.schedule(days=9)
    sooner = await stage.schedule(days=3)
    await take_outbox(stage.service)
    person, volunteer = new_id(), new_id()
    records = await stage.confirm(person)
    await stage.confirm(volunteer, roles=("volunteer",))
    # The same record again, the same with the offsets set back, and the same fact as another event.
    await stage.service._inbox.take(records, cluster_id=CLUSTER)
    await stage.database.execute("UPDATE inbox_offsets SET next_offset = 0")
    await stage.service._inbox.take(records, cluster_id=CLUSTER)
    await stage.confirm(person)
    [invited] = await take_outbox(stage.service)
    assert invited == IntroCallInvited(
        intro_call_id=sooner["intro_call_id"], person_id=person, starts_at=sooner["starts_at"]
    )
    assert await stage.database.fetch("SELECT intro_call_id FROM intro_seats") == [(UUID(sooner["intro_call_id"]),)]
    assert later["invited_now"] == 0


async def test_person_who_becomes_a_prospect_is_invited(stage: Stage) -> None:
    call = await stage.schedule()
    person = new_id()
    await stage.confirm(person, roles=("volunteer",))
    await take_outbox(stage.service)
    await deliver(stage.service, RoleAdded(person_id=new_id(), role="prospect"))
    await deliver(stage.service, RoleAdded(person_id=person, role="mentor"))
    assert await take_outbox(stage.service) == []
    await deliver(stage.service, RoleAdded(person_id=person, role="prospect"))
    assert [(e.person_id, str(e.intro_call_id)) for e in only(await take_outbox(stage.service), IntroCallInvited)] == [
        (person, call["intro_call_id"])
    ]


async def test_changed_language_leads_to_a_call_in_it(stage: Stage) -> None:
    call = await stage.schedule(language="es")
    [person] = await stage.people(1)
    await take_outbox(stage.service)
    async with stage.service.context.workshop.begin() as work:
        profile = Profile(
            person_id=person, current_id=person, name="A", roles=("prospect",), state=None, zip=None, birth_year=None,
            office=None, tracks=("women",), language="es", spoken_languages=("es",), time_zone="America/Denver",
            availability=(), signed_up_at=work.now, confirmed_at=work.now, answers={},
        )  # fmt: skip
        await actions.on_profiles_fetched(work, [profile, profile.model_copy(update={"confirmed_at": None})])
    [invited] = only(await take_outbox(stage.service), IntroCallInvited)
    assert (invited.person_id, str(invited.intro_call_id)) == (person, call["intro_call_id"])


async def test_scheduling_and_confirming_at_once_invites_everybody_once(stage: Stage) -> None:
    ids = [new_id() for _ in range(40)]

    async def hear(*people: UUID) -> None:
        # Past the inbox, which would take the batches of one partition one after another.
        async with stage.service.context.workshop.begin() as work:
            await actions.take_people(work, [IntroPerson(i, "en", (), None, True, work.now) for i in people])

    batches = [ids[at : at + 5] for at in range(0, 40, 5)]
    await asyncio.gather(
        *(hear(*batch) for batch in batches),
        stage.schedule(days=3),
        stage.schedule(days=4),
        *(hear(*batch) for batch in batches),
    )
    events = only(await take_outbox(stage.service), IntroCallInvited)
    assert sorted(event.person_id for event in events) == sorted(ids)


async def test_same_id_schedules_once(stage: Stage) -> None:
    await stage.people(3)
    call_id = str(new_id())
    first, second = await stage.schedule(intro_call_id=call_id), await stage.schedule(intro_call_id=call_id)
    assert (first["invited_now"], second["invited_now"], first["intro_call_id"]) == (3, 0, second["intro_call_id"])
    assert len(only(await take_outbox(stage.service), IntroCallScheduled)) == 1
    assert await stage.database.fetch("SELECT action FROM audit_entries") == [("intro_call.schedule",)]


async def test_fifty_people_racing_for_ten_seats(stage: Stage) -> None:
    ids = await stage.people(50)
    call = await stage.schedule(capacity=10)
    await take_outbox(stage.service)
    answers = await asyncio.gather(*(stage.answer(call, person_id) for person_id in ids))
    assert {a.status_code for a in answers} == {200}
    outcome = dict(zip(ids, (a.json()["answer"] for a in answers), strict=True))
    assert sorted(outcome.values()) == ["going"] * 10 + ["waiting"] * 40
    assert await stage.going(call) == (10, 10)
    waiting = await stage.database.fetch(
        "SELECT person_id FROM intro_seats WHERE state = 'waiting' ORDER BY waiting_number"
    )
    events = await take_outbox(stage.service)
    in_order = [e.person_id for e in events if isinstance(e, IntroCallAnswered) and e.answer == "waiting"]
    assert [row[0] for row in waiting] == in_order
    # Fifteen change their minds at once: four who had seats, eleven who waited.
    seated = [p for p in ids if outcome[p] == "going"][:4]
    leaving = in_order[:11]
    await asyncio.gather(*(stage.answer(call, p, "declined") for p in (*seated, *leaving)))
    assert await stage.going(call) == (10, 10)
    events = await take_outbox(stage.service)
    declined = only(events, IntroCallAnswered)
    assert {e.answer for e in declined} == {"declined"}
    assert len(declined) == 15
    # Each of the four seats came to one person; whoever was promoted and left again made room once more.
    promoted = [e.person_id for e in only(events, IntroCallPromoted)]
    assert len(promoted) == len(set(promoted)) >= 4
    stayed = [p for p in promoted if p not in leaving]
    assert stayed == in_order[11 : 11 + 4]


async def test_free_seat_goes_to_the_first_who_waits(stage: Stage) -> None:
    first, second, third, fourth = await stage.people(4)
    call = await stage.schedule(capacity=1)
    answers = [(await stage.answer(call, p)).json() for p in (first, second, third, fourth)]
    assert [(a["answer"], a["place"]) for a in answers] == [
        ("going", None), ("waiting", 1), ("waiting", 2), ("waiting", 3)]  # fmt: skip
    assert answers[0]["join_url"] == "https://calls.example/abc"
    assert answers[1]["join_url"] is None
    await take_outbox(stage.service)
    await stage.answer(call, second, "declined")
    await stage.answer(call, first, "declined")
    [_answered, declined, promoted] = await take_outbox(stage.service)
    assert isinstance(declined, IntroCallAnswered)
    assert promoted == IntroCallPromoted(
        intro_call_id=call["intro_call_id"], person_id=third, starts_at=call["starts_at"]
    )
    # The first comes back to the end of the line.
    back = (await stage.answer(call, first)).json()
    assert (back["answer"], back["place"]) == ("waiting", 2)
    assert await stage.going(call) == (1, 1)


async def test_same_answer_again_says_nothing_new(stage: Stage) -> None:
    [person] = await stage.people(1)
    call = await stage.schedule()
    await take_outbox(stage.service)
    for _ in range(3):
        assert (await stage.answer(call, person)).status_code == 200
    assert len(await take_outbox(stage.service)) == 1
    assert await stage.going(call) == (1, 1)


async def test_full_call_without_waiting_list_refuses(stage: Stage) -> None:
    first, second = await stage.people(2)
    call = await stage.schedule(capacity=1)
    await stage.database.execute("UPDATE intro_calls SET waiting_list = false")
    await stage.answer(call, first)
    refused = await stage.answer(call, second)
    assert (refused.status_code, refused.json()["code"]) == (409, "full")
    assert await stage.going(call) == (1, 1)


async def test_prospect_may_choose_a_call_without_invitation(stage: Stage) -> None:
    [person] = await stage.people(1, language="es")
    call = await stage.schedule()
    async with client_of(stage.service, Principal(person)) as client:
        seen = (await client.get("/v1/intro-calls/mine")).json()
        assert (seen["mine"], [c["intro_call_id"] for c in seen["open"]]) == ([], [call["intro_call_id"]])
        assert "join_url" not in seen["open"][0]
        assert (await stage.answer(call, person)).json()["answer"] == "going"
        seen = (await client.get("/v1/intro-calls/mine")).json()
    assert ([c["answer"] for c in seen["mine"]], seen["open"]) == (["going"], [])


async def test_stranger_may_not_answer(stage: Stage) -> None:
    call = await stage.schedule()
    refused = await stage.answer(call, new_id())
    assert (refused.status_code, refused.json()["code"]) == (409, "not_a_prospect")
    async with client_of(stage.service) as client:
        unsigned = await client.post(f"/v1/intro-calls/{call['intro_call_id']}/answer", json={"answer": "going"})
        assert unsigned.status_code == 401
    [person] = await stage.people(1)
    assert (await stage.answer(call, person, "maybe")).status_code == 422
    assert (await stage.answer({"intro_call_id": str(new_id())}, person)).status_code == 404


async def test_link_shows_on_get_and_acts_on_post(stage: Stage) -> None:
    [person] = await stage.people(1)
    call = await stage.schedule()
    path = answer_path(stage.settings, UUID(call["intro_call_id"]), person)
    await take_outbox(stage.service)
    async with client_of(stage.service, Accept="text/html") as client:
        page = await client.get(path)
        assert page.status_code == 200
        assert "Eastern" in page.text or "EST" in page.text or "EDT" in page.text
        assert call["join_url"] not in page.text
        assert await take_outbox(stage.service) == []
        done = await client.post(path, data={"answer": "going"})
        assert (done.status_code, done.headers["location"]) == (303, path)
        assert call["join_url"] in (await client.get(path)).text
        assert (await client.post(path, data={"answer": "perhaps"})).status_code == 422
    assert [e.answer for e in only(await take_outbox(stage.service), IntroCallAnswered)] == ["going"]


async def test_altered_and_foreign_links_open_nothing(stage: Stage) -> None:
    one, other = await stage.people(2)
    call, second = await stage.schedule(), await stage.schedule(days=8)
    path = answer_path(stage.settings, UUID(call["intro_call_id"]), one)
    token = path.rpartition(".")[2]
    base = f"/intro-calls/{call['intro_call_id']}"
    altered = token[:-1] + ("A" if token[-1] != "A" else "B")
    foreign = [
        f"{base}/answer/{one}.{altered}",
        f"{base}/answer/{other}.{token}",
        f"/intro-calls/{second['intro_call_id']}/answer/{one}.{token}",
        f"{base}/answer/{token}",
        f"{base}/answer/{one}.",
        f"/intro-calls/nothing/answer/{one}.{token}",
        # A true token for a call that the person was never asked to.
        answer_path(stage.settings, UUID(second["intro_call_id"]), one),
        f"{base}/calendar.ics?person={other}&token={token}",
    ]
    await take_outbox(stage.service)
    async with client_of(stage.service) as client:
        assert [(await client.get(p)).status_code for p in foreign] == [404] * len(foreign)
        posted = [(await client.post(p, data={"answer": "going"})).status_code for p in foreign[:-1]]
    assert posted == [404] * (len(foreign) - 1)
    assert await take_outbox(stage.service) == []


async def test_answers_close_when_the_call_begins(stage: Stage) -> None:
    [person] = await stage.people(1)
    call = await stage.schedule(days=2)
    await stage.answer(call, person)
    await stage.database.advance_clock(dt.timedelta(days=4))
    refused = await stage.answer(call, person, "declined")
    assert (refused.status_code, refused.json()["code"]) == (410, "over")
    path = answer_path(stage.settings, UUID(call["intro_call_id"]), person)
    async with client_of(stage.service, Accept="text/html") as client:
        assert "This call is over" in (await client.get(path)).text
        assert (await client.post(path, data={"answer": "declined"})).status_code == 410
    assert await stage.going(call) == (1, 1)


async def test_cancelling_tells_everybody_and_offers_the_next(stage: Stage) -> None:
    ids = await stage.people(4)
    call = await stage.schedule(days=3, capacity=1)
    following = await stage.schedule(days=6)
    await stage.answer(call, ids[0])
    await stage.answer(call, ids[1])
    await stage.answer(call, ids[2], "declined")
    await take_outbox(stage.service)
    path = f"/v1/intro-calls/{call['intro_call_id']}/cancel"
    first, second = await stage.staff(path), await stage.staff(path)
    assert (first.json()["told"], second.json()["told"], first.json()["status"]) == (3, 0, "cancelled")
    events = await take_outbox(stage.service)
    told = sorted([ids[0], ids[1], ids[3]])
    assert len(only(events, IntroCallCancelled)) == 1
    assert [e.person_id for e in only(events, IntroCallDropped)] == told
    invited = only(events, IntroCallInvited)
    assert [(e.person_id, str(e.intro_call_id)) for e in invited] == [(p, following["intro_call_id"]) for p in told]
    refused = await stage.answer(call, ids[3])
    assert (refused.status_code, refused.json()["code"]) == (410, "cancelled")
    assert (await stage.said("intro_cancelled", ids[0], call)).status == "ok"
    assert (await stage.said("intro_invitation", ids[0], call)).reason == "cancelled"
    await stage.database.advance_clock(dt.timedelta(days=5))
    await fire_timers(stage.service)
    assert only(await take_outbox(stage.service), IntroCallReminderDue) == []


async def test_reminders_come_at_their_business_time(stage: Stage) -> None:
    going, waiting, silent = await stage.people(3)
    call = await stage.schedule(days=5, capacity=1)
    await stage.answer(call, going)
    await stage.answer(call, waiting)
    await take_outbox(stage.service)
    starts_at = dt.datetime.fromisoformat(call["starts_at"])
    assert stage.service.context.program.intro_calls.reminder_hours == (48, 2)
    await stage.database.advance_clock(starts_at - dt.timedelta(hours=48, minutes=5) - await stage.now())
    assert await fire_timers(stage.service) == 0
    await stage.database.advance_clock(dt.timedelta(minutes=10))
    await fire_timers(stage.service)
    expected = IntroCallReminderDue(
        intro_call_id=call["intro_call_id"], person_id=going, starts_at=starts_at, hours_before=48
    )
    assert await take_outbox(stage.service) == [expected]
    await fire_timers(stage.service)
    assert await take_outbox(stage.service) == []
    await stage.database.advance_clock(dt.timedelta(hours=46))
    await fire_timers(stage.service)
    assert await take_outbox(stage.service) == [expected.model_copy(update={"hours_before": 2})]
    assert (await stage.said("intro_reminder", going, call)).data["join_url"] == call["join_url"]
    assert (await stage.said("intro_reminder", silent, call)).reason == "answered"


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


async def test_whoever_the_call_left_out_is_invited_to_the_next(stage: Stage) -> None:
    silent, waiting, declined, going = await stage.people(4)
    call = await stage.schedule(days=2, capacity=1)
    following = await stage.schedule(days=9)
    await stage.answer(call, going)
    await stage.answer(call, waiting)
    await stage.answer(call, declined, "declined")
    await take_outbox(stage.service)
    await stage.database.advance_clock(dt.timedelta(days=4))
    await fire_timers(stage.service)
    invited = only(await take_outbox(stage.service), IntroCallInvited)
    expected = [(p, following["intro_call_id"]) for p in sorted([silent, waiting, declined])]
    assert [(e.person_id, str(e.intro_call_id)) for e in invited] == expected


async def test_silent_people_are_left_in_peace(stage: Stage) -> None:
    await stage.people(1)
    invitations = []
    for _ in range(UNANSWERED_LIMIT + 2):
        invitations.append((await stage.schedule(days=2))["invited_now"])
        await stage.database.advance_clock(dt.timedelta(days=7))
        await fire_timers(stage.service)
    assert invitations == [1] * UNANSWERED_LIMIT + [0, 0]


async def test_five_thousand_are_invited_by_one_call(stage: Stage) -> None:
    ids = await stage.people(5200)
    began = time.perf_counter()
    call = await stage.schedule()
    took = time.perf_counter() - began
    assert call["invited_now"] == actions.BATCH
    assert took < 20, f"{took:.1f} s: inviting has stopped working in sets"
    await fire_timers(stage.service)
    events = only(await take_outbox(stage.service), IntroCallInvited)
    assert [e.person_id for e in events] == sorted(ids)


async def test_staff_may_invite_by_name(stage: Stage) -> None:
    [spanish] = await stage.people(1, language="es")
    call = await stage.schedule()
    path = f"/v1/intro-calls/{call['intro_call_id']}/invite"
    await take_outbox(stage.service)
    body = {"person_ids": [str(spanish), str(new_id())]}
    assert (await stage.staff(path, body)).json() == {
        "intro_call_id": call["intro_call_id"], "invited_now": 1, "skipped": 1}  # fmt: skip
    assert (await stage.staff(path, body)).json()["invited_now"] == 0
    [invited] = only(await take_outbox(stage.service), IntroCallInvited)
    assert invited.person_id == spanish


async def test_clock_changes_are_refused_with_the_reason(stage: Stage) -> None:
    now = await stage.now()
    year = now.year + 1 if now.month > 3 else now.year
    march = dt.date(year, 3, 1)
    gap = march + dt.timedelta(days=(6 - march.weekday()) % 7 + 7)
    body = {
        "title": "Early birds",
        "date": gap.isoformat(),
        "time": "2:30 AM",
        "time_zone": "America/Chicago",
        "join_url": "https://calls.example/abc",
    }
    async with client_of(stage.service, STAFF) as client:
        refused = await client.post("/v1/intro-calls", json=body)
        good = await client.post("/v1/intro-calls", json={**body, "time_zone": "America/Phoenix"})
        bad = await client.post(
            "/v1/intro-calls",
            json={**body, "time": "25:00", "title": " ", "join_url": "http://calls.example", "track": "none",
                  "minutes": 5, "capacity": 0, "language": "fr", "time_zone": "Mars/Olympus"},
        )  # fmt: skip
    assert (refused.status_code, [e["field"] for e in refused.json()["errors"]]) == (422, ["time"])
    assert "does not exist" in refused.json()["errors"][0]["detail"]
    assert (good.status_code, good.json()["starts_at"]) == (201, f"{gap.isoformat()}T09:30:00Z")
    assert sorted(e["field"] for e in bad.json()["errors"]) == [
        "capacity", "join_url", "language", "minutes", "time", "time_zone", "title", "track"]  # fmt: skip


async def test_calendar_file_keeps_its_uid_through_every_change(stage: Stage) -> None:
    [person] = await stage.people(1)
    call = await stage.schedule()
    path = calendar_path(stage.settings, UUID(call["intro_call_id"]), person)
    seen = []
    async with client_of(stage.service) as client:
        assert (await client.get(path)).status_code == 409
        for answer in ("going", "declined", "going"):
            await stage.answer(call, person, answer)
            seen.append(await client.get(path))
        await stage.staff(f"/v1/intro-calls/{call['intro_call_id']}/cancel")
        seen.append(await client.get(path))
    files: list[Any] = [Calendar.from_ical(answer.text) for answer in seen]
    events: list[Any] = [file.walk("VEVENT")[0] for file in files]
    assert [str(file["METHOD"]) for file in files] == ["REQUEST", "CANCEL", "REQUEST", "CANCEL"]
    assert [event["SEQUENCE"] for event in events] == [1, 2, 3, 4]
    assert {str(event["UID"]) for event in events} == {f"intro-call-{call['intro_call_id']}@hustings"}
    assert events[0]["DTSTART"].dt == dt.datetime.fromisoformat(call["starts_at"])
    assert seen[0].headers["content-type"] == "text/calendar; charset=utf-8; method=REQUEST"
    assert [attachment.filename for attachment in (await stage.said("intro_cancelled", person, call)).attachments] == [
        "intro-call.ics"
    ]


async def test_messages_say_what_is_so_at_that_moment(stage: Stage) -> None:
    first, second = await stage.people(2)
    call = await stage.schedule(capacity=1)
    invitation = await stage.said("intro_invitation", first, call)
    assert invitation.data == {
        "starts_at": call["starts_at"],
        "minutes": call["minutes"],
        "track": None,
        "call_language": "en",
        "answer_url": "http://matching.test" + answer_path(stage.settings, UUID(call["intro_call_id"]), first),
    }
    await stage.answer(call, first)
    await stage.answer(call, second)
    assert (await stage.said("intro_invitation", first, call)).reason == "answered"
    confirmed = await stage.said("intro_confirmed", first, call)
    assert (confirmed.data["join_url"], len(confirmed.attachments)) == (call["join_url"], 1)
    assert (await stage.said("intro_waiting", second, call)).data["place"] == 1
    assert (await stage.said("intro_promoted", second, call)).reason == "answered"
    await stage.answer(call, first, "declined")
    assert (await stage.said("intro_confirmed", first, call)).reason == "answered"
    assert (await stage.said("intro_promoted", second, call)).status == "ok"
    assert (await stage.said("intro_promoted", new_id(), call)).reason == "unknown"
    assert (await stage.said("intro_promoted", second, {"intro_call_id": "none"})).reason == "unknown"
    await stage.database.advance_clock(dt.timedelta(days=9))
    assert (await stage.said("intro_promoted", second, call)).reason == "over"
    assert len(INTRO_TEMPLATES) == 7


async def test_merged_person_answers_the_older_invitation(stage: Stage) -> None:
    old, new = await stage.people(2)
    call = await stage.schedule()
    await stage.database.execute(
        "INSERT INTO person_aliases (alias_id, person_id, merged_at) VALUES ($1, $2, now())", old, new
    )
    path = answer_path(stage.settings, UUID(call["intro_call_id"]), old)
    async with client_of(stage.service) as client:
        assert (await client.post(path, data={"answer": "going"})).status_code == 303
    second = await stage.schedule(days=20)
    assert (second["invited_now"], await stage.going(call)) == (0, (1, 1))


async def test_staff_routes_refuse_others(stage: Stage) -> None:
    call_id = new_id()
    paths = [
        ("GET", "/v1/intro-calls"), ("POST", "/v1/intro-calls"), ("GET", "/intro-calls/staff"),
        ("GET", "/intro-calls/staff/new"), ("POST", "/intro-calls/staff/new"),
        *((method, f"/intro-calls/staff/{call_id}{end}") for method, end in
          (("GET", ""), ("GET", "/cancel"), ("POST", "/cancel"), ("POST", "/invite"), ("POST", "/attendance"))),
        *(("POST", f"/v1/intro-calls/{call_id}/{end}") for end in ("cancel", "invite", "attendance")),
        ("GET", f"/v1/intro-calls/{call_id}/people"),
    ]  # fmt: skip
    async with client_of(stage.service, Principal(new_id())) as signed_in, client_of(stage.service) as nobody:
        assert [(await signed_in.request(m, p)).status_code for m, p in paths] == [403] * len(paths)
        assert [(await nobody.request(m, p)).status_code for m, p in paths] == [401] * len(paths)


async def test_erased_people_leave_their_seats_to_others(stage: Stage) -> None:
    gone, waiting, leaves = await stage.people(3)
    call = await stage.schedule(capacity=1)
    for person in (gone, leaves, waiting):
        await stage.answer(call, person)
    await take_outbox(stage.service)
    async with stage.service.context.workshop.begin() as work:
        await actions.forget(work, [gone, leaves])
    [promoted] = only(await take_outbox(stage.service), IntroCallPromoted)
    assert (promoted.person_id, await stage.going(call)) == (waiting, (1, 1))
    assert await stage.database.fetch("SELECT person_id FROM intro_people") == [(waiting,)]
    assert await stage.database.fetch("SELECT person_id FROM intro_seats") == [(waiting,)]


async def test_notifications_are_told_over_the_internal_interface(stage: Stage) -> None:
    [person] = await stage.people(1)
    call = await stage.schedule()
    item = {"id": "7", "template": "intro_invitation", "person_id": str(person), "reference": call["intro_call_id"]}
    async with internal_client(stage.service, "notifications") as client:
        told = await client.post("/internal/message-data", json={"items": [item, {**item, "id": "8",
                                 "template": "intro_reminder"}]})  # fmt: skip
    assert [(a["id"], a["status"], a["reason"]) for a in told.json()["items"]] == [
        ("7", "ok", None), ("8", "gone", "answered")]  # fmt: skip
    async with client_of(stage.service, Accept="text/html") as client:
        page = await client.get(told.json()["items"][0]["data"]["answer_url"])
    assert page.status_code == 200


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


async def test_schedule_form_keeps_what_was_typed(stage: Stage) -> None:
    form = {"title": "Kept title", "time": "6:30 PM", "time_zone": "America/Chicago", "minutes": "60",
            "capacity": "ten", "language": "en", "track": "", "join_url": "https://calls.example/x"}  # fmt: skip
    day = (await stage.now()).date() + dt.timedelta(days=10)
    dated = {"date-month": str(day.month), "date-day": str(day.day), "date-year": str(day.year)}
    async with client_of(stage.service, STAFF, Accept="text/html") as client:
        refused = await client.post("/intro-calls/staff/new", data=form)
        assert refused.status_code == 422
        assert "Kept title" in refused.text
        assert refused.text.index("#date") < refused.text.index("#capacity")
        made = await client.post("/intro-calls/staff/new", data={**form, **dated, "capacity": "10"})
        assert made.status_code == 303
        assert "Kept title" in (await client.get("/intro-calls/staff")).text
        listed = (await client.get("/v1/intro-calls")).json()
        assert [(c["title"], c["capacity"]) for c in listed["items"]] == [("Kept title", 10)]
        assert (await client.get("/v1/intro-calls", params={"cursor": "nonsense"})).status_code == 422
