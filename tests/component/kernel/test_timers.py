"""Timers: once, at the business time, with what their action did; a failing one holds nobody up."""

import asyncio
import datetime as dt
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import replace
from uuid import uuid4

import asyncpg
import pytest

from shared import timers
from shared.db import create_pool
from shared.errors import Rejected
from shared.timers import MAX_ATTEMPTS, Timer
from shared.web.text import _
from shared.work import Work, Workshop
from tests.component.kernel.conftest import Kernel
from tests.component.kernel.events import Counted

HOUR = dt.timedelta(hours=1)


async def plan(kernel: Kernel, owner: str, after: dt.timedelta, kind: str = "remind", *, number: int = 0) -> None:
    """Schedule one timer, `after` from the business time."""
    async with kernel.workshop.begin("chain-of-tests") as work:
        await timers.schedule(work, kind, owner, work.now + after, number=number)


class Fired:
    """An action that keeps what it was given and writes it down; `fails` names the owners it fails for."""

    def __init__(self, *fails: str, error: Exception | None = None) -> None:
        self.fails = set(fails)
        self.error = error or ValueError("a bug")

    async def __call__(self, work: Work, timer: Timer) -> None:
        await work.connection.execute("INSERT INTO effects VALUES ($1, $1, $2)", uuid4(), timer.owner_key)
        work.emit(Counted(count_id=uuid4(), number=int(timer.payload["number"])))
        if timer.owner_key in self.fails:
            raise self.error


async def fired(kernel: Kernel) -> list[str]:
    """Whose timers acted, in order."""
    return [row["note"] for row in await kernel.pool.fetch("SELECT note FROM effects ORDER BY ordinal")]


async def test_timer_fires_once_with_rival_workers(kernel: Kernel) -> None:
    owners = [f"owner-{n:03}" for n in range(120)]
    for owner in owners:
        await plan(kernel, owner, -HOUR, number=7)
    action = {"remind": Fired()}
    taken = await asyncio.gather(*(timers.fire_due(kernel.workshop, action, batch=50) for _ in range(6)))
    assert sum(taken) == 120
    assert sorted(await fired(kernel)) == owners
    assert (await kernel.count("timers"), await kernel.count("outbox")) == (0, 120)
    headers = await kernel.pool.fetchval("SELECT headers FROM outbox LIMIT 1")
    assert '["correlation_id","chain-of-tests"]' in headers


async def test_every_due_timer_acts_whatever_plan_the_database_chooses(kernel: Kernel) -> None:
    """A subquery that is run again for each row takes a second timer, which nobody would act on."""
    owners = [f"owner-{n:03}" for n in range(8)]
    for owner in owners:
        await plan(kernel, owner, -HOUR)
    name = await kernel.pool.fetchval("SELECT current_database()")
    for setting in ("enable_hashjoin", "enable_mergejoin", "enable_hashagg", "enable_sort", "enable_material"):
        await kernel.database.execute(f'ALTER DATABASE "{name}" SET {setting} = off')
    pool = await create_pool(kernel.database.dsn, service="test", size=4)
    try:
        workshop = replace(kernel.workshop, pool=pool)
        assert await timers.fire_due(workshop, {"remind": Fired()}) == 8
    finally:
        await pool.close()
    assert await fired(kernel) == owners


async def test_timer_fires_at_the_business_time(kernel: Kernel) -> None:
    await plan(kernel, "late", 49 * HOUR)
    await plan(kernel, "soon", 48 * HOUR)
    action = {"remind": Fired()}
    assert await timers.fire_due(kernel.workshop, action) == 0
    await kernel.database.advance_clock(dt.timedelta(days=2))
    assert (await timers.fire_due(kernel.workshop, action), await fired(kernel)) == (1, ["soon"])
    await kernel.database.advance_clock(HOUR)
    assert (await timers.fire_due(kernel.workshop, action), await fired(kernel)) == (1, ["soon", "late"])


