"""One prospect and one volunteer, in the browser, from the sign-up to the endorsement and its rescission."""

import asyncio
import datetime as dt
import re
from typing import Any
from uuid import uuid4
from zoneinfo import ZoneInfo

import httpx
from icalendar import Calendar
from playwright.async_api import Browser
from standardwebhooks.webhooks import Webhook

from shared.events.topics import ENDORSEMENT_ENDORSEMENTS, ENDORSEMENT_STATE
from tests.component.endorsement.receiver import receiving
from tests.flow.conftest import System
from tests.flow.staging import business_now, pass_until
from tests.flow.topics import Seen, at_rest, read_topic
from tests.flow.visitor import Visitor, until, visiting

PROSPECT_ZONE, VOLUNTEER_ZONE = ZoneInfo("America/Los_Angeles"), ZoneInfo("America/New_York")
EVENINGS = {f"availability__{day}__1__{end}": hour for day in ("mon", "tue", "wed", "thu", "fri", "sat", "sun")
            for end, hour in (("start", "15:00"), ("end", "20:00"))}  # fmt: skip
CRITERIA = ("plan", "path", "vision", "roots", "readiness")
# What the prospect is written, in the order of the path; reminders come as the clock moves.
MAILS = [
    "welcome_confirm",
    "confirmed_welcome",
    "intro_invitation",
    "intro_confirmed",
    "match_offer",
    "call_booked",
    "call_completed_followup",
    "filing_confirmed",
    "application_received",
    "eligibility_result",
    "decision_endorsed",
    "endorsement_announced",
    "endorsement_rescinded",
]


def shows(text: str, moment: dt.datetime, zone: ZoneInfo) -> bool:
    """Whether a text tells the moment's hour in that zone, by a clock of 12 hours."""
    local = moment.astimezone(zone)
    half = "a" if local.hour < 12 else "p"
    pattern = rf"\b{local.hour % 12 or 12}:{local.minute:02d}\s*{half}\.?\s*m"
    return re.search(pattern, text, re.IGNORECASE) is not None


async def stages(visitor: Visitor) -> dict[str, str]:
    """Each stage's state as the person's own JSON tells it."""
    return {stage["id"]: stage["state"] for stage in (await visitor.json("signup", "/v1/me"))["stages"]}


async def reached(visitor: Visitor, stage: str) -> None:
    """Wait until their own page shows the stage as done."""

    async def is_done() -> bool:
        return (await stages(visitor))[stage] == "done"

    await until(is_done, f"the stage {stage}")
    await visitor.go(visitor.system.url("signup", "/me"))


async def public_events(system: System, ballot_name: str) -> list[Seen]:
    """The announcement of a name and what followed on its key."""
    records = await read_topic(system, ENDORSEMENT_ENDORSEMENTS)
    keys = {seen.key for seen in records if seen.data.get("ballot_name") == ballot_name}
    return [seen for seen in records if seen.key in keys]


