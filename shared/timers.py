"""Timers: what is to happen at a business time, in a table.

A firing deletes its row and acts in the same transaction, so it acts exactly once or is still there. Whoever
acts locks the aggregate and looks again: a timer says that it is time to look, not that something is true.
"""

import asyncio
import datetime as dt
from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, TypeAlias

from shared import metrics
from shared.db import is_transient
from shared.errors import Rejected
from shared.log import get_logger
from shared.work import Work, Workshop

log = get_logger("timers")

BATCH = 200
MAX_ATTEMPTS = 8

# Served by timers_dedupe_key_uq, in the order of the arrays. A later due time replaces an earlier one.
SCHEDULE = """
    INSERT INTO timers (kind, dedupe_key, owner_key, due_at, payload, correlation_id)
    SELECT $1, dedupe_key, owner_key, due_at, payload, $6
    FROM unnest($2::text[], $3::text[], $4::timestamptz[], $5::jsonb[]) WITH ORDINALITY
         AS row (dedupe_key, owner_key, due_at, payload, ordinal)
    ORDER BY ordinal
    ON CONFLICT (dedupe_key) DO UPDATE
        SET due_at = excluded.due_at, payload = excluded.payload, attempts = 0, dead = false, error = NULL
"""

# Served by timers_owner_key_idx. A row that is firing at this moment is left alone: waiting for it while holding the
# aggregate that its action waits for would be a deadlock, and the action looks again anyway.
CANCEL = """
    DELETE FROM timers WHERE id IN (
        SELECT id FROM timers WHERE owner_key = $1 AND ($2::text IS NULL OR kind = $2) FOR UPDATE SKIP LOCKED)
"""

# Locks the row it takes; rival workers skip it. Served by timers_due_at_idx. Materialized: as a plain subquery the
# planner may run it again for each row, and every run locks, and so deletes, another one. $1 is the time that the
# action will read: if the clock is moved meanwhile, what is due by the newer time waits for the next transaction.
TAKE_DUE = """
    WITH due AS MATERIALIZED (
        SELECT id FROM timers WHERE NOT dead AND due_at <= $1
        ORDER BY due_at, id LIMIT 1 FOR UPDATE SKIP LOCKED)
    DELETE FROM timers USING due WHERE timers.id = due.id
    RETURNING timers.*
"""

PUT_BACK = """
    INSERT INTO timers (kind, dedupe_key, owner_key, due_at, payload, correlation_id, attempts, dead, error)
    VALUES ($1, $2, $3, business_now() + make_interval(secs => $4), $5, $6, $7, $8, $9)
    ON CONFLICT (dedupe_key) DO NOTHING
"""


@dataclass(frozen=True, slots=True)
class Timer:
    """One due timer, as its action receives it."""

    kind: str
    owner_key: str
    due_at: dt.datetime
    payload: Mapping[str, Any]


Action: TypeAlias = Callable[[Work, Timer], Awaitable[None]]


async def schedule(
    work: Work, kind: str, owner_key: str, due_at: dt.datetime, *, part: str = "", **payload: Any
) -> None:
    """Have the service's action for `kind` run at `due_at` (business time).

    One timer stands per kind, owner and `part`; scheduling it again moves it. `payload` values are JSON.
    """
    dedupe_key = ":".join(filter(None, (kind, owner_key, part)))
    await work.connection.execute(SCHEDULE, kind, [dedupe_key], [owner_key], [due_at], [payload], work.correlation_id)


async def schedule_many(work: Work, kind: str, due: Mapping[str, dt.datetime]) -> None:
    """The same for many owners, each due at a time of its own, without a payload; in one order, against deadlocks."""
    owners = sorted(due)
    keys, times = [f"{kind}:{owner}" for owner in owners], [due[owner] for owner in owners]
    await work.connection.execute(SCHEDULE, kind, keys, owners, times, [{}] * len(owners), work.correlation_id)


async def cancel(work: Work, owner_key: str, kind: str | None = None) -> None:
    """Remove the owner's timers, of one kind or all."""
    await work.connection.execute(CANCEL, owner_key, kind)


async def fire_due(workshop: Workshop, actions: Mapping[str, Action], *, batch: int = BATCH) -> int:
    """Run what is due, at most `batch` timers, each in a transaction of its own; returns how many were taken.

    One at a time, because an action locks its aggregate: a transaction that held those of many timers would
    deadlock with the people who act on them. A timer whose action fails is put back with a growing delay, and
    stays as dead after `MAX_ATTEMPTS`; the others are not held up.
    """
    for fired in range(batch):
        async with workshop.begin() as work:
            row = await work.connection.fetchrow(TAKE_DUE, work.now)
            if row is None:
                return fired
            await _fire(work, actions, row)
    return batch


async def _fire(work: Work, actions: Mapping[str, Action], row: Mapping[str, Any]) -> None:
    work.correlation_id = row["correlation_id"]
    timer = Timer(row["kind"], row["owner_key"], row["due_at"], row["payload"])
    try:
        async with work.savepoint():
            await actions[row["kind"]](work, timer)
    except Rejected as no:
        # The rule looked again and found that the moment has passed: that is an answer, not a fault.
        log.info("timer_moot", kind=timer.kind, owner=timer.owner_key, code=no.code)
    except Exception as error:
        if is_transient(error):
            raise
        await _put_back(work, row, error)


async def _put_back(work: Work, row: Mapping[str, Any], error: Exception) -> None:
    attempts = row["attempts"] + 1
    dead = attempts >= MAX_ATTEMPTS
    delay_seconds = float(min(2**attempts, 300))
    log.error("timer_failed", kind=row["kind"], owner=row["owner_key"], attempts=attempts, dead=dead, exc_info=error)
    await work.connection.execute(
        PUT_BACK,
        row["kind"],
        row["dedupe_key"],
        row["owner_key"],
        delay_seconds,
        row["payload"],
        row["correlation_id"],
        attempts,
        dead,
        type(error).__name__,
    )


async def run(workshop: Workshop, actions: Mapping[str, Action]) -> None:
    """Fire timers until cancelled: at once while there are more, else four times a second."""
    while True:
        with metrics.TIMERS_SECONDS.time():
            fired = await fire_due(workshop, actions)
        if fired < BATCH:
            await asyncio.sleep(0.25)


def check_actions(actions: Mapping[str, Action], kinds: Sequence[str]) -> None:
    """Refuse at start what would fail at fire time: a kind that is scheduled but has no action."""
    missing = sorted(set(kinds) - set(actions))
    if missing:
        raise TypeError(f"No action for the timer kinds {', '.join(missing)}; add them to the service's TIMERS.")
