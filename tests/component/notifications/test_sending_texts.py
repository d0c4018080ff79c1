"""Texts: consent, quiet hours, at most one, and people who text us back."""

import asyncio
import datetime as dt
import re
from typing import Any
from uuid import UUID, uuid4

import pytest
from fastapi import Response

from services.notifications.store import people
from services.notifications.store.people import MARK_REPLY
from shared.events import notifications
from shared.web.sessions import Principal
from tests.component.notifications.conftest import Outside, RelayHost, Station, stationed
from tests.component.notifications.events import consent, reminder
from tests.conftest import DatabaseFactory
from tests.harness import CLUSTER, as_records, client_of, deliver, take_outbox
from tests.unit.notifications.samples import contact

PHONE = "+13165550123"


async def at_hour(station: Station, hour: int) -> None:
    """Move the business clock on to the next time it is that hour in Chicago."""
    (moved,) = await station.database.fetch(
        "SELECT extract(epoch FROM (business_now() AT TIME ZONE 'America/Chicago')::time)::int"
    )
    seconds = (hour * 3600 - moved[0]) % 86_400
    await station.database.advance_clock(dt.timedelta(seconds=seconds + 60))


async def remind(station: Station, **changes: Any) -> UUID:
    """A reminder to one known person; the other party is unknown. Returns the known one."""
    person = station.know(**changes)
    await deliver(station.service, reminder(person, uuid4()))
    return person


async def texts(station: Station) -> list[tuple[Any, ...]]:
    """State and reason of the known person's texts."""
    return [row[2:] for row in await station.states() if row[1] == "sms" and row[3] != "no_person"]


async def incoming(station: Station, body: str, sender: str = PHONE, token: str = "inbound-of-tests") -> Any:
    async with client_of(station.service) as client:
        return await client.post(
            "/sms/inbound", json={"from": sender, "body": body}, headers={"X-Inbound-Token": token}
        )


async def test_first_text_tells_who_we_are_and_how_to_stop(station: Station) -> None:
    await at_hour(station, 10)
    person = await remind(station)
    await station.send("text")
    await deliver(station.service, reminder(person, uuid4()))
    await station.send("text")
    first, second = station.outside.texts
    assert first["to"] == PHONE
    assert first["body"].startswith("Open Porch: ")
    assert "Up to 6 texts a month. Msg & data rates may apply. Reply HELP for help, STOP to stop." in first["body"]
    assert "STOP" not in second["body"]
    ids = [str(row[0]) for row in await station.database.fetch(
        "SELECT id FROM messages WHERE channel = 'sms' AND state = 'accepted' ORDER BY id")]  # fmt: skip
    assert [text["client_reference"] for text in station.outside.texts] == ids
    assert await station.database.fetch(
        "SELECT segments FROM messages WHERE channel = 'sms' AND state = 'accepted' ORDER BY id"
    ) == [(2,), (1,)]


@pytest.mark.parametrize("changes", [{"consents": {"email": True}}, {"phone": None}, {"consents": {"sms": False}}])
async def test_text_needs_its_own_consent_and_a_number(station: Station, changes: dict[str, Any]) -> None:
    await at_hour(station, 10)
    await remind(station, **changes)
    await station.send("text")
    assert station.outside.texts == []
    assert [state for state, _reason in await texts(station)] == ["dropped"]


async def test_consent_withdrawn_here_counts_before_signup_says_so(station: Station) -> None:
    await at_hour(station, 10)
    person = await remind(station)
    await deliver(station.service, consent(person, "sms", granted=False))
    await station.send("text")
    assert await texts(station) == [("dropped", "no_consent")]


async def test_text_at_night_waits_for_the_morning(station: Station) -> None:
    await at_hour(station, 22)
    await remind(station)
    await station.send("text")
    assert await texts(station) == [("deferred", "quiet_hours")]
    await station.database.advance_clock(dt.timedelta(hours=9, minutes=50))
    await station.send("text")
    assert station.outside.texts == []
    await station.database.advance_clock(dt.timedelta(minutes=15))
    await station.send("text")
    assert len(station.outside.texts) == 1
    assert await texts(station) == [("accepted", None)]