async def test_path_from_signup_to_endorsement_and_back(system: System, browser: Browser, receiver_host: str) -> None:
    mark = uuid4().hex[:8]
    ballot_name = f"Lucía {mark}"
    emails = {name: f"{name}.{mark}@example.org" for name in ("decider", "second", "outsider", "insider")}
    for name, options in (
        ("decider", ["--role", "staff", "--role", "admin"]),
        ("second", ["--role", "staff"]),
        ("outsider", ["--role", "reviewer", "--outside"]),
        ("insider", ["--role", "reviewer"]),
    ):
        await system.command("staff", "add", "--name", f"{name.title()} Ruiz", "--email", emails[name], *options)
    async with (
        visiting(system, browser, f"lucia.{mark}@example.org", language="es") as prospect,
        visiting(system, browser, f"vera.{mark}@example.org") as volunteer,
        visiting(system, browser, emails["decider"]) as decider,
        visiting(system, browser, emails["second"]) as second,
        visiting(system, browser, emails["outsider"]) as outsider,
        visiting(system, browser, emails["insider"]) as insider,
        receiving(receiver_host) as receiver,
    ):
        for account in (decider, second, outsider, insider):
            await account.sign_in()
        await decider.go(system.url("endorsement", "/webhooks"))
        await decider.fill(url=receiver.url, description=f"Press {mark}")
        await decider.press("main form button[type=submit]")
        secret = await decider.page.locator("main code").inner_text()

        await _sign_both_up(prospect, volunteer, mark)
        person_id = await prospect.person_id()
        await _intro_call(system, prospect, decider, mark, person_id)
        await _one_on_one(system, prospect, volunteer)
        await system.command("staff", "add", "--name", "Vera Stone", "--email", volunteer.email, "--role", "reviewer")
        await _file_and_apply(system, prospect, second, ballot_name)
        [(application_id,)] = await system.fetch(
            "endorsement", "SELECT a.id FROM applications a JOIN candidacies c ON c.id = a.candidacy_id"
            " WHERE c.ballot_name = $1", ballot_name
        )  # fmt: skip
        await _review(system, str(application_id), outsider, insider, volunteer)

        await decider.go(system.url("endorsement", f"/endorsements/decide/{application_id}"))
        await decider.fill(outcome="endorse", note="The plan adds up.")
        await decider.press("main form button[type=submit]")
        await prospect.mail(lambda mail: "confianza" in mail["subject"].lower(), "the decision in confidence")
        await second.go(system.url("endorsement", "/endorsements/staff"))
        await second.press(f'section:has(h3:has-text("{ballot_name}")) form[action$="/approve"] button')
        assert await public_events(system, ballot_name) == [], "nothing is public before the embargo ends"
        assert receiver.got == []
        await system.command("clock", "advance", "73h")
        await _announced(system, prospect, ballot_name, secret, receiver)

        [endorsed] = await public_events(system, ballot_name)
        await second.go(system.url("endorsement", "/endorsements/staff"))
        await second.page.locator(f'section:has(h3:has-text("{ballot_name}")) summary').click()
        rescind = f'form[action="/endorsements/{endorsed.key}/rescind"]'
        await second.page.locator(f"{rescind} textarea").fill("Left the race.")
        await second.press(f"{rescind} button")
        assert len(await public_events(system, ballot_name)) == 1, "one person alone rescinds nothing"
        await decider.go(system.url("endorsement", "/endorsements/staff"))
        await decider.press(f'form[action="/endorsements/{endorsed.key}/confirm"] button')
        await _rescinded(system, prospect, ballot_name, secret, receiver)
        await _mails_are_right(system, prospect, person_id)


async def _sign_both_up(prospect: Visitor, volunteer: Visitor, mark: str) -> None:
    shared = {"state": "CA", **EVENINGS}
    await prospect.sign_up(
        "run", name=f"Lucía Vega {mark}", spoken_languages=["es"], birth_year="1996",
        time_zone=PROSPECT_ZONE.key, consent_email_updates=["yes"], **shared,
    )  # fmt: skip
    await volunteer.sign_up(
        "volunteer", name=f"Vera Stone {mark}", spoken_languages=["en", "es"],
        time_zone=VOLUNTEER_ZONE.key, consent_email_updates=["yes"], **shared,
    )  # fmt: skip
    for visitor in (volunteer, prospect):
        await visitor.confirm()


async def _intro_call(system: System, prospect: Visitor, staff: Visitor, mark: str, person_id: str) -> None:
    day = (await business_now(system)).date() + dt.timedelta(days=3)
    await staff.go(system.url("matching", "/intro-calls/staff/new"))
    await staff.fill(title=f"Llamada {mark}", time="18:30", time_zone=VOLUNTEER_ZONE.key, language="es",
                     join_url="https://meet.example.org/intro")  # fmt: skip
    await staff.fill_date("date", day)
    await staff.press("main form button[type=submit]")
    call_page = staff.page.url.split("?")[0]
    invitation, address = await prospect.mail_with("/intro-calls/")
    starts_at = dt.datetime.combine(day, dt.time(18, 30), VOLUNTEER_ZONE)
    assert shows(invitation["text"], starts_at, PROSPECT_ZONE), invitation["text"]
    await prospect.go(address)
    assert shows(await prospect.text(), starts_at, PROSPECT_ZONE)
    await prospect.press("main button[value=going]")
    seat = await prospect.mail(lambda mail: bool(mail["attachments"]), "the seat with its calendar file")
    [event] = Calendar.from_ical(seat["attachments"][0]["content"]).walk("VEVENT")
    assert event.decoded("dtstart") == starts_at
    await pass_until(system, starts_at + dt.timedelta(hours=2))
    await staff.go(call_page)
    await staff.page.locator(f"#p-{person_id}").check(force=True)
    await staff.press('form[action*="/attendance"] button[type=submit]')
    await reached(prospect, "intro_call")


