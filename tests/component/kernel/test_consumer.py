"""The consumer: what Kafka hands out, whenever it assigns, loses or repeats it, is taken to effect once."""

import asyncio
import datetime as dt
import gc
import random
import weakref
from collections.abc import Awaitable, Callable, Sequence
from contextlib import AsyncExitStack
from typing import Any
from uuid import uuid4

import asyncpg
import pytest
from aiokafka.admin import AIOKafkaAdminClient, RecordsToDelete
from aiokafka.structs import TopicPartition
from structlog.testing import capture_logs

from deploy.embedded.kafka import Kafka
from shared.broker import Consumer
from shared.events.envelope import Received
from shared.inbox import Inbox, Record
from shared.relay import Relay
from shared.work import Work
from tests.component.kernel.conftest import Kernel
from tests.component.kernel.events import Noted, record
from tests.component.kernel.running import consuming, effects, note, producing, running, until

pytestmark = pytest.mark.usefixtures("topics")


async def test_crash_before_and_after_the_commit_leaves_one_effect(kernel: Kernel, kafka: Kafka) -> None:
    """A worker dies with the effect uncommitted; the next dies after the commit, before the acknowledgement."""
    person = uuid4()
    async with producing(kafka.bootstrap) as producer:
        await send(producer, [Noted(person_id=person, number=n) for n in range(20)])
    held = asyncio.Event()

    async def hang(work: Work, events: Sequence[Received]) -> None:
        await note(work, events)
        held.set()
        await asyncio.sleep(3600)

    group = f"{kernel.name}-crash"
    topics = [Noted.topic]
    # Before: the connection goes away with its process, which rolls the transaction back.
    async with consuming(kernel, kafka.bootstrap, kernel.inbox({Noted: hang}), group=group, topics=topics) as consumer:
        await asyncio.wait_for(held.wait(), 30)
        for task in consumer._subscriber.tasks:
            task.cancel()
    assert (await kernel.count("effects"), await kernel.count("inbox_offsets")) == (0, 0)

    class Dying(Inbox):
        async def take(self, records: Sequence[Record], *, cluster_id: str) -> int:
            taken = await super().take(records, cluster_id=cluster_id)
            # Others' records lie in the topic too; it dies of the batch that brings ours.
            if await there():
                raise asyncio.CancelledError
            return taken

    async def there() -> bool:
        return len(await effects(kernel, person)) >= 20

    dying = Dying(kernel.workshop, {Noted: note})
    async with consuming(kernel, kafka.bootstrap, dying, group=group, topics=topics):
        await until(there, what="20 effects")
    count = 0

    async def count_them(work: Work, events: Sequence[Received]) -> None:
        nonlocal count
        count += len(events)
        await note(work, events)

    marker = uuid4()
    async with producing(kafka.bootstrap) as producer:
        await send(producer, [Noted(person_id=marker, number=99)])
    inbox = kernel.inbox({Noted: count_them})
    async with consuming(kernel, kafka.bootstrap, inbox, group=group, topics=topics):

        async def marked() -> bool:
            return await effects(kernel, marker) == ["99"]

        await until(marked, what="the marker's effect")
    assert await effects(kernel, person) == [str(n) for n in range(20)]


async def send(producer: Any, events: Sequence[Noted]) -> None:
    """Send events with envelopes as the outbox writes them."""
    for number, event in enumerate(events):
        sent = record(event, number, time=dt.datetime.now(dt.UTC))
        await producer.send(event.topic.name, key=sent.key, value=sent.value, headers=list(sent.headers))
    await producer.flush()


async def test_foreign_cluster_is_refused(kernel: Kernel, kafka: Kafka) -> None:
    await kernel.pool.execute(
        "INSERT INTO inbox_offsets (topic, partition, cluster_id, next_offset)"
        " SELECT $1, generate_series(0, 2), 'another', 0",
        Noted.topic.name,
    )
    async with producing(kafka.bootstrap) as producer:
        await send(producer, [Noted(person_id=uuid4(), number=n) for n in range(9)])
    inbox = kernel.inbox({Noted: note})
    async with consuming(kernel, kafka.bootstrap, inbox, group=kernel.name, topics=[Noted.topic]) as consumer:

        async def refused() -> bool:
            return consumer.refusal is not None

        await until(refused, what="a refusal")
        # Paused: the position stays where the assignment left it.
        assert consumer._consumer is not None
        assert consumer._consumer.paused() == consumer._consumer.assignment()
        assert consumer.refusal is not None
        assert f"{Noted.topic.name}-0 was read from cluster another" in consumer.refusal
    assert await kernel.count("effects") == 0