async def test_unknown_text_is_looked_up_and_never_sent_twice(station: Station) -> None:
    await at_hour(station, 10)
    await remind(station)

    def take_and_fail(text: dict[str, str]) -> Response:
        station.outside.texts.append(text)
        return Response(status_code=500)

    station.outside.text_answer = take_and_fail
    await station.send("text")
    assert await texts(station) == [("unknown", "http_500")]
    await station.upkeep.look_up()
    assert await texts(station) == [("unknown", "http_500")]
    await station.database.advance_clock(dt.timedelta(minutes=5))
    await station.upkeep.look_up()
    assert await texts(station) == [("accepted", "looked_up")]
    assert len(station.outside.texts) == 1
    (event,) = [e for e in await take_outbox(station.service) if isinstance(e, notifications.MessageSent)]
    assert event.channel == "sms"


async def test_text_that_the_provider_never_got_is_sent_after_the_look_up(station: Station) -> None:
    await at_hour(station, 10)
    await remind(station)
    station.outside.text_answer = lambda _text: Response(status_code=503)
    await station.send("text")
    station.outside.text_answer = None
    await station.database.advance_clock(dt.timedelta(minutes=5))
    await station.upkeep.look_up()
    await station.send("text")
    assert len(station.outside.texts) == 1
    assert await texts(station) == [("accepted", None)]


async def test_retry_after_is_obeyed(station: Station) -> None:
    await at_hour(station, 10)
    await remind(station)
    station.outside.text_answer = lambda _text: Response(status_code=429, headers={"Retry-After": "900"})
    await station.send("text")
    station.outside.text_answer = None
    await station.database.advance_clock(dt.timedelta(seconds=890))
    await station.send("text")
    assert station.outside.texts == []
    await station.database.advance_clock(dt.timedelta(seconds=15))
    await station.send("text")
    assert len(station.outside.texts) == 1


async def test_stop_holds_at_once_for_what_is_queued_and_is_confirmed_once(station: Station) -> None:
    await at_hour(station, 10)
    person = await remind(station, language="es")
    await station.send("text")
    await deliver(station.service, reminder(person, uuid4()))
    station.outside.texts.clear()
    answer = await incoming(station, "No más, por favor")
    assert (answer.status_code, answer.json()) == (200, {"intent": "stop"})
    assert (await incoming(station, "STOP")).json() == {"intent": "stop"}
    await station.send("text")
    assert [text["body"] for text in station.outside.texts] == [
        "Open Porch: Te diste de baja y no recibirás más mensajes de texto. Responde START para volver a recibirlos."
        .replace("á", "a").replace("é", "é")
    ]  # fmt: skip
    assert (await texts(station))[-1] == ("dropped", "suppressed")
    suppressed = [e for e in await take_outbox(station.service) if isinstance(e, notifications.ContactSuppressed)]
    assert [(e.person_id, e.channel, e.reason) for e in suppressed] == [(person, "sms", "stop")] * 2


async def test_stop_during_preparation_wins(station: Station) -> None:
    await at_hour(station, 10)
    person = await remind(station)
    await station.send("text")
    station.outside.texts.clear()
    await deliver(station.service, reminder(person, uuid4()))

    async def stop() -> None:
        station.outside.before_answer = None
        await incoming(station, "STOP")

    station.outside.before_answer = stop
    await station.send("text")
    assert [text["body"] for text in station.outside.texts if "is on" in text["body"]] == []
    assert (await texts(station))[-1] == ("dropped", "suppressed")


