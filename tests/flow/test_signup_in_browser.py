"""A sign-up in a real browser, to the person's own page: one row, one mail, one event, however often it is sent."""

import asyncio
import json
from typing import Any
from uuid import uuid4

import httpx
import pytest
from cloudevents.core.bindings.kafka import KafkaMessage, from_binary
from cloudevents.core.formats.json import JSONFormat
from cloudevents.core.v1.event import CloudEvent
from playwright.async_api import Browser

from deploy.demo.mailbox import links
from shared.events.topics import SIGNUP_PEOPLE
from shared.program import load
from tests.flow.conftest import System
from tests.flow.topics import Seen, at_rest, read_topic
from tests.flow.visitor import DESK, PHONE, visiting
from tests.harness import PROGRAM_2025

PROGRAM = load(PROGRAM_2025)
WORDS = {
    "en": {"welcome": "Please confirm your e-mail address", "confirmed": "Welcome! Here is what happens next"},
    "es": {
        "welcome": "Confirma tu correo electrónico, por favor",
        "confirmed": "¡Te damos la bienvenida! Esto es lo que sigue",
    },
}


async def rows_of(system: System, email: str) -> list[tuple[Any, ...]]:
    """The stored sign-ups of an address: person, intent, state."""
    return await system.fetch(
        "signup", "SELECT id, person_id, intent_id, status FROM signups WHERE email = $1 ORDER BY created_at", email
    )


async def told_of(system: System, person_id: str) -> list[Seen]:
    """Every event on the people topic about a person, in order."""
    return [seen for seen in await read_topic(system, SIGNUP_PEOPLE) if seen.headers["ce_subject"] == person_id]


def types(events: list[Seen]) -> list[str]:
    return sorted(seen.headers["ce_type"] for seen in events)


async def unconfirmed(system: System, email: str) -> bool:
    """Whether nothing has changed for the person behind an address, whose link is still unused."""
    states = await system.fetch(
        "signup",
        """SELECT p.confirmed_at IS NULL, s.status, l.used_at IS NULL
           FROM signups s JOIN people p ON p.id = s.person_id JOIN links l ON l.signup_id = s.id WHERE s.email = $1""",
        email,
    )
    return states == [(True, "pending", True)]


def as_cloud_event(seen: Seen) -> CloudEvent:
    """The record as CloudEvents' own library reads it."""
    headers = {name: value.encode() for name, value in seen.headers.items()}
    event = from_binary(KafkaMessage(headers=headers, key=seen.key, value=seen.value), JSONFormat())
    assert isinstance(event, CloudEvent)
    return event


@pytest.mark.parametrize(
    ("language", "size", "scripts"),
    [("en", DESK, True), ("es", DESK, True), ("es", PHONE, False)],
    ids=["english", "spanish", "phone without javascript"],
)
async def test_signup_reaches_the_own_page_with_one_mail_and_one_event(
    system: System, browser: Browser, language: str, size: dict[str, int], scripts: bool
) -> None:
    email = f"{uuid4().hex[:10]}.once@example.org"
    words, form = WORDS[language], PROGRAM.form("run")
    async with visiting(system, browser, email, language=language, size=size, scripts=scripts) as visitor:
        page = visitor.page
        await visitor.go(system.url("signup", f"/f/run?lang={language}&utm_source=news&utm_campaign=spring"))
        assert await page.locator("html").get_attribute("lang") == language
        assert await page.locator("h1").inner_text() == PROGRAM.text(form.title, language)
        intent = await page.locator("input[name=intent_id]").get_attribute("value")
        await visitor.fill(
            name="María José O’Neil",
            email=email,
            state="OH",
            zip="43215",
            birth_year="1996",
            office="school_board",
            spoken_languages=["en", "es"],
            time_zone="America/New_York",
            q_why="Los autobuses\nno llegan.",
            consent_email_updates=["yes"],
        )
        await visitor.fill(availability__tue__1__start="18:00", availability__tue__1__end="20:30")
        await visitor.old_enough()
        await visitor.press("main form button[type=submit]")
        sent = visitor.sent
        assert page.url == system.url("signup", f"/f/run/thank-you?lang={language}")
        assert PROGRAM.text(form.thank_you, language) in await visitor.text()

        mail, address = await visitor.mail_with("/confirm/")
        assert (mail["subject"], mail["headers"]["Content-Language"]) == (words["welcome"], language)
        assert "List-Unsubscribe" not in mail["headers"], "a link that was asked for is nothing to unsubscribe from"
        for _time in range(2):
            await visitor.go(address)
            assert await page.locator("main form button").count() == 1
            assert await unconfirmed(system, email)
        await visitor.press("main form button")
        assert page.url == system.url("signup", "/me")
        assert "María" in await page.locator("h1").inner_text()
        welcome = await visitor.mail(lambda found: found["subject"] == words["confirmed"], "the welcome")
        assert welcome["headers"]["Content-Language"] == language
        assert welcome["headers"]["List-Unsubscribe-Post"] == "List-Unsubscribe=One-Click"
        one_click = welcome["headers"]["List-Unsubscribe"].strip("<>")
        assert one_click.startswith(system.url("notifications"))
        assert "<html" in welcome["html"]
        assert PROGRAM.organization.postal_address in welcome["text"]

        [(signup_id, person_id, intent_id, status)] = await rows_of(system, email)
        assert (str(intent_id), status) == (intent, "applied")
        await _send_again(system, sent)
        await at_rest(system)
        assert len(await rows_of(system, email)) == 1
        subjects = [message["subject"] for message in system.mailbox.messages(email)]
        assert sorted(subjects) == sorted([words["welcome"], words["confirmed"]])
        events = await told_of(system, str(person_id))
        assert types(events) == [
            "signup.consent_changed.v1",
            "signup.person_confirmed.v1",
            "signup.role_added.v1",
            "signup.signed_up.v1",
        ]
        [signed_up] = [seen for seen in events if seen.headers["ce_type"] == "signup.signed_up.v1"]
        event = as_cloud_event(signed_up)
        assert (event.get_type(), event.get_subject(), event.get_specversion()) == (
            "signup.signed_up.v1",
            str(person_id),
            "1.0",
        )
        assert event.get_extension("partitionkey") == str(person_id)
        data = event.get_data()
        assert isinstance(data, dict)
        assert (data["signup_id"], data["intent_id"], data["language"]) == (str(signup_id), intent, language)
        assert not {"María", email} & set(str(json.dumps(data, ensure_ascii=False)).replace('"', " ").split())


