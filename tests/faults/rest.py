"""Coming to rest: waiting, and letting business time pass, until nothing is under way any more.

A message whose class makes it wait (a text for the morning, an unknown mail for a quarter of an hour, a webhook's next
try) is waited for in business time, which passes at once. What is due is waited for in real time.
"""

import asyncio
import datetime as dt
import time
from collections.abc import Awaitable, Callable, Iterable
from typing import Any

import asyncpg
from aiokafka import AIOKafkaConsumer, TopicPartition
from aiokafka.errors import KafkaError

from shared.settings import SERVICES
from tests.faults.stand import Broken, Stand

# What is to be done now, in each service.
DUE = {
    "outbox": "SELECT count(*) FROM outbox",
    "parked": "SELECT count(*) FROM parked WHERE status = 'parked'",
    "due timers": "SELECT count(*) FROM timers WHERE NOT dead AND due_at <= business_now()",
}
DUE_MESSAGES = """
    SELECT count(*) FROM messages WHERE state IN ('claimed', 'handing')
       OR (state IN ('queued', 'deferred') AND due_at <= business_now())
       OR (state = 'unknown' AND due_at <= business_now())
"""
DUE_REPLIES = "SELECT count(*) FROM text_replies WHERE state = 'handing'"
DUE_DELIVERIES = """
    SELECT count(*) FROM webhook_deliveries d JOIN webhook_subscribers s ON s.id = d.subscriber_id
    WHERE d.status = 'pending' AND (d.next_attempt_at <= business_now() OR s.lease_until > clock_timestamp())
"""
# What waits for a later time: how long from now, at most.
LATER_MESSAGES = """
    SELECT max(due_at) - business_now() FROM messages
    WHERE state IN ('queued', 'deferred') OR (state = 'unknown' AND due_at IS NOT NULL)
"""
LATER_DELIVERIES = "SELECT max(next_attempt_at) - business_now() FROM webhook_deliveries WHERE status = 'pending'"
POSITIONS = "SELECT topic, partition, next_offset FROM inbox_offsets"
LONGEST_STEP = dt.timedelta(days=2)


async def come_to_rest(stand: Stand, *, seconds: float = 150, steps: int = 20) -> None:
    """Wait until nothing is due, advancing the business clock to what waits; `Broken` says what is left."""
    began = time.monotonic()
    for _step in range(steps):
        await quiet(stand, seconds=seconds)
        waits = await waiting(stand)
        if waits is None:
            stand.tell(f"at rest after {time.monotonic() - began:.1f} s")
            return
        await stand.advance(min(max(waits, dt.timedelta(0)) + dt.timedelta(minutes=1), LONGEST_STEP))
    raise Broken(f"something still waits for a later time after {steps} steps of the business clock")


async def waiting(stand: Stand) -> dt.timedelta | None:
    """How far ahead in business time the last of what waits is; None if nothing waits."""
    found = [
        (await stand.fetch("notifications", LATER_MESSAGES))[0][0],
        (await stand.fetch("endorsement", LATER_DELIVERIES))[0][0],
    ]
    spans = [one for one in found if one is not None]
    return max(spans) if spans else None


async def quiet(stand: Stand, *, seconds: float) -> None:
    """Wait until nothing is due: looked at twice, since an event may be between two tables."""
    left: dict[str, Any] = {}
    calm = 0
    consumer = AIOKafkaConsumer(bootstrap_servers=stand.endpoints["kafka"], isolation_level="read_committed")
    await consumer.start()
    try:
        deadline = time.monotonic() + seconds
        while calm < 2:
            try:
                left = await _left(stand, consumer)
            except (OSError, asyncpg.PostgresError, KafkaError, TimeoutError) as error:
                left = {"not reachable": type(error).__name__}
            calm = 0 if left else calm + 1
            if calm < 2:
                if time.monotonic() > deadline:
                    raise Broken(f"the system did not come to rest within {seconds:.0f} s: {left}")
                await asyncio.sleep(0.3)
    finally:
        await consumer.stop()


async def _left(stand: Stand, consumer: AIOKafkaConsumer) -> dict[str, Any]:
    left: dict[str, Any] = {}
    for service in SERVICES:
        for what, sql in DUE.items():
            if count := await stand.count(service, sql):
                left[f"{service} {what}"] = count
        if lag := await _lag(stand, consumer, service):
            left[f"{service} lag"] = lag
    if count := await stand.count("notifications", DUE_MESSAGES):
        left["messages"] = count
    if count := await stand.count("notifications", DUE_REPLIES):
        left["answers to texts"] = count
    if count := await stand.count("endorsement", DUE_DELIVERIES):
        left["deliveries"] = count
    return left


async def _lag(stand: Stand, consumer: AIOKafkaConsumer, service: str) -> int:
    """Records that the service has not taken.

    A transaction ends with a marker that nobody reads, so one offset more than was taken is no lag. More than that may
    be records of a transaction that was aborted: then it is read whether there is anything.
    """
    stored = {TopicPartition(topic, part): offset for topic, part, offset in await stand.fetch(service, POSITIONS)}
    ends = await consumer.end_offsets(list(stored)) if stored else {}
    behind = {tp: (stored[tp], ends[tp]) for tp in stored if ends[tp] > stored[tp] + 1}
    return await _records_in(consumer, behind) if behind else 0


async def _records_in(consumer: AIOKafkaConsumer, ranges: dict[TopicPartition, tuple[int, int]]) -> int:
    """How many committed records lie in these ranges of offsets; looking ends with the first."""
    consumer.assign(list(ranges))
    for tp, (start, _end) in ranges.items():
        consumer.seek(tp, start)
    deadline = time.monotonic() + 5
    while time.monotonic() < deadline:
        found = sum(len(batch) for batch in (await consumer.getmany(timeout_ms=300, max_records=500)).values())
        if found:
            return found
        if all([await consumer.position(tp) >= end - 1 for tp, (_start, end) in ranges.items()]):
            return 0
    return 0


def all_taken(stand: Stand, places: Iterable[str]) -> Callable[[], Awaitable[bool]]:
    """Asks whether every service has taken the records at these places, of the topics that it reads."""
    wanted: dict[tuple[str, int], int] = {}
    for place in places:
        topic, partition, offset = place.rsplit("/", 2)
        known = (topic, int(partition))
        wanted[known] = max(wanted.get(known, 0), int(offset) + 1)

    async def taken() -> bool:
        for service in SERVICES:
            stored = {(topic, part): offset for topic, part, offset in await stand.fetch(service, POSITIONS)}
            if any(offset < wanted.get(place, 0) for place, offset in stored.items()):
                return False
        return True

    return taken
