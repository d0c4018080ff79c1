"""What the kernel's tests share: polling with a deadline, tasks that end with their block, a look into a topic."""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable, Coroutine, Sequence
from contextlib import asynccontextmanager, suppress
from typing import Any
from uuid import UUID

from aiokafka import AIOKafkaConsumer, AIOKafkaProducer, TopicPartition

from deploy.embedded.kafka import Kafka
from shared.broker import Consumer
from shared.events import Event
from shared.events.envelope import Received
from shared.events.topics import Topic
from shared.inbox import Inbox
from shared.relay import Relay
from shared.work import Work
from tests.component.kernel.conftest import Kernel
from tests.component.kernel.events import Noted

DEADLINE_SECONDS = 40.0


async def until(
    condition: Callable[[], Awaitable[Any]], *, what: str, seconds: float = DEADLINE_SECONDS, pause: float = 0.05
) -> None:
    """Poll until the condition holds; fail at the deadline, saying what was awaited."""
    try:
        async with asyncio.timeout(seconds):
            while not await condition():
                await asyncio.sleep(pause)
    except TimeoutError:
        raise AssertionError(f"not within {seconds} s: {what}") from None


async def stays(condition: Callable[[], Awaitable[Any]], *, what: str, seconds: float) -> None:
    """Fail as soon as the condition does not hold, for this long."""
    loop = asyncio.get_running_loop()
    ends = loop.time() + seconds
    while loop.time() < ends:
        assert await condition(), what
        await asyncio.sleep(0.05)


@asynccontextmanager
async def running(coroutine: Coroutine[Any, Any, None]) -> AsyncIterator[asyncio.Task[None]]:
    """Run a coroutine beside the block and cancel it afterwards."""
    task = asyncio.create_task(coroutine)
    try:
        yield task
    finally:
        task.cancel()
        with suppress(asyncio.CancelledError):
            await task


@asynccontextmanager
async def producing(bootstrap: str) -> AsyncIterator[AIOKafkaProducer]:
    """A plain producer, as a foreign or faulty sender has it."""
    producer = AIOKafkaProducer(bootstrap_servers=bootstrap)
    await producer.start()
    try:
        yield producer
    finally:
        await producer.stop()


@asynccontextmanager
async def consuming(
    kernel: Kernel, bootstrap: str, inbox: Inbox, *, group: str, topics: Sequence[Topic]
) -> AsyncIterator[Consumer]:
    """A started consumer, stopped when the block ends."""
    consumer = Consumer(service=group, bootstrap=bootstrap, topics=topics, inbox=inbox, pool=kernel.pool)
    await consumer.start()
    try:
        yield consumer
    finally:
        await consumer.stop()


async def note(work: Work, events: Sequence[Received]) -> None:
    """The effect: one row per event; poison fails."""
    for received in events:
        event = received.event
        assert isinstance(event, Noted)
        if event.poison:
            raise ValueError("poison")
        await work.connection.execute(
            "INSERT INTO effects VALUES ($1, $2, $3)", received.id, event.person_id, str(event.number)
        )


async def read_topic(bootstrap: str, topic: str) -> list[Any]:
    """Every committed record of a topic, by partition and offset."""
    consumer = AIOKafkaConsumer(
        bootstrap_servers=bootstrap,
        auto_offset_reset="earliest",
        isolation_level="read_committed",
        enable_auto_commit=False,
    )
    await consumer.start()
    try:
        partitions = [TopicPartition(topic, p) for p in sorted(consumer.partitions_for_topic(topic) or ())]
        if not partitions:
            await consumer._client.force_metadata_update()
            numbers = await _partitions(consumer, topic)
            partitions = [TopicPartition(topic, p) for p in numbers]
        consumer.assign(partitions)
        ends = await consumer.end_offsets(partitions)
        records: list[Any] = []
        async with asyncio.timeout(DEADLINE_SECONDS):
            while any([await consumer.position(tp) < end for tp, end in ends.items()]):
                for batch in (await consumer.getmany(timeout_ms=200)).values():
                    records += batch
        return sorted(records, key=lambda r: (r.partition, r.offset))
    finally:
        await consumer.stop()


async def _partitions(consumer: AIOKafkaConsumer, topic: str) -> list[int]:
    consumer.subscribe([topic])
    async with asyncio.timeout(DEADLINE_SECONDS):
        while not (numbers := consumer.partitions_for_topic(topic)):
            await asyncio.sleep(0.05)
    consumer.unsubscribe()
    return sorted(numbers)


def make_relay(kernel: Kernel, kafka: Kafka, cls: type[Relay] = Relay, **options: Any) -> Relay:
    """A relay of a service of its own, so that tests do not fence each other."""
    return cls(kernel.pool, service=kernel.name, bootstrap=kafka.bootstrap, **options)


async def emptied(kernel: Kernel) -> bool:
    """Whether the outbox is."""
    return await kernel.count("outbox") == 0


async def records_of(kafka: Kafka, event: type[Event], keys: Sequence[UUID]) -> list[tuple[str, str, int, int]]:
    """(key, event id, sequence, number) of each committed record of these keys, in the topic's order."""
    wanted = {str(key) for key in keys}
    found = []
    for record in await read_topic(kafka.bootstrap, event.topic.name):
        if record.key.decode() in wanted:
            headers = {name: value.decode() for name, value in record.headers}
            number = event.model_validate_json(record.value).number  # type: ignore[attr-defined]
            found.append((record.key.decode(), headers["ce_id"], int(headers["ce_sequence"]), number))
    return found


async def effects(kernel: Kernel, person: UUID) -> list[str]:
    """The numbers noted of a person, in the order in which they took effect."""
    rows = await kernel.pool.fetch("SELECT note FROM effects WHERE person_id = $1 ORDER BY ordinal", person)
    return [row["note"] for row in rows]
