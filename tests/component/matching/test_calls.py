"""From an offer to how the call went, as both parties and time act on it."""

import asyncio
import datetime as dt
from uuid import UUID
from zoneinfo import ZoneInfo

import pytest
from icalendar import Calendar

from services.matching.actions import calls
from services.matching.domain.model import cap_label
from services.matching.web.addresses import Addresses
from shared.events.envelope import new_id
from shared.events.matching import (
    AttestationDue,
    AvailabilityRequested,
    CallBooked,
    CallCancelled,
    CallCompleted,
    CallMissed,
    CallReminderDue,
    MatchDeclined,
    MatchExpired,
    MatchOffered,
)
from tests.component.matching.world import EVENINGS, World, me, world
from tests.conftest import DatabaseFactory
from tests.harness import PROGRAM_2025, client_of, deliver, fire_timers, take_outbox


async def state_of(w: World, person_id: UUID) -> str:
    row = await w.service.context.pool.fetchrow("SELECT state FROM queue_entries WHERE person_id = $1", person_id)
    assert row is not None
    return str(row["state"])


async def test_call_goes_from_offer_to_outcome(databases: DatabaseFactory) -> None:
    async with world(databases) as w:
        prospect, volunteer, call_id = await w.pair()
        (offered,) = [e for e in await take_outbox(w.service) if isinstance(e, MatchOffered)]
        assert (offered.prospect_id, offered.volunteer_id, offered.call_id) == (prospect, volunteer, call_id)
        async with client_of(w.service, me(prospect)) as client:
            listed = (await client.get("/v1/calls")).json()
            assert [(c["state"], c["with_name"], c["may"]) for c in listed["calls"]] == [
                ("held", "Bo", ["accept", "decline"])
            ]
            assert {"code": "same_state", "state": "IL"} in listed["calls"][0]["reasons"]
            assert listed["queue"]["state"] == "held"
            accepted = await client.post(f"/v1/calls/{call_id}/accept")
            assert (await client.get(f"/v1/calls/{call_id}")).json() == accepted.json()
            again = await client.post(f"/v1/calls/{call_id}/accept")
        assert (accepted.status_code, accepted.json()["state"]) == (200, "confirmed")
        assert (again.status_code, again.json()["code"]) == (409, "call_confirmed")
        assert [type(e) for e in await take_outbox(w.service)] == [CallBooked]
        assert await state_of(w, prospect) == "booked"

        call = await w.call(call_id)
        async with client_of(w.service, me(volunteer)) as client:
            early = await client.post(f"/v1/calls/{call_id}/attest", json={"outcome": "will_run"})
            assert (early.status_code, early.json()["code"]) == (409, "call_not_over")
            await w.pass_until(call["starts_at"] - dt.timedelta(hours=1))
            await fire_timers(w.service)
            await w.pass_until(call["ends_at"] + dt.timedelta(minutes=15))
            await fire_timers(w.service)
            events = await take_outbox(w.service)
            assert {e.hours_before for e in events if isinstance(e, CallReminderDue)} >= {1}
            assert [e.attempt for e in events if isinstance(e, AttestationDue)] == [1]
            unknown = await client.post(f"/v1/calls/{call_id}/attest", json={"outcome": "president"})
            assert (unknown.status_code, unknown.json()["code"]) == (422, "outcome_unknown")
            body = {"outcome": "will_run", "follow_ups": ["training"], "notes": "Bring a friend", "concern": "x"}
            attested = await client.post(f"/v1/calls/{call_id}/attest", json=body)
            twice = await client.post(f"/v1/calls/{call_id}/attest", json=body)
        assert (attested.status_code, attested.json()["state"]) == (200, "completed")
        assert (twice.status_code, twice.json()["code"]) == (409, "call_completed")
        (completed,) = await take_outbox(w.service)
        assert isinstance(completed, CallCompleted)
        assert (completed.outcome, completed.follow_ups) == ("will_run", ("training",))
        assert "Bring" not in completed.model_dump_json()
        assert await state_of(w, prospect) == "done"
        assert await w.database.fetch("SELECT count(*) FROM timers WHERE owner_key = $1", str(call_id)) == [(0,)]


