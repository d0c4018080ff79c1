"""Group calls: reminders, calendar files, words of messages, and pages of staff."""

import datetime as dt
from typing import Any
from uuid import UUID

from icalendar import Calendar

from services.matching.web.intro_calls_messages import INTRO_TEMPLATES, answer_path, calendar_path
from shared.events.envelope import new_id
from shared.events.matching import (
    IntroCallReminderDue,
)
from shared.web.sessions import Principal
from tests.component.matching.intro_stage import STAFF, Stage
from tests.harness import (
    client_of,
    fire_timers,
    internal_client,
    take_outbox,
)


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
