"""A deploy under load: two versions of the code on one database, a column renamed in between, nothing lost.

GOV.UK Notify once acknowledged messages that were never stored, because a column was dropped while processes of the
old version still wrote to it. Here the old version is a copy of the tree; the new one has a migration that adds the
column's successor, code that writes to it, and a migration that drops the old column.
"""

import asyncio
import json
import os
import shutil
import signal
import sys
from collections import Counter
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any
from uuid import UUID, uuid4

import asyncpg
import httpx
import pytest

from deploy.embedded.kafka import Kafka
from deploy.embedded.postgres import Postgres
from deploy.embedded.processes import choose_port
from shared.broker import create_topics
from shared.events.topics import ALL_TOPICS, SIGNUP_PEOPLE
from tests.component.kernel.running import read_topic, until
from tests.harness import PROGRAM_2025, ROOT, session_keys

STOP_SECONDS = 25.0
SENDERS = 6
EXPAND = """-- migrate:up
ALTER TABLE sources ADD COLUMN referral text;
CREATE FUNCTION keep_referral() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    NEW.referral := coalesce(NEW.referral, NEW.ref);
    NEW.ref := NEW.referral;
    RETURN NEW;
END $$;
CREATE TRIGGER sources_referral_trg BEFORE INSERT ON sources FOR EACH ROW EXECUTE FUNCTION keep_referral();
UPDATE sources SET referral = ref;
-- migrate:down
DROP TRIGGER sources_referral_trg ON sources;
DROP FUNCTION keep_referral();
ALTER TABLE sources DROP COLUMN referral;
"""
CONTRACT = """-- migrate:up
DROP TRIGGER sources_referral_trg ON sources;
DROP FUNCTION keep_referral();
ALTER TABLE sources DROP COLUMN ref;
-- migrate:down
ALTER TABLE sources ADD COLUMN ref text;
"""
POST = "0191_post_drop_ref.sql"


def copy_of_the_code(to: Path) -> Path:
    """What one version's image holds."""
    for part in ("shared", "services/signup", "programs"):
        shutil.copytree(ROOT / part, to / part, ignore=shutil.ignore_patterns("__pycache__"))
    shutil.copy(ROOT / "services" / "__init__.py", to / "services")
    return to


def next_version(to: Path) -> Path:
    """The same with the column renamed."""
    tree = copy_of_the_code(to)
    migrations = tree / "services" / "signup" / "migrations"
    (migrations / "0190_pre_add_referral.sql").write_text(EXPAND)
    (migrations / POST).write_text(CONTRACT)
    store = tree / "services" / "signup" / "store" / "intake.py"
    before = "INSERT INTO sources (signup_id, person_id, utm_source, utm_medium, utm_campaign, referrer, ref, page, at)"
    text = store.read_text()
    assert text.count(before) == 1
    store.write_text(text.replace(before, before.replace(" ref,", " referral,")))
    return tree


