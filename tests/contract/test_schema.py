"""Schemas are the sum of their migrations, each of which can be undone; and what a service's run role may not do."""

import asyncio
import shutil
import subprocess
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit, urlunsplit

import asyncpg
import pytest

from deploy.embedded.postgres import Postgres
from shared.migrate import _dbmate, directories, files_of, migrate
from shared.settings import SERVICES
from tests.conftest import DatabaseFactory
from tests.harness import Databases

# Everything that a migration can make, one line each, in an order that does not depend on when it was made.
CATALOG = """
    SELECT 'column ' || c.relname || '.' || a.attnum || ' ' || a.attname || ' ' || format_type(a.atttypid, a.atttypmod)
           || ' ' || a.attnotnull || ' ' || a.attidentity::text || ' ' || a.attgenerated::text || ' '
           || coalesce(pg_get_expr(d.adbin, d.adrelid), '-') AS line
    FROM pg_attribute a JOIN pg_class c ON c.oid = a.attrelid JOIN pg_namespace n ON n.oid = c.relnamespace
         LEFT JOIN pg_attrdef d ON d.adrelid = c.oid AND d.adnum = a.attnum
    WHERE n.nspname = 'public' AND c.relkind IN ('r', 'p', 'v', 'm') AND a.attnum > 0 AND NOT a.attisdropped
    UNION ALL
    SELECT 'table ' || c.relname || ' ' || c.relkind::text || ' ' || coalesce(c.reloptions::text, '-')
    FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace
    WHERE n.nspname = 'public' AND c.relkind IN ('r', 'p', 'v', 'm', 'S')
    UNION ALL
    SELECT 'constraint ' || t.conname || ' ' || pg_get_constraintdef(t.oid)
    FROM pg_constraint t JOIN pg_namespace n ON n.oid = t.connamespace WHERE n.nspname = 'public'
    UNION ALL
    SELECT 'index ' || indexdef FROM pg_indexes WHERE schemaname = 'public'
    UNION ALL
    SELECT 'trigger ' || pg_get_triggerdef(g.oid) FROM pg_trigger g WHERE NOT g.tgisinternal
    UNION ALL
    SELECT 'function ' || pg_get_functiondef(p.oid)
    FROM pg_proc p JOIN pg_namespace n ON n.oid = p.pronamespace
         LEFT JOIN pg_depend x ON x.objid = p.oid AND x.deptype = 'e'
    WHERE n.nspname = 'public' AND x.objid IS NULL
    UNION ALL
    SELECT 'type ' || t.typname || ' ' || t.typtype::text FROM pg_type t JOIN pg_namespace n ON n.oid = t.typnamespace
    WHERE n.nspname = 'public' AND t.typtype IN ('e', 'd')
    UNION ALL
    SELECT 'extension ' || extname FROM pg_extension
    ORDER BY line
"""
GRANTS = """
    SELECT table_name || ' ' || privilege_type AS line FROM information_schema.role_table_grants
    WHERE grantee = $1 AND table_schema = 'public' ORDER BY line
"""


def query(dsn: str, sql: str, *arguments: Any) -> list[str]:
    """The column `line` of what a statement finds."""

    async def run() -> list[str]:
        connection = await asyncpg.connect(dsn)
        try:
            return [row["line"] for row in await connection.fetch(sql, *arguments)]
        finally:
            await connection.close()

    return asyncio.run(run())


def dbmate(owner_dsn: str, folder: Path, command: str) -> None:
    """Run one of dbmate's commands over the migrations in a folder."""
    done = subprocess.run(
        [_dbmate(), "--no-dump-schema", "--migrations-dir", str(folder), command],
        env={"DATABASE_URL": owner_dsn, "PATH": ""},
        capture_output=True,
        text=True,
        check=False,
        timeout=60,
    )
    assert done.returncode == 0, done.stderr