async def test_timer_does_not_fire_before_the_time_that_its_action_reads(
    kernel: Kernel, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The clock is moved between the two: a rule that says "not yet" to a timer that is taken ends it for good."""
    await plan(kernel, "soon", HOUR)
    begin = Workshop.begin

    @asynccontextmanager
    async def begin_and_move(self: Workshop) -> AsyncIterator[Work]:
        async with begin(self) as work:
            await kernel.database.advance_clock(2 * HOUR)
            yield work

    monkeypatch.setattr(Workshop, "begin", begin_and_move)
    assert (await timers.fire_due(kernel.workshop, {"remind": Fired()}), await fired(kernel)) == (0, [])
    assert (await timers.fire_due(kernel.workshop, {"remind": Fired()}, batch=1), await fired(kernel)) == (1, ["soon"])


async def test_rescheduled_timer_moves(kernel: Kernel) -> None:
    await plan(kernel, "one", -HOUR, number=1)
    await plan(kernel, "one", HOUR, number=2)
    action = {"remind": Fired()}
    assert await timers.fire_due(kernel.workshop, action) == 0
    await plan(kernel, "one", -HOUR, number=3)
    assert await timers.fire_due(kernel.workshop, action) == 1
    assert await kernel.pool.fetchval("SELECT convert_from(payload, 'UTF8')::jsonb ->> 'number' FROM outbox") == "3"


async def test_many_timers_are_each_as_if_scheduled_alone(kernel: Kernel) -> None:
    async with kernel.workshop.begin() as work:
        await timers.schedule(work, "remind", "one", work.now + HOUR, number=1)
        work.correlation_id = "together"
        await timers.schedule_many(work, "remind", {"two": work.now + HOUR, "one": work.now + 2 * HOUR})
        due = await work.connection.fetch(
            "SELECT dedupe_key, owner_key, due_at - $1, payload, correlation_id FROM timers ORDER BY owner_key",
            work.now,
        )
    assert [tuple(row) for row in due] == [
        ("remind:one", "one", 2 * HOUR, {}, None),
        ("remind:two", "two", HOUR, {}, "together"),
    ]


async def test_parts_of_one_owner_are_timers_of_their_own(kernel: Kernel) -> None:
    async with kernel.workshop.begin() as work:
        for part in ("1", "2", "2"):
            await timers.schedule(work, "remind", "one", work.now - HOUR, part=part, number=1)
    assert await timers.fire_due(kernel.workshop, {"remind": Fired()}) == 2


async def test_cancel_removes_one_kind_or_all(kernel: Kernel) -> None:
    for owner in ("one", "other"):
        for kind in ("remind", "expire"):
            await plan(kernel, owner, -HOUR, kind)
    async with kernel.workshop.begin() as work:
        await timers.cancel(work, "one", "remind")
    left = await kernel.pool.fetch("SELECT owner_key, kind FROM timers ORDER BY id")
    assert [tuple(row) for row in left] == [("one", "expire"), ("other", "remind"), ("other", "expire")]
    async with kernel.workshop.begin() as work:
        await timers.cancel(work, "other")
    assert [tuple(row) for row in await kernel.pool.fetch("SELECT owner_key, kind FROM timers")] == [("one", "expire")]


async def test_action_may_schedule_its_own_next_step(kernel: Kernel) -> None:
    async def again(work: Work, timer: Timer) -> None:
        await timers.schedule(work, timer.kind, timer.owner_key, timer.due_at + 24 * HOUR)

    await plan(kernel, "series", -HOUR)
    assert await timers.fire_due(kernel.workshop, {"remind": again}) == 1
    assert await timers.fire_due(kernel.workshop, {"remind": again}) == 0
    await kernel.database.advance_clock(dt.timedelta(days=1))
    assert await timers.fire_due(kernel.workshop, {"remind": again}) == 1
    assert await kernel.count("timers") == 1


async def test_failing_action_is_put_back_with_growing_delay_until_dead(kernel: Kernel) -> None:
    await plan(kernel, "sick", -HOUR, number=1)
    action = {"remind": Fired("sick")}
    delays = []
    for attempt in range(1, MAX_ATTEMPTS + 1):
        # Another one is due each time, and is not held up.
        await plan(kernel, f"well-{attempt}", -HOUR)
        assert await timers.fire_due(kernel.workshop, action) == 2
        row = await kernel.pool.fetchrow(
            "SELECT attempts, dead, error, payload, extract(epoch FROM due_at - business_now()) AS delay FROM timers"
        )
        assert row is not None
        assert (row["attempts"], row["dead"], row["error"]) == (attempt, attempt == MAX_ATTEMPTS, "ValueError")
        assert row["payload"] == {"number": 1}
        delays.append(round(row["delay"]))
        await kernel.pool.execute("UPDATE timers SET due_at = business_now() - interval '1 minute'")
    assert delays == [2, 4, 8, 16, 32, 64, 128, 256]
    assert await timers.fire_due(kernel.workshop, action) == 0
    # What the failing action wrote and emitted is gone; the others' stays.
    assert await fired(kernel) == [f"well-{attempt}" for attempt in range(1, MAX_ATTEMPTS + 1)]
    assert await kernel.count("outbox") == MAX_ATTEMPTS
    # Scheduling it anew revives it.
    await plan(kernel, "sick", -HOUR)
    assert await timers.fire_due(kernel.workshop, {"remind": Fired()}) == 1


async def test_rule_that_says_no_ends_the_timer(kernel: Kernel) -> None:
    await plan(kernel, "moot", -HOUR)
    action = {"remind": Fired("moot", error=Rejected("moot", _("Too late.")))}
    assert await timers.fire_due(kernel.workshop, action) == 1
    assert (await kernel.count("timers"), await kernel.count("outbox"), await fired(kernel)) == (0, 0, [])


async def test_kind_without_an_action_is_kept(kernel: Kernel) -> None:
    await plan(kernel, "one", -HOUR, "of_a_newer_version")
    assert await timers.fire_due(kernel.workshop, {"remind": Fired()}) == 1
    rows = await kernel.pool.fetch("SELECT kind, dead FROM timers")
    assert [tuple(row) for row in rows] == [("of_a_newer_version", False)]


async def test_infrastructure_fault_leaves_the_timer_as_it_was_and_keeps_what_fired_before(kernel: Kernel) -> None:
    await plan(kernel, "first", -2 * HOUR)
    await plan(kernel, "second", -HOUR)
    before = await kernel.pool.fetch("SELECT * FROM timers ORDER BY id")
    with pytest.raises(asyncpg.DeadlockDetectedError):
        await timers.fire_due(
            kernel.workshop, {"remind": Fired("second", error=asyncpg.DeadlockDetectedError("deadlock"))}
        )
    assert await kernel.pool.fetch("SELECT * FROM timers ORDER BY id") == before[1:]
    assert (await fired(kernel), await kernel.count("outbox")) == (["first"], 1)


async def test_missing_action_is_refused_at_start() -> None:
    with pytest.raises(TypeError, match=r"No action for the timer kinds expire; add them to the service's TIMERS\."):
        timers.check_actions({"remind": Fired()}, ["remind", "expire"])
