"""Group calls: who is invited to which, once."""

import asyncio
import datetime as dt
import time
from uuid import UUID

from services.matching.actions import intro_calls as actions
from services.matching.domain.intro_calls import UNANSWERED_LIMIT
from services.matching.store.intro_calls_people import IntroPerson
from shared.directory import Profile
from shared.events.envelope import new_id
from shared.events.matching import (
    IntroCallInvited,
    IntroCallScheduled,
)
from shared.events.signup import RoleAdded
from tests.component.matching.intro_stage import STAFF, Stage, only
from tests.harness import (
    CLUSTER,
    client_of,
    deliver,
    fire_timers,
    take_outbox,
)


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
