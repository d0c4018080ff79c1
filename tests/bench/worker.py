"""Events taken to effect by one worker (`shared.broker`, `shared.inbox`, the routes of notifications).

The worker reads a backlog from a real broker. Its clock runs from its first commit to its last: joining the group is
not part of a backlog's length.
"""

import asyncio
import datetime as dt
import time
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from uuid import uuid4

import asyncpg

from services.notifications.handlers import ROUTES
from shared.broker import MAX_RECORDS, Consumer, create_topics
from shared.db import Pool, create_pool
from shared.events.envelope import headers_of, new_id, payload_of
from shared.events.topics import Topic
from shared.inbox import Inbox
from shared.program import load
from shared.work import Workshop
from tests.bench.ceilings import one_by_one, plain_producer, unnest
from tests.bench.people import signed_up
from tests.bench.stage import Clock, Stage
from tests.bench.suite import Goal, Pair, Sample
from tests.harness import PROGRAM_2025, Database

EVENTS = 30_000
PARTITIONS = 6
BACKLOG = Topic("bench.backlog", key="person_id")
EMPTY = "TRUNCATE messages, message_steps, inbox_seen, inbox_offsets"
GET_SEEN = "SELECT event_day, event_id FROM inbox_seen"
GET_MESSAGES = """
    SELECT id, event_id, event_type, person_id, template, channel, delivery, reference, state, due_at, correlation_id,
           program_version, program_hash, created_at FROM messages
"""


@asynccontextmanager
async def worker(stage: Stage) -> AsyncIterator[Sequence[Pair]]:
    """Two pairs: against rows that come from memory, and against one event at a time."""
    events = stage.count(EVENTS)
    bootstrap = stage.kafka.bootstrap
    await write_backlog(bootstrap, BACKLOG, events)
    async with stage.databases.clone("notifications") as database:
        pool = await create_pool(database.dsn, service="bench", size=8)
        connection = await asyncpg.connect(database.dsn)
        try:

            async def ours() -> Sample:
                return await drain(stage, database, pool, BACKLOG, events)

            await ours()
            seen, messages = await columns(pool, GET_SEEN), await columns(pool, GET_MESSAGES)

            async def by_unnest() -> Sample:
                await database.execute(EMPTY)
                clock = Clock(stage)
                await unnest.insert(connection, seen, messages, MAX_RECORDS)
                return Sample(events / clock.wall_seconds(), clock.cpu_seconds() / events)

            async def singly() -> Sample:
                await database.execute(EMPTY)
                done = [0]
                broker = one_by_one.subscriber(bootstrap, BACKLOG.name, pool, done)
                async with broker:
                    await broker.start()
                    while not done[0]:
                        await asyncio.sleep(0.01)
                    before, clock = done[0], Clock(stage)
                    await asyncio.sleep(stage.seconds)
                    count = done[0] - before
                    return Sample(count / clock.wall_seconds(), clock.cpu_seconds() / max(1, count))

            yield [
                Pair(4, "events to effect, against unnest from memory", "events/s", ours, by_unnest,
                     Goal("at least", 0.5)),
                Pair(4, "events to effect, against one by one", "events/s", ours, singly, Goal("at least", 100)),
            ]  # fmt: skip
        finally:
            await connection.close()
            await pool.close()


async def drain(stage: Stage, database: Database, pool: Pool, topic: Topic, events: int) -> Sample:
    """One worker's speed over a backlog of `events` records, all tables empty before."""
    await database.execute(EMPTY)
    inbox = Inbox(Workshop(pool, load(PROGRAM_2025), "notifications"), ROUTES)
    consumer = Consumer(
        service=f"bench-{uuid4().hex[:8]}", bootstrap=stage.kafka.bootstrap, topics=[topic], inbox=inbox, pool=pool
    )
    await consumer.start()
    try:
        taken = await _taken(pool)
        while not taken:
            await asyncio.sleep(0.002)
            taken = await _taken(pool)
        first, clock = taken, Clock(stage)
        deadline = time.monotonic() + 120
        while taken < events:
            await asyncio.sleep(0.02)
            taken = await _taken(pool)
            if time.monotonic() > deadline:
                raise TimeoutError(f"The worker took {taken} of {events} events in two minutes.")
        seconds, cpu = clock.wall_seconds(), clock.cpu_seconds()
    finally:
        await consumer.stop()
    handled = await pool.fetchval("SELECT count(*) FROM messages")
    assert handled == events, f"{handled} effects of {events} events"
    return Sample((events - first) / seconds, cpu / (events - first))


async def _taken(pool: Pool) -> int:
    """How far the offsets are."""
    return int(await pool.fetchval("SELECT coalesce(sum(next_offset), 0) FROM inbox_offsets"))


async def columns(pool: Pool, query: str) -> list[list[object]]:
    """A query's rows, turned."""
    rows = await pool.fetch(query)
    return [list(column) for column in zip(*(tuple(row) for row in rows), strict=True)]


async def create_backlog(bootstrap: str, topic: Topic) -> None:
    """The topic, empty."""
    await create_topics(bootstrap, [topic], partitions=PARTITIONS)


def backlog(topic: str, events: int) -> list[plain_producer.Message]:
    """Sign-ups of as many people, with envelopes as the outbox writes them."""
    now = dt.datetime.now(dt.UTC)
    messages: list[plain_producer.Message] = []
    for _ in range(events):
        event = signed_up(uuid4())
        headers = headers_of(
            event, event_id=new_id(), source="signup", time=now, sequence=1, correlation_id=str(uuid4())
        )
        messages.append(
            (topic, event.key.encode(), payload_of(event), [(name, value.encode()) for name, value in headers])
        )
    return messages


async def write_backlog(bootstrap: str, topic: Topic, events: int) -> None:
    """A topic full of sign-ups."""
    await create_backlog(bootstrap, topic)
    async with plain_producer.producer(bootstrap) as producer:
        for start in range(0, events, 10_000):
            await plain_producer.send(producer, backlog(topic.name, min(10_000, events - start)))