async def _send_again(system: System, sent: str) -> None:
    """The very form once more, three times at once, as impatient fingers and proxies do."""
    headers = {"Content-Type": "application/x-www-form-urlencoded"}
    async with httpx.AsyncClient(headers=headers) as client:
        answers = await asyncio.gather(*(client.post(system.url("signup", "/f/run"), content=sent) for _ in range(3)))
    assert {answer.status_code for answer in answers} == {303}


async def test_impatient_person_signs_up_once(system: System, browser: Browser) -> None:
    """Two clicks on the button, then "Back" and once more: one intent throughout."""
    email = f"{uuid4().hex[:10]}.twice@example.org"
    async with visiting(system, browser, email) as visitor:
        page = visitor.page
        await visitor.go(system.url("signup", "/f/run?lang=en"))
        await visitor.fill(name="Ana Cruz", email=email, state="TX", spoken_languages=["en"])
        await visitor.old_enough()
        await page.locator("main form button[type=submit]").dblclick()
        await page.wait_for_url("**/thank-you*")
        await page.go_back()
        await page.locator("main form button[type=submit]").click()
        await page.wait_for_url("**/thank-you*")
        await _one_of_each(system, email)


async def test_json_intent_repeated_signs_up_once(system: System) -> None:
    email = f"{uuid4().hex[:10]}.json@example.org"
    body = {"form": "run", "name": "Bo Li", "email": email, "state": "TX", "spoken_languages": ["en"]}
    headers = {"Idempotency-Key": str(uuid4())}
    async with httpx.AsyncClient() as client:
        url = system.url("signup", "/v1/signups")
        answers = await asyncio.gather(*(client.post(url, json=body, headers=headers) for _ in range(5)))
        later = await client.post(url, json=body, headers=headers)
    assert {answer.status_code for answer in (*answers, later)} == {202}
    assert len({answer.json()["signup_id"] for answer in (*answers, later)}) == 1
    await _one_of_each(system, email)


async def _one_of_each(system: System, email: str) -> None:
    await at_rest(system)
    [(_signup, person_id, _intent, status)] = await rows_of(system, email)
    assert status == "pending"
    assert types(await told_of(system, str(person_id))) == ["signup.signed_up.v1"]
    messages = system.mailbox.messages(email)
    assert [message["subject"] for message in messages] == [WORDS["en"]["welcome"]]
    assert len(links(messages[0], "/confirm/")) == 1


async def test_mistakes_are_named_and_nothing_typed_is_lost(system: System, browser: Browser) -> None:
    email = f"{uuid4().hex[:10]}.wrong@example.org"
    async with visiting(system, browser, email, language="es") as visitor:
        await visitor.go(system.url("signup", "/f/run?lang=es"))
        await visitor.fill(name="Ana Cruz", email="ana@", zip="1", spoken_languages=["es"])
        await visitor.old_enough()
        await visitor.press("main form button[type=submit]", status=422)
        page = visitor.page
        assert await page.locator(".govuk-error-summary a").evaluate_all(
            "links => links.map(link => link.getAttribute('href'))"
        ) == ["#email", "#state", "#zip"]
        assert await page.locator("#name").input_value() == "Ana Cruz"
        await visitor.fill(email=email, zip="78701", state="TX")
        await visitor.old_enough()
        await visitor.press("main form button[type=submit]")
        assert "/thank-you" in page.url
        assert len(await rows_of(system, email)) == 1


async def test_form_sent_at_once_is_asked_for_again(system: System, browser: Browser) -> None:
    """What a program does in no time is put to the person once more, with everything still there."""
    email = f"{uuid4().hex[:10]}.quick@example.org"
    async with visiting(system, browser, email) as visitor:
        await visitor.page.goto(system.url("signup", "/f/run?lang=en"))
        await visitor.page.evaluate(
            """email => {
              const form = document.querySelector("main form");
              for (const [name, value] of [["name", "Ana"], ["email", email], ["state", "TX"]])
                form.elements[name].value = value;
            }""",
            email,
        )
        await visitor.press("main form button[type=submit]", status=422)
        assert "Not sent yet" in await visitor.text()
        assert await visitor.page.locator("#email").input_value() == email
        assert await rows_of(system, email) == []