async def _one_on_one(system: System, prospect: Visitor, volunteer: Visitor) -> None:
    await prospect.go(system.url("matching", "/calls"))
    await prospect.press('main form[action$="/calls/request"] button')
    await system.command("clock", "advance", "30m")
    offer, address = await prospect.mail_with("/calls/offer/")
    [(call_id, starts_at, ends_at)] = await system.fetch(
        "matching", "SELECT call_id, lower(during), upper(during) FROM bookings WHERE call_id::text = $1",
        address.split("/")[-2],
    )  # fmt: skip
    assert "Vera" in offer["text"]
    assert shows(offer["text"], starts_at, PROSPECT_ZONE)
    await prospect.go(address)
    assert shows(await prospect.text(), starts_at, PROSPECT_ZONE)
    await prospect.press("main button[value=yes]")
    for visitor, zone in ((prospect, PROSPECT_ZONE), (volunteer, VOLUNTEER_ZONE)):
        booked = await visitor.mail(lambda mail: bool(mail["attachments"]), "the booked call with its calendar file")
        assert shows(booked["text"], starts_at, zone)
        [event] = Calendar.from_ical(booked["attachments"][0]["content"]).walk("VEVENT")
        assert (event.decoded("dtstart"), event.decoded("dtend")) == (starts_at, ends_at)
        [call] = (await visitor.json("matching", "/v1/calls"))["calls"]
        assert (call["call_id"], dt.datetime.fromisoformat(call["starts_at"]), call["state"], call["time_zone"]) == (
            str(call_id), starts_at, "confirmed", zone.key
        )  # fmt: skip
    await pass_until(system, ends_at + dt.timedelta(minutes=20))
    _mail, attest = await volunteer.mail_with("/calls/attest/")
    await volunteer.go(attest)
    await volunteer.fill(outcome="outcome:will_run", notes="Ready to go.")
    await volunteer.press("main form button[type=submit]")
    await reached(prospect, "one_on_one")
    assert (await prospect.json("signup", "/v1/me"))["helpers"] == ["Vera"]


async def _file_and_apply(system: System, prospect: Visitor, staff: Visitor, ballot_name: str) -> None:
    today = (await business_now(system)).astimezone(ZoneInfo("America/Chicago")).date()
    await prospect.go(system.url("endorsement", "/candidacy/new"))
    await prospect.fill(office="city_council", state="CA", district="3", term="2027–2031", ballot_name=ballot_name,
                        official_link="https://elections.example.org/list")  # fmt: skip
    await prospect.fill_date("election_date", today + dt.timedelta(days=100))
    await prospect.fill_date("filed_on", today)
    await prospect.press("main form button[type=submit]")
    await staff.go(system.url("endorsement", "/endorsements/staff"))
    await staff.press(f'section:has(h3:has-text("{ballot_name}")) form[action$="/confirm"] button')
    await reached(prospect, "filed")
    await prospect.go(system.url("endorsement", "/candidacy"))
    await prospect.press('main form[action="/applications"] button')
    draft = prospect.page.url
    await prospect.fill(plan="Medio plan.")
    await prospect.press("main button[value=save]")
    await prospect.go(system.url("signup", "/me"))
    await prospect.go(draft)
    assert await prospect.page.locator("[name=plan]").input_value() == "Medio plan."
    statements = await prospect.page.locator("[name=value_statements]").evaluate_all("all => all.map(one => one.value)")
    await prospect.fill(plan="Tocar cada puerta dos veces.", budget_cents="12,500", win_number="4200",
                        path_to_victory="Los barrios del este.", vision="Aceras hasta cada escuela.",
                        value_statements=statements, publish_consent=["yes"])  # fmt: skip
    await prospect.press("main button[value=submit]")
    await reached(prospect, "eligible")


