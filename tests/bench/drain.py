"""`python -m tests.bench.drain DSN BOOTSTRAP GROUP TOPIC`: one worker with the routes of notifications, no more."""

import asyncio
import contextlib
import logging
import signal
import sys

import structlog
import uvloop

from services.notifications.handlers import ROUTES
from shared.broker import Consumer
from shared.db import create_pool
from shared.events.topics import Topic
from shared.inbox import Inbox
from shared.program import load
from shared.service import rest_garbage_collector
from shared.work import Workshop
from tests.harness import PROGRAM_2025


async def drain(dsn: str, bootstrap: str, group: str, topic: str) -> None:
    """Take events to effect until SIGTERM."""
    stop = asyncio.Event()
    asyncio.get_running_loop().add_signal_handler(signal.SIGTERM, stop.set)
    pool = await create_pool(dsn, service="bench", size=8)
    inbox = Inbox(Workshop(pool, load(PROGRAM_2025), "notifications"), ROUTES)
    consumer = Consumer(
        service=group, bootstrap=bootstrap, topics=[Topic(topic, key="person_id")], inbox=inbox, pool=pool
    )
    await consumer.start()
    rest_garbage_collector()
    await stop.wait()
    with contextlib.suppress(TimeoutError):
        await consumer.stop()
    await pool.close()


if __name__ == "__main__":
    structlog.configure(wrapper_class=structlog.make_filtering_bound_logger(logging.ERROR))
    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        runner.run(drain(*sys.argv[1:5]))