@dataclass
class Deployment:
    """A database of the signup service, and processes of either version."""

    dsn: str
    owner_dsn: str
    kafka: str
    logs: Path

    def variables(self, port: int) -> dict[str, str]:
        return {
            "PATH": os.environ["PATH"],
            "HOME": os.environ.get("HOME", "/"),
            "SIGNUP_ENVIRONMENT": "test",
            "SIGNUP_DATABASE_URL": self.dsn,
            "SIGNUP_OWNER_DATABASE_URL": self.owner_dsn,
            "SIGNUP_KAFKA_BOOTSTRAP": self.kafka,
            "SIGNUP_PROGRAM": str(PROGRAM_2025),
            "SIGNUP_PORT": str(port),
            "SIGNUP_INTERNAL_TOKEN": "token-of-signup",
            "SIGNUP_SESSION_PUBLIC_KEY": session_keys()[1],
            "SIGNUP_SESSION_PRIVATE_KEY": session_keys()[0],
            "SIGNUP_LINK_SECRET": "link-secret-of-tests",
            "SIGNUP_LIMIT_ADDRESS_BURST": "100000",
            **{
                f"SIGNUP_{name}_URL": f"http://{name.lower()}.test"
                for name in ("SIGNUP", "MATCHING", "NOTIFICATIONS", "ENDORSEMENT")
            },
        }

    async def start(self, tree: Path, role: str, port: int) -> asyncio.subprocess.Process:
        """A process of that version; not ready yet."""
        with (self.logs / f"{tree.name}-{role}-{port}.log").open("wb") as out:
            return await asyncio.create_subprocess_exec(
                *(sys.executable, "-m", "services.signup", role),
                cwd=tree, env=self.variables(port), stdout=out, stderr=asyncio.subprocess.STDOUT,
            )  # fmt: skip

    async def run(self, tree: Path, role: str) -> tuple[int, str]:
        """A command of that version: its exit code and what it said."""
        process = await asyncio.create_subprocess_exec(
            *(sys.executable, "-m", "services.signup", role), cwd=tree, env=self.variables(1),
            stdout=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.STDOUT,
        )  # fmt: skip
        output, _none = await asyncio.wait_for(process.communicate(), 60)
        assert process.returncode is not None
        return process.returncode, output.decode()

    async def fetch(self, sql: str) -> list[tuple[Any, ...]]:
        connection = await asyncpg.connect(self.owner_dsn)
        try:
            return [tuple(row) for row in await connection.fetch(sql)]
        finally:
            await connection.close()


@dataclass
class Crowd:
    """Senders that never pause: each takes the web processes in turn, and keeps every answer."""

    ports: list[int] = field(default_factory=list)
    acknowledged: dict[UUID, str] = field(default_factory=dict)
    statuses: Counter[int | str] = field(default_factory=Counter)
    per_port: Counter[int] = field(default_factory=Counter)
    ending: bool = False

    async def send(self, number: int) -> None:
        async with httpx.AsyncClient(timeout=20) as client:
            turn = number
            while not self.ending:
                turn += 1
                port = self.ports[turn % len(self.ports)]
                intent, code = uuid4(), f"ref-{number}-{turn}"
                body = {
                    "form": "run", "name": "Bo Li", "email": f"{intent.hex}@example.org", "state": "TX",
                    "spoken_languages": ["en"], "source": {"ref": code},
                }  # fmt: skip
                try:
                    answer = await client.post(
                        f"http://127.0.0.1:{port}/v1/signups", json=body, headers={"Idempotency-Key": str(intent)}
                    )
                except httpx.TransportError:
                    # A process that is being ended; a load balancer would have taken it out.
                    self.statuses["closed" if port not in self.ports else "lost"] += 1
                    continue
                self.statuses[answer.status_code] += 1
                if answer.status_code == 202:
                    self.acknowledged[intent] = code
                    self.per_port[port] += 1

    async def more(self, port: int, count: int) -> None:
        """Wait until so many more were acknowledged by a process."""
        wanted = self.per_port[port] + count

        async def enough() -> bool:
            return self.per_port[port] >= wanted

        await until(enough, what=f"{count} sign-ups more by the process at {port}")


@asynccontextmanager
async def sending(ports: list[int]) -> AsyncIterator[Crowd]:
    crowd = Crowd(ports)
    tasks = [asyncio.create_task(crowd.send(number)) for number in range(SENDERS)]
    try:
        yield crowd
    finally:
        crowd.ending = True
        await asyncio.gather(*tasks)


@pytest.fixture
async def deployment(postgres: Postgres, kafka: Kafka, tmp_path: Path) -> Deployment:
    made = await asyncio.to_thread(postgres.create_service, f"deploy_{uuid4().hex[:8]}")
    await create_topics(kafka.bootstrap, ALL_TOPICS, partitions=3)
    return Deployment(made.dsn, made.owner_dsn, kafka.bootstrap, tmp_path)


async def ready(port: int) -> None:
    async with httpx.AsyncClient(base_url=f"http://127.0.0.1:{port}") as client:

        async def answers() -> bool:
            try:
                return (await client.get("/readyz")).status_code == 200
            except httpx.TransportError:
                return False

        await until(answers, what=f"a process at {port}", seconds=60)


