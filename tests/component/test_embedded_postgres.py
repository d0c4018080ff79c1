"""The embedded PostgreSQL: separate databases and roles, private passwords, data that survives a kill."""

import signal
import stat
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import asyncpg
import pytest

from deploy.embedded.postgres import Postgres
from deploy.embedded.processes import StackError


@pytest.fixture(scope="module")
def server(new_home: Callable[[str], Path]) -> Iterator[Postgres]:
    server = Postgres(new_home("postgres"))
    server.start()
    yield server
    server.stop()


async def execute(dsn: str, *statements: str) -> list[tuple[Any, ...]]:
    connection = await asyncpg.connect(dsn)
    try:
        rows: list[asyncpg.Record] = []
        for statement in statements:
            rows = await connection.fetch(statement)
        return [tuple(row) for row in rows]
    finally:
        await connection.close()


async def test_postgres_run_role_reads_and_writes_what_the_owner_makes(server: Postgres) -> None:
    database = server.create_service("rows")
    await execute(
        database.owner_dsn,
        "CREATE TABLE things (id bigserial PRIMARY KEY, name text NOT NULL)",
        "CREATE FUNCTION shout(text) RETURNS text LANGUAGE sql AS 'SELECT upper($1)'",
        "CREATE SCHEMA side",
        "CREATE TABLE side.notes (note text)",
    )
    rows = await execute(
        database.dsn,
        "INSERT INTO things (name) VALUES ('a'), ('b'), ('c')",
        "UPDATE things SET name = shout(name) WHERE id = 1",
        "DELETE FROM things WHERE id = 3",
        "INSERT INTO side.notes VALUES ('n')",
        "SELECT id, name FROM things ORDER BY id",
    )
    assert rows == [(1, "A"), (2, "b")]


@pytest.mark.parametrize(
    "statement",
    ["CREATE TABLE mine (id int)", "DROP TABLE kept", "ALTER TABLE kept ADD extra int", "TRUNCATE kept"],
)
async def test_postgres_run_role_changes_no_table(server: Postgres, statement: str) -> None:
    database = server.create_service("fixed")
    await execute(database.owner_dsn, "CREATE TABLE IF NOT EXISTS kept (id int)")
    with pytest.raises(asyncpg.InsufficientPrivilegeError):
        await execute(database.dsn, statement)


async def test_postgres_service_cannot_enter_its_neighbours_database(server: Postgres) -> None:
    mine, other = server.create_service("mine"), server.create_service("other")
    for dsn in (mine.dsn, mine.owner_dsn):
        with pytest.raises(asyncpg.InsufficientPrivilegeError):
            await execute(dsn.replace("/mine?", "/other?"), "SELECT 1")
    assert await execute(other.dsn, "SELECT current_user::text") == [("other",)]


async def test_postgres_asks_for_the_password(server: Postgres) -> None:
    with pytest.raises(asyncpg.InvalidPasswordError):
        await execute(server.dsn("postgres", "postgres", "guess"), "SELECT 1")


def test_postgres_create_service_twice_gives_the_same(server: Postgres) -> None:
    assert server.create_service("twice") == server.create_service("twice")


def test_postgres_refuses_a_name_that_is_none(server: Postgres) -> None:
    with pytest.raises(StackError) as raised:
        server.create_service('x"; DROP')
    assert str(raised.value) == (
        "'x\"; DROP' is no name for a service's database: use small letters, digits and underscores."
    )


def test_postgres_keeps_its_passwords_to_its_owner(server: Postgres) -> None:
    server.admin_dsn  # noqa: B018 - makes the password if it is the first to ask
    assert stat.S_IMODE((server.dir / "passwords.json").stat().st_mode) == 0o600


async def test_postgres_runs_durably_with_room_for_connections(server: Postgres) -> None:
    settings = await execute(
        server.admin_dsn,
        "SELECT name, setting FROM pg_settings WHERE name IN "
        "('fsync', 'full_page_writes', 'listen_addresses', 'max_connections', 'synchronous_commit', "
        "'unix_socket_directories', 'TimeZone', 'server_encoding') ORDER BY name",
    )
    assert dict(settings) == {
        "TimeZone": "UTC",
        "fsync": "on",
        "full_page_writes": "on",
        "listen_addresses": "127.0.0.1",
        "max_connections": "200",
        "server_encoding": "UTF8",
        "synchronous_commit": "on",
        "unix_socket_directories": "",
    }


async def test_postgres_orders_and_folds_case_beyond_ascii(server: Postgres) -> None:
    assert await execute(server.admin_dsn, "SELECT lower('ÉÑ')") == [("éñ",)]


async def test_postgres_killed_keeps_what_was_committed(new_home: Callable[[str], Path]) -> None:
    home = new_home("postgres")
    with Postgres(home) as first:
        database = first.create_service("kept")
        await execute(database.owner_dsn, "CREATE TABLE t (id int)")
        await execute(database.dsn, "INSERT INTO t VALUES (7)")
        assert first.process is not None
        first.process.send(signal.SIGKILL)
        assert first.process.wait(10)
        with Postgres(home) as second:
            assert second.create_service("kept") == database
            assert await execute(database.dsn, "SELECT id FROM t") == [(7,)]


def test_postgres_running_is_taken_over_and_stopped_by_another_object(new_home: Callable[[str], Path]) -> None:
    home = new_home("postgres")
    with Postgres(home) as first:
        assert first.process is not None
        second = Postgres(home).start()
        assert second.process is not None
        assert second.process.record() == first.process.record()
        assert Postgres(home).stop() is True
        assert first.process.wait(5)
    assert Postgres(home).stop() is False


def test_postgres_refuses_a_port_that_is_taken(server: Postgres, tmp_path: Path) -> None:
    with pytest.raises(StackError) as raised:
        Postgres(tmp_path, server.port).start()
    assert str(raised.value) == (
        f"Port {server.port} for PostgreSQL is taken by another process: stop it, or choose another port."
    )
