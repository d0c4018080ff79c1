"""The whole system by compose: every container healthy, nothing lost whoever dies, nothing allowed that need not be."""

import asyncio
import json
import os
import random
import signal
import subprocess
import sys
import time
from collections import Counter
from pathlib import Path

import asyncpg
import pytest

from deploy.compose.control import compose
from deploy.compose.system import COMPOSE_FILE, KEPT, ONCE
from deploy.embedded.stack import Home
from deploy.images.docker import docker
from deploy.stack import choose
from shared.settings import SERVICES
from tests.containers.conftest import Containers
from tests.flow.conftest import run
from tests.flow.test_path import test_path_from_signup_to_endorsement_and_back as path
from tests.flow.topics import at_rest
from tests.harness import ROOT, Databases

PROSPECTS, VOLUNTEERS, SEED = 24, 6, 2017
DEMO_SECONDS = 600
# Between one kill and the next: all of them fall into the crowd's way.
PAUSE_SECONDS = 1.5
SETTLE_SECONDS = 180
TABLES = "SELECT tablename FROM pg_tables WHERE schemaname = 'public' ORDER BY 1"
# Who may do what: on databases, schema, tables, sequences and functions, on what comes later, and as a role. Owners'
# own rights, which differ from release to release of PostgreSQL, and those of the superuser are left out.
RIGHTS = r"""
    WITH granted AS (
        SELECT 'database ' || datname AS what, datdba AS owner, coalesce(datacl, acldefault('d', datdba)) AS acl
        FROM pg_database WHERE datname IN (current_database(), 'postgres', 'template1')
        UNION ALL
        SELECT 'schema ' || nspname, nspowner, coalesce(nspacl, acldefault('n', nspowner))
        FROM pg_namespace WHERE nspname NOT LIKE 'pg\_%' AND nspname <> 'information_schema'
        UNION ALL
        SELECT CASE relkind WHEN 'S' THEN 'sequence ' ELSE 'table ' END || relname, relowner,
               coalesce(relacl, acldefault(CASE relkind WHEN 'S' THEN 's' ELSE 'r' END::"char", relowner))
        FROM pg_class WHERE relnamespace = 'public'::regnamespace AND relkind IN ('r', 'p', 'v', 'm', 'S')
        UNION ALL
        SELECT 'function ' || oid::regprocedure, proowner, coalesce(proacl, acldefault('f', proowner))
        FROM pg_proc WHERE pronamespace = 'public'::regnamespace
          AND NOT EXISTS (SELECT FROM pg_depend WHERE objid = pg_proc.oid AND deptype = 'e')
        UNION ALL
        SELECT 'later ' || defaclobjtype::text, defaclrole, defaclacl FROM pg_default_acl
    )
    SELECT what || ' of ' || owner::regrole || ': ' || privilege_type || ' for '
           || CASE grantee WHEN 0 THEN 'public' ELSE grantee::regrole::text END
           || CASE WHEN is_grantable THEN ', to hand on' ELSE '' END AS right
    FROM granted, aclexplode(acl) WHERE grantee <> owner
    UNION ALL
    SELECT format('role %s super %s createdb %s createrole %s replication %s bypassrls %s login %s, %s', rolname,
                  rolsuper, rolcreatedb, rolcreaterole, rolreplication, rolbypassrls, rolcanlogin, rolconnlimit)
    FROM pg_roles WHERE rolname IN (current_database(), current_database() || '_owner')
    UNION ALL
    SELECT 'member ' || member::regrole || ' of ' || roleid::regrole FROM pg_auth_members
    WHERE member NOT IN (SELECT oid FROM pg_roles WHERE rolname LIKE 'pg\_%')
    ORDER BY 1
"""
# What goes on by itself: the pulse of leases, buckets, seen ids that are pruned.
COUNTED = {
    "signup": ("people", "signups", "consents", "accounts"),
    "matching": ("bookings", "attestations"),
    "notifications": ("messages",),
    "endorsement": ("candidacies", "applications", "decisions", "endorsements"),
}


def whole(system: Containers) -> None:
    """Every container is there and healthy, the scaled one as often as it was asked for."""
    here = system.all()
    assert Counter(one.service for one in here) == {
        name: 2 if name == "matching-worker" else 1 for name in (*KEPT, *ONCE)
    }
    assert [one for one in here if not one.settled] == []


async def test_every_container_is_healthy(system: Containers) -> None:
    whole(system)
    assert "matching-worker" in run(system.home, "deploy.stack", "status", environment={"HUSTINGS_STACK": "docker"})


