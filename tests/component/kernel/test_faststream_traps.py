"""The settings of FastStream that lose records, spin or lie, each shown on the broker, and that ours do not.

Every test runs one scenario twice: through a subscriber with the tempting setting (`naive`), whose damage is
asserted, and through `shared.broker.Consumer`. Adopting such a setting fails the second half; a new version of
FastStream that mends the first half fails there, and the setting may be looked at again.
"""

import asyncio
import logging
import re
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any
from uuid import UUID, uuid4

import pytest
from aiokafka import AIOKafkaProducer, TopicPartition
from faststream import AckPolicy
from faststream.kafka import KafkaBroker, KafkaRouter

from deploy.embedded.kafka import Kafka
from shared.events.envelope import Received, headers_of, new_id, payload_of
from shared.events.topics import Topic
from shared.work import Work
from tests.component.kernel.conftest import Kernel
from tests.component.kernel.events import NOON, Noted
from tests.component.kernel.running import consuming, note, producing, stays, until

GROUP = "readers"
Handle = Callable[[Any], Awaitable[None]]


@asynccontextmanager
async def naive(
    kafka: Kafka, topic: Topic, handle: Handle, *, broker: dict[str, Any] | None = None, **options: Any
) -> AsyncIterator[tuple[KafkaBroker, Any]]:
    """A running FastStream subscriber with these settings; `handle` gets the decoded value."""
    made = KafkaBroker(kafka.bootstrap, **{"apply_types": False, "logger": None, **(broker or {})})
    subscriber = made.subscriber(topic.name, group_id=GROUP, **options)
    subscriber(handle)
    await made.start()
    try:
        yield made, subscriber
    finally:
        await made.stop()


async def send(
    producer: AIOKafkaProducer, topic: Topic, *numbers: int, person: UUID, extra: Sequence[tuple[str, Any]] = ()
) -> None:
    """One note per number, all to partition 0, with envelopes as the outbox writes them."""
    for number in numbers:
        event = Noted(person_id=person, number=number)
        headers = headers_of(
            event, event_id=new_id(), source="test", time=NOON, sequence=number + 1, correlation_id=None
        )
        await producer.send_and_wait(
            topic.name,
            key=event.key.encode(),
            value=payload_of(event),
            headers=[*((name, value.encode()) for name, value in headers), *extra],
            partition=0,
        )


def holds(found: list[int], *wanted: int) -> Callable[[], Awaitable[bool]]:
    """Whether every wanted number was found."""

    async def check() -> bool:
        return set(wanted) <= set(found)

    return check


def ours(kernel: Kernel, kafka: Kafka, topic: Topic, handle: Any) -> Any:
    """The same topic through the kernel's consumer."""
    return consuming(kernel, kafka.bootstrap, kernel.inbox({Noted: handle}), group=kernel.name, topics=[topic])


def effect(kernel: Kernel, *numbers: int) -> Callable[[], Awaitable[bool]]:
    """Whether these notes had their effect, in this order and once each."""

    async def check() -> bool:
        rows = await kernel.pool.fetch("SELECT note::int AS number FROM effects ORDER BY ordinal")
        return [row["number"] for row in rows] == list(numbers)

    return check


