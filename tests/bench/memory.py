"""Memory of each process with a backlog, against the same process idle: the most it ever had resident, in MB.

All processes run at once, the workers on full topics (or on the same topics, read to the end), the relay on a full
outbox (or on an empty one).
"""

import asyncio
import datetime as dt
import time
from collections.abc import AsyncIterator, Sequence
from contextlib import AsyncExitStack, ExitStack, asynccontextmanager
from pathlib import Path
from uuid import uuid4

from shared.broker import create_topics
from shared.events import ALL_TOPICS, Event
from shared.events.envelope import headers_of, new_id, payload_of
from shared.events.matching import IntroCallAttended
from shared.events.signup import PersonConfirmed
from shared.events.topics import Topic
from tests.bench.ceilings import plain_producer
from tests.bench.serving import environment_of, free_ports, process
from tests.bench.stage import Stage
from tests.bench.suite import Goal, Pair, Rounds, Sample, constant
from tests.bench.worker import PARTITIONS
from tests.harness import Database

EVENTS = 100_000
WORKERS = ("signup", "matching", "notifications", "endorsement")
ALLOWED_MB = {"matching": 250}
REST_SECONDS = 6.0
PATIENCE_SECONDS = 300.0
# A worker meets the whole backlog, or none of it.
FORGET = "TRUNCATE inbox_offsets, inbox_seen, parked, quarantined"
AT_THE_END = """
    UPDATE inbox_offsets SET next_offset = ends.next_offset
    FROM unnest($1::text[], $2::int[], $3::bigint[]) AS ends (topic, partition, next_offset)
    WHERE inbox_offsets.topic = ends.topic AND inbox_offsets.partition = ends.partition
"""
FILL_OUTBOX = """
    INSERT INTO outbox (shard, topic, key, event_id, headers, payload)
    SELECT abs(hashtext(id::text)) % 16, 'bench.relayed', id::text, id, '[["ce_id","' || id || '"],["ce_type","x"]]',
           convert_to('{"person_id":"' || id || '","filler":"' || repeat('x', 300) || '"}', 'UTF8')
    FROM (SELECT gen_random_uuid() AS id FROM generate_series(1, $1)) AS fresh
"""


@asynccontextmanager
async def memory(stage: Stage) -> AsyncIterator[Sequence[Pair]]:
    """Two pairs for each process: against itself, and against what it may have."""
    events = stage.count(EVENTS)
    async with AsyncExitStack() as stack:
        bootstrap = stack.enter_context(stage.empty_kafka()).bootstrap
        await create_topics(bootstrap, [*ALL_TOPICS, Topic("bench.relayed", key="person_id")], partitions=PARTITIONS)
        ends = await _write(bootstrap, events)
        databases = {name: await stack.enter_async_context(stage.databases.clone(name)) for name in WORKERS}

        async def measure(full: bool) -> dict[str, Sample]:
            return await _measured(stage, bootstrap, databases, ends, events if full else 0)

        await measure(True)
        rounds = Rounds(lambda side: measure(side == "full"))
        names = [*(f"{name} worker" for name in WORKERS), "signup relay"]

        yield [
            pair
            for name in names
            for pair in (
                Pair(9, f"{name} with a backlog, against idle", "MB", rounds.of(name, "full"),
                     rounds.of(name, "idle"), Goal("at most", 1.2)),
                Pair(9, f"{name} with a backlog, against what it may have", "MB", rounds.of(name, "full"),
                     constant(ALLOWED_MB.get(name.partition(" ")[0], 150)), Goal("at most", 1.0)),
            )
        ]  # fmt: skip