async def test_containers_have_no_rights_and_show_no_secret(system: Containers) -> None:
    ids = [one.id for one in system.all()]
    said = docker("inspect", *ids)
    for seen in json.loads(said):
        host = seen["HostConfig"]
        shown = (host["ReadonlyRootfs"], host["CapDrop"], host["CapAdd"], host["SecurityOpt"], host["Privileged"])
        assert shown == (True, ["ALL"], None, ["no-new-privileges:true"], False), seen["Name"]
        addresses = {one["HostIp"] for ports in (host["PortBindings"] or {}).values() for one in ports}
        assert addresses <= {"127.0.0.1"}, seen["Name"]
        assert seen["Config"]["User"] not in {"", "0", "root"}, seen["Name"]
    secrets = {file.name: file.read_text() for file in (system.compose.folder / "secrets").iterdir()}
    # Neither a key to verify with nor hashes of tokens are secret.
    public = {"session_public_key", *(f"{service}_internal_callers" for service in SERVICES)}
    assert [name for name, text in secrets.items() if text and name not in public and text in said] == []
    assert (system.compose.folder.stat().st_mode & 0o777) == 0o700


@pytest.mark.parametrize("service", SERVICES)
async def test_run_role_reaches_its_own_rows_and_nothing_else(system: Containers, service: str) -> None:
    dsn = system.endpoints["postgres"][service]
    own = await asyncpg.connect(dsn)
    try:
        tables = [row[0] for row in await own.fetch(TABLES)]
        refused = (
            "CREATE TABLE mine (id int)",
            "CREATE TEMPORARY TABLE mine (id int)",
            "CREATE SCHEMA mine",
            "CREATE FUNCTION mine() RETURNS int LANGUAGE sql AS 'SELECT 1'",
            "CREATE ROLE mine",
            "CREATE DATABASE mine",
            "CREATE EXTENSION dblink",
            f"ALTER TABLE {tables[0]} ADD COLUMN mine int",
            f"DROP TABLE {tables[0]}",
            f"TRUNCATE {tables[0]}",
            f"ALTER TABLE {tables[0]} OWNER TO {service}",
            f"SET ROLE {service}_owner",
            "UPDATE clock SET ahead = interval '1 day'",
            "UPDATE schema_migrations SET version = '0000'",
            "COPY (SELECT 1) TO PROGRAM 'true'",
            "SELECT pg_read_file('/etc/passwd')",
            "SELECT rolpassword FROM pg_authid",
        )
        for statement in refused:
            with pytest.raises(asyncpg.InsufficientPrivilegeError):
                await own.execute(statement)
        # PostgreSQL answers this one with a warning; that it grants nothing, the comparison of rights shows.
        await own.execute("GRANT ALL ON ALL TABLES IN SCHEMA public TO PUBLIC")
    finally:
        await own.close()
    for database in (*SERVICES, "postgres", "template1"):
        if database != service:
            with pytest.raises(asyncpg.InsufficientPrivilegeError):
                await asyncpg.connect(dsn.replace(f"/{service}?", f"/{database}?"))


@pytest.mark.parametrize("service", SERVICES)
async def test_roles_have_the_rights_that_the_embedded_stack_gives_them(
    system: Containers, template_databases: Databases, service: str
) -> None:
    """Two makers of databases, one in SQL and one in Python, and one set of rights."""

    async def rights(dsn: str) -> list[str]:
        connection = await asyncpg.connect(dsn)
        try:
            return [row[0] for row in await connection.fetch(RIGHTS)]
        finally:
            await connection.close()

    embedded = await asyncio.to_thread(template_databases.template, service)
    composed = await rights(system.endpoints["postgres_owner"][service])
    assert composed == await rights(embedded.owner_dsn)
    assert f"table outbox of {service}_owner: DELETE for {service}" in composed
    assert [line for line in composed if "for public" in line and not line.startswith(("function ", "later f "))] == []


def test_fresh_directory_gets_containers(images: None, tmp_path: Path) -> None:
    """What `make up` asks before it chooses, asked of this machine's daemon."""
    assert choose(Home(tmp_path / "home"), {}, starting=True) == "docker"


def test_both_versions_of_compose_read_the_file_alike(system: Containers) -> None:
    commands = [["docker", "compose"], ["docker-compose"]]
    found = [one for one in commands if runs(one)]
    assert found != [], "neither docker compose nor docker-compose runs"
    for command in found:
        done = subprocess.run(
            [*command, "--file", str(COMPOSE_FILE), "config", "--services"],
            env=system.compose.variables(),
            capture_output=True,
            text=True,
            check=False,
        )
        assert (sorted(done.stdout.split()), done.returncode) == (sorted((*KEPT, *ONCE)), 0), done.stderr


def runs(command: list[str]) -> bool:
    """Whether this version of compose is here."""
    try:
        return subprocess.run([*command, "version"], capture_output=True, check=False).returncode == 0
    except FileNotFoundError:
        return False


def settle(system: Containers, deadline: float) -> None:
    """Poll until every container is healthy again."""
    while late := [one for one in system.all() if not one.settled]:
        assert time.monotonic() < deadline, f"not back: {late}"
        time.sleep(0.5)


