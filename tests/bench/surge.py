"""The surge: everybody signs up at once. From the first request until the last confirmation mail is handed over.

The ceiling is what the work would take if no stage ever waited: the CPU time of each stage measured alone (web, relay,
worker and senders, with what PostgreSQL, Kafka, the relay host and the client that posts spend meanwhile), over the
cores.
"""

import asyncio
import os
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager

from tests.bench.mail import sign_up
from tests.bench.stage import Clock, Stage
from tests.bench.suite import Goal, Pair, Sample
from tests.bench.system import open_system
from tests.harness import Database

PEOPLE = 27_000


@asynccontextmanager
async def surge(stage: Stage) -> AsyncIterator[Sequence[Pair]]:
    """One pair, in seconds."""
    count = stage.count(PEOPLE)
    cores = len(os.sched_getaffinity(0))
    async with open_system(stage) as system:

        async def together() -> Sample:
            await system.forget()
            with system.parts("sink", "web", "relay", "worker"):
                clock = Clock(stage, *system.pids())
                await sign_up(system.ports["signup"], count)
                await system.handed_over(count)
                return Sample(clock.wall_seconds(), clock.cpu_seconds() / count)

        async def stages() -> Sample:
            await system.forget()
            spent = 0.0
            with system.parts("web"):
                clock = Clock(stage, *system.pids())
                await sign_up(system.ports["signup"], count)
                spent += clock.cpu_seconds()
            with system.parts("relay"):
                clock = Clock(stage, *system.pids())
                await _until(system.signup, "SELECT count(*) FROM outbox", 0)
                spent += clock.cpu_seconds()
            with system.parts("sink", "web", "worker"):
                # Taking the events and sending the mails are one process, and each waits for the other.
                clock = Clock(stage, *system.pids())
                await system.handed_over(count)
                spent += clock.cpu_seconds()
            return Sample(spent / cores, spent / count)

        yield [Pair(6, f"{count:,} sign-ups at once, to the last mail", "s", together, stages, Goal("at most", 1.3))]


async def _until(database: Database, query: str, wanted: int) -> None:
    while int((await database.fetch(query))[0][0]) != wanted:
        await asyncio.sleep(0.05)
