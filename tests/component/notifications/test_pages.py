"""Unsubscribing, preferences, the staff's log, settling, why."""

import re
from typing import Any
from uuid import UUID, uuid4

import pytest

from shared.events import notifications
from shared.web.sessions import Principal
from tests.component.notifications.conftest import Station
from tests.component.notifications.events import confirmed, consent, invited, signed_up
from tests.harness import CLUSTER, as_records, client_of, deliver, take_outbox
from tests.unit.notifications.samples import contact

STAFF = Principal(person_id=uuid4(), account_id=uuid4(), roles=frozenset({"staff"}))
HTML = {"Accept": "text/html"}


async def sent(station: Station, event_of: Any) -> tuple[UUID, UUID, dict[str, str]]:
    """Person, message and the paths of the links in a mail that went out."""
    person = station.know()
    await deliver(station.service, event_of(person))
    await station.send()
    (row,) = await station.database.fetch("SELECT id FROM messages WHERE person_id = $1", person)
    renderer: Any = station.service.parts.state["renderer"]
    purposes = ("unsubscribe", "preferences", "why")
    paths = {purpose: renderer.link(purpose, row[0]).removeprefix("http://notifications.test") for purpose in purposes}
    await take_outbox(station.service)
    return person, row[0], paths


async def states_of(station: Station, person: UUID, *event_of: Any) -> list[Any]:
    """What becomes of further messages to the person."""
    await deliver(station.service, *(make(person) for make in event_of))
    await station.send()
    rows = await station.database.fetch(
        "SELECT delivery, state FROM messages WHERE person_id = $1 ORDER BY id OFFSET 1", person
    )
    return sorted(rows)


async def test_one_click_on_bulk_mail_stops_bulk_mail(station: Station) -> None:
    person, _message, paths = await sent(station, invited)
    (mail,) = station.relay_host.to(person)
    assert mail["List-Unsubscribe"] == f"<http://notifications.test{paths['unsubscribe']}>"
    async with client_of(station.service) as client:
        answer = await client.post(
            paths["unsubscribe"],
            content="List-Unsubscribe=One-Click",
            headers={"Content-Type": "application/x-www-form-urlencoded"},
        )
    assert answer.status_code == 200
    (event,) = await take_outbox(station.service)
    assert event == notifications.ContactSuppressed(person_id=person, channel="email", reason="unsubscribed")
    assert await states_of(station, person, invited, confirmed, signed_up) == [
        ("bulk", "dropped"), ("link", "accepted"), ("transactional", "accepted"),
    ]  # fmt: skip


async def test_one_click_on_a_mail_about_something_booked_stops_all_but_links(station: Station) -> None:
    person, _message, paths = await sent(station, confirmed)
    async with client_of(station.service) as client:
        assert (await client.post(f"/v1/messages{paths['unsubscribe']}")).status_code == 204
        assert (await client.post(f"/v1/messages{paths['unsubscribe']}")).status_code == 204
    # Each time: they may have said yes on a form in between.
    stopped = notifications.ContactSuppressed(person_id=person, channel="email", reason="unsubscribed")
    assert await take_outbox(station.service) == [stopped, stopped]
    assert await station.database.fetch("SELECT count(*) FROM suppressions WHERE person_id IS NOT NULL") == [(1,)]
    assert await states_of(station, person, invited, confirmed, signed_up) == [
        ("bulk", "dropped"), ("link", "accepted"), ("transactional", "dropped"),
    ]  # fmt: skip


async def test_opening_the_unsubscribe_page_changes_nothing(station: Station) -> None:
    person, _message, paths = await sent(station, invited)
    async with client_of(station.service) as client:
        page = await client.get(paths["unsubscribe"], headers=HTML)
    assert page.status_code == 200
    assert f'action="{paths["unsubscribe"]}"' in page.text
    assert await states_of(station, person, invited) == [("bulk", "accepted")]


async def test_links_speak_the_language_of_the_message(station: Station) -> None:
    person = station.know(language="es")
    await deliver(station.service, invited(person))
    await station.send()
    (mail,) = station.relay_host.to(person)
    path = mail["List-Unsubscribe"].strip("<>").removeprefix("http://notifications.test")
    async with client_of(station.service) as client:
        assert "Darme de baja" in (await client.get(path, headers=HTML)).text


@pytest.mark.parametrize("path", ["/unsubscribe/x", "/preferences/x.y", "/messages/why/AAAA", "/v1/messages/why/x"])
async def test_made_up_link_leads_nowhere(station: Station, path: str) -> None:
    async with client_of(station.service) as client:
        assert (await client.get(path)).status_code == 404


