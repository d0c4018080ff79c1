"""The stand: a stack of its own as `make up` starts it, with sinks, proxies and kill points around it.

Everything lives in one evidence directory: the stack's home, the sinks' journals, each crowd's journal, the armed kill
points and the timeline. What the stand starts it stops, by process id, also after a failure or an interrupt.

The services reach Kafka, PostgreSQL and SMTP through the proxy; the harness and the ledger reach them directly.
Waiting times of the services that only cost a test time are shortened here and nowhere else (`PACE`).
"""

import asyncio
import contextlib
import datetime as dt
import json
import os
import random
import secrets
import shutil
import signal
import sys
import time
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import asyncpg
import httpx
import psutil

from cli.ledger.watch import install
from deploy.embedded.processes import Process, choose_port
from shared import clock
from shared.settings import SERVICES
from shared.web.sessions import Principal, issue
from tests.faults.hooks.sitecustomize import POINTS
from tests.faults.proxy import Proxy

ROOT = Path(__file__).parents[2]
HOOKS = Path(__file__).parent / "hooks"
SERVERS = ("postgres", "kafka")
# Leases outlast what they cover by as much as in production; only the waiting for a hung provider is shorter.
PACE = {
    "NOTIFICATIONS_SMTP_TIMEOUT_SECONDS": "3",
    "NOTIFICATIONS_LEASE_SECONDS": "10",
    "ENDORSEMENT_WEBHOOK_TIMEOUT_SECONDS": "3",
    # A killed worker's partitions are another's after this long.
    **{f"{service.upper()}_KAFKA_SESSION_SECONDS": "6" for service in SERVICES},
    # A crowd comes from one address.
    "SIGNUP_LIMIT_ADDRESS_BURST": "10000000",
    "SIGNUP_LIMIT_ADDRESS_PER_MINUTE": "600000",
}


class Broken(Exception):
    """The system did not do what a row asserts; the sentence says what."""


@dataclass
class Timeline:
    """What was done and what happened, in seconds since the beginning; printed and kept."""

    path: Path
    began: float = field(default_factory=time.monotonic)
    quiet: bool = False

    def tell(self, what: str) -> None:
        """Add a line."""
        seconds = time.monotonic() - self.began
        with self.path.open("a", encoding="utf-8") as out:
            out.write(json.dumps({"seconds": round(seconds, 2), "at": _now(), "what": what}) + "\n")
        if not self.quiet:
            print(f"{seconds:8.1f} s  {what}", flush=True)


def _now() -> str:
    return dt.datetime.now(dt.UTC).isoformat()


