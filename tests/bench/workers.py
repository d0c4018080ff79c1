"""Two workers on one topic, each a process, against one: the same result, and what an event costs.

A new member rebalances the group, so the backlog is written once the members have shared the partitions: the clock
runs from the first commit to the last.
"""

import asyncio
import contextlib
import time
from collections.abc import AsyncIterator, Sequence
from contextlib import ExitStack, asynccontextmanager
from uuid import uuid4

from aiokafka.admin import AIOKafkaAdminClient
from aiokafka.errors import KafkaError

from shared.events.topics import Topic
from tests.bench.ceilings import plain_producer
from tests.bench.serving import process
from tests.bench.stage import Clock, Stage
from tests.bench.suite import Goal, Pair, Sample
from tests.bench.worker import EMPTY, backlog, create_backlog
from tests.harness import Database

EVENTS = 30_000
RESULT = """
    SELECT count(*), md5(string_agg(concat_ws(' ', event_id, person_id, template, channel, delivery, state), ','
                                    ORDER BY event_id, person_id, template, channel))
    FROM messages
"""
TAKEN = "SELECT count(*) FROM inbox_seen"
PATIENCE_SECONDS = 180.0


@asynccontextmanager
async def workers(stage: Stage) -> AsyncIterator[Sequence[Pair]]:
    """One pair, whose unit is CPU time: that of the workers, of PostgreSQL and of Kafka."""
    events = stage.count(EVENTS)
    messages = backlog("", events)
    results: set[tuple[object, ...]] = set()
    async with stage.databases.clone("notifications") as database:

        async def measured(count: int) -> Sample:
            sample, result = await _drained(stage, database, messages, count)
            results.add(result)
            assert len(results) == 1, f"workers came to different results: {results}"
            return sample

        await measured(2)
        yield [
            Pair(11, "two workers on one topic, against one", "CPU µs/event", lambda: measured(2), lambda: measured(1),
                 Goal("at most", 1.1), note="the result in the database is compared, row by row")
        ]  # fmt: skip


async def _drained(
    stage: Stage, database: Database, messages: Sequence[plain_producer.Message], count: int
) -> tuple[Sample, tuple[object, ...]]:
    await database.execute(EMPTY)
    bootstrap = stage.kafka.bootstrap
    topic = Topic(f"bench.{uuid4().hex[:8]}", key="person_id")
    await create_backlog(bootstrap, topic)
    with ExitStack() as children:
        pids = [
            children.enter_context(
                process(
                    ["-m", "tests.bench.drain", database.dsn, bootstrap, topic.name, topic.name],
                    {},
                    log=stage.directory / "drain.log",
                )
            ).pid
            for _ in range(count)
        ]
        deadline = time.monotonic() + PATIENCE_SECONDS
        await _joined(bootstrap, topic.name, count, deadline)
        warm = len(messages) // 20
        async with plain_producer.producer(bootstrap) as producer:
            await plain_producer.send(producer, [(topic.name, *message[1:]) for message in messages[:warm]])
            await _until(database, warm, deadline)
            clock = Clock(stage, *pids)
            own = time.process_time()
            await plain_producer.send(producer, [(topic.name, *message[1:]) for message in messages[warm:]])
            await _until(database, len(messages), deadline)
            used = clock.cpu_seconds() - (time.process_time() - own)
    result = (await database.fetch(RESULT))[0]
    return Sample(used / (len(messages) - warm) * 1e6), result


async def _joined(bootstrap: str, group: str, count: int, deadline: float) -> None:
    """Wait until so many members have shared the partitions."""
    admin = AIOKafkaAdminClient(bootstrap_servers=bootstrap)
    await admin.start()
    try:
        while True:
            # Until the first member asks for it, a group has no coordinator.
            with contextlib.suppress(KafkaError):
                answers = await admin.describe_consumer_groups([group])
                _error, _group, state, _kind, _protocol, members, *_rest = answers[0].groups[0]
                if state == "Stable" and len(members) == count:
                    return
            if time.monotonic() > deadline:
                raise TimeoutError(f"{count} workers did not join their group in {PATIENCE_SECONDS:.0f} s.")
            await asyncio.sleep(0.2)
    finally:
        await admin.close()


async def _until(database: Database, count: int, deadline: float) -> None:
    while int((await database.fetch(TAKEN))[0][0]) < count:
        if time.monotonic() > deadline:
            raise TimeoutError(f"The workers did not take {count} events in {PATIENCE_SECONDS:.0f} s.")
        await asyncio.sleep(0.1)
