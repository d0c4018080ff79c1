"""Providers that hang, trickle or fail: how long one is waited for, when it is demoted, and what takes its place."""

import asyncio
import json
import socket
from collections.abc import AsyncIterator, Awaitable, Callable
from typing import Any
from uuid import uuid4

import pytest
from prometheus_client import generate_latest

from services.notifications.app import SERVICE
from services.notifications.domain.sending import DEMOTE_MIN
from services.notifications.sending.answers import Answer
from services.notifications.sending.providers import PROBE_SECONDS, Provider, Providers
from services.notifications.sending.sms import SmsGateway
from tests.component.notifications.conftest import Outside, RelayHost, Station, settings_for
from tests.component.notifications.events import invited, signed_up
from tests.conftest import DatabaseFactory
from tests.harness import deliver, running
from tests.unit.notifications.samples import contact

GOOD, FAILED = Answer("accepted"), Answer("unknown", "timeout", provider_failed=True)


class Clock:
    """Seconds that pass when told to."""

    def __init__(self) -> None:
        self.now = 1000.0

    def __call__(self) -> float:
        return self.now


class Scripted:
    """A provider that answers as it is set, taking as long as it is set."""

    def __init__(self, clock: Clock) -> None:
        self.clock, self.answer, self.seconds, self.asked = clock, GOOD, 0.1, 0

    async def __call__(self, _ready: Any) -> Answer:
        self.asked += 1
        self.clock.now += self.seconds
        return self.answer


def two() -> tuple[Clock, Scripted, Scripted, Providers]:
    clock = Clock()
    first, second = Scripted(clock), Scripted(clock)
    ways = [Provider("first", first), Provider("second", second)]
    return clock, first, second, Providers("test", ways, timeout_seconds=10, clock=clock)


async def hand(providers: Providers, count: int) -> list[str]:
    return [(await providers.hand_over(None)).outcome for _ in range(count)]  # type: ignore[arg-type]


async def test_failing_provider_is_demoted_and_comes_back() -> None:
    clock, first, second, providers = two()
    first.answer = FAILED
    await hand(providers, DEMOTE_MIN + 3)
    assert (first.asked, second.asked) == (DEMOTE_MIN, 3)
    second.answer = FAILED
    await hand(providers, 7)
    # Half of the last ones failed.
    assert second.asked == 3 + 3
    # Both are demoted: one message every so often, to the one that was not asked for longest.
    asked = first.asked + second.asked
    assert providers.room(200) == 0
    clock.now += PROBE_SECONDS + 1
    assert providers.room(200) == 1
    await hand(providers, 3)
    assert first.asked + second.asked == asked + 1
    first.answer = second.answer = GOOD
    clock.now += PROBE_SECONDS + 1
    await hand(providers, 1)
    assert providers.room(200) == 200
    assert await hand(providers, 5) == ["accepted"] * 5


async def test_slow_provider_is_demoted_though_it_takes_everything() -> None:
    _clock, first, second, providers = two()
    first.seconds = 6
    assert await hand(providers, DEMOTE_MIN + 2) == ["accepted"] * (DEMOTE_MIN + 2)
    assert (first.asked, second.asked) == (DEMOTE_MIN, 2)


async def test_refusals_of_recipients_demote_nobody() -> None:
    _clock, first, second, providers = two()
    for answer in (Answer("rejected", "bounced", bounced=True), Answer("temporary", "smtp_451"),
                   Answer("temporary", "http_429", retry_after_seconds=60)):  # fmt: skip
        first.answer = answer
        await hand(providers, 20)
    assert (first.asked, second.asked) == (60, 0)


async def test_host_that_hangs_leaves_few_unknown_and_the_rest_queued(station: Station) -> None:
    """Each bulk mail that ends unknown costs an operator's decision: two hundred must not."""
    people = [uuid4() for _ in range(60)]
    station.outside.know(*(contact(person) for person in people))
    station.relay_host.hang_after_body = True
    await deliver(station.service, *(invited(person) for person in people))
    await station.send("bulk")
    states = [row[2] for row in await station.states()]
    connections = 8
    assert states.count("unknown") <= connections + DEMOTE_MIN
    assert states.count("queued") == 60 - states.count("unknown")
    assert await station.sender("bulk").send_batch() == 0, "no probe yet"


async def test_fallback_takes_over_from_a_host_that_does_not_answer(
    databases: DatabaseFactory, relay_host: RelayHost, outside: Outside
) -> None:
    people = [uuid4() for _ in range(20)]
    outside.know(*(contact(person) for person in people))
    with socket.create_server(("127.0.0.1", 0)) as gone:
        closed = gone.getsockname()[1]
    settings = settings_for(
        await databases("notifications"), relay_host, outside,
        smtp_timeout_seconds=1.0, smtp_fallback_host="127.0.0.1", smtp_fallback_port=relay_host.port,
    ).model_copy(update={"smtp_port": closed})  # fmt: skip
    async with running(SERVICE, settings) as service:
        station = Station(service, None, relay_host, outside)  # type: ignore[arg-type]
        await deliver(service, *(signed_up(person, known=True) for person in people))
        for _ in range(2):
            await station.send("link")
        later = "UPDATE messages SET due_at = business_now() WHERE state = 'queued'"
        await service.context.pool.execute(later)
        await station.send("link")
        for close in service.parts.on_close:
            await close()
    assert sorted(address for address, _mail in relay_host.taken) == sorted(
        str(contact(person).email) for person in people
    )


@pytest.fixture
async def trickling() -> AsyncIterator[Callable[[], Awaitable[str]]]:
    """A text provider that answers a byte at a time and never ends; gives its address."""
    writers: list[asyncio.StreamWriter] = []
    tasks: set[asyncio.Task[None]] = set()

    async def answer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writers.append(writer)
        tasks.add(asyncio.current_task())  # type: ignore[arg-type]
        await reader.readuntil(b"\r\n\r\n")
        writer.write(b"HTTP/1.1 201 Created\r\nContent-Length: 1000\r\n\r\n")
        while True:
            writer.write(b" ")
            await writer.drain()
            await asyncio.sleep(0.05)

    server = await asyncio.start_server(answer, "127.0.0.1", 0)
    port = server.sockets[0].getsockname()[1]

    async def address() -> str:
        return f"http://127.0.0.1:{port}/sms"

    yield address
    server.close()
    for task in tasks:
        task.cancel()
    await asyncio.gather(*tasks, return_exceptions=True)
    for writer in writers:
        writer.close()


async def test_answer_that_trickles_in_meets_the_time_out(trickling: Callable[[], Awaitable[str]]) -> None:
    gateway = SmsGateway(await trickling(), "+15555550100", None, timeout_seconds=0.5)
    try:
        async with asyncio.timeout(5):
            answer = await gateway.hand_over("+13165550123", "Hello", "reference")
            assert (answer.outcome, answer.reason) == ("unknown", "timeout")
            assert await gateway.look_up("reference") == ("no_answer", None)
    finally:
        await gateway.close()


async def test_demotion_is_in_the_metrics(station: Station) -> None:
    station.relay_host.close_after_body = True
    people = [uuid4() for _ in range(12)]
    station.outside.know(*(contact(person) for person in people))
    await deliver(station.service, *(invited(person) for person in people))
    await station.send("bulk")
    assert 'hustings_provider_demoted{lane="bulk",provider="first"} 1.0' in generate_latest().decode()


def test_time_out_of_a_provider_is_ten_seconds() -> None:
    defaults = {name: field.default for name, field in SERVICE.settings.model_fields.items()}
    assert json.dumps(defaults["smtp_timeout_seconds"]) == "10.0"
