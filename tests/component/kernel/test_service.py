"""A service as real processes: it starts, tells how it is, and ends in time."""

import asyncio
import datetime as dt
import json
import os
import signal
import sys
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from pathlib import Path
from urllib.parse import urlsplit
from uuid import uuid4

import httpx
import pytest

from deploy.embedded.kafka import Kafka
from deploy.embedded.processes import choose_port
from shared.broker import create_topics
from shared.service import ROLES, Service
from tests.component.kernel.events import Noted
from tests.component.kernel.running import until
from tests.component.kernel.tinyservice.app import HANGS, SERVICE, Settings
from tests.conftest import DatabaseFactory
from tests.harness import PROGRAM_2025, ROOT, Database, client_of, make_settings, running, session_keys

STOP_SECONDS = 25.0
EFFECTS = (
    "CREATE TABLE effects (event_id uuid NOT NULL, person_id uuid NOT NULL, note text,"
    " ordinal bigint GENERATED ALWAYS AS IDENTITY)"
)


@pytest.fixture
async def database(databases: DatabaseFactory) -> Database:
    """The kernel's tables and one for effects."""
    made = await databases("notifications")
    await made.execute(EFFECTS)
    return made


def variables(database: Database, kafka: str, port: int, **changes: str) -> dict[str, str]:
    """The environment of a tiny process, and nothing else of this one's but what Python needs."""
    made = {
        "PATH": os.environ["PATH"],
        "HOME": os.environ.get("HOME", "/"),
        "PYTHONWARNINGS": "default",
        "TINY_ENVIRONMENT": "test",
        "TINY_DATABASE_URL": database.dsn,
        "TINY_KAFKA_BOOTSTRAP": kafka,
        "TINY_PROGRAM": str(PROGRAM_2025),
        "TINY_PORT": str(port),
        "TINY_INTERNAL_TOKEN": "token-of-tiny",
        "TINY_SESSION_PUBLIC_KEY": session_keys()[1],
        "TINY_LINK_SECRET": "link-secret-of-tests",
        **{f"TINY_{name}_URL": f"http://{name.lower()}.test"
           for name in ("SIGNUP", "MATCHING", "NOTIFICATIONS", "ENDORSEMENT", "TINY")},
    }  # fmt: skip
    return {**made, **changes}


@asynccontextmanager
async def process(role: str, environment: Mapping[str, str], log: Path) -> AsyncIterator[asyncio.subprocess.Process]:
    """`python -m tinyservice ROLE`, killed with the block if it is still there."""
    with log.open("wb") as out:
        made = await asyncio.create_subprocess_exec(
            sys.executable, "-m", "tests.component.kernel.tinyservice", role, env=dict(environment), cwd=ROOT,
            stdout=out, stderr=asyncio.subprocess.STDOUT,
        )  # fmt: skip
    try:
        yield made
    finally:
        if made.returncode is None:
            made.kill()
        await made.wait()


async def said(role: str, environment: Mapping[str, str], log: Path) -> tuple[int, str]:
    """How a process that ends by itself ended, and what it wrote."""
    async with process(role, environment, log) as started:
        code = await asyncio.wait_for(started.wait(), 30)
    return code, log.read_text()  # noqa: ASYNC240 (a short local file)


async def ready(port: int, log: Path) -> None:
    """Wait until the process on `port` says that it is ready."""
    async with httpx.AsyncClient(base_url=f"http://127.0.0.1:{port}") as client:

        async def answers() -> bool:
            try:
                return (await client.get("/readyz")).status_code == 200
            except httpx.TransportError:
                return False

        try:
            await until(answers, what="ready")
        except AssertionError as late:
            raise AssertionError(log.read_text()[-2000:]) from late  # noqa: ASYNC240 (a short local file)


async def stop(started: asyncio.subprocess.Process) -> tuple[int | None, float]:
    """SIGTERM; the exit code and the seconds it took."""
    loop = asyncio.get_running_loop()
    began = loop.time()
    started.send_signal(signal.SIGTERM)
    await asyncio.wait_for(started.wait(), STOP_SECONDS + 10)
    return started.returncode, loop.time() - began


