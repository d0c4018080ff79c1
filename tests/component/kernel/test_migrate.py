"""Migrations before and after a deploy: which of them wait for the processes of an older version."""

import asyncio
from collections.abc import Callable
from pathlib import Path
from uuid import uuid4

import asyncpg
import pytest

from deploy.embedded.postgres import Postgres, ServiceDatabase
from shared import migrate as migrations
from shared.db import create_pool
from shared.migrate import HeldBack, application_name, contract, demand_migrated, migrate, older_than

Write = Callable[[str, str], None]


@pytest.fixture
def made(postgres: Postgres) -> ServiceDatabase:
    """An empty database."""
    return postgres.create_service(f"migrate_{uuid4().hex[:8]}")


@pytest.fixture
def write(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Write:
    """Add a migration to the service `shop`, which has the kernel's and its own."""
    monkeypatch.setattr(migrations, "directories", lambda _service: [migrations.KERNEL, tmp_path])

    def add(name: str, up: str) -> None:
        (tmp_path / f"{name}.sql").write_text(f"-- migrate:up\n{up};\n-- migrate:down\nSELECT 1;\n")

    add("0101_pre_items", "CREATE TABLE items (id int, label text)")
    return add


async def columns(made: ServiceDatabase) -> list[str]:
    connection = await asyncpg.connect(made.owner_dsn)
    try:
        found = (
            "SELECT column_name FROM information_schema.columns WHERE table_name = 'items' ORDER BY ordinal_position"
        )
        return [row["column_name"] for row in await connection.fetch(found)]
    finally:
        await connection.close()


async def test_contract_waits_for_the_last_process_that_does_not_know_it(made: ServiceDatabase, write: Write) -> None:
    assert await asyncio.to_thread(migrate, "shop", made.owner_dsn) == []
    older = await create_pool(made.dsn, service="shop", size=4)
    write("0102_pre_add_name", "ALTER TABLE items ADD COLUMN name text")
    write("0103_post_drop_label", "ALTER TABLE items DROP COLUMN label")
    assert await asyncio.to_thread(migrate, "shop", made.owner_dsn) == ["0103_post_drop_label.sql"]
    assert await columns(made) == ["id", "label", "name"]
    with pytest.raises(HeldBack, match=r"0103_post_drop_label\.sql of shop would take away"):
        await asyncio.to_thread(contract, "shop", made.owner_dsn)
    newer = await create_pool(made.dsn, service="shop", size=4)
    await older.close()
    await asyncio.to_thread(contract, "shop", made.owner_dsn)
    assert await columns(made) == ["id", "name"]
    await newer.close()


async def test_held_back_migration_is_not_overtaken_by_a_later_release(made: ServiceDatabase, write: Write) -> None:
    await asyncio.to_thread(migrate, "shop", made.owner_dsn)
    older = await create_pool(made.dsn, service="shop", size=4)
    write("0102_post_drop_label", "ALTER TABLE items DROP COLUMN label")
    write("0103_pre_label_anew", "ALTER TABLE items ADD COLUMN label int")
    with pytest.raises(RuntimeError, match=r"0103_pre_label_anew\.sql can't run before 0102_post_drop_label\.sql"):
        await asyncio.to_thread(migrate, "shop", made.owner_dsn)
    assert await columns(made) == ["id", "label"]
    await older.close()
    assert await asyncio.to_thread(migrate, "shop", made.owner_dsn) == []
    assert await columns(made) == ["id", "label"]


async def test_migration_that_waits_for_a_lock_gives_way_and_is_tried_again(
    made: ServiceDatabase, write: Write
) -> None:
    await asyncio.to_thread(migrate, "shop", made.owner_dsn)
    write("0102_pre_add_name", "ALTER TABLE items ADD COLUMN name text")
    holder, visitor = await asyncpg.connect(made.owner_dsn), await asyncpg.connect(made.owner_dsn)
    reading = holder.transaction()
    await reading.start()
    await holder.fetch("SELECT * FROM items")
    migrating = asyncio.create_task(asyncio.to_thread(migrate, "shop", made.owner_dsn))
    # Whoever queues up behind the waiting migration gets through, again and again, for as long as it has to wait.
    for _ in range(3):
        await asyncio.sleep(0.7)
        await visitor.execute("INSERT INTO items VALUES (1)", timeout=5)
    assert not migrating.done()
    await reading.rollback()
    assert await migrating == []
    assert await columns(made) == ["id", "label", "name"]
    await holder.close()
    await visitor.close()


async def test_code_refuses_a_database_that_lacks_what_it_needs(made: ServiceDatabase, write: Write) -> None:
    pool = await create_pool(made.dsn, service="shop", size=4)
    with pytest.raises(RuntimeError, match=r"lacks 0001_pre_.*: run `python -m services\.shop migrate` first"):
        await demand_migrated(pool, "shop")
    await asyncio.to_thread(migrate, "shop", made.owner_dsn)
    await demand_migrated(pool, "shop")
    write("0102_pre_add_name", "ALTER TABLE items ADD COLUMN name text")
    with pytest.raises(RuntimeError, match=r"lacks 0102_pre_add_name\.sql:"):
        await demand_migrated(pool, "shop")
    await pool.close()


def test_process_tells_the_newest_migrations_that_its_code_knows(write: Write) -> None:
    write("0117_post_x", "SELECT 1")
    kernel = max(path.name[:4] for path in migrations.KERNEL.glob("*.sql"))
    assert application_name("shop") == f"hustings-shop {kernel}.0117"


@pytest.mark.parametrize(
    ("number", "older"),
    [(117, []), (118, ["hustings-shop 0002.0117"]), (2, []), (3, ["hustings-shop 0002.0117"])],
)
def test_kernel_and_service_are_compared_each_by_its_own_numbers(number: int, older: list[str]) -> None:
    assert older_than(number, ["hustings-shop 0002.0117", "psql", "", "hustings-shop"]) == older