async def test_link_of_one_purpose_opens_no_other(station: Station) -> None:
    _person, _message, paths = await sent(station, invited)
    token = paths["why"].rpartition("/")[2]
    async with client_of(station.service) as client:
        assert (await client.post(f"/unsubscribe/{token}")).status_code == 404
        assert (await client.get(f"/preferences/{token}")).status_code == 404


async def test_preferences_are_chosen_and_taken_back(station: Station) -> None:
    person, _message, paths = await sent(station, invited)
    async with client_of(station.service) as client:
        page = await client.get(paths["preferences"], headers=HTML)
        assert re.search(r'value="everything" checked', page.text)
        saved = await client.post(paths["preferences"], data={"email": "nothing", "sms": "off"}, headers=HTML)
        assert re.search(r'value="nothing" checked', saved.text)
        assert re.search(r'value="off" checked', saved.text)
        events = await take_outbox(station.service)
        assert [(type(e).__name__, e.channel) for e in events] == [  # type: ignore[attr-defined]
            ("ContactSuppressed", "email"), ("ContactSuppressed", "sms"),
        ]  # fmt: skip
        held = await client.put(f"/v1/messages{paths['preferences']}", json={"email": "taking_part"})
    assert held.json() == {
        "email": "taking_part", "sms": "off", "email_undeliverable": False, "sms_undeliverable": False,
        "sms_stopped_by_text": False,
    }  # fmt: skip
    assert await states_of(station, person, invited, confirmed) == [("bulk", "dropped"), ("transactional", "accepted")]


async def test_preferences_of_the_signed_in_person_are_their_own(station: Station) -> None:
    person, _message, paths = await sent(station, invited)
    async with client_of(station.service, Principal(person_id=person)) as client:
        assert (await client.put("/v1/messages/preferences", json={"email": "nothing"})).json()["email"] == "nothing"
        assert (await client.get("/preferences", headers=HTML)).status_code == 200
    async with client_of(station.service) as client:
        assert (await client.get(f"/v1/messages{paths['preferences']}")).json()["email"] == "nothing"
        assert (await client.get("/v1/messages/preferences")).status_code == 401
        assert (await client.get("/preferences", headers=HTML)).status_code == 303


@pytest.mark.parametrize("body", [{"email": "some", "sms": "on"}, {"email": "nothing"}, {}])
async def test_incomplete_choice_is_asked_again_and_changes_nothing(station: Station, body: dict[str, str]) -> None:
    _person, _message, paths = await sent(station, invited)
    async with client_of(station.service) as client:
        answer = await client.post(paths["preferences"], data=body, headers=HTML)
        assert answer.status_code == 422
        assert "There is a problem" in answer.text
        assert (await client.put(f"/v1/messages{paths['preferences']}", json={"email": "some"})).status_code == 422
    assert await station.database.fetch("SELECT count(*) FROM suppressions") == [(0,)]


async def test_bounce_is_not_taken_back_by_the_preference_page(station: Station) -> None:
    person, _message, paths = await sent(station, confirmed)
    station.relay_host.on_rcpt = lambda _address: "550 5.1.1 No such user"
    await states_of(station, person, confirmed)
    station.relay_host.on_rcpt = lambda _address: "250 OK"
    async with client_of(station.service) as client:
        await client.post(paths["preferences"], data={"email": "nothing", "sms": "on"}, headers=HTML)
        answer = await client.post(paths["preferences"], data={"email": "everything", "sms": "on"}, headers=HTML)
    assert "Mail to your address comes back" in answer.text
    assert (await states_of(station, person, confirmed))[-1] == ("transactional", "rejected")
    assert await station.database.fetch(
        "SELECT state FROM messages WHERE person_id = $1 ORDER BY id DESC LIMIT 1", person
    ) == [("dropped",)]


def yes(channel: str) -> Any:
    """What the person says on their own page at signup."""
    return lambda person: consent(person, channel, granted=True, reason="preference")


@pytest.mark.parametrize("stopped", ["unsubscribed", "chosen"])
async def test_yes_on_the_own_page_lifts_what_the_person_stopped(station: Station, stopped: str) -> None:
    person, _message, paths = await sent(station, confirmed)
    async with client_of(station.service) as client:
        if stopped == "unsubscribed":
            await client.post(f"/v1/messages{paths['unsubscribe']}")
        else:
            await client.put(f"/v1/messages{paths['preferences']}", json={"email": "nothing", "sms": "off"})
    await take_outbox(station.service)
    assert await states_of(station, person, invited) == [("bulk", "dropped")]
    await take_outbox(station.service)
    await deliver(station.service, yes("email")(person))
    # Signup has the consent already.
    assert await take_outbox(station.service) == []
    assert await states_of(station, person, invited, confirmed) == [
        ("bulk", "accepted"), ("bulk", "dropped"), ("transactional", "accepted"),
    ]  # fmt: skip
    async with client_of(station.service) as client:
        held = (await client.get(f"/v1/messages{paths['preferences']}")).json()
    assert (held["email"], held["sms"]) == ("everything", "on" if stopped == "unsubscribed" else "off")