async def test_process_serves_consumes_relays_and_ends_on_sigterm(
    database: Database, kafka: Kafka, tmp_path: Path
) -> None:
    await create_topics(kafka.bootstrap, [Noted.topic], partitions=3)
    port, log = choose_port(), tmp_path / "log"
    async with process("all", variables(database, kafka.bootstrap, port), log) as started:
        await ready(port, log)
        async with httpx.AsyncClient(base_url=f"http://127.0.0.1:{port}") as client:
            assert (await client.get("/livez")).json() == {"status": "ok"}
            assert (await client.get("/v1/name")).status_code == 405
            metrics = (await client.get("/metrics")).text
        for name in ("hustings_outbox_rows", "hustings_parked", "hustings_dead", "hustings_request_seconds_count"):
            assert f"\n{name}" in metrics
        code, seconds = await stop(started)
    assert (code, seconds < STOP_SECONDS) == (0, True)
    lines = [json.loads(line) for line in log.read_text().splitlines()]
    assert [line["event"] for line in lines if line.get("component") == "service"] == ["starting", "stopped"]
    # A released lease is what lets a successor start at once.
    assert await database.fetch("SELECT count(*) FROM outbox_groups WHERE owner IS NOT NULL") == [(0,)]


async def test_process_with_a_stuck_handler_still_ends_in_time(
    database: Database, kafka: Kafka, tmp_path: Path
) -> None:
    await create_topics(kafka.bootstrap, [Noted.topic], partitions=3)
    port, log = choose_port(), tmp_path / "log"
    async with tiny(database) as service, service.context.workshop.begin() as work:
        work.emit(Noted(person_id=(hanging := uuid4()), number=HANGS))
    async with process("all", variables(database, kafka.bootstrap, port), log) as started:
        await ready(port, log)

        seen: list[object] = []

        async def held() -> bool:
            # The same transaction at twenty looks in a row.
            seen.append(await database.fetch(
                "SELECT DISTINCT virtualtransaction FROM pg_locks WHERE relation = 'inbox_seen'::regclass"
            ))  # fmt: skip
            return len(seen) > 20 and seen[-20:] == [seen[-1]] * 20 and seen[-1] != []

        await until(held, what="a handler that does not return")
        code, seconds = await stop(started)
    assert (code, seconds < STOP_SECONDS) == (0, True)
    assert await database.fetch("SELECT count(*) FROM effects WHERE person_id = $1", hanging) == [(0,)]


async def test_missing_settings_are_named_by_their_variables(database: Database, tmp_path: Path) -> None:
    environment = variables(database, "127.0.0.1:1", 8000, TINY_PORT="many")
    for name in ("TINY_DATABASE_URL", "TINY_LINK_SECRET"):
        del environment[name]
    code, text = await said("web", environment, tmp_path / "log")
    assert code == 1
    assert text.splitlines() == [
        "The settings are not complete; set these variables:",
        "  TINY_DATABASE_URL: Field required.",
        "  TINY_PORT: Input should be a valid integer, unable to parse string as an integer.",
        "  TINY_LINK_SECRET: Field required.",
    ]


async def test_secret_file_that_is_missing_is_named(database: Database, tmp_path: Path) -> None:
    environment = variables(database, "127.0.0.1:1", 8000, TINY_LINK_SECRET_FILE=str(tmp_path / "absent"))
    del environment["TINY_LINK_SECRET"]
    code, text = await said("web", environment, tmp_path / "log")
    assert code == 1
    assert text == (
        f"TINY_LINK_SECRET_FILE names {tmp_path / 'absent'}, which can't be read (FileNotFoundError): give the path"
        " of a file that this process may read, or set TINY_LINK_SECRET.\n"
    )


async def test_moved_clock_is_refused_in_production(database: Database, tmp_path: Path) -> None:
    await database.advance_clock(dt.timedelta(days=3))
    environment = variables(database, "127.0.0.1:1", 8000, TINY_ENVIRONMENT="production")
    code, text = await said("web", environment, tmp_path / "log")
    assert code == 1
    assert text.startswith("The business clock of this database is 3 days, 0:00:00 ahead, which production refuses.")


