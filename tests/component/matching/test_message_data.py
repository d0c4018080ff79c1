"""What messages of one-on-one calls are told, and when they are gone."""

import datetime as dt
from typing import Any
from uuid import UUID

from icalendar import Calendar

from shared.messages import PATH, Data
from tests.component.matching.world import World, me, world
from tests.conftest import DatabaseFactory
from tests.harness import client_of, internal_client


async def tell(w: World, *asked: tuple[str, UUID, UUID]) -> list[dict[str, Any]]:
    items = [
        {"id": str(number), "template": template, "person_id": str(person), "reference": str(reference)}
        for number, (template, person, reference) in enumerate(asked)
    ]
    async with internal_client(w.service, "notifications") as client:
        answer = await client.post(PATH, json={"items": items})
    assert answer.status_code == 200, answer.text
    told: list[dict[str, Any]] = answer.json()["items"]
    assert [one["id"] for one in told] == [item["id"] for item in items]
    for one, item in zip(told, items, strict=True):
        if one["status"] == "ok":
            Data.registry[item["template"]].model_validate(one["data"])
    return told


async def test_every_template_is_told_while_it_fits_and_gone_afterwards(databases: DatabaseFactory) -> None:
    async with world(databases) as w:
        prospect, volunteer, call_id = await w.pair()
        offer, booked, expired = await tell(
            w,
            ("match_offer", prospect, call_id),
            ("call_booked", prospect, call_id),
            ("match_expired", prospect, call_id),
        )
        assert (offer["status"], booked["status"], expired["status"]) == ("ok", "gone", "gone")
        assert offer["data"]["with_name"] == "Bo"
        assert f"/calls/offer/{call_id}/" in offer["data"]["call_url"]
        async with client_of(w.service, me(prospect)) as client:
            await client.post(f"/v1/calls/{call_id}/accept")
        offer, mine, theirs, reminder, attest = await tell(
            w,
            ("match_offer", prospect, call_id),
            ("call_booked", prospect, call_id),
            ("call_booked_volunteer", volunteer, call_id),
            ("call_reminder", volunteer, call_id),
            ("attest_request", volunteer, call_id),
        )
        assert (offer["status"], attest["status"]) == ("gone", "gone")
        assert (theirs["data"]["with_email"], theirs["data"]["with_name"]) == ("ana@example.org", "Ana Whole")
        assert "ana@example.org" not in str(mine)
        assert "bo@example.org" not in str(theirs)
        assert reminder["data"]["with_name"] == "Ana"
        calendar = Calendar.from_ical(mine["attachments"][0]["content"])
        assert (calendar["method"], calendar.walk("VEVENT")[0]["status"]) == ("PUBLISH", "CONFIRMED")
        await w.pass_until((await w.call(call_id))["ends_at"] + dt.timedelta(minutes=1))
        attest, reminder = await tell(w, ("attest_request", volunteer, call_id), ("call_reminder", volunteer, call_id))
        assert (attest["status"], reminder["status"]) == ("ok", "gone")
        async with client_of(w.service, me(volunteer)) as client:
            await client.post(f"/v1/calls/{call_id}/attest", json={"outcome": "will_run", "follow_ups": ["mentor"]})
        attest, after = await tell(
            w, ("attest_request", volunteer, call_id), ("call_completed_followup", prospect, call_id)
        )
        assert (attest["status"], after["data"]["follow_ups"]) == ("gone", ["mentor"])
        assert await w.database.fetch("SELECT DISTINCT caller, scope FROM internal_accesses") == [
            ("notifications", "message-data")
        ]


async def test_cancelled_call_takes_its_calendar_entry_back(databases: DatabaseFactory) -> None:
    async with world(databases) as w:
        prospect, volunteer, call_id = await w.pair()
        async with client_of(w.service, me(prospect)) as client:
            await client.post(f"/v1/calls/{call_id}/accept")
            await client.post(f"/v1/calls/{call_id}/cancel")
        (told,) = await tell(w, ("call_cancelled", volunteer, call_id))
        assert (told["data"]["by"], told["data"]["to_role"]) == ("prospect", "volunteer")
        calendar = Calendar.from_ical(told["attachments"][0]["content"])
        event = calendar.walk("VEVENT")[0]
        assert (calendar["method"], event["status"], event["sequence"]) == ("CANCEL", "CANCELLED", 1)


async def test_hours_are_asked_for_only_while_unknown(databases: DatabaseFactory) -> None:
    async with world(databases) as w:
        person, other = await w.add("Ana", "prospect", hours=()), await w.add("Bo", "volunteer")
        await w.refresh()
        asked, known = await tell(w, ("availability_request", person, person), ("availability_request", other, other))
        assert (asked["status"], asked["data"]["role"], known["status"]) == ("ok", "prospect", "gone")
        async with client_of(w.service) as client:
            assert (await client.get(asked["data"]["availability_url"])).status_code == 200


async def test_strangers_and_unknown_references_are_gone(databases: DatabaseFactory) -> None:
    async with world(databases) as w:
        prospect, _volunteer, call_id = await w.pair()
        stranger = await w.add("Cy", "prospect")
        told = await tell(
            w, ("match_offer", stranger, call_id), ("match_offer", prospect, prospect), ("no_such", prospect, call_id)
        )
        assert [one["status"] for one in told] == ["gone", "gone", "gone"]
        async with client_of(w.service, Authorization="Bearer nothing") as client:
            assert (await client.post(PATH, json={"items": []})).status_code == 401
