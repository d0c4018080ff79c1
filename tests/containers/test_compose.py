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
from typing import Any

import asyncpg
import httpx
import pytest
from standardwebhooks.webhooks import Webhook

from deploy.compose.control import compose, run_once
from deploy.compose.system import COMPOSE_FILE, KEPT, ONCE
from deploy.demo.mailbox import links
from deploy.embedded.stack import Home
from deploy.images.docker import docker
from deploy.stack import choose
from shared.settings import SERVICES
from tests.component.endorsement.receiver import receiving
from tests.containers.conftest import INBOUND_TOKEN, Containers
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
        # What nobody set is not there, rather than empty: it would hide a default.
        told = [
            one for one in seen["Config"]["Env"] if one.startswith(tuple(f"{service.upper()}_" for service in SERVICES))
        ]
        assert [one for one in told if one.endswith("=")] == [], seen["Name"]
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
    await asyncio.to_thread(system.run, "deploy.compose", "logs", "--to", str(logs))
    assert {path.stem for path in logs.iterdir()} == {one.name for one in system.all()}
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


async def test_rotation_ends_sessions_and_links_and_forgets_neither_stops_nor_webhooks(
    system: Containers, receiver_host: str
) -> None:
    """Three kinds at once, so that the services restart once. The databases' passwords are the test above."""
    email, number = "rotating@example.org", "316 555 0177"
    urls, folder = system.endpoints, system.compose.folder / "secrets"
    stops = "SELECT lifted_at IS NULL FROM suppressions WHERE channel = 'sms' AND person_id IS NULL ORDER BY since"
    await system.command("staff", "add", "--name", "Rotating Ruiz", "--email", email, "--role", "admin")
    async with httpx.AsyncClient(timeout=30) as http, receiving(receiver_host) as receiver:

        async def signed_in(after: str) -> tuple[dict[str, str], dict[str, Any]]:
            """The header of a new session, and the mail whose link opened it."""
            mail = await asyncio.to_thread(
                system.mailbox.wait_for,
                email,
                lambda one: int(one["id"]) > int(after) and links(one, "/account/sign-in/") != [],
            )
            token = links(mail, "/account/sign-in/")[0].rsplit("/", 1)[1]
            answer = await http.post(f"{urls['signup']}/v1/account/session", json={"token": token})
            return {"Authorization": f"Bearer {answer.raise_for_status().json()['session']}"}, mail

        async def text(body: str) -> str:
            answer = await http.post(
                f"{urls['notifications']}/sms/inbound",
                json={"from": number, "body": body},
                headers={"X-Inbound-Token": INBOUND_TOKEN},
            )
            return str(answer.raise_for_status().json()["intent"])

        async def explained(link: str) -> tuple[int, str]:
            """What the page behind a mail's own link answers, on this machine."""
            token = link.rsplit("/", 1)[1]
            answer = await http.get(f"{urls['notifications']}/v1/messages/why/{token}")
            return answer.status_code, answer.json().get("code", "")

        async def called(service: str, token: str) -> int:
            """Whether a service may ask signup for contacts with that credential."""
            answer = await http.post(
                f"{urls['signup']}/internal/contacts",
                json={"person_ids": []},
                headers={"Authorization": f"Bearer {token}"},
            )
            return answer.status_code

        session, mail = await signed_in("0")
        made = await http.post(
            f"{urls['endorsement']}/v1/webhooks", json={"url": receiver.url, "description": "Press"}, headers=session
        )
        webhook = made.raise_for_status().json()
        assert await text("STOP") == "stop"
        assert await system.fetch("notifications", stops) == [(True,)]
        [link] = links(mail, "/messages/why/")
        assert (await explained(link))[0] == 200
        internal = (folder / "notifications_internal_token").read_text()
        assert await called("notifications", internal) == 200

        await asyncio.to_thread(system.run, "deploy.compose", "rotate", "internal", "sessions", "links")

        whole(system)
        answers = [
            (await http.get(f"{urls['signup']}/v1/me", headers=session)).status_code,
            (await http.get(f"{urls['endorsement']}/v1/webhooks", headers=session)).status_code,
            await called("notifications", internal),
            await called("notifications", (folder / "notifications_internal_token").read_text()),
        ]
        assert answers == [401, 401, 401, 200]
        assert await explained(link) == await explained("https://example.org/never-made") == (404, "not_found")
        # A mail is only sent when notifications has asked signup for the contact and for the link.
        await http.post(f"{urls['signup']}/v1/account/sign-in", json={"email": email})
        session, mail = await signed_in(mail["id"])
        assert (await explained(links(mail, "/messages/why/")[0]))[0] == 200
        # The hash of the number is the one of before: the START finds the STOP.
        assert await text("START") == "start"
        assert await system.fetch("notifications", stops) == [(False,)]
        address = f"{urls['endorsement']}/v1/webhooks/{webhook['webhook_id']}"
        assert (await http.post(f"{address}/test", headers=session)).status_code == 202
        deadline = time.monotonic() + SETTLE_SECONDS
        while not receiver.got:
            assert time.monotonic() < deadline, "no webhook came"
            await asyncio.sleep(0.2)
        got = receiver.got[0]
        assert Webhook(webhook["secret"]).verify(got.body, got.headers)["id"] == got.headers["webhook-id"]
        assert (await http.post(f"{address}/disabling", headers=session)).status_code == 200


async def test_deploy_is_ended_by_one_command(system: Containers) -> None:
    """Nothing is held back here, since every process is of this version; what holds back is in the kernel's tests."""
    said = await asyncio.to_thread(system.run, "deploy.compose", "contract")
    assert said.splitlines() == [f"{service}: nothing is held back." for service in SERVICES]
    words = await asyncio.to_thread(run_once, system.compose, "signup-migrate", "nonsense")
    assert words is not None
    assert "invalid choice: 'nonsense'" in words
    whole(system)


async def test_path_by_containers(system: Containers, browser: object, receiver_host: str) -> None:
    """In the browser, on a system that was killed, restored and given new passwords by the tests above."""
    await path(system, browser, receiver_host)  # type: ignore[arg-type]


async def test_compose_says_in_its_own_words_what_went_wrong(system: Containers) -> None:
    """A command that compose refuses becomes one sentence, not a traceback."""
    with pytest.raises(AssertionError, match="There is no container 'nobody'"):
        system.run("deploy.compose", "logs", "nobody")
    assert compose(system.compose, "ps", "--quiet").split() != []