async def test_end_before_the_stored_offset_is_refused(kernel: Kernel, kafka: Kafka) -> None:
    await kernel.pool.execute(
        "INSERT INTO inbox_offsets (topic, partition, cluster_id, next_offset) VALUES ($1, 1, $2, 1000000)",
        Noted.topic.name,
        kafka.cluster_id,
    )
    inbox = kernel.inbox({Noted: note})
    async with consuming(kernel, kafka.bootstrap, inbox, group=kernel.name, topics=[Noted.topic]) as consumer:

        async def refused() -> bool:
            return "before the stored offset 1000000" in (consumer.refusal or "")

        await until(refused, what="a refusal")
    assert await kernel.count("effects") == 0


async def test_database_set_back_reads_again_what_kafka_has_committed(kernel: Kernel, kafka: Kafka) -> None:
    """The database is the authority: a restored backup is behind the group's committed offsets."""
    person = uuid4()
    async with producing(kafka.bootstrap) as producer:
        await send(producer, [Noted(person_id=person, number=n) for n in range(10)])
    inbox = kernel.inbox({Noted: note})

    async def there() -> bool:
        return await effects(kernel, person) == [str(n) for n in range(10)]

    async with consuming(kernel, kafka.bootstrap, inbox, group=kernel.name, topics=[Noted.topic]):
        await until(there, what="10 effects")
    for table in ("effects", "inbox_seen", "inbox_offsets"):
        await kernel.database.execute(f"DELETE FROM {table}")
    async with consuming(kernel, kafka.bootstrap, inbox, group=kernel.name, topics=[Noted.topic]):
        await until(there, what="10 effects again")


async def test_batch_is_let_go_without_the_garbage_collector(kernel: Kernel, kafka: Kafka) -> None:
    """A batch that waits for the collector is memory that grows with the backlog."""
    person = uuid4()
    async with producing(kafka.bootstrap) as producer:
        await send(producer, [Noted(person_id=person, number=n) for n in range(50)])
    taken: list[weakref.ref[Any]] = []

    class Watched(Inbox):
        async def take(self, records: Sequence[Record], *, cluster_id: str) -> int:
            taken.extend(weakref.ref(record) for record in records)
            return await super().take(records, cluster_id=cluster_id)

    async def there() -> bool:
        return len(await effects(kernel, person)) == 50

    gc.disable()
    try:
        inbox = Watched(kernel.workshop, {Noted: note})
        async with consuming(kernel, kafka.bootstrap, inbox, group=kernel.name, topics=[Noted.topic]):
            await until(there, what="50 effects")
        assert len(taken) >= 50
        assert [record() for record in taken] == [None] * len(taken)
    finally:
        gc.enable()


async def test_kafka_is_told_of_what_was_taken_to_effect_only(kernel: Kernel, kafka: Kafka) -> None:
    person = uuid4()
    async with producing(kafka.bootstrap) as producer:
        await send(producer, [Noted(person_id=person, number=n) for n in range(10)])
    away = True

    async def note_when_there(work: Work, events: Sequence[Received]) -> None:
        if away:
            raise ConnectionError("the database is away")
        await note(work, events)

    admin = AIOKafkaAdminClient(bootstrap_servers=kafka.bootstrap)
    await admin.start()

    async def told() -> dict[tuple[str, int], int]:
        offsets = await admin.list_consumer_group_offsets(kernel.name)
        return {(tp.topic, tp.partition): found.offset for tp, found in offsets.items() if found.offset >= 0}

    async def there() -> bool:
        rows = await kernel.pool.fetch("SELECT topic, partition, next_offset FROM inbox_offsets")
        stored = {(row["topic"], row["partition"]): row["next_offset"] for row in rows}
        return bool(stored) and await told() == stored

    inbox = kernel.inbox({Noted: note_when_there})
    try:
        with capture_logs() as lines:
            async with consuming(kernel, kafka.bootstrap, inbox, group=kernel.name, topics=[Noted.topic]):

                async def failed_thrice() -> bool:
                    return len([line for line in lines if line["event"] == "batch_put_off"]) >= 3

                await until(failed_thrice, what="three tries, which take longer than Kafka waits for word")
                assert await told() == {}
                away = False
                await until(there, what="the database's offsets in Kafka")
    finally:
        await admin.close()
    assert await effects(kernel, person) == [str(n) for n in range(10)]