@pytest.mark.parametrize("reason", ["form", "start", "restored"])
async def test_consent_that_is_no_word_of_the_own_page_lifts_nothing(station: Station, reason: str) -> None:
    person, _message, paths = await sent(station, invited)
    async with client_of(station.service) as client:
        await client.post(paths["unsubscribe"])
    assert await states_of(
        station, person, lambda person: consent(person, "email", granted=True, reason=reason), invited
    ) == [("bulk", "dropped")]  # fmt: skip


@pytest.mark.parametrize("outcome", ["bounced", "complained"])
async def test_yes_on_the_own_page_lifts_no_bounce_and_no_complaint(station: Station, outcome: str) -> None:
    person, message, paths = await sent(station, invited)
    async with client_of(station.service) as client:
        await client.put(f"/v1/messages{paths['preferences']}", json={"email": "nothing"})
        answer = await client.post(
            "/mail/receipts",
            json={"message_id": str(message), "outcome": outcome},
            headers={"X-Receipt-Token": "receipts-of-tests"},
        )
    assert answer.status_code == 200
    assert await states_of(station, person, yes("email"), invited) == [("bulk", "dropped")]


async def test_yes_that_comes_after_a_later_stop_lifts_nothing(station: Station) -> None:
    person, _message, paths = await sent(station, invited)
    late = await as_records(station.service, [yes("email")(person)])
    async with client_of(station.service) as client:
        await client.post(paths["unsubscribe"])
    await take_outbox(station.service)
    assert await station.service._inbox.take(late, cluster_id=CLUSTER) == 1
    assert await take_outbox(station.service) == []
    assert await states_of(station, person, invited) == [("bulk", "dropped")]


@pytest.mark.parametrize("again", ["unsubscribed", "chosen"])
async def test_yes_between_two_stops_lifts_neither_and_signup_is_told_of_both(station: Station, again: str) -> None:
    """The second stop finds the first in place, the yes is still on its way: the last word is the stop."""
    person, _message, paths = await sent(station, invited)
    async with client_of(station.service) as client:

        async def stop() -> None:
            if again == "unsubscribed":
                assert (await client.post(paths["unsubscribe"])).status_code == 200
            else:
                answer = await client.put(f"/v1/messages{paths['preferences']}", json={"email": "taking_part"})
                assert answer.status_code == 200

        await stop()
        late = await as_records(station.service, [yes("email")(person)])
        await stop()
    stopped = notifications.ContactSuppressed(
        person_id=person, channel="email", reason="unsubscribed" if again == "unsubscribed" else "preference"
    )
    assert await take_outbox(station.service) == [stopped, stopped]
    assert await station.service._inbox.take(late, cluster_id=CLUSTER) == 1
    # Nothing here: signup may have heard another yes by now.
    assert await take_outbox(station.service) == []
    assert await states_of(station, person, invited) == [("bulk", "dropped")]


async def test_complaint_outlives_a_choice_that_was_made_before_it(station: Station) -> None:
    person, message, paths = await sent(station, invited)
    async with client_of(station.service) as client:
        await client.put(f"/v1/messages{paths['preferences']}", json={"email": "nothing"})
        await client.post(
            "/mail/receipts",
            json={"message_id": str(message), "outcome": "complained"},
            headers={"X-Receipt-Token": "receipts-of-tests"},
        )
        await client.put(f"/v1/messages{paths['preferences']}", json={"email": "everything"})
    assert await states_of(station, person, confirmed) == [("transactional", "dropped")]


async def test_why_page_names_the_cause_and_no_person(station: Station) -> None:
    person, _message, paths = await sent(station, invited)
    async with client_of(station.service) as client:
        page = await client.get(paths["why"], headers=HTML)
        answer = (await client.get(f"/v1{paths['why']}")).json()
    assert "You got it because you signed up and we scheduled an intro call." in page.text
    assert str(person) not in page.text
    assert "@example.org" not in page.text
    assert (answer["because"], answer["event_type"]) == (
        "you signed up and we scheduled an intro call", "matching.intro_call_invited.v1",
    )  # fmt: skip


# ---------------------------------------------------------------- staff


