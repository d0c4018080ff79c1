"""From an event to a mail that a relay host took, or did not take."""

import asyncio
import datetime as dt
from pathlib import Path
from typing import Any
from uuid import UUID, uuid4

from services.notifications.app import SERVICE
from shared.events import Event, notifications
from shared.events.matching import CallMissed, IntroCallMissed
from tests.component.notifications.conftest import Outside, RelayHost, Station, settings_for
from tests.component.notifications.events import booked, confirmed, consent, invited, reminder, signed_up
from tests.conftest import DatabaseFactory
from tests.harness import PROGRAM_2025, deliver, running, take_outbox
from tests.unit.notifications.samples import URL, contact


def told(events: list[Event]) -> list[tuple[Any, ...]]:
    """(event, template, reason) of what the service emitted about messages."""
    return [
        (type(event).__name__, getattr(event, "template", None), getattr(event, "reason", None)) for event in events
    ]


async def test_sign_up_event_becomes_one_mail_with_the_confirmation_link(station: Station) -> None:
    person = station.know(confirmed=False)
    await deliver(station.service, signed_up(person))
    await station.send()
    (mail,) = station.relay_host.to(person)
    plain, html = (part.get_content() for part in mail.iter_parts())
    assert mail["Subject"] == "Please confirm your e-mail address"
    assert URL in plain
    assert URL.replace("&", "&amp;") in html
    assert mail["List-Unsubscribe"] is None
    assert await station.states() == [("welcome_confirm", "email", "accepted", None)]
    (event,) = await take_outbox(station.service)
    assert isinstance(event, notifications.MessageSent)
    assert (event.person_id, event.template, event.channel) == (person, "welcome_confirm", "email")


async def test_event_delivered_again_makes_no_second_message(station: Station) -> None:
    person = station.know()
    event = confirmed(person)
    await deliver(station.service, event)
    rows = await station.database.fetch("SELECT event_id, person_id, template, channel FROM messages")
    await deliver(station.service, event, first_offset=0)
    assert await station.database.fetch("SELECT event_id, person_id, template, channel FROM messages") == rows
    await station.send()
    await station.send()
    assert len(station.relay_host.to(person)) == 1


async def test_every_step_is_kept(station: Station) -> None:
    person = station.know()
    await deliver(station.service, confirmed(person))
    await station.send()
    assert await station.database.fetch("SELECT state FROM message_steps ORDER BY id") == [
        ("queued",), ("claimed",), ("handing",), ("accepted",),
    ]  # fmt: skip


async def test_booking_reaches_both_with_the_calendar_file_in_their_language(station: Station) -> None:
    prospect, volunteer = station.know(language="es"), station.know()
    station.outside.attachments = [
        {"filename": "call.ics", "content_type": "text/calendar; method=REQUEST", "content": "BEGIN:VCALENDAR\r\n"}
    ]
    await deliver(station.service, booked(prospect, volunteer))
    await station.send()
    (to_prospect,), (to_volunteer,) = station.relay_host.to(prospect), station.relay_host.to(volunteer)
    assert to_prospect["Subject"] == "Tu llamada está reservada"
    assert to_volunteer["Subject"] == "A call with Zoë O'Neil"
    for mail in (to_prospect, to_volunteer):
        (attachment,) = mail.iter_attachments()
        assert attachment["Content-Type"].params["method"] == "REQUEST"
        assert mail["List-Unsubscribe-Post"] == "List-Unsubscribe=One-Click"


async def test_kind_that_the_program_does_not_send_is_recorded_and_not_sent(
    databases: DatabaseFactory, relay_host: RelayHost, outside: Outside, tmp_path: Path
) -> None:
    kept = [part for part in PROGRAM_2025.read_text("utf-8").split("[[messages]]\n") if '"call_missed"' not in part]
    program = tmp_path / "without_call_missed.toml"
    program.write_text("[[messages]]\n".join(kept), "utf-8")
    database = await databases("notifications")
    async with running(SERVICE, settings_for(database, relay_host, outside, program=program)) as service:
        station = Station(service, database, relay_host, outside)
        await deliver(service, missed(station.know()))
        await station.send()
        assert await station.states() == [("call_missed", "email", "dropped", "not_in_program")]
        assert relay_host.taken == []
        for close in service.parts.on_close:
            await close()


async def test_missed_call_is_told_after_the_delay_of_the_program(station: Station) -> None:
    person = station.know()
    await deliver(station.service, missed(person))
    await station.send()
    assert station.relay_host.taken == []
    await station.database.advance_clock(dt.timedelta(minutes=31))
    await station.send()
    assert await station.states() == [("call_missed", "email", "accepted", None)]


def missed(prospect: UUID) -> CallMissed:
    """A call that the prospect did not come to."""
    return CallMissed(
        call_id=uuid4(), prospect_id=prospect, volunteer_id=uuid4(), purpose="one_on_one", missed_by="prospect"
    )


async def test_delay_of_the_program_is_waited_for_by_business_time(station: Station) -> None:
    person = station.know()
    await deliver(station.service, IntroCallMissed(intro_call_id=uuid4(), person_id=person))
    await station.send()
    assert station.relay_host.taken == []
    await station.database.advance_clock(dt.timedelta(minutes=61))
    await station.send()
    assert len(station.relay_host.to(person)) == 1