@pytest.mark.parametrize("fault", ["port", "password"])
async def test_unreachable_database_is_told_in_a_sentence(database: Database, tmp_path: Path, fault: str) -> None:
    parts = urlsplit(database.dsn)
    password = str(parts.password)
    wrong = {
        "port": database.dsn.replace(f":{parts.port}/", ":1/"),
        "password": database.dsn.replace(password, "wrong"),
    }
    environment = variables(database, "127.0.0.1:1", 8000, TINY_DATABASE_URL=wrong[fault])
    code, text = await said("web", environment, tmp_path / "log")
    assert (code, len(text.splitlines())) == (1, 1), text
    assert text.startswith("The database does not answer (")
    assert text.rstrip().endswith("check TINY_DATABASE_URL.")
    assert password not in text


async def test_migration_asks_for_the_owning_role(database: Database, tmp_path: Path) -> None:
    code, text = await said("migrate", variables(database, "127.0.0.1:1", 8000), tmp_path / "log")
    assert (code, text) == (1, "Set TINY_OWNER_DATABASE_URL: migrations run as the owning role.\n")


def test_roles_are_what_the_module_says() -> None:
    assert ROLES == ("web", "worker", "relay", "all", "migrate", "contract", "settings")


@asynccontextmanager
async def tiny(database: Database) -> AsyncIterator[Service]:
    """The tiny service without background tasks, as good as started."""
    async with running(SERVICE, make_settings(Settings, database, tiny_url="http://tiny.test")) as service:
        service._starting = None
        yield service


async def test_service_is_unready_while_its_database_is_away(database: Database) -> None:
    async with tiny(database) as service, client_of(service) as client:
        assert (await client.get("/readyz")).status_code == 200
        parts = urlsplit(database.dsn)
        name, role, admin = parts.path.strip("/"), str(parts.username), database
        # As when an operator takes the database away: connections end, and new ones are refused.
        await admin.execute(f'REVOKE CONNECT ON DATABASE "{name}" FROM PUBLIC, "{role}"')
        await service.context.pool.expire_connections()
        away = await client.get("/readyz")
        live = await client.get("/livez")
        await admin.execute(f'GRANT CONNECT ON DATABASE "{name}" TO "{role}"')

        async def back() -> bool:
            return (await client.get("/readyz")).status_code == 200

        await until(back, what="ready again", seconds=15)
    assert (away.status_code, away.json()["status"]) == (503, "failing")
    assert away.json()["reason"].startswith("The database does not answer (")
    # Restarting the process would not bring the database back.
    assert live.status_code == 200


async def test_service_is_not_alive_once_a_background_task_has_ended(database: Database) -> None:
    async with tiny(database) as service, client_of(service) as client:

        async def end() -> None:
            return

        service._spawn("sender", end)
        await asyncio.wait_for(service._tasks["sender"], 5)
        answer = await client.get("/livez")
    assert (answer.status_code, answer.json()["reason"]) == (503, "Background tasks ended: sender.")


async def test_failing_background_task_is_started_again(database: Database) -> None:
    starts = 0
    done = asyncio.Event()

    async def fail() -> None:
        nonlocal starts
        starts += 1
        if starts == 2:
            done.set()
            await asyncio.Event().wait()
        raise RuntimeError("a bug")

    async with tiny(database) as service, client_of(service) as client:
        service._spawn("sender", fail)
        await asyncio.wait_for(done.wait(), 5)
        assert (await client.get("/livez")).status_code == 200
        service._tasks["sender"].cancel()


async def test_refusal_of_a_foreign_cluster_is_in_the_readiness(database: Database, kafka: Kafka) -> None:
    await create_topics(kafka.bootstrap, [Noted.topic], partitions=3)
    await database.execute(
        "INSERT INTO inbox_offsets (topic, partition, cluster_id, next_offset) VALUES ($1, 0, 'another', 0)",
        Noted.topic.name,
    )
    settings = make_settings(Settings, database, kafka=kafka.bootstrap, tiny_url="http://tiny.test")
    async with running(SERVICE, settings) as service, client_of(service) as client:
        await service.start()
        try:

            async def refused() -> bool:
                return "was read from cluster another" in (await client.get("/readyz")).text

            await until(refused, what="a refusal in the readiness")
        finally:
            await service.stop()