async def test_hold_that_runs_out_requeues_once_then_parks(databases: DatabaseFactory) -> None:
    async with world(databases) as w:
        prospect, _volunteer, call_id = await w.pair()
        await w.pass_until((await w.call(call_id))["hold_expires_at"])
        async with client_of(w.service, me(prospect)) as client:
            late = await client.post(f"/v1/calls/{call_id}/accept")
        assert (late.status_code, late.json()["code"]) == (410, "call_expired")
        await take_outbox(w.service)
        await fire_timers(w.service)
        (expired,) = await take_outbox(w.service)
        assert isinstance(expired, MatchExpired)
        assert (expired.parked, await state_of(w, prospect)) == (False, "waiting")
        assert await w.database.fetch("SELECT sum(used) FROM volunteer_weeks") == [(0,)]
        (second,) = await w.round()
        assert (await w.call(second))["starts_at"] != (await w.call(call_id))["starts_at"]
        await take_outbox(w.service)
        await w.pass_until((await w.call(second))["hold_expires_at"])
        await fire_timers(w.service)
        assert [e.parked for e in await take_outbox(w.service) if isinstance(e, MatchExpired)] == [True]
        assert await state_of(w, prospect) == "parked"
        async with client_of(w.service, me(prospect)) as client:
            assert (await client.post("/v1/calls/request")).status_code == 202
        assert await state_of(w, prospect) == "waiting"


@pytest.mark.parametrize(
    ("reason", "state", "pairs"),
    [("another_time", "waiting", 0), ("another_person", "waiting", 1), ("not_now", "parked", 0)],
)
async def test_decline_leads_to_what_was_asked(databases: DatabaseFactory, reason: str, state: str, pairs: int) -> None:
    async with world(databases) as w:
        prospect, _volunteer, call_id = await w.pair()
        await take_outbox(w.service)
        async with client_of(w.service, me(prospect)) as client:
            answer = await client.post(f"/v1/calls/{call_id}/decline", json={"reason": reason})
        assert (answer.status_code, answer.json()["state"]) == (200, "declined")
        (declined,) = await take_outbox(w.service)
        assert isinstance(declined, MatchDeclined)
        assert (declined.by, declined.reason) == ("prospect", reason)
        assert await state_of(w, prospect) == state
        assert await w.database.fetch("SELECT count(*) FROM pairs") == [(pairs,)]
        held = await w.round()
        assert len(held) == (1 if reason == "another_time" else 0)
        if held:
            assert (await w.call(held[0]))["starts_at"] != (await w.call(call_id))["starts_at"]


async def test_foreign_and_unknown_calls_look_alike(databases: DatabaseFactory) -> None:
    async with world(databases) as w:
        _prospect, volunteer, call_id = await w.pair()
        async with client_of(w.service, me(new_id())) as stranger:
            foreign = await stranger.post(f"/v1/calls/{call_id}/accept")
            assert (await stranger.get(f"/v1/calls/{call_id}")).status_code == 404
            unknown = await stranger.post(f"/v1/calls/{new_id()}/accept")
        async with client_of(w.service, me(volunteer)) as client:
            other_side = await client.post(f"/v1/calls/{call_id}/accept")
        async with client_of(w.service) as nobody:
            signed_out = await nobody.post(f"/v1/calls/{call_id}/accept")
            bad_token = await nobody.get(f"/calls/offer/{call_id}/aaaaaaaaaaaaaaaaaaaaaa")
        assert [a.status_code for a in (foreign, unknown, other_side, signed_out, bad_token)] == [
            404,
            404,
            403,
            401,
            404,
        ]
        assert (await w.call(call_id))["state"] == "held"