async def test_records_fetched_during_the_assignment_are_not_taken(kernel: Kernel, kafka: Kafka) -> None:
    """Kafka's committed offset is ahead of a restored database, and the database answers slowly."""
    person = uuid4()
    inbox = kernel.inbox({Noted: note})

    def there(count: int) -> Callable[[], Awaitable[bool]]:
        async def check() -> bool:
            return await effects(kernel, person) == [str(n) for n in range(count)]

        return check

    class Slow(Consumer):
        async def _stored(self, *arguments: Any) -> Any:
            found = await super()._stored(*arguments)
            await asyncio.sleep(1.5)
            return found

    async with producing(kafka.bootstrap) as producer:
        await send(producer, [Noted(person_id=person, number=n) for n in range(10)])
        async with consuming(kernel, kafka.bootstrap, inbox, group=kernel.name, topics=[Noted.topic]):
            await until(there(10), what="10 effects")
        for table in ("effects", "inbox_seen"):
            await kernel.database.execute(f"DELETE FROM {table}")
        await kernel.pool.execute("UPDATE inbox_offsets SET next_offset = 0")
        await send(producer, [Noted(person_id=person, number=n) for n in range(10, 15)])
    slow = Slow(service=kernel.name, bootstrap=kafka.bootstrap, topics=[Noted.topic], inbox=inbox, pool=kernel.pool)
    await slow.start()
    try:
        await until(there(15), what="15 effects in order")
    finally:
        await slow.stop()


async def test_error_outside_any_handler_loses_no_batch(kernel: Kernel, kafka: Kafka) -> None:
    """An error that no fate covers must bring the batch again, not let the next commit pass it."""
    person = uuid4()
    failing = [RuntimeError("a bug in the inbox itself"), asyncpg.InterfaceError("connection is closed")]

    class Faulty(Inbox):
        async def take(self, records: Sequence[Record], *, cluster_id: str) -> int:
            if failing:
                raise failing.pop()
            return await super().take(records, cluster_id=cluster_id)

    async with producing(kafka.bootstrap) as producer:
        await send(producer, [Noted(person_id=person, number=0)])
        inbox = Faulty(kernel.workshop, {Noted: note})
        async with consuming(kernel, kafka.bootstrap, inbox, group=kernel.name, topics=[Noted.topic]):

            async def tried() -> bool:
                return not failing

            await until(tried, what="both faults")
            await send(producer, [Noted(person_id=person, number=1)])

            async def there() -> bool:
                return await effects(kernel, person) == ["0", "1"]

            await until(there, what="both effects in order")


async def test_joining_and_leaving_consumers_have_one_effect_per_event(kernel: Kernel, kafka: Kafka) -> None:
    people = [uuid4() for _ in range(25)]
    inbox = kernel.inbox({Noted: note})
    chosen = random.Random(7)
    written = 0

    async def write() -> None:
        nonlocal written
        for number in range(60):
            async with kernel.workshop.begin() as work:
                work.emit(*(Noted(person_id=person, number=number) for person in people))
            written += 1
            await asyncio.sleep(0.05)

    def member() -> Any:
        return consuming(kernel, kafka.bootstrap, inbox, group=kernel.name, topics=[Noted.topic])

    relay = Relay(kernel.pool, service=kernel.name, bootstrap=kafka.bootstrap)
    async with running(relay.run()), running(write()), member():
        while written < 60:
            async with AsyncExitStack() as stack:
                for _ in range(chosen.randint(1, 2)):
                    await stack.enter_async_context(member())

        async def all_there() -> bool:
            found = await kernel.pool.fetchval("SELECT count(*) FROM effects WHERE person_id = ANY($1)", people)
            return bool(found == 60 * len(people))

        await until(all_there, what="1,500 effects")
    assert {tuple(await effects(kernel, person)) for person in people} == {tuple(str(n) for n in range(60))}


async def test_records_deleted_by_retention_do_not_stop_the_consumer(kernel: Kernel, kafka: Kafka) -> None:
    """The stored offset is before the log's start: reading goes on at the earliest record there is."""
    await kernel.pool.execute(
        "INSERT INTO inbox_offsets (topic, partition, cluster_id, next_offset) SELECT $1, generate_series(0, 2), $2, 0",
        Noted.topic.name,
        kafka.cluster_id,
    )
    old, new = uuid4(), uuid4()
    async with producing(kafka.bootstrap) as producer:
        await send(producer, [Noted(person_id=old, number=1)])
        admin = AIOKafkaAdminClient(bootstrap_servers=kafka.bootstrap)
        await admin.start()
        try:
            to_end = {TopicPartition(Noted.topic.name, p): RecordsToDelete(before_offset=-1) for p in range(3)}
            await admin.delete_records(to_end)
        finally:
            await admin.close()
        await send(producer, [Noted(person_id=new, number=2)])
    inbox = kernel.inbox({Noted: note})
    async with consuming(kernel, kafka.bootstrap, inbox, group=kernel.name, topics=[Noted.topic]):

        async def there() -> bool:
            return await effects(kernel, new) == ["2"]

        await until(there, what="the new record's effect")
    assert await effects(kernel, old) == []