async def test_message_that_no_longer_applies_is_dropped(station: Station) -> None:
    event = booked(station.know(), station.know())
    station.outside.gone.add(str(event.call_id))
    await deliver(station.service, event)
    await station.send()
    assert station.relay_host.taken == []
    assert {row[2:] for row in await station.states()} == {("dropped", "gone")}
    assert sorted(told(await take_outbox(station.service))) == [
        ("MessageFailed", "call_booked", "gone"), ("MessageFailed", "call_booked_volunteer", "gone"),
    ]  # fmt: skip


async def test_owner_that_is_away_puts_messages_back_without_using_up_tries(station: Station) -> None:
    person = station.know()
    station.outside.away.add("signup")
    await deliver(station.service, confirmed(person))
    await station.send()
    assert await station.states() == [("confirmed_welcome", "email", "queued", "owner_away")]
    station.outside.away.clear()
    await station.database.advance_clock(dt.timedelta(seconds=16))
    await station.send()
    assert await station.database.fetch("SELECT state, tries FROM messages") == [("accepted", 1)]


async def test_unconfirmed_unknown_and_erased_people_get_nothing_but_links(station: Station) -> None:
    unconfirmed, unknown, erased = station.know(confirmed=False), uuid4(), station.know()
    await deliver(station.service, confirmed(unconfirmed), confirmed(unknown), confirmed(erased))
    await station.database.execute(
        "INSERT INTO tombstones (person_id, erased_at, receipt_id) VALUES ($1, now(), $1)", erased
    )
    await station.send()
    assert [reason for *_, reason in await station.states()] == ["unconfirmed", "no_person", "erased"]
    assert station.relay_host.taken == []
    assert erased not in {event.person_id for event in await take_outbox(station.service)}  # type: ignore[attr-defined]


async def test_bulk_needs_consent_by_what_signup_says_and_by_what_we_know(station: Station) -> None:
    never, withdrawn, granted = station.know(consents={}), station.know(), station.know()
    await deliver(
        station.service,
        consent(withdrawn, "email", granted=True),
        consent(withdrawn, "email", granted=False),
        *(invited(person) for person in (never, withdrawn, granted)),
    )
    await station.send()
    assert [tuple(row[2:]) for row in await station.states()] == [
        ("dropped", "no_consent"), ("dropped", "no_consent"), ("accepted", None),
    ]  # fmt: skip


async def test_bulk_that_is_stuck_does_not_hold_up_a_link(station: Station) -> None:
    crowd = [station.know() for _ in range(40)]
    person = station.know()
    await deliver(station.service, *(invited(each) for each in crowd), signed_up(person, known=True))
    sender, gate = station.sender("bulk"), asyncio.Event()
    hand_over = sender._providers.hand_over

    async def stuck(ready: Any) -> Any:
        await gate.wait()
        return await hand_over(ready)

    sender._providers.hand_over = stuck  # type: ignore[method-assign]
    bulk = asyncio.create_task(station.send("bulk"))
    await station.send("link")
    assert [address for address, _mail in station.relay_host.taken] == [contact(person).email]
    gate.set()
    await bulk
    assert len(station.relay_host.taken) == 41


async def test_bulk_pauses_itself_over_bounces(station: Station) -> None:
    people = [station.know() for _ in range(100)]
    bouncing = {contact(person).email for person in people[:4]}
    station.relay_host.on_rcpt = lambda address: "550 5.1.1 No such user" if address in bouncing else "250 OK"
    await deliver(station.service, *(invited(person) for person in people))
    await station.send()
    late, link = station.know(), station.know()
    await deliver(station.service, invited(late), signed_up(link, known=True))
    await station.send()
    assert len(station.relay_host.to(late)) == 0
    assert len(station.relay_host.to(link)) == 1
    await station.database.advance_clock(dt.timedelta(days=1, minutes=1))
    await station.send()
    assert len(station.relay_host.to(late)) == 1


async def test_bodies_are_forgotten_and_those_of_links_never_kept(station: Station) -> None:
    link, other = station.know(), station.know()
    await deliver(station.service, signed_up(link, known=True), confirmed(other))
    await station.send()
    kept = "SELECT body <> '' FROM messages WHERE body IS NOT NULL ORDER BY delivery"
    assert await station.database.fetch(kept) == [(False,), (True,)]
    await station.database.advance_clock(dt.timedelta(days=6, hours=23))
    await station.upkeep.purge()
    assert await station.database.fetch(kept) == [(False,), (True,)]
    await station.database.advance_clock(dt.timedelta(hours=2))
    await station.upkeep.purge()
    assert await station.database.fetch(kept) == []


async def test_reminder_after_the_call_began_is_not_sent(station: Station) -> None:
    prospect, volunteer = station.know(), station.know()
    await deliver(station.service, reminder(prospect, volunteer, starts_at=dt.datetime(2020, 1, 1, tzinfo=dt.UTC)))
    await station.send()
    assert [tuple(row[1:]) for row in await station.states()] == [
        ("email", "dropped", "expired"), ("sms", "dropped", "expired"),
    ] * 2  # fmt: skip


async def test_loops_send_what_arrives_and_end_when_cancelled(station: Station) -> None:
    tasks = [asyncio.ensure_future(loop()) for loop in station.service.parts.loops.values()]
    person = station.know()
    await deliver(station.service, confirmed(person), signed_up(person, known=True))
    async with asyncio.timeout(10):
        while len(station.relay_host.to(person)) < 2:
            await asyncio.sleep(0.02)
    for task in tasks:
        task.cancel()
    ended = await asyncio.gather(*tasks, return_exceptions=True)
    assert {type(end) for end in ended} == {asyncio.CancelledError}