async def test_volunteer_hands_back_in_time_and_prospect_gets_credit(databases: DatabaseFactory) -> None:
    hours = ((2, "18:00", "20:00"),)
    async with world(databases) as w:
        now = await w.now()
        monday = (now + dt.timedelta(days=7 - now.weekday())).replace(hour=12, minute=0)
        await w.pass_until(monday)
        prospect = await w.add("Ana", "prospect", hours=hours)
        volunteer = await w.add("Bo", "volunteer", hours=hours)
        await w.refresh()
        (call_id,) = await w.round()
        async with client_of(w.service, me(prospect)) as client:
            await client.post(f"/v1/calls/{call_id}/accept")
        await take_outbox(w.service)
        async with client_of(w.service, me(volunteer)) as client:
            answer = await client.post(f"/v1/calls/{call_id}/cancel")
        assert (answer.status_code, answer.json()["state"]) == (200, "cancelled")
        (cancelled,) = await take_outbox(w.service)
        assert isinstance(cancelled, CallCancelled)
        assert (cancelled.by, await state_of(w, prospect)) == ("volunteer", "waiting")
        assert await w.database.fetch("SELECT credit_hours FROM queue_entries") == [(72,)]

        (again,) = await w.round()
        assert (await w.call(again))["starts_at"] != (await w.call(call_id))["starts_at"]
        async with client_of(w.service, me(prospect)) as client:
            await client.post(f"/v1/calls/{again}/accept")
        await w.pass_until((await w.call(again))["starts_at"] - dt.timedelta(hours=2))
        async with client_of(w.service, me(volunteer)) as client:
            late = await client.post(f"/v1/calls/{again}/cancel")
        assert (late.status_code, late.json()["code"]) == (409, "too_late_to_hand_back")
        assert (await w.call(again))["state"] == "confirmed"


async def test_answers_that_race_have_one_winner(databases: DatabaseFactory) -> None:
    async with world(databases) as w:
        prospect, _volunteer, call_id = await w.pair()
        await take_outbox(w.service)
        async with client_of(w.service, me(prospect)) as client:
            answers = await asyncio.gather(
                *(client.post(f"/v1/calls/{call_id}/accept") for _ in range(4)),
                *(client.post(f"/v1/calls/{call_id}/decline", json={"reason": "not_now"}) for _ in range(4)),
            )
        assert sorted(answer.status_code for answer in answers) == [200] + [409] * 7
        assert len(await take_outbox(w.service)) == 1
        used = 1 if (await w.call(call_id))["state"] == "confirmed" else 0
        assert await w.database.fetch("SELECT sum(used) FROM volunteer_weeks") == [(used,)]


async def test_merged_person_acts_on_the_calls_of_both_ids(databases: DatabaseFactory) -> None:
    async with world(databases) as w:
        prospect, _volunteer, call_id = await w.pair()
        lives_on = await w.add("Anna", "prospect")
        await w.refresh()
        await w.add("Cy", "volunteer")
        await w.refresh()
        await w.database.execute("INSERT INTO person_aliases VALUES ($1, $2, now())", prospect, lives_on)
        assert await w.round() == [], "one active match for the two ids of one person"
        async with client_of(w.service, me(lives_on)) as client:
            assert [c["call_id"] for c in (await client.get("/v1/calls")).json()["calls"]] == [str(call_id)]
            assert (await client.post(f"/v1/calls/{call_id}/accept")).status_code == 200


async def test_call_that_is_not_promised_to_all_is_asked_for(databases: DatabaseFactory) -> None:
    async with world(databases, program=PROGRAM_2025) as w:
        prospect, volunteer = await w.add("Ana", "prospect"), await w.add("Bo", "volunteer")
        await w.refresh()
        assert await w.round() == []
        async with client_of(w.service, me(volunteer)) as client:
            refused = await client.post("/v1/calls/request")
        assert (refused.status_code, refused.json()["code"]) == (403, "not_a_prospect")
        async with client_of(w.service, me(prospect)) as client:
            assert (await client.get("/v1/calls")).json()["queue"]["state"] is None
            assert (await client.post("/v1/calls/request")).status_code == 202
            twice = await client.post("/v1/calls/request")
        assert (twice.status_code, twice.json()["code"]) == (409, "already_waiting")
        assert len(await w.round()) == 1