async def end(process: asyncio.subprocess.Process) -> tuple[int | None, bool]:
    """SIGTERM: the exit code, and whether that came in time."""
    loop = asyncio.get_running_loop()
    began = loop.time()
    process.send_signal(signal.SIGTERM)
    await asyncio.wait_for(process.wait(), STOP_SECONDS + 10)
    return process.returncode, loop.time() - began < STOP_SECONDS


async def test_two_versions_share_a_database_while_a_column_is_renamed(deployment: Deployment, tmp_path: Path) -> None:
    old, new = copy_of_the_code(tmp_path / "old"), next_version(tmp_path / "new")
    old_port, new_port, relay_port = (choose_port() for _ in range(3))
    started: list[asyncio.subprocess.Process] = []
    try:
        assert (await deployment.run(old, "migrate"))[0] == 0
        code, said = await deployment.run(new, "web")
        assert (code, "lacks 0190_pre_add_referral.sql" in said) == (1, True), said
        started += [await deployment.start(old, "web", old_port), await deployment.start(old, "relay", relay_port)]
        await ready(old_port)
        async with sending([old_port]) as crowd:
            await crowd.more(old_port, 100)
            # Before the deploy: the new version's migrations, while the old one takes sign-ups.
            code, said = await deployment.run(new, "migrate")
            assert (code, POST in said) == (0, True), said
            code, said = await deployment.run(new, "contract")
            assert (code, "processes of an older version" in said) == (1, True), said
            started.append(await deployment.start(new, "web", new_port))
            await ready(new_port)
            crowd.ports.append(new_port)
            await asyncio.gather(crowd.more(old_port, 100), crowd.more(new_port, 100))
            assert (await deployment.run(new, "contract"))[0] == 1, "the old one still runs"
            # The old version goes: the load balancer first, then the process.
            crowd.ports.remove(old_port)
            assert await end(started[0]) == (0, True)
            assert await end(started[1]) == (0, True)
            assert await deployment.run(new, "contract") == (0, "")
            started.append(await deployment.start(new, "relay", relay_port))
            await crowd.more(new_port, 100)
        assert set(crowd.statuses) <= {202, "closed"}, crowd.statuses
        stored = await deployment.fetch(
            "SELECT s.intent_id, o.referral FROM signups s JOIN sources o ON o.signup_id = s.id"
        )
        assert len(stored) == len(dict(stored))
        assert crowd.acknowledged.items() <= dict(stored).items()
        await told_once(deployment, {intent for intent, _code in stored})

        # Somebody starts the old version again: what it cannot store it does not acknowledge.
        started.append(await deployment.start(old, "web", old_port))
        await ready(old_port)
        async with sending([old_port]) as late:

            async def tried() -> bool:
                return late.statuses.total() > 20

            await until(tried, what="sign-ups sent to a version that is too old")
        assert (set(late.statuses), late.acknowledged) == ({500}, {})
        assert await deployment.fetch("SELECT count(*) FROM signups") == [(len(stored),)]
        for process in started:
            if process.returncode is None:
                assert await end(process) == (0, True)
    finally:
        for process in started:
            if process.returncode is None:
                process.kill()
                await process.wait()


async def told_once(deployment: Deployment, intents: set[UUID]) -> None:
    """Every stored sign-up is on the topic in one event, in whichever version's words.

    A relay that is ended between the broker's answer and its own delete leaves the row to its successor, which sends
    the same event id again: a repeat that every reader drops.
    """

    async def emptied() -> bool:
        return await deployment.fetch("SELECT count(*) FROM outbox") == [(0,)]

    await until(emptied, what="an empty outbox")
    told: dict[str, set[bytes]] = {}
    for record in await read_topic(deployment.kafka, SIGNUP_PEOPLE.name):
        told.setdefault(json.loads(record.value)["intent_id"], set()).add(dict(record.headers)["ce_id"])
    wanted = {str(intent) for intent in intents}
    assert {intent: len(ids) for intent, ids in told.items() if intent in wanted} == dict.fromkeys(wanted, 1)