@pytest.mark.parametrize("service", SERVICES)
def test_every_migration_can_be_undone_and_done_again(service: str, postgres: Postgres, tmp_path: Path) -> None:
    made = postgres.create_service(f"{service}_steps")
    run_role = f"{service}_steps"

    def state() -> tuple[list[str], list[str]]:
        return query(made.owner_dsn, CATALOG), query(made.owner_dsn, GRANTS, run_role)

    # dbmate's own table comes with the first migration, and stays.
    shutil.copy(files_of(service)[0], tmp_path)
    dbmate(made.owner_dsn, tmp_path, "migrate")
    dbmate(made.owner_dsn, tmp_path, "rollback")
    states = [state()]
    for path in files_of(service):
        shutil.copy(path, tmp_path)
        dbmate(made.owner_dsn, tmp_path, "migrate")
        states.append(state())
        assert states[-1] != states[-2], f"{path.name} changes nothing"
    for number in range(len(states) - 2, -1, -1):
        dbmate(made.owner_dsn, tmp_path, "rollback")
        left = [sorted(set(now) ^ set(before)) for now, before in zip(state(), states[number], strict=True)]
        assert left == [[], []], f"{files_of(service)[number].name} is not undone by its down part"
        assert state() == states[number]
    dbmate(made.owner_dsn, tmp_path, "migrate")
    assert state() == states[-1]
    # What `python -m services.<name> migrate` makes in one go, and a repeat changes nothing.
    migrate(service, made.owner_dsn)
    assert state() == states[-1]


@pytest.mark.parametrize("service", SERVICES)
def test_migrations_are_numbered_once_and_say_when_they_run(service: str) -> None:
    names = [path.name for path in files_of(service)]
    numbers = [name.partition("_")[0] for name in names]
    assert len(numbers) == len(set(numbers))
    assert [name for name in names if name.split("_")[1] not in ("pre", "post")] == []
    assert [
        name for name in names if (name < "0100") != (name in {p.name for p in directories(service)[0].iterdir()})
    ] == []


DDL = (
    "CREATE TABLE mine (id int)",
    "CREATE SCHEMA mine",
    "CREATE FUNCTION mine() RETURNS int LANGUAGE sql AS 'SELECT 1'",
    "CREATE INDEX ON outbox (created_at)",
    "ALTER TABLE outbox ADD COLUMN mine int",
    "ALTER TABLE outbox DISABLE TRIGGER ALL",
    "DROP TABLE outbox",
    "TRUNCATE outbox",
    "DROP FUNCTION business_now()",
    "CREATE OR REPLACE FUNCTION business_now() RETURNS timestamptz LANGUAGE sql AS 'SELECT now()'",
    "CREATE ROLE mine",
    "CREATE DATABASE mine",
)
APPLIED = (
    "INSERT INTO schema_migrations VALUES ('0098')",
    "UPDATE schema_migrations SET version = '0098' WHERE version = '0001'",
    "DELETE FROM schema_migrations",
)
CLOCK = (
    "UPDATE clock SET ahead = '1 day'",
    "DELETE FROM clock",
    "INSERT INTO clock (singleton, ahead) VALUES (true, '1 day')",
    "SELECT * FROM clock FOR UPDATE",
)


@pytest.mark.parametrize("service", SERVICES)
async def test_run_role_changes_neither_schema_nor_migrations_nor_clock(
    service: str, databases: DatabaseFactory
) -> None:
    database = await databases(service)
    connection = await asyncpg.connect(database.dsn)
    try:
        # PostgreSQL answers this one with a warning; that it grants nothing shows below.
        await connection.execute("GRANT ALL ON ALL TABLES IN SCHEMA public TO PUBLIC")
        allowed = []
        for statement in (*DDL, *APPLIED, *CLOCK):
            try:
                await connection.execute(statement)
            except asyncpg.InsufficientPrivilegeError:
                continue
            allowed.append(statement)
        assert allowed == []
        assert await connection.fetchval("SELECT business_now() = now()") is True
    finally:
        await connection.close()


@pytest.fixture(scope="module")
def all_databases(template_databases: Databases) -> dict[str, str]:
    """The run role's address of each service's own database."""
    return {service: template_databases.template(service).dsn for service in SERVICES}


@pytest.mark.parametrize("service", SERVICES)
async def test_run_role_connects_to_its_own_database_alone(service: str, all_databases: dict[str, str]) -> None:
    refused = {}
    for other in SERVICES:
        address = urlunsplit(urlsplit(all_databases[service])._replace(path=f"/{other}"))
        try:
            connection = await asyncpg.connect(address)
        except asyncpg.InsufficientPrivilegeError:
            refused[other] = True
            continue
        await connection.close()
        refused[other] = False
    assert refused == {other: other != service for other in SERVICES}