async def test_nothing_is_lost_whichever_container_is_killed(system: Containers) -> None:
    """A crowd goes through while every container's process is killed (`kill -9`), one after another."""
    victims = [one for one in system.all() if one.service in KEPT]
    random.Random(SEED).shuffle(victims)
    log = system.home / "demo.log"
    with log.open("w") as output:
        demo = subprocess.Popen(  # noqa: ASYNC220 (it outlives this block; its end is awaited in a thread)
            [
                *(sys.executable, "-m", "deploy.demo", "--seed", str(SEED)),
                *("--prospects", str(PROSPECTS), "--volunteers", str(VOLUNTEERS)),
            ],
            cwd=ROOT,
            env={**os.environ, "HUSTINGS_HOME": str(system.home)},
            stdout=output,
            stderr=subprocess.STDOUT,
        )
    try:
        # From the first sign-up on there is something to lose.
        while demo.poll() is None and not (await system.fetch("signup", "SELECT count(*) FROM signups"))[0][0]:
            await asyncio.sleep(0.05)
        for victim in victims:
            # The daemon's own `docker kill` counts as a wish that it stay away; a crash does not.
            os.kill(victim.pid, signal.SIGKILL)
            await asyncio.sleep(PAUSE_SECONDS)
        exit_code = await asyncio.to_thread(demo.wait, DEMO_SECONDS)
    finally:
        if demo.poll() is None:
            demo.kill()
            demo.wait()
    assert exit_code == 0, log.read_text()
    assert "endorsement.endorsed.v1" in log.read_text()
    settle(system, time.monotonic() + SETTLE_SECONDS)
    assert [one.service for one in system.all() if one.service in KEPT and one.restarts == 0] == []
    await system.command("clock", "advance", "24h")
    await at_rest(system, seconds=SETTLE_SECONDS)
    [counts] = await system.fetch(
        "signup", "SELECT count(*), count(DISTINCT intent_id), count(DISTINCT person_id) FROM signups"
    )
    assert counts == (PROSPECTS + VOLUNTEERS,) * 3
    await green(system)


async def green(system: Containers) -> None:
    """The ledger finds nothing wrong at rest, in databases, topics and the containers' own logs."""
    logs = system.home / "container-logs"
    logs.mkdir(exist_ok=True)
    for one in system.all():
        command = ["docker", "logs", one.id]
        done = await asyncio.to_thread(subprocess.run, command, capture_output=True, check=True)
        (logs / f"{one.name}.log").write_bytes(done.stdout + done.stderr)
    await system.command("ledger", "--logs", str(logs))


async def counts(system: Containers) -> dict[str, int]:
    """Rows of what people did, by table."""
    return {
        f"{service}.{table}": (await system.fetch(service, f"SELECT count(*) FROM {table}"))[0][0]
        for service, tables in COUNTED.items()
        for table in tables
    }


async def test_backup_is_restored_whole(system: Containers, tmp_path: Path) -> None:
    """The drill: dump, wipe, restore; the ledger is green. The path below is walked on what was restored."""
    await system.command("clock", "advance", "24h")
    await at_rest(system, seconds=SETTLE_SECONDS)
    before = await counts(system)
    assert min(before.values()) > 0
    await asyncio.to_thread(system.run, "deploy.backup", "save", str(tmp_path / "backup"))
    # What comes after the backup is what a restore gives up.
    await system.command("staff", "add", "--name", "Late Comer", "--email", "late@example.org", "--role", "staff")
    await at_rest(system, seconds=SETTLE_SECONDS)
    await asyncio.to_thread(system.run, "deploy.backup", "restore", str(tmp_path / "backup"), "--yes")
    whole(system)
    assert await counts(system) == before
    await at_rest(system, seconds=SETTLE_SECONDS)
    await green(system)


async def test_damaged_backup_is_refused(system: Containers, tmp_path: Path) -> None:
    folder = tmp_path / "backup"
    folder.mkdir()
    with pytest.raises(AssertionError, match="is no backup, or one that was cut off"):
        system.run("deploy.backup", "restore", str(folder), "--yes")
    (folder / "signup.dump").write_bytes(b"cut off")
    (folder / "contents.json").write_text(json.dumps({"signup.dump": "0" * 64}))
    with pytest.raises(AssertionError, match="missing or not what was written"):
        system.run("deploy.backup", "restore", str(folder), "--yes")
    whole(system)


async def test_rotated_passwords_replace_the_old_ones(system: Containers) -> None:
    old = dict(system.endpoints["postgres"])
    await asyncio.to_thread(system.run, "deploy.compose", "rotate", "passwords")
    system.endpoints.update(json.loads((system.home / "endpoints.json").read_text()))
    for service in SERVICES:
        with pytest.raises(asyncpg.InvalidPasswordError):
            await asyncpg.connect(old[service])
        assert await system.fetch(service, "SELECT 1") == [(1,)]
    whole(system)


async def test_path_by_containers(system: Containers, browser: object, receiver_host: str) -> None:
    """In the browser, on a system that was killed, restored and given new passwords by the tests above."""
    await path(system, browser, receiver_host)  # type: ignore[arg-type]


async def test_compose_says_in_its_own_words_what_went_wrong(system: Containers) -> None:
    """A command that compose refuses becomes one sentence, not a traceback."""
    with pytest.raises(AssertionError, match="There is no container 'nobody'"):
        system.run("deploy.compose", "logs", "nobody")
    assert compose(system.compose, "ps", "--quiet").split() != []