async def test_call_asked_for_before_the_profile_is_fetched_is_put_off(databases: DatabaseFactory) -> None:
    async with world(databases, program=PROGRAM_2025) as w:
        prospect = await w.add("Ana", "prospect")
        async with client_of(w.service, me(prospect)) as client:
            early = await client.post("/v1/calls/request")
            assert (early.status_code, early.json()["code"]) == (503, "unavailable")
            await w.refresh()
            assert (await client.post("/v1/calls/request")).status_code == 202


async def test_move_inserts_the_new_call_and_cancels_the_old_or_neither(databases: DatabaseFactory) -> None:
    async with world(databases) as w:
        prospect, _volunteer, call_id = await w.pair()
        async with client_of(w.service, me(prospect)) as client:
            await client.post(f"/v1/calls/{call_id}/accept")
            await take_outbox(w.service)
            slots = (await client.get(f"/v1/calls/{call_id}/slots")).json()["slots"]
            refused = await client.post(f"/v1/calls/{call_id}/reschedule", json={"starts_at": "2031-01-01T00:07:00Z"})
            assert (refused.status_code, refused.json()["code"]) == (409, "slot_taken")
            assert (await w.call(call_id))["state"] == "confirmed"
            moved = (
                await client.post(f"/v1/calls/{call_id}/reschedule", json={"starts_at": slots[-1]["starts_at"]})
            ).json()
        assert (moved["state"], moved["replaces"], moved["starts_at"]) == (
            "confirmed", str(call_id), slots[-1]["starts_at"],
        )  # fmt: skip
        old, new = await w.call(call_id), await w.call(UUID(moved["call_id"]))
        assert (old["state"], old["replaced_by"], new["calendar_uid"]) == ("cancelled", new["call_id"], call_id)
        assert new["sequence"] == 1
        booked, cancelled = sorted(await take_outbox(w.service), key=lambda e: e.type)
        assert isinstance(booked, CallBooked)
        assert isinstance(cancelled, CallCancelled)
        assert (booked.replaces, cancelled.replaced_by) == (call_id, new["call_id"])
        assert await w.database.fetch("SELECT sum(used) FROM volunteer_weeks") == [(1,)]
        assert await state_of(w, prospect) == "booked"


async def test_move_of_a_paused_volunteers_call_is_offered_within_its_week_only(databases: DatabaseFactory) -> None:
    async with world(databases) as w:
        prospect, volunteer, call_id = await w.pair()
        async with client_of(w.service, me(prospect)) as client:
            await client.post(f"/v1/calls/{call_id}/accept")

        async def other_weeks() -> set[str]:
            async with w.service.context.workshop.begin() as work:
                call = await calls.locked(work, call_id, "confirmed")
                slots = await calls.free_slots(work, call)
            return {cap_label("iso_week", slot[0], ZoneInfo("America/Chicago")) for slot in slots} - {call.week}

        assert len(await other_weeks()) >= 2
        await w.database.execute("UPDATE availability SET paused = true WHERE person_id = $1", volunteer)
        assert await other_weeks() == set()


@pytest.mark.parametrize(("missed_by", "credit", "pairs"), [("volunteer", 168, 1), ("prospect", 0, 0)])
async def test_missed_call_puts_the_prospect_back_in_line(
    databases: DatabaseFactory, missed_by: str, credit: int, pairs: int
) -> None:
    async with world(databases) as w:
        prospect, volunteer, call_id = await w.pair()
        async with client_of(w.service, me(prospect)) as client:
            await client.post(f"/v1/calls/{call_id}/accept")
        await w.pass_until((await w.call(call_id))["ends_at"])
        await fire_timers(w.service)
        await take_outbox(w.service)
        async with client_of(w.service, me(volunteer)) as client:
            answer = await client.post(f"/v1/calls/{call_id}/attest", json={"missed_by": missed_by})
        assert (answer.status_code, answer.json()["missed_by"]) == (200, missed_by)
        (missed,) = await take_outbox(w.service)
        assert isinstance(missed, CallMissed)
        assert await w.database.fetch("SELECT state, credit_hours FROM queue_entries") == [("waiting", credit)]
        assert await w.database.fetch("SELECT count(*) FROM pairs WHERE reason = 'no_show'") == [(pairs,)]


