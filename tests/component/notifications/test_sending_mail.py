"""From an event to a mail that a relay host took."""

from uuid import uuid4

from shared.events import notifications
from tests.component.notifications.conftest import Station
from tests.component.notifications.events import booked, confirmed, invited, signed_up
from tests.harness import deliver, take_outbox
from tests.unit.notifications.samples import URL, contact


async def test_sign_up_event_becomes_one_mail_with_the_confirmation_link(station: Station) -> None:
    person = uuid4()
    station.outside.know(contact(person, confirmed=False))
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
    person = uuid4()
    station.outside.know(contact(person))
    event = confirmed(person)
    await deliver(station.service, event)
    assert await deliver(station.service, event, first_offset=0) == 0
    await station.send()
    await station.send()
    assert len(station.relay_host.to(person)) == 1
