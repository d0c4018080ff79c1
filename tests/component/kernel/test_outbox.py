"""The outbox: a change and its events are committed together, in order, or not at all."""

import asyncio
from uuid import UUID, uuid4

import asyncpg
import pytest

from shared.work import Work
from tests.component.kernel.conftest import Kernel
from tests.component.kernel.events import Noted


async def test_opposite_orders_of_keys_do_not_deadlock(kernel: Kernel) -> None:
    one, other = uuid4(), uuid4()

    async def emit(*keys: UUID) -> None:
        for number in range(40):
            async with kernel.workshop.begin() as work:
                for key in keys:
                    work.emit(Noted(person_id=key, number=number))

    await asyncio.gather(*(emit(one, other) for _ in range(4)), *(emit(other, one) for _ in range(4)))
    versions = await kernel.pool.fetch("SELECT key, version FROM streams")
    assert {row["key"]: row["version"] for row in versions} == {str(one): 320, str(other): 320}
    # One key's rows carry their versions in the order of their ids, which is the order they are sent in.
    rows = await kernel.pool.fetch("SELECT key, headers FROM outbox ORDER BY id")
    assert len(rows) == 640
    for key in (one, other):
        sequences = [int(row["headers"].split('"ce_sequence","')[1][:20]) for row in rows if row["key"] == str(key)]
        assert sequences == list(range(1, 321))


async def test_rollback_leaves_neither_rows_nor_gaps(kernel: Kernel) -> None:
    person = uuid4()

    async def fail() -> None:
        async with kernel.workshop.begin() as work:
            work.emit(Noted(person_id=person, number=1))
            await work.flush()
            raise RuntimeError("no")

    with pytest.raises(RuntimeError):
        await fail()
    assert (await kernel.count("outbox"), await kernel.count("streams")) == (0, 0)
    async with kernel.workshop.begin() as work:
        work.emit(Noted(person_id=person, number=2))
    assert await kernel.pool.fetchval("SELECT version FROM streams WHERE key = $1", str(person)) == 1


async def test_change_whose_events_are_refused_is_undone(kernel: Kernel) -> None:
    person = uuid4()
    await kernel.database.execute("ALTER TABLE outbox ADD CONSTRAINT outbox_closed_ck CHECK (false) NOT VALID")

    async def change() -> None:
        async with kernel.workshop.begin() as work:
            await work.connection.execute("INSERT INTO effects VALUES ($1, $2, 'changed')", uuid4(), person)
            work.emit(Noted(person_id=person, number=1))

    with pytest.raises(asyncpg.CheckViolationError):
        await change()
    assert await kernel.count("effects") == 0
    await kernel.database.execute("ALTER TABLE outbox DROP CONSTRAINT outbox_closed_ck")
    await change()
    assert (await kernel.count("effects"), await kernel.count("outbox")) == (1, 1)


async def test_savepoint_undoes_its_own_events_only(kernel: Kernel) -> None:
    person = uuid4()

    async def fail(work: Work) -> None:
        async with work.savepoint():
            work.emit(Noted(person_id=person, number=2))
            raise RuntimeError("no")

    async with kernel.workshop.begin() as work:
        work.emit(Noted(person_id=person, number=1))
        with pytest.raises(RuntimeError):
            await fail(work)
        work.emit(Noted(person_id=person, number=3))
    payloads = await kernel.pool.fetch("SELECT payload FROM outbox ORDER BY id")
    assert [Noted.model_validate_json(row["payload"]).number for row in payloads] == [1, 3]