async def test_person_without_hours_is_asked_once(databases: DatabaseFactory) -> None:
    async with world(databases) as w:
        person = await w.add("Ana", "prospect", hours=())
        await w.refresh()
        assert await take_outbox(w.service) == [AvailabilityRequested(person_id=person, role="prospect")]
        await deliver(w.service, w.confirmed(person))
        await w.refresh()
        assert await take_outbox(w.service) == []
        assert await w.round() == []
        async with client_of(w.service, me(person)) as client:
            place = (await client.get("/v1/calls")).json()["queue"]
        assert (place["place"], place["weeks"], place["waits_for"]) == (1, None, "add_hours")


async def test_pages_answer_an_offer_without_javascript(databases: DatabaseFactory) -> None:
    async with world(databases) as w:
        prospect, _volunteer, call_id = await w.pair()
        async with client_of(w.service, me(prospect)) as client:
            listed = await client.get("/calls", headers={"accept": "text/html"})
        at = Addresses.of(w.service.context.settings)
        async with client_of(w.service, accept="text/html") as client:
            offer = await client.get(at.offer(call_id))
            in_spanish = await client.get(at.offer(call_id) + "?lang=es")
            assert (await w.call(call_id))["state"] == "held"
            yes = await client.post(at.offer(call_id), data={"answer": "yes"})
            again = await client.post(at.offer(call_id), data={"answer": "yes"})
            page = await client.get(at.call(call_id, "prospect"))
            file = await client.get(at.call(call_id, "volunteer", "/calendar.ics"))
            theirs = await client.get(at.call(call_id, "volunteer"))
            guide = await client.get("/calls/guide")
            assert (guide.status_code, "/calls/guide" in theirs.text, "/calls/guide" in page.text) == (200, True, False)
            await w.pass_until((await w.call(call_id))["ends_at"])
            empty = await client.post(at.attest(call_id), data={})
            went = await client.post(at.attest(call_id), data={"outcome": "outcome:will_run", "notes": "Good"})
        assert [a.status_code for a in (listed, offer, in_spanish, yes, again, page, file, empty, went)] == [
            200, 200, 200, 200, 409, 200, 200, 422, 200,
        ]  # fmt: skip
        assert at.offer(call_id) in listed.text
        assert "Bo" in offer.text
        (event,) = Calendar.from_ical(file.text).walk("VEVENT")
        assert event.decoded("dtstart") == (await w.call(call_id))["starts_at"]
        assert (await w.call(call_id))["outcome"] == "will_run"


async def test_offered_times_keep_to_stated_hours_across_a_clock_change(databases: DatabaseFactory) -> None:
    """Whatever today is, some week of the next year has a change: the clock is moved to just before it."""
    async with world(databases) as w:
        zone = "America/New_York"
        now = await w.now()
        local = ZoneInfo(zone)
        change = next(
            now + dt.timedelta(days=day)
            for day in range(1, 370)
            if (now + dt.timedelta(days=day)).astimezone(local).utcoffset()
            != (now + dt.timedelta(days=day + 1)).astimezone(local).utcoffset()
        )
        await w.database.advance_clock(change - now - dt.timedelta(days=2))
        for number in range(6):
            await w.add(f"P{number}", "prospect", hours=EVENINGS, zone="America/Los_Angeles")
            await w.add(f"V{number}", "volunteer", hours=((number, "20:00", "21:00"),), zone=zone)
        await w.refresh()
        held = [await w.call(call_id) for call_id in await w.round()]
        assert len(held) == 6
        for call in held:
            start = call["starts_at"].astimezone(local)
            assert (start.hour, start.minute // 30 * 30) in {(20, 0), (20, 30)}
            there = call["starts_at"].astimezone(ZoneInfo("America/Los_Angeles"))
            assert 17 <= there.hour < 21