async def _measured(
    stage: Stage, bootstrap: str, databases: dict[str, Database], ends: dict[tuple[str, int], int], events: int
) -> dict[str, Sample]:
    """The peak of each process in MB, once all have taken `events` events each (0: after a while of nothing)."""
    for database in databases.values():
        if events:
            await database.execute(FORGET)
        else:
            columns = [list(column) for column in zip(*((t, p, end) for (t, p), end in ends.items()), strict=True)]
            await database.execute(AT_THE_END, *columns)
    await databases["signup"].execute("TRUNCATE outbox")
    if events:
        await databases["signup"].execute(FILL_OUTBOX, events)
    ports = free_ports(*WORKERS)
    relay_port = free_ports("relay")["relay"]
    more: dict[str, dict[str, object]] = {
        "notifications": {"smtp_host": "127.0.0.1", "smtp_port": 1},
        "matching": {"batch_seconds": 300},
    }
    # No page is asked for: nobody answers at these addresses, and what is fetched from others waits.
    nowhere = dict.fromkeys(WORKERS, 1)
    with ExitStack() as children:
        started = {
            f"{name} worker": children.enter_context(
                process(
                    ["-m", f"services.{name}", "worker"],
                    environment_of(name, databases[name], kafka=bootstrap,
                                   ports={**nowhere, name: ports[name]}, **more.get(name, {})),
                    log=stage.directory / f"{name}.log",
                    ready=f"http://127.0.0.1:{ports[name]}/livez",
                )
            )
            for name in WORKERS
        }  # fmt: skip
        started["signup relay"] = children.enter_context(
            process(
                ["-m", "services.signup", "relay"],
                environment_of("signup", databases["signup"], kafka=bootstrap,
                               ports={**nowhere, "signup": relay_port}),
                log=stage.directory / "relay.log",
                ready=f"http://127.0.0.1:{relay_port}/livez",
            )
        )  # fmt: skip
        deadline = time.monotonic() + PATIENCE_SECONDS
        while events and not await _all_taken(databases, ends):
            if time.monotonic() > deadline:
                raise TimeoutError(f"The workers did not take {events} events in {PATIENCE_SECONDS:.0f} s.")
            await asyncio.sleep(0.5)
        await asyncio.sleep(REST_SECONDS)
        return {name: Sample(_peak_mb(child.pid)) for name, child in started.items()}


async def _all_taken(databases: dict[str, Database], ends: dict[tuple[str, int], int]) -> bool:
    if await databases["signup"].fetch("SELECT 1 FROM outbox LIMIT 1"):
        return False
    for database in databases.values():
        rows = await database.fetch("SELECT topic, partition, next_offset FROM inbox_offsets")
        if not rows or any(offset < ends.get((topic, partition), 0) for topic, partition, offset in rows):
            return False
    return True


def _peak_mb(pid: int) -> float:
    """The most that was resident, without the solver's child."""
    status = Path(f"/proc/{pid}/status").read_text(encoding="utf-8")
    line = next(line for line in status.splitlines() if line.startswith("VmHWM:"))
    return int(line.split()[1]) / 1024


async def _write(bootstrap: str, events: int) -> dict[tuple[str, int], int]:
    """Fill two topics, one event for each of as many people; returns the ends of the partitions."""
    now = dt.datetime.now(dt.UTC)
    ends: dict[tuple[str, int], int] = {}
    async with plain_producer.producer(bootstrap) as producer:
        for start in range(0, events, 5_000):
            batch: list[Event] = []
            for _ in range(min(5_000, events - start)):
                person = uuid4()
                batch += [
                    PersonConfirmed(person_id=person, signup_id=uuid4(), roles=("prospect",), language="en"),
                    IntroCallAttended(intro_call_id=uuid4(), person_id=person),
                ]
            acknowledged = await asyncio.gather(*[
                await producer.send(
                    event.topic.name, key=event.key.encode(), value=payload_of(event),
                    headers=[(name, value.encode()) for name, value in headers_of(
                        event, event_id=new_id(), source="bench", time=now, sequence=1, correlation_id=None)],
                )
                for event in batch
            ])  # fmt: skip
            for record in acknowledged:
                place = (record.topic, record.partition)
                ends[place] = max(ends.get(place, 0), record.offset + 1)
    return ends