# FastStream itself says by now that the two are one.
@pytest.mark.filterwarnings("ignore:AckPolicy.REJECT_ON_ERROR:UserWarning")
@pytest.mark.parametrize("policy", [None, AckPolicy.ACK, AckPolicy.REJECT_ON_ERROR])
async def test_policies_that_commit_a_failed_record_lose_it(
    kernel: Kernel, kafka: Kafka, topic: Topic, policy: AckPolicy | None
) -> None:
    options: dict[str, Any] = {"auto_offset_reset": "earliest"} | ({"ack_policy": policy} if policy else {})
    tried: list[int] = []
    handled: list[int] = []

    async def fail(body: Any) -> None:
        tried.append(body["number"])
        raise ConnectionError("the database is away")

    async def work(body: Any) -> None:
        handled.append(body["number"])

    person = uuid4()
    async with producing(kafka.bootstrap) as producer:
        await send(producer, topic, 0, person=person)
        async with naive(kafka, topic, fail, **options):
            await until(holds(tried, 0), what="a failed try")
        async with naive(kafka, topic, work, **options):
            await send(producer, topic, 1, person=person)
            await until(holds(handled, 1), what="the next record")
    assert handled == [1]

    tries = 0

    async def fail_ours(work: Work, events: Sequence[Received]) -> None:
        nonlocal tries
        tries += 1
        raise ConnectionError("the database is away")

    async def tried_ours() -> bool:
        return tries > 0

    async with ours(kernel, kafka, topic, fail_ours):
        await until(tried_ours, what="a failed try of ours")
    async with ours(kernel, kafka, topic, note):
        await until(effect(kernel, 0, 1), what="both records")


async def test_nack_on_error_spins_and_blocks_what_is_behind(kernel: Kernel, kafka: Kafka, topic: Topic) -> None:
    tries: list[int] = []

    async def fail(body: Any) -> None:
        tries.append(body["number"])
        if body["number"] == 0:
            raise ValueError("poison")

    async def many() -> bool:
        return len(tries) > 50

    async with producing(kafka.bootstrap) as producer:
        await send(producer, topic, 0, person=uuid4())
        await send(producer, topic, 1, person=uuid4())
    options: dict[str, Any] = {"auto_offset_reset": "earliest", "ack_policy": AckPolicy.NACK_ON_ERROR}
    async with naive(kafka, topic, fail, **options):
        await until(many, what="fifty tries without a pause", seconds=10)
    assert set(tries) == {0}

    tries_ours = 0

    async def fail_ours(work: Work, events: Sequence[Received]) -> None:
        nonlocal tries_ours
        tries_ours += any(isinstance(r.event, Noted) and r.event.number == 0 for r in events)
        if any(isinstance(r.event, Noted) and r.event.number == 0 for r in events):
            raise ValueError("poison")
        await note(work, events)

    async def few() -> bool:
        return tries_ours <= 4

    async with ours(kernel, kafka, topic, fail_ours):
        await until(effect(kernel, 1), what="the record behind the poison")
        await stays(few, what="tried as a batch, alone, and not again so soon", seconds=1.5)
    assert await kernel.count("parked") == 1


async def test_database_that_is_away_is_not_hammered(kernel: Kernel, kafka: Kafka, topic: Topic) -> None:
    tries = 0

    async def fail(work: Work, events: Sequence[Received]) -> None:
        nonlocal tries
        tries += 1
        raise ConnectionError("away")

    async def few() -> bool:
        return tries <= 4

    async with producing(kafka.bootstrap) as producer:
        await send(producer, topic, 0, person=uuid4())
    async with ours(kernel, kafka, topic, fail):
        await stays(few, what="few tries, with growing pauses", seconds=3)
    assert tries >= 1


async def test_routers_ignore_the_brokers_policy(repository: Path, kafka: Kafka, topic: Topic) -> None:
    tried: list[int] = []
    handled: list[int] = []

    async def take(body: Any) -> None:
        # By hand, says the broker's policy, and nobody acknowledges.
        tried.append(body["number"])

    async def work(body: Any) -> None:
        handled.append(body["number"])

    async with producing(kafka.bootstrap) as producer:
        await send(producer, topic, 0, person=uuid4())
        broker = KafkaBroker(kafka.bootstrap, apply_types=False, logger=None, ack_policy=AckPolicy.MANUAL)
        router = KafkaRouter()
        router.subscriber(topic.name, group_id=GROUP, auto_offset_reset="earliest")(take)
        broker.include_router(router)
        await broker.start()
        try:
            await until(holds(tried, 0), what="the record")
        finally:
            await broker.stop()
        async with naive(kafka, topic, work, auto_offset_reset="earliest", ack_policy=AckPolicy.MANUAL):
            await send(producer, topic, 1, person=uuid4())
            await until(holds(handled, 1), what="the next record")
    assert handled == [1]

    # Ours has no router, and one place that subscribes, where the policy stands.
    places = [
        str(path.relative_to(repository))
        for folder in ("shared", "services")
        for path in sorted((repository / folder).rglob("*.py"))
        if re.search(r"\.subscriber\(\n|\.subscriber\([^)\s]|KafkaRouter", path.read_text(encoding="utf-8"))
    ]
    assert places == ["shared/broker.py"]