@pytest.mark.parametrize(
    ("method", "path"),
    [("GET", "/v1/messages"), ("GET", "/v1/messages/{id}"), ("POST", "/v1/messages/{id}/settle"), ("GET", "/messages"),
     ("GET", "/messages/{id}"), ("POST", "/messages/{id}/settle")],
)  # fmt: skip
async def test_log_is_for_staff(station: Station, method: str, path: str) -> None:
    path = path.format(id=uuid4())
    async with client_of(station.service) as client:
        assert (await client.request(method, path)).status_code == 401
    for roles in ((), ("reviewer",)):
        principal = Principal(person_id=uuid4(), roles=frozenset(roles))
        async with client_of(station.service, principal) as client:
            assert (await client.request(method, path, json={"decision": "drop"})).status_code == 403


async def test_log_is_filtered_and_paged(station: Station) -> None:
    people = [uuid4() for _ in range(5)]
    station.outside.know(*(contact(person) for person in people[:4]))
    await deliver(station.service, *(confirmed(person) for person in people), consent(people[0], "sms", granted=True))
    await station.send()
    async with client_of(station.service, STAFF) as client:
        first = (await client.get("/v1/messages", params={"limit": 3})).json()
        second = (await client.get("/v1/messages", params={"limit": 3, "before": first["next"]})).json()
        dropped = (await client.get("/v1/messages", params={"state": "dropped"})).json()
        of_one = (await client.get("/v1/messages", params={"person_id": str(people[1])})).json()
        page = await client.get("/messages", params={"person_id": str(people[1])}, headers=HTML)
        wrong = await client.get("/messages", params={"person_id": "nobody"}, headers=HTML)
    ids = [line["person_id"] for line in [*first["messages"], *second["messages"]]]
    assert ids == [str(person) for person in reversed(people)]
    assert second["next"] is None
    assert [line["reason"] for line in dropped["messages"]] == ["no_person"]
    assert [line["state"] for line in of_one["messages"]] == ["accepted"]
    assert page.status_code == 200
    assert page.text.count("/messages?person_id=") == 1
    assert wrong.status_code == 422


async def test_message_page_shows_cause_steps_and_words(station: Station) -> None:
    person, message, _paths = await sent(station, confirmed)
    async with client_of(station.service, STAFF) as client:
        page = await client.get(f"/messages/{message}", headers=HTML)
        whole = (await client.get(f"/v1/messages/{message}")).json()
        assert (await client.get(f"/v1/messages/{uuid4()}")).status_code == 404
    assert page.status_code == 200
    assert "Welcome! Here is what happens next" in page.text
    assert whole["because"] == "you confirmed your address"
    assert [step["state"] for step in whole["steps"]] == ["queued", "claimed", "handing", "accepted"]
    assert (whole["person_id"], whole["legal_body"], whole["program_version"]) == (str(person), "education", "2025.1")
    assert "Welcome" in whole["subject"]


@pytest.mark.parametrize(
    ("decision", "state", "copies", "event"),
    [("accepted", "accepted", 1, "MessageSent"), ("retry", "accepted", 2, "MessageSent"),
     ("drop", "dropped", 1, "MessageFailed")],
)  # fmt: skip
async def test_operator_settles_an_unknown_message_once(
    station: Station, decision: str, state: str, copies: int, event: str
) -> None:
    station.relay_host.close_after_body = True
    person, message, _paths = await sent(station, invited)
    station.relay_host.close_after_body = False
    async with client_of(station.service, STAFF) as client:
        page = await client.get(f"/messages/{message}", headers=HTML)
        assert page.text.count('name="decision"') == 3
        settled = await client.post(f"/messages/{message}/settle", data={"decision": decision}, headers=HTML)
        again = await client.post(f"/v1/messages/{message}/settle", json={"decision": "drop"})
    assert settled.status_code == 303
    assert (again.status_code, again.json()["code"]) == (409, "not_unknown")
    await station.send()
    assert await station.database.fetch("SELECT state FROM messages") == [(state,)]
    assert len(station.relay_host.to(person)) == copies
    assert [type(e).__name__ for e in await take_outbox(station.service)] == [event]
    ((actor, action, subject, details),) = await station.database.fetch(
        "SELECT actor, action, subject, details::text FROM audit_entries"
    )
    assert (actor, action, subject) == (STAFF.account_id, "message_settled", str(message))
    assert decision in details


async def test_audit_entries_are_chained(station: Station) -> None:
    station.relay_host.close_after_body = True
    for _ in range(2):
        _person, message, _paths = await sent(station, invited)
        async with client_of(station.service, STAFF) as client:
            await client.post(f"/v1/messages/{message}/settle", json={"decision": "drop"})
    (first, second) = await station.database.fetch("SELECT previous_hash, hash FROM audit_entries ORDER BY id")
    assert first[0] == bytes(32)
    assert second[0] == first[1]