async def _review(system: System, application_id: str, outsider: Visitor, insider: Visitor, volunteer: Visitor) -> None:
    address = system.url("endorsement", f"/reviews/{application_id}")
    # Who held the call cannot judge the person: recused without being asked.
    await volunteer.sign_in()
    await volunteer.go(address)
    assert "You are recused" in await volunteer.text()
    assert await volunteer.page.locator("main form").count() == 0
    for reviewer in (outsider, insider):
        await reviewer.go(address)
        await reviewer.fill(conflict="no")
        await reviewer.press("main form button[type=submit]")
        await reviewer.fill(recommendation="endorse", comment="Strong.", **{f"score-{name}": "5" for name in CRITERIA})
        await reviewer.press("main form button[type=submit]")
    assert "2 of 2 scorecards are in." in await insider.text()


async def _announced(system: System, prospect: Visitor, ballot_name: str, secret: str, receiver: Any) -> None:
    async def is_public() -> list[Seen]:
        return await public_events(system, ballot_name)

    [endorsed] = await until(is_public, "the announcement on the public topic")
    assert endorsed.headers["ce_type"] == "endorsement.endorsed.v1"
    assert endorsed.headers["ce_subject"] == endorsed.key == endorsed.data["endorsement_id"]
    assert not {"person_id", "decision_id"} & set(endorsed.data)
    await _told(system, endorsed, secret, receiver, 1)
    await reached(prospect, "endorsed")
    await prospect.go(system.url("endorsement", f"/endorsements/{endorsed.key}"))
    assert await prospect.page.locator("h1").inner_text() == ballot_name


async def _told(system: System, event: Seen, secret: str, receiver: Any, number: int) -> None:
    """Feed and webhook say the same as the topic."""

    async def has_come() -> bool:
        return len(receiver.got) >= number

    await until(has_come, f"webhook {number}")
    got = receiver.got[number - 1]
    body = Webhook(secret).verify(got.body, got.headers)
    assert (body["id"], body["type"], body["data"]) == (event.headers["ce_id"], event.headers["ce_type"], event.data)
    async with httpx.AsyncClient() as client:
        feed = (await client.get(system.url("endorsement", "/v1/endorsements/feed"))).json()
    assert [entry["event"] for entry in feed["events"] if entry["event"]["id"] == body["id"]] == [body]


async def _rescinded(system: System, prospect: Visitor, ballot_name: str, secret: str, receiver: Any) -> None:
    async def both() -> list[Seen]:
        found = await public_events(system, ballot_name)
        return found if len(found) == 2 else []

    _endorsed, rescinded = await until(both, "the rescission on the public topic")
    assert rescinded.headers["ce_type"] == "endorsement.endorsement_rescinded.v1"
    await _told(system, rescinded, secret, receiver, 2)
    states = [seen.data for seen in await read_topic(system, ENDORSEMENT_STATE) if seen.key == rescinded.key]
    assert (states[-1]["status"], states[-1]["ballot_name"]) == ("rescinded", ballot_name)
    await at_rest(system)
    assert len(receiver.got) == 2
    assert (await stages(prospect))["endorsed"] != "done"


async def _mails_are_right(system: System, prospect: Visitor, person_id: str) -> None:
    """Each step told once, in the person's language."""
    rows = await system.fetch(
        "notifications",
        "SELECT template FROM messages WHERE person_id::text = $1 AND channel = 'email' AND state = 'accepted'"
        " ORDER BY created_at, id",
        person_id,
    )
    told = [template for (template,) in rows if not template.endswith("reminder")]
    assert sorted(told) == sorted(MAILS)
    mails = await asyncio.to_thread(system.mailbox.messages, prospect.email)
    assert len(mails) == len(rows)
    assert {mail["headers"]["Content-Language"] for mail in mails} == {"es"}
    assert {re.search(r'<html lang="(\w+)"', mail["html"])[1] for mail in mails} == {"es"}  # type: ignore[index]