@pytest.mark.parametrize(("name", "value"), [("x-null", None), ("x-bytes", b"\xff\xfe"), ("ce_id", b"\xff\xfe")])
async def test_broken_header_is_passed_in_silence(
    kernel: Kernel, kafka: Kafka, topic: Topic, name: str, value: bytes | None
) -> None:
    handled: list[int] = []

    async def work(body: Any) -> None:
        handled.append(body["number"])

    person = uuid4()
    async with producing(kafka.bootstrap) as producer:
        await send(producer, topic, 0, person=person, extra=[(name, value)])
        await send(producer, topic, 1, person=person)
    options: dict[str, Any] = {"auto_offset_reset": "earliest", "ack_policy": AckPolicy.NACK_ON_ERROR}
    async with naive(kafka, topic, work, **options) as (_, subscriber):
        await until(holds(handled, 1), what="the record behind it")

        async def committed() -> bool:
            return bool(await subscriber.consumer.committed(TopicPartition(topic.name, 0)) == 2)

        await until(committed, what="a commit that passes the broken one")
    assert handled == [1]

    quarantines = name == "ce_id"
    async with ours(kernel, kafka, topic, note):
        await until(effect(kernel, *([1] if quarantines else [0, 1])), what="the effects")
    offsets = await kernel.pool.fetch("SELECT record_offset FROM quarantined")
    assert [row["record_offset"] for row in offsets] == ([0] if quarantines else [])


async def test_several_workers_drop_what_is_queued_at_a_stop(kernel: Kernel, kafka: Kafka, topic: Topic) -> None:
    handled: list[int] = []

    async def work(body: Any) -> None:
        await asyncio.sleep(0.05)
        handled.append(body["number"])

    async def some() -> bool:
        return len(handled) >= 4

    person = uuid4()
    async with producing(kafka.bootstrap) as producer:
        await send(producer, topic, *range(60), person=person)
        options: dict[str, Any] = {"auto_offset_reset": "earliest"}
        async with naive(kafka, topic, work, broker={"graceful_timeout": 5.0}, max_workers=4, **options):
            await until(some, what="a few records", pause=0.01)
        async with naive(kafka, topic, work, **options):
            await send(producer, topic, 60, person=person)
            await until(holds(handled, 60), what="the last record")
    assert set(range(61)) - set(handled) != set()

    started = asyncio.Event()

    async def slow(work: Work, events: Sequence[Received]) -> None:
        started.set()
        await asyncio.sleep(0.02)
        await note(work, events)

    async with ours(kernel, kafka, topic, slow):
        await asyncio.wait_for(started.wait(), 20)
    async with ours(kernel, kafka, topic, slow):
        await until(effect(kernel, *range(61)), what="61 effects in order")


async def test_default_reset_loses_what_came_before_the_group(kernel: Kernel, kafka: Kafka, topic: Topic) -> None:
    handled: list[int] = []

    async def work(body: Any) -> None:
        handled.append(body["number"])

    person = uuid4()
    async with producing(kafka.bootstrap) as producer:
        await send(producer, topic, 0, person=person)
        async with naive(kafka, topic, work) as (_, subscriber):

            async def positioned() -> bool:
                partition = TopicPartition(topic.name, 0)
                assigned = partition in subscriber.consumer.assignment()
                return assigned and await subscriber.consumer.position(partition) == 1

            await until(positioned, what="a position at the end")
            await send(producer, topic, 1, person=person)
            await until(holds(handled, 1), what="the record after the start")
    assert handled == [1]

    async with ours(kernel, kafka, topic, note):
        await until(effect(kernel, 0, 1), what="both records")


