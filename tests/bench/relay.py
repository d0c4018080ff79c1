"""Outbox rows relayed to Kafka by one relay (`shared.relay`), against a producer that sends from memory."""

import asyncio
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from uuid import uuid4

import orjson

from shared.broker import create_topics
from shared.db import create_pool
from shared.events.signup import SignedUp
from shared.events.topics import SIGNUP_PEOPLE
from shared.program import load
from shared.relay import Relay
from shared.work import Workshop
from tests.bench.ceilings import plain_producer
from tests.bench.people import signed_up
from tests.bench.stage import Clock, Stage
from tests.bench.suite import Goal, Pair, Sample
from tests.harness import PROGRAM_2025

# Enough that the wait for the relay's next look, which is in its time, does not count for much.
ROWS = 100_000
PARTITIONS = 6
COPY_ROWS = """
    INSERT INTO outbox (shard, topic, key, event_id, headers, payload)
    SELECT shard, topic, key, event_id, headers, payload FROM outbox_copy ORDER BY id
"""


@asynccontextmanager
async def relay(stage: Stage) -> AsyncIterator[Sequence[Pair]]:
    """One pair: the same rows, out of the table with their deletion, and out of memory."""
    rows = stage.count(ROWS)
    await create_topics(stage.kafka.bootstrap, [SIGNUP_PEOPLE], partitions=PARTITIONS)
    async with stage.databases.clone("signup") as database:
        pool = await create_pool(database.dsn, service="bench", size=16)
        try:
            await write_events(Workshop(pool, load(PROGRAM_2025), "signup"), [signed_up(uuid4()) for _ in range(rows)])
            messages: list[plain_producer.Message] = [
                (
                    row["topic"],
                    row["key"].encode(),
                    row["payload"],
                    [(name, value.encode()) for name, value in orjson.loads(row["headers"])],
                )
                for row in await pool.fetch("SELECT topic, key, headers, payload FROM outbox ORDER BY id")
            ]
            await database.execute("CREATE TABLE outbox_copy AS SELECT * FROM outbox")
            await database.execute("TRUNCATE outbox")

            async def ours() -> Sample:
                async with pool.acquire() as connection:
                    async with connection.transaction():
                        await connection.execute(COPY_ROWS)
                        clock = Clock(stage)
                    while await connection.fetchval("SELECT EXISTS (SELECT 1 FROM outbox)"):
                        await asyncio.sleep(0.02)
                return Sample(rows / clock.wall_seconds(), clock.cpu_seconds() / rows)

            async def ceiling() -> Sample:
                clock = Clock(stage)
                await plain_producer.send(producer, messages)
                return Sample(rows / clock.wall_seconds(), clock.cpu_seconds() / rows)

            producer = plain_producer.producer(stage.kafka.bootstrap)
            await producer.start()
            running = asyncio.create_task(Relay(pool, service="bench", bootstrap=stage.kafka.bootstrap).run())
            try:
                await ours()
                await ceiling()
                yield [Pair(3, "outbox rows relayed by one relay", "rows/s", ours, ceiling, Goal("at least", 0.7))]
            finally:
                running.cancel()
                await asyncio.gather(running, return_exceptions=True)
                await producer.stop()
        finally:
            await pool.close()


async def write_events(workshop: Workshop, events: Sequence[SignedUp]) -> None:
    """Append events to the outbox as services do."""
    for start in range(0, len(events), 2000):
        async with workshop.begin() as work:
            work.emit(*events[start : start + 2000])
