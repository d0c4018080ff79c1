"""What a relay host reports after it took a mail, or may have taken it."""

import datetime as dt
from typing import Any
from uuid import UUID, uuid4

import httpx
import pytest

from tests.component.notifications.conftest import Outside, RelayHost, Station, stationed
from tests.component.notifications.events import confirmed, invited, signed_up
from tests.conftest import DatabaseFactory
from tests.harness import client_of, deliver, take_outbox


async def report(station: Station, message: object, outcome: str, token: str = "receipts-of-tests") -> httpx.Response:
    async with client_of(station.service) as client:
        return await client.post(
            "/mail/receipts", json={"message_id": f"<{message}@mail.test>", "outcome": outcome},
            headers={"X-Receipt-Token": token},
        )  # fmt: skip


async def sent(station: Station, event_of: Any, *, unknown: bool) -> tuple[UUID, str]:
    """A person, and the Message-ID's first part of a mail to them that was taken, or may have been."""
    person = station.know()
    station.relay_host.close_after_body = unknown
    await deliver(station.service, event_of(person))
    await station.send()
    station.relay_host.close_after_body = False
    await take_outbox(station.service)
    (mail,) = station.relay_host.to(person)
    return person, str(mail["Message-ID"]).strip("<>").partition("@")[0]


@pytest.mark.parametrize(
    ("outcome", "state", "event"),
    [("delivered", ("accepted", "receipt"), "MessageSent"), ("bounced", ("rejected", "bounced"), "MessageFailed")],
)
async def test_report_within_the_quarter_of_an_hour_keeps_the_second_copy_back(
    station: Station, outcome: str, state: tuple[str, str], event: str
) -> None:
    person, message = await sent(station, confirmed, unknown=True)
    answer = await report(station, message, outcome)
    assert (answer.status_code, answer.json()) == (200, {"state": state[0]})
    await station.database.advance_clock(dt.timedelta(minutes=16))
    await station.upkeep.recover()
    await station.send()
    assert [row[2:] for row in await station.states()] == [state]
    assert len(station.relay_host.to(person)) == 1
    assert type((await take_outbox(station.service))[0]).__name__ == event


async def test_without_a_report_the_copy_is_sent_and_a_late_one_changes_nothing_more(station: Station) -> None:
    person, message = await sent(station, confirmed, unknown=True)
    await station.database.advance_clock(dt.timedelta(minutes=16))
    await station.upkeep.recover()
    await station.send()
    assert (await report(station, message, "delivered")).json() == {"state": "accepted"}
    assert await station.states() == [("confirmed_welcome", "email", "accepted", None)]
    assert len(station.relay_host.to(person)) == 2


async def test_bounce_that_comes_later_stops_the_address_once(station: Station) -> None:
    person, message = await sent(station, invited, unknown=False)
    for _ in range(2):
        assert (await report(station, message, "bounced")).json() == {"state": "rejected"}
    events = [type(event).__name__ for event in await take_outbox(station.service)]
    assert events == ["MessageFailed", "ContactSuppressed"]
    await deliver(station.service, signed_up(person, known=True))
    await station.send()
    assert [row[2:] for row in await station.states()] == [("rejected", "bounced"), ("dropped", "suppressed")]


@pytest.mark.parametrize(
    ("before", "after", "then"),
    [
        ({"contact_hash_key": "of-its-own"}, {"contact_hash_key": "of-its-own"}, ("dropped", "suppressed")),
        # A system that had none is given the link secret that it began with.
        ({}, {"contact_hash_key": "before"}, ("dropped", "suppressed")),
        # What the key is for: without it, who bounced is written to again.
        ({}, {}, ("accepted", None)),
    ],
    ids=["key", "seeded", "none"],
)
async def test_bounce_outlives_new_links_where_contacts_have_a_key_of_their_own(
    databases: DatabaseFactory,
    relay_host: RelayHost,
    outside: Outside,
    before: dict[str, str],
    after: dict[str, str],
    then: tuple[str, str | None],
) -> None:
    database = await databases("notifications")
    async with stationed(database, relay_host, outside, link_secret="before", **before) as station:
        person, message = await sent(station, invited, unknown=False)
        assert (await report(station, message, "bounced")).json() == {"state": "rejected"}
        assert await database.fetch("SELECT person_id, contact_hash IS NULL FROM suppressions") == [(None, False)]
    async with stationed(database, relay_host, outside, link_secret="after", **after) as station:
        await deliver(station.service, signed_up(person, known=True))
        await station.send()
        assert [row[2:] for row in await station.states()] == [("rejected", "bounced"), then]


async def test_complaint_leaves_links_only(station: Station) -> None:
    person, message = await sent(station, invited, unknown=False)
    assert (await report(station, message, "complained")).json() == {"state": "accepted"}
    await deliver(station.service, confirmed(person), signed_up(person, known=True))
    await station.send()
    assert sorted(row[2:] for row in (await station.states())[1:]) == [("accepted", None), ("dropped", "suppressed")]


async def test_report_needs_the_hosts_credential_and_a_message_of_ours(station: Station) -> None:
    _person, message = await sent(station, confirmed, unknown=True)
    assert (await report(station, message, "delivered", token="another")).status_code == 401
    assert (await report(station, uuid4(), "delivered")).status_code == 404
    assert (await report(station, "x" * 36, "delivered")).status_code == 404
    assert (await report(station, message, "opened")).status_code == 422
    assert [row[2] for row in await station.states()] == ["unknown"]