async def test_ping_is_healthy_though_nothing_is_read(kernel: Kernel, kafka: Kafka, topic: Topic) -> None:
    async def work(body: Any) -> None:
        raise AssertionError("nothing is sent")

    async def all_done(tasks: Sequence[asyncio.Task[Any]]) -> bool:
        return bool(tasks) and all(task.done() for task in tasks)

    async with naive(kafka, topic, work) as (broker, subscriber):
        for task in subscriber.tasks:
            task.cancel()
        await until(lambda: all_done(subscriber.tasks), what="a dead consume loop")
        assert await broker.ping(5.0) is True

    async with ours(kernel, kafka, topic, note) as consumer:
        assert consumer.healthy() is True
        for task in consumer._subscriber.tasks:
            task.cancel()
        await until(lambda: all_done(consumer._subscriber.tasks), what="a dead consume loop of ours")
        assert await consumer._broker.ping(5.0) is True
        assert consumer.healthy() is False


async def test_batch_older_than_the_poll_interval_is_not_healthy(
    kernel: Kernel, kafka: Kafka, topic: Topic, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("shared.broker.MAX_POLL_INTERVAL_MS", 300)
    entered, leaves = asyncio.Event(), asyncio.Event()

    async def hang(work: Work, events: Sequence[Received]) -> None:
        entered.set()
        await leaves.wait()

    async with producing(kafka.bootstrap) as producer:
        await send(producer, topic, 0, person=uuid4())
    async with ours(kernel, kafka, topic, hang) as consumer:
        await asyncio.wait_for(entered.wait(), 20)

        async def unhealthy() -> bool:
            return not consumer.healthy()

        await until(unhealthy, what="an unhealthy consumer", seconds=5)
        leaves.set()

        async def healthy() -> bool:
            return bool(consumer.healthy())

        await until(healthy, what="a healthy consumer", seconds=5)


async def test_stop_without_a_timeout_does_not_wait_for_the_handler(kernel: Kernel, kafka: Kafka, topic: Topic) -> None:
    entered, handled = asyncio.Event(), list[int]()

    async def work(body: Any) -> None:
        entered.set()
        await asyncio.sleep(0.5)
        handled.append(body["number"])

    async with producing(kafka.bootstrap) as producer:
        await send(producer, topic, 0, person=uuid4())
    async with naive(kafka, topic, work, broker={"graceful_timeout": None}, auto_offset_reset="earliest"):
        await asyncio.wait_for(entered.wait(), 20)
    assert handled == []

    entered.clear()

    async def slow(work: Work, events: Sequence[Received]) -> None:
        entered.set()
        await asyncio.sleep(0.5)
        await note(work, events)

    async with ours(kernel, kafka, topic, slow):
        await asyncio.wait_for(entered.wait(), 20)
    assert await effect(kernel, 0)() is True


async def test_default_logger_writes_two_lines_a_message(
    kernel: Kernel, kafka: Kafka, topic: Topic, caplog: pytest.LogCaptureFixture
) -> None:
    handled: list[int] = []

    async def work(body: Any) -> None:
        handled.append(body["number"])

    person = uuid4()
    async with producing(kafka.bootstrap) as producer:
        await send(producer, topic, *range(10), person=person)
    logger = logging.getLogger("tests.naive")
    with caplog.at_level(logging.INFO, "tests.naive"):
        async with naive(kafka, topic, work, broker={"logger": logger}, auto_offset_reset="earliest"):
            await until(holds(handled, *range(10)), what="10 records")
    per_message = [r for r in caplog.records if r.getMessage() in ("Received", "Processed")]
    assert len(per_message) == 20

    caplog.clear()
    with caplog.at_level(logging.INFO):
        async with ours(kernel, kafka, topic, note):
            await until(effect(kernel, *range(10)), what="10 effects")
    assert [r.getMessage() for r in caplog.records if r.getMessage() in ("Received", "Processed")] == []
    assert [r for r in caplog.records if r.name.startswith("faststream")] == []