async def test_stop_is_answered_after_the_hand_over_that_did_not_see_it(
    station: Station, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A hand-over has looked and found no stop: whoever stops at that moment is answered when it is under way."""
    await at_hour(station, 10)
    await remind(station)
    look = people.get_suppressions
    order: list[str] = []
    stopping: list[asyncio.Task[Any]] = []

    async def stop() -> None:
        assert (await incoming(station, "STOP")).status_code == 200
        order.append("stop answered")

    async def looking(connection: Any, *arguments: Any) -> Any:
        found = await look(connection, *arguments)
        stopping.append(asyncio.create_task(stop()))
        async with asyncio.timeout(20):
            # Until the stop waits for a lock, or has been answered.
            while not order and not await station.database.fetch(
                "SELECT 1 FROM pg_locks JOIN pg_database ON pg_database.oid = database"
                " WHERE datname = current_database() AND locktype = 'advisory' AND NOT granted"
            ):
                await asyncio.sleep(0.02)
        order.append("handing")
        return found

    monkeypatch.setattr(people, "get_suppressions", looking)
    await station.sender("text").send_batch()
    monkeypatch.undo()
    await asyncio.gather(*stopping)
    assert order == ["handing", "stop answered"]
    assert len(station.outside.texts) >= 1


async def test_stop_of_an_unknown_number_holds_by_the_number_alone(station: Station) -> None:
    await at_hour(station, 10)
    await incoming(station, "stop", sender="316 555 0123")
    await remind(station)
    await station.send("text")
    assert await texts(station) == [("dropped", "suppressed")]


async def test_stop_of_an_unknown_number_outlives_new_links(
    databases: DatabaseFactory, relay_host: RelayHost, outside: Outside
) -> None:
    database = await databases("notifications")
    key = "of-its-own"
    async with stationed(database, relay_host, outside, link_secret="before", contact_hash_key=key) as station:
        await at_hour(station, 10)
        await incoming(station, "stop", sender="316 555 0123")
    async with stationed(database, relay_host, outside, link_secret="after", contact_hash_key=key) as station:
        await remind(station)
        await station.send("text")
        assert await texts(station) == [("dropped", "suppressed")]


async def test_start_takes_a_stop_back(station: Station) -> None:
    await at_hour(station, 10)
    person = await remind(station)
    await station.send("text")
    await incoming(station, "STOP")
    await take_outbox(station.service)
    assert (await incoming(station, "Start")).json() == {"intent": "start"}
    (event,) = await take_outbox(station.service)
    assert isinstance(event, notifications.ContactRestored)
    await deliver(station.service, reminder(person, uuid4()))
    await station.send("text")
    assert (await texts(station))[-1] == ("accepted", None)


async def text_again(station: Station, person: UUID) -> tuple[Any, ...]:
    """What becomes of one more text to the person."""
    await deliver(station.service, reminder(person, uuid4()))
    await station.send("text")
    return (await texts(station))[-1]


async def choose(station: Station, person: UUID, sms: str) -> dict[str, Any]:
    """What holds for the person after choosing on the preference page."""
    async with client_of(station.service, Principal(person_id=person)) as client:
        answer = await client.put("/v1/messages/preferences", json={"sms": sms})
    held: dict[str, Any] = answer.json()
    return held


async def save_form(station: Station, person: UUID, page: str, **changed: str) -> None:
    """Press Save on the preference page as it was shown, with these radios changed."""
    radios = re.findall(r'name="(email|sms)"[^>]* value="(\w+)" checked', page)
    hidden = re.findall(r'type="hidden" name="(\w+)" value="(\w+)"', page)
    assert [name for name, _value in radios] == ["email", "sms"]
    async with client_of(station.service, Principal(person_id=person)) as client:
        data = {**dict(radios), **dict(hidden), **changed}
        answer = await client.post("/preferences", data=data, headers={"Accept": "text/html"})
    assert answer.status_code == 200


async def page_of(station: Station, person: UUID) -> str:
    async with client_of(station.service, Principal(person_id=person)) as client:
        return (await client.get("/preferences", headers={"Accept": "text/html"})).text


async def test_choice_about_mail_says_nothing_about_texts_that_another_on_the_number_stopped(station: Station) -> None:
    await at_hour(station, 10)
    one, other = await remind(station), await remind(station)
    await station.send("text")
    await choose(station, one, "off")
    await take_outbox(station.service)
    await save_form(station, other, await page_of(station, other), email="taking_part")
    assert await take_outbox(station.service) == [
        notifications.ContactSuppressed(person_id=other, channel="email", reason="preference")
    ]
    await choose(station, one, "on")
    assert await text_again(station, other) == ("accepted", None)


async def test_choice_about_mail_does_not_take_back_a_yes_to_texts_that_is_on_its_way(station: Station) -> None:
    await at_hour(station, 10)
    person = await remind(station)
    await station.send("text")
    await choose(station, person, "off")
    late = await as_records(station.service, [consent(person, "sms", granted=True, reason="preference")])
    await save_form(station, person, await page_of(station, person), email="taking_part")
    await take_outbox(station.service)
    assert await station.service._inbox.take(late, cluster_id=CLUSTER) == 1
    assert await take_outbox(station.service) == []
    assert await text_again(station, person) == ("accepted", None)


async def test_page_that_was_saved_as_it_was_shown_changes_nothing(station: Station) -> None:
    await at_hour(station, 10)
    person = await remind(station)
    await station.send("text")
    page = await page_of(station, person)
    await choose(station, person, "off")
    await take_outbox(station.service)
    await save_form(station, person, page)
    assert await take_outbox(station.service) == []
    assert await text_again(station, person) == ("dropped", "suppressed")


@pytest.mark.parametrize("chosen_before", [False, True])
async def test_stop_by_text_holds_until_start_whatever_is_chosen_on_a_page(
    station: Station, chosen_before: bool
) -> None:
    await at_hour(station, 10)
    person = await remind(station)
    await station.send("text")
    if chosen_before:
        await choose(station, person, "off")
    await incoming(station, "STOP")
    held = await choose(station, person, "on")
    assert (held["sms"], held["sms_stopped_by_text"]) == ("on", True)
    assert await text_again(station, person) == ("dropped", "suppressed")
    await deliver(station.service, consent(person, "sms", granted=True, reason="preference"))
    assert await text_again(station, person) == ("dropped", "suppressed")
    await incoming(station, "START")
    assert await text_again(station, person) == ("accepted", None)
    assert (await choose(station, person, "on"))["sms_stopped_by_text"] is False


async def test_person_who_stopped_one_number_can_choose_texts_to_another(station: Station) -> None:
    await at_hour(station, 10)
    person = await remind(station)
    await station.send("text")
    await incoming(station, "STOP")
    station.outside.know(contact(person, phone="+13165550199"))
    assert await text_again(station, person) == ("dropped", "suppressed")
    await choose(station, person, "on")
    assert await text_again(station, person) == ("accepted", None)


@pytest.mark.parametrize(
    ("language", "said"),
    [("en", "text START from that phone to +15555550100"), ("es", "envía START desde ese teléfono al +15555550100")],
)
async def test_page_says_how_a_stop_by_text_is_taken_back(station: Station, language: str, said: str) -> None:
    await at_hour(station, 10)
    person = await remind(station)
    await station.send("text")
    path = f"/preferences?lang={language}"
    async with client_of(station.service, Principal(person_id=person)) as client:
        assert said not in (await client.get(path, headers={"Accept": "text/html"})).text
        await incoming(station, "STOP")
        assert said in (await client.get(path, headers={"Accept": "text/html"})).text
        await incoming(station, "START")
        assert said not in (await client.get(path, headers={"Accept": "text/html"})).text


async def test_start_tells_signup_only_of_those_for_whom_something_was_lifted(station: Station) -> None:
    """Two people share a number; one of them was texted there only after the other's STOP had been taken back."""
    await at_hour(station, 10)
    stopped = await remind(station)
    await station.send("text")
    await incoming(station, "STOP")
    other = uuid4()
    hashed = (await station.database.fetch("SELECT contact_hash FROM suppressions WHERE person_id IS NULL"))[0][0]
    await station.database.execute(
        "INSERT INTO contact_hashes (contact_hash, person_id, language, seen_at) VALUES ($1, $2, 'en', now())",
        hashed, other,
    )  # fmt: skip
    await take_outbox(station.service)
    await incoming(station, "START")
    assert await take_outbox(station.service) == [
        notifications.ContactRestored(person_id=stopped, channel="sms", reason="start")
    ]


async def test_start_leaves_what_another_on_the_number_chose_on_their_own_page(station: Station) -> None:
    await at_hour(station, 10)
    chose, other = await remind(station), await remind(station)
    await station.send("text")
    await choose(station, chose, "off")
    await take_outbox(station.service)
    await incoming(station, "START")
    assert await take_outbox(station.service) == []
    assert await text_again(station, chose) == ("dropped", "suppressed")
    assert await text_again(station, other) == ("accepted", None)


async def test_start_after_stop_tells_signup_nothing_of_those_who_chose_no_texts_since(station: Station) -> None:
    await at_hour(station, 10)
    chose, other = await remind(station), await remind(station)
    await station.send("text")
    await incoming(station, "STOP")
    await choose(station, chose, "off")
    await take_outbox(station.service)
    await incoming(station, "START")
    assert await take_outbox(station.service) == [
        notifications.ContactRestored(person_id=other, channel="sms", reason="start")
    ]
    assert await text_again(station, chose) == ("dropped", "suppressed")
    assert await text_again(station, other) == ("accepted", None)


async def test_start_promises_no_texts_to_the_one_who_chose_none_on_their_page(station: Station) -> None:
    await at_hour(station, 10)
    person = await remind(station)
    await station.send("text")
    await choose(station, person, "off")
    await incoming(station, "START")
    assert len(station.outside.texts) == 1
    assert await text_again(station, person) == ("dropped", "suppressed")
    await choose(station, person, "on")
    assert await text_again(station, person) == ("accepted", None)


async def test_start_from_a_number_that_is_nobodys_tells_signup_nothing(station: Station) -> None:
    await incoming(station, "STOP")
    await incoming(station, "START")
    assert await take_outbox(station.service) == []
    assert await station.database.fetch("SELECT count(*) FROM suppressions WHERE lifted_at IS NULL") == [(0,)]


async def test_help_is_answered_and_small_talk_is_not(station: Station) -> None:
    assert (await incoming(station, "HELP")).json() == {"intent": "help"}
    assert (await incoming(station, "See you tomorrow!")).json() == {"intent": "none"}
    (answer,) = station.outside.texts
    assert "hello@openporch.example" in answer["body"]


async def test_incoming_texts_need_the_providers_credential(station: Station) -> None:
    answer = await incoming(station, "STOP", token="another")
    assert answer.status_code == 401
    assert await station.database.fetch("SELECT count(*) FROM suppressions") == [(0,)]
    refused = await incoming(station, "STOP", sender="not a number")
    assert refused.status_code == 422


async def test_stops_in_a_race_leave_one_suppression_and_one_answer(station: Station) -> None:
    await at_hour(station, 10)
    person = await remind(station)
    await station.send("text")
    await take_outbox(station.service)
    await asyncio.gather(*(incoming(station, "STOP") for _ in range(5)))
    stopped = notifications.ContactSuppressed(person_id=person, channel="sms", reason="stop")
    assert await take_outbox(station.service) == [stopped] * 5
    assert await station.database.fetch("SELECT count(*) FROM suppressions") == [(2,)]
    assert await station.database.fetch("SELECT kind, state FROM text_replies") == [("stop", "accepted")]


async def test_answer_whose_process_died_becomes_unknown_and_a_late_word_settles_it(station: Station) -> None:
    await incoming(station, "STOP")
    await incoming(station, "HELP")
    [(stop,)] = await station.database.fetch("SELECT id FROM text_replies WHERE kind = 'stop'")
    pool = station.service.context.pool
    await pool.execute("UPDATE text_replies SET state = 'handing'")
    await pool.execute("UPDATE text_replies SET created_at = created_at - interval '31 seconds' WHERE id = $1", stop)
    await station.upkeep.recover()
    states = "SELECT kind, state FROM text_replies ORDER BY kind"
    assert await station.database.fetch(states) == [("help", "handing"), ("stop", "unknown")]
    await pool.execute(MARK_REPLY, stop, "accepted")
    assert await station.database.fetch(states) == [("help", "handing"), ("stop", "accepted")]