class Stand:
    """A running system under test; see `open_stand`."""

    def __init__(self, evidence: Path, timeline: Timeline, code: Path) -> None:
        self.evidence = evidence
        self.timeline = timeline
        self.code = code
        self.home = evidence / "stack"
        self.journals = evidence / "journals"
        self.armed = evidence / "armed"
        self.environment: dict[str, str] = {}
        self.endpoints: dict[str, Any] = {}
        self.sinks: dict[str, Any] = {}
        self.proxy: Proxy
        self.http = httpx.AsyncClient(timeout=30)
        self.put_there: set[str] = set()
        """Places of records that no service wrote, as `topic/partition/offset`."""
        self._processes: list[Process] = []

    # ------------------------------------------------------------------ start and stop

    async def start(self) -> None:
        """Sinks, proxies, the stack, the copies of the outbox."""
        for directory in (self.home, self.journals, self.armed):
            directory.mkdir(parents=True, exist_ok=True)
        ports: set[int] = set()

        def port() -> int:
            chosen = choose_port(taken=frozenset(ports))
            ports.add(chosen)
            return chosen

        control, kafka, kafka_behind, postgres, postgres_behind, smtp = (port() for _ in range(6))
        await self._start_sinks()
        smtp_behind = self.sinks["smtp"].rpartition(":")[2]
        self._spawn(
            "proxy",
            *("tests.faults.proxy", "--control", str(control)),
            *(f"kafka={kafka}:{kafka_behind}", f"postgres={postgres}:{postgres_behind}", f"smtp={smtp}:{smtp_behind}"),
        )
        self.proxy = Proxy(control)
        passwords = self._choose_passwords()
        self.environment = {
            **os.environ,
            **PACE,
            "HUSTINGS_HOME": str(self.home),
            "HUSTINGS_CODE": str(self.code),
            "HUSTINGS_FAULTS_DIR": str(self.armed),
            "HUSTINGS_KAFKA_FORWARDED": f"{kafka}:{kafka_behind}",
            "PYTHONPATH": str(HOOKS),
            "NOTIFICATIONS_SMTP_HOST": "127.0.0.1",
            "NOTIFICATIONS_SMTP_PORT": str(smtp),
            "NOTIFICATIONS_SMS_URL": str(self.sinks["sms"]),
            "NOTIFICATIONS_SMS_INBOUND_TOKEN": secrets.token_urlsafe(24),
            "ENDORSEMENT_WEBHOOK_ALLOW_PRIVATE": "true",
        }
        for name in SERVICES:
            self.environment[f"{name.upper()}_KAFKA_BOOTSTRAP"] = f"127.0.0.1:{kafka}"
            self.environment[f"{name.upper()}_DATABASE_URL"] = (
                f"postgresql://{name}:{passwords[name]}@127.0.0.1:{postgres}/{name}?sslmode=disable"
            )
        await self.run("deploy.embedded", "up", "--port", f"postgres={postgres_behind}", seconds=300)
        self.endpoints = json.loads((self.home / "endpoints.json").read_text())
        await asyncio.to_thread(install, self.endpoints["postgres_owner"])
        self.tell("the stack is up")

    def _choose_passwords(self) -> dict[str, str]:
        """PostgreSQL takes those that it finds; the services' addresses by way of the proxy need them beforehand."""
        roles = [role for name in SERVICES for role in (name, f"{name}_owner")]
        passwords = {role: secrets.token_urlsafe(24) for role in ("postgres", *roles)}
        path = self.home / "postgres" / "passwords.json"
        path.parent.mkdir(parents=True, exist_ok=True)
        path.touch(0o600)
        path.write_text(json.dumps(passwords))
        return passwords

    async def _start_sinks(self) -> None:
        addresses = self.evidence / "sinks.json"
        self._spawn("sinks", "tests.faults.sinks", "--dir", str(self.journals), "--ports-file", str(addresses))
        await self.until(addresses.exists, "the sinks to listen", seconds=30)
        self.sinks = json.loads(addresses.read_text())

    def _spawn(self, name: str, module: str, *arguments: str, environment: Mapping[str, str] | None = None) -> Process:
        """`python -m module …` beside the stack, stopped with the stand."""
        process = Process.spawn(
            [sys.executable, "-m", module, *arguments],
            log=self.evidence / f"{name}.log",
            env=environment,
            cwd=ROOT,
        )
        self._processes.append(process)
        return process

    async def stop(self) -> None:
        """Stop all of it; what it left on disk stays."""
        await self.http.aclose()
        with contextlib.suppress(Broken):
            await self.run("deploy.embedded", "down", seconds=150)
        for process in reversed(self._processes):
            await asyncio.to_thread(process.stop, 5)

    # ------------------------------------------------------------------ commands and queries

    def tell(self, what: str) -> None:
        """Add a line to the timeline."""
        self.timeline.tell(what)

    async def run(self, module: str, *arguments: str, seconds: float = 120, code: int | None = 0) -> tuple[int, str]:
        """`python -m module …` against this stack: exit code and output; `Broken` unless it ends with `code`."""
        process = await asyncio.create_subprocess_exec(
            *(sys.executable, "-m", module, *arguments),
            cwd=ROOT,
            env=self.environment,
            stdout=asyncio.subprocess.PIPE,
            stderr=asyncio.subprocess.STDOUT,
        )
        try:
            output, _ = await asyncio.wait_for(process.communicate(), seconds)
        except TimeoutError:
            raise Broken(f"`{module} {' '.join(arguments)}` did not end within {seconds:.0f} s") from None
        finally:
            if process.returncode is None:
                process.kill()
                await process.wait()
        said = output.decode(errors="replace")
        if code is not None and process.returncode != code:
            raise Broken(f"`{module} {' '.join(arguments)}` ended with {process.returncode}: {said.strip()[-1500:]}")
        return process.returncode or 0, said

    async def fetch(self, service: str, sql: str, *arguments: Any) -> list[tuple[Any, ...]]:
        """Rows of a service's database, asked as its owner, not through the proxy."""
        connection = await asyncpg.connect(self.endpoints["postgres_owner"][service], timeout=10)
        try:
            return [tuple(row) for row in await connection.fetch(sql, *arguments)]
        finally:
            await connection.close()

    async def count(self, service: str, sql: str, *arguments: Any) -> int:
        """The one number that a query gives."""
        return int((await self.fetch(service, sql, *arguments))[0][0])

    async def until(
        self, condition: Any, what: str, *, seconds: float = 60, every: float = 0.1, told: Any = None
    ) -> None:
        """Poll `condition` (plain or a coroutine function) until it holds; `Broken` names `what` after `seconds`."""
        deadline = time.monotonic() + seconds
        while True:
            held = condition()
            if asyncio.iscoroutine(held):
                try:
                    held = await held
                except (OSError, asyncpg.PostgresError, httpx.HTTPError, TimeoutError):
                    held = False
            if held:
                return
            if time.monotonic() > deadline:
                said = f" ({told()})" if told else ""
                raise Broken(f"waited {seconds:.0f} s in vain for {what}{said}")
            await asyncio.sleep(every)

    # ------------------------------------------------------------------ processes of the stack

    def known(self, name: str) -> dict[str, Any]:
        """What the supervisor has on record of a process."""
        state: dict[str, Any] = json.loads((self.home / "state.json").read_text())
        found: dict[str, Any] = state["processes"][name]
        return found

    def process(self, name: str) -> psutil.Process:
        """The running process of that name; `Broken` while there is none."""
        found = Process.find(self.known(name)) if self.known(name)["pid"] else None
        if found is None:
            raise Broken(f"{name} does not run")
        return psutil.Process(found.pid)

    async def kill(self, name: str, number: signal.Signals = signal.SIGKILL) -> int:
        """Signal a process of the stack; the restarts that the supervisor counted before."""
        await self.ready(name)
        before = int(self.known(name)["restarts"])
        self.process(name).send_signal(number)
        self.tell(f"{number.name} to {name}")
        return before

    async def restarted(self, name: str, before: int, *, seconds: float = 90) -> None:
        """Wait until the supervisor has started the process anew, and it is ready."""
        began = time.monotonic()
        await self.until(lambda: self.known(name)["restarts"] > before, f"{name} to be started again", seconds=seconds)
        await self.ready(name, seconds=seconds)
        self.tell(f"{name} is back after {time.monotonic() - began:.1f} s")

    async def ready(self, name: str, *, seconds: float = 90) -> None:
        """Wait until a service answers /readyz with 200, or a server runs."""
        if name in SERVERS:
            await self.until(lambda: self.known(name)["state"] == "ready", f"{name} to be ready", seconds=seconds)
            return

        async def answers() -> bool:
            answer = await self.http.get(f"{self.endpoints[name]}/readyz", timeout=5)
            return answer.status_code == 200

        await self.until(answers, f"{name} to be ready", seconds=seconds)

    # ------------------------------------------------------------------ kill points

    def arm(self, point: str, service: str) -> None:
        """Have the next process of the service that passes the point kill itself there."""
        assert point in {known.name for known in POINTS}
        (self.armed / f"{point}.{service}").touch()
        self.tell(f"armed {point} in {service}")

    def disarm(self, point: str, service: str) -> None:
        """Take an armed point back."""
        (self.armed / f"{point}.{service}").unlink(missing_ok=True)

    def has_fired(self, point: str, service: str) -> bool:
        """Whether an armed point has killed."""
        return not (self.armed / f"{point}.{service}").exists()

    # ------------------------------------------------------------------ the business clock, providers

    async def now(self) -> dt.datetime:
        """The business time."""
        found: dt.datetime = (await self.fetch("signup", "SELECT business_now()"))[0][0]
        return found

    async def advance(self, span: dt.timedelta) -> None:
        """Move the business clock ahead everywhere, by whole minutes, and tell the ledger when."""
        minutes = dt.timedelta(minutes=max(1, -(-int(span.total_seconds()) // 60)))
        before = await self.ahead()
        self.note_clock(before)
        target = dt.timedelta(seconds=before) + minutes
        for dsn in self.endpoints["postgres_owner"].values():
            connection = await asyncpg.connect(dsn, timeout=10)
            try:
                await clock.reach(connection, target)
            finally:
                await connection.close()
        self.note_clock(await self.ahead())
        self.tell(f"the business clock is moved by {minutes}")

    async def ahead(self) -> float:
        """Seconds that the business clock is ahead."""
        found: dt.timedelta = (await self.fetch("signup", "SELECT ahead FROM clock"))[0][0]
        return found.total_seconds()

    def note_clock(self, ahead_seconds: float) -> None:
        """Write a `clock` line into the harness's own journal."""
        self.note({"kind": "clock", "ahead_seconds": ahead_seconds})

    def note(self, line: Mapping[str, Any]) -> None:
        """Add a line to the harness's own part of the load client's journal, on disk when this returns."""
        path = self.evidence / "own.jsonl"
        with path.open("a", encoding="utf-8") as out:
            out.write(json.dumps({"at": _now(), **line}) + "\n")
            out.flush()
            os.fsync(out.fileno())

    def expect(self, kind: str, *ids: str) -> None:
        """Tell the ledger what a row put there on purpose: `record`, `parked`, `quarantined` (docs/ledger.md)."""
        if kind == "record":
            self.put_there.update(ids)
        with (self.journals / "expected.jsonl").open("a", encoding="utf-8") as out:
            for one in ids:
                out.write(json.dumps({"kind": kind, "id": one}) + "\n")

    async def plan(self, *rules: Mapping[str, Any], seed: int = 1) -> None:
        """Have the sinks behave so from now on; without rules they accept everything."""
        if rules:
            answer = await self.http.post(f"{self.sinks['control']}/plan", json={"seed": seed, "rules": list(rules)})
        else:
            answer = await self.http.delete(f"{self.sinks['control']}/plan")
        if answer.status_code >= 300:
            raise Broken(f"the sinks refuse the plan: {answer.status_code} {answer.text}")
        self.tell(f"sinks: {', '.join(str(rule['name']) for rule in rules) or 'accept everything'}")

    def session(self, *roles: str) -> str:
        """A session of somebody with these roles, signed as signup signs them."""
        key = json.loads((self.home / "secrets.json").read_text())["session_private_key"]
        person = Principal(person_id=_uuid(), roles=frozenset(roles), account_id=None)
        return issue(person, key, now=dt.datetime.now(dt.UTC))

    def spare_process(self, service: str, role: str, *, code: Path | None = None) -> Process:
        """Another process of a service beside the supervisor's, in one role, on a port of its own."""
        environment = dict(self.process(service).environ())
        environment[f"{service.upper()}_PORT"] = str(choose_port())
        process = Process.spawn(
            [sys.executable, "-m", f"services.{service}", role],
            log=self.evidence / f"spare-{service}.log",
            env=environment,
            cwd=code or self.code,
        )
        self._processes.append(process)
        return process


def _uuid() -> Any:
    from shared.events.envelope import new_id

    return new_id()


@asynccontextmanager
async def open_stand(evidence: Path, timeline: Timeline, *, code: Path = ROOT) -> AsyncIterator[Stand]:
    """A stand that lives as long as the block; `evidence` stays."""
    stand = Stand(evidence, timeline, code)
    try:
        await stand.start()
        yield stand
    finally:
        # An interrupt must not leave a stack behind.
        await asyncio.shield(stand.stop())


def seeded(seed: int, name: str) -> random.Random:
    """The draws of one row, the same for the same seed."""
    return random.Random(f"{seed}/{name}")


def forget(evidence: Path) -> None:
    """Remove the evidence of a clean run."""
    shutil.rmtree(evidence, ignore_errors=True)
