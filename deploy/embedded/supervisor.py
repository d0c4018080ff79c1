"""The process that keeps the embedded stack running: `python -m deploy.embedded.supervisor`.

It starts Kafka, PostgreSQL and the mailbox, makes databases and topics, runs the migrations, starts the
services, and restarts whatever dies, a little later each time. SIGTERM stops everything in the reverse order.
What it does and knows is in `state.json`; processes are recorded there as soon as they run, so that after a
`kill -9` of the supervisor the next `up` or `down` finds them: services and mailbox are stopped and started
anew, Kafka and PostgreSQL are taken over.
"""

from __future__ import annotations

import argparse
import contextlib
import fcntl
import json
import os
import signal
import sys
import threading
import time
from collections.abc import Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import asdict, dataclass, replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import structlog

from deploy.embedded.children import Child, Runs, Server, Service
from deploy.embedded.kafka import Forwarded, Kafka
from deploy.embedded.postgres import Postgres, ServiceDatabase
from deploy.embedded.processes import Process, StackError, last_lines, write_atomically
from deploy.embedded.stack import PORT_NAMES, Home, Spec, Stack, read_json
from shared.settings import SERVICES

READY_SECONDS = 60.0
POLL_SECONDS = 0.25
PROBE_SECONDS = 2.0
BACKOFF_SECONDS = (0.5, 30.0)
# A process that ran this long has recovered: its next death is restarted at once again.
RECOVERED_SECONDS = 60.0

log = structlog.get_logger("supervisor")


@dataclass
class _Trouble:
    """How often a process died, and when it may start again (seconds of the monotonic clock)."""

    restarts: int = 0
    in_a_row: int = 0
    not_before: float | None = None
    started_at: float = 0.0
    last_exit: int | None = None


def backoff_seconds(in_a_row: int) -> float:
    """0.5 s after the first death, doubled with each further one, 30 s at most."""
    least, most = BACKOFF_SECONDS
    return float(min(most, least * 2 ** min(in_a_row - 1, 10)))


class Supervisor:
    """Owns the children from the first to the last; one per home, held by a lock."""

    def __init__(self, stack: Stack, wanted_ports: Mapping[str, int]) -> None:
        self._stack = stack
        self._wanted_ports = wanted_ports
        self._stopping = threading.Event()
        self._write_lock = threading.Lock()
        self._running: list[Runs] = []
        self._children: dict[str, Child] = {}
        self._trouble: dict[str, _Trouble] = {}
        self._phase = "starting"
        self._message = ""
        self._me = Process.current().record()

    def run(self) -> int:
        """0 after an orderly stop, 1 if the stack could not be started."""
        for number in (signal.SIGTERM, signal.SIGINT):
            signal.signal(number, lambda *_: self._stopping.set())
        try:
            stop_leftovers(self._stack.home)
            self._start_all()
            if not self._stopping.is_set():
                self._tell("ready", "Everything is ready.")
            self._watch()
        except StackError as error:
            log.error("start failed", error=str(error))
            self._stop_all()
            self._tell("failed", str(error))
            return 1
        except BaseException:
            self._stop_all()
            self._tell("failed", f"The supervisor has a bug; see {self._stack.home.log('supervisor')}.")
            raise
        self._stop_all()
        self._tell("stopped", "Everything is stopped.")
        return 0

    def _start_all(self) -> None:
        stack = self._stack
        self._tell("starting", "Choosing ports and making secrets")
        stack.choose_ports(self._wanted_ports)
        stack.make_secrets()
        forwarded = Forwarded.parse(os.environ.get("HUSTINGS_KAFKA_FORWARDED"))
        kafka = Kafka(stack.home.path / "kafka", self._wanted_ports.get("kafka"), forwarded=forwarded)
        postgres = Postgres(stack.home.path / "postgres", self._wanted_ports.get("postgres"))
        mailbox = Service(stack.mailbox())
        self._tell("starting", "Starting PostgreSQL, Kafka and the mailbox")
        self._start(Server("postgres", postgres))
        self._start(mailbox)
        self._start(Server("kafka", kafka))
        self._tell("starting", "Making databases and topics, running migrations")
        databases = {name: postgres.create_service(name) for name in SERVICES}
        stack.write_endpoints(kafka.bootstrap, databases)
        self._prepare(kafka.bootstrap, databases)
        self._tell("starting", "Starting the services")
        for name in SERVICES:
            self._start(Service(stack.service(name, kafka.bootstrap, databases[name])))
        self._wait_until_ready()

    def _prepare(self, bootstrap: str, databases: Mapping[str, ServiceDatabase]) -> None:
        jobs = [self._stack.topics(bootstrap)]
        jobs += [self._stack.migration(name, bootstrap, databases[name]) for name in SERVICES]
        with ThreadPoolExecutor(os.cpu_count() or 2) as pool:
            for _ in pool.map(self._run_to_end, jobs):
                pass

    def _run_to_end(self, spec: Spec) -> None:
        if self._stopping.is_set():
            return
        process = Process.spawn(spec.argv, log=spec.log, env=spec.env, cwd=spec.cwd)
        while not process.wait(POLL_SECONDS):
            if self._stopping.is_set():
                process.stop(5)
                return
        if process.exit_code != 0:
            raise StackError(
                f"`{' '.join(spec.argv[1:])}` ended with {process.exit_code}; correct what its log {spec.log} "
                f"says and start again. It ends:\n{last_lines(spec.log)}"
            )

    def _start(self, child: Runs) -> None:
        if self._stopping.is_set():
            return
        self._running.append(child)
        self._trouble[child.name] = _Trouble(started_at=time.monotonic())
        child.start()
        self._note(child, "ready" if isinstance(child, Server) else "starting")
        log.info("started", name=child.name, address=child.address, pid=child.process and child.process.pid)

    def _wait_until_ready(self) -> None:
        deadline = time.monotonic() + READY_SECONDS
        waiting = [child for child in self._running if not isinstance(child, Server)]
        while waiting and not self._stopping.is_set():
            for child in list(waiting):
                if child.process is None or not child.process.running():
                    code = child.process.exit_code if child.process else None
                    path = self._stack.home.log(child.name)
                    raise StackError(
                        f"{child.name} ended with {code} while it started; correct what its log {path} says "
                        f"and start again. It ends:\n{last_lines(path)}"
                    )
                if child.ready():
                    waiting.remove(child)
                    self._note(child, "ready")
            if waiting and time.monotonic() > deadline:
                late = waiting[0]
                path = self._stack.home.log(late.name)
                raise StackError(
                    f"{late.name} did not become ready at {late.address}/readyz within {READY_SECONDS:.0f} "
                    f"seconds; see its log {path}. It ends:\n{last_lines(path)}"
                )
            self._stopping.wait(POLL_SECONDS / 2)

    def _watch(self) -> None:
        next_probe = time.monotonic() + PROBE_SECONDS
        while not self._stopping.wait(POLL_SECONDS):
            for child in self._running:
                self._revive(child)
            if time.monotonic() >= next_probe:
                for child in self._running:
                    if child.process is not None and child.process.running():
                        self._note(child, "ready" if child.ready() else "not ready")
                next_probe = time.monotonic() + PROBE_SECONDS

    def _revive(self, child: Runs) -> None:
        trouble = self._trouble[child.name]
        now = time.monotonic()
        if child.process is not None and child.process.running():
            return
        if trouble.not_before is None:
            if now - trouble.started_at > RECOVERED_SECONDS:
                trouble.in_a_row = 0
            trouble.in_a_row += 1
            trouble.last_exit = child.process.exit_code if child.process else trouble.last_exit
            wait = backoff_seconds(trouble.in_a_row)
            trouble.not_before = now + wait
            log.error("died", name=child.name, exit_code=trouble.last_exit, restart_in_seconds=wait)
            self._note(child, "backing off")
        if now < trouble.not_before:
            return
        trouble.not_before = None
        trouble.started_at = now
        trouble.restarts += 1
        try:
            child.start()
        except StackError as error:
            log.error("restart failed", name=child.name, error=str(error))
            return
        self._note(child, "starting")
        log.info("restarted", name=child.name, restarts=trouble.restarts)

    def _stop_all(self) -> None:
        """Services together, each with its own grace; then mailbox, Kafka, PostgreSQL."""
        self._tell("stopping", "Stopping the services")
        services = [child for child in self._running if child.name in SERVICES]
        with ThreadPoolExecutor(len(SERVICES)) as pool:
            for _ in pool.map(lambda child: child.stop(), services):
                pass
        for name in ("mailbox", "kafka", "postgres"):
            self._tell("stopping", f"Stopping {name}")
            for child in self._running:
                if child.name == name:
                    child.stop()
        for name, known in self._children.items():
            self._children[name] = replace(known, state="stopped", pid=None, started=None)

    def _note(self, child: Runs, state: str) -> None:
        process = child.process if child.process is not None and child.process.running() else None
        trouble = self._trouble[child.name]
        known = Child(
            name=child.name,
            state=state,
            address=child.address,
            pid=process.pid if process else None,
            started=process.started if process else None,
            restarts=trouble.restarts,
            last_exit=trouble.last_exit,
        )
        if self._children.get(child.name) != known:
            self._children[child.name] = known
            self._write()

    def _tell(self, phase: str, message: str) -> None:
        self._phase, self._message = phase, message
        log.info(message, phase=phase)
        self._write()

    def _write(self) -> None:
        with self._write_lock:
            state = {
                "supervisor": self._me,
                "phase": self._phase,
                "message": self._message,
                "updated_at": datetime.now(UTC).isoformat(),
                "processes": {name: asdict(child) for name, child in self._children.items()},
            }
            write_atomically(self._stack.home.state, json.dumps(state, indent=1))


def stop_leftovers(home: Home, *, servers: bool = False) -> list[str]:
    """Stops what a killed supervisor left running; with `servers` Kafka and PostgreSQL too. Their names."""
    recorded = read_json(home.state).get("processes", {})
    stopped = []
    for name in (*SERVICES, "mailbox"):
        process = Process.find(_record(recorded.get(name)))
        if process is not None:
            process.stop(25 if name in SERVICES else 10)
            stopped.append(name)
    if servers:
        for name, server in (("kafka", Kafka(home.path / "kafka")), ("postgres", Postgres(home.path / "postgres"))):
            if server.stop():
                stopped.append(name)
    if stopped:
        log.warning("stopped what an earlier supervisor left", names=stopped)
    return stopped


def _record(child: Mapping[str, Any] | None) -> dict[str, float] | None:
    if not child or child.get("pid") is None:
        return None
    return {"pid": child["pid"], "started": child["started"]}


@contextlib.contextmanager
def sole_supervisor(home: Home) -> Iterator[None]:
    """Holds the home's lock; StackError if another supervisor holds it."""
    home.path.mkdir(parents=True, exist_ok=True)
    with home.lock.open("w") as lock:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError as error:
            raise StackError(f"Another supervisor already runs the stack in {home.path}.") from error
        yield


def launch(stack: Stack, wanted_ports: Mapping[str, int]) -> Process:
    """Starts the supervisor detached from the terminal."""
    ports = [part for name, port in wanted_ports.items() for part in ("--port", f"{name}={port}")]
    return Process.spawn(
        [sys.executable, "-m", "deploy.embedded.supervisor", *ports],
        log=stack.home.log("supervisor"),
        cwd=Path(__file__).resolve().parents[2],
        env={
            **os.environ,
            "HUSTINGS_HOME": str(stack.home.path),
            "HUSTINGS_CODE": str(stack.code),
            "HUSTINGS_PROGRAM": str(stack.program),
        },
    )


def parse_port(text: str) -> tuple[str, int]:
    """`signup=8000`."""
    name, _, number = text.partition("=")
    if name not in PORT_NAMES or not number.isdigit() or not 0 < int(number) < 65_536:
        raise StackError(f"--port {text}: write name=number with one of {', '.join(PORT_NAMES)}.")
    return name, int(number)


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m deploy.embedded.supervisor")
    parser.add_argument("--port", action="append", default=[], type=parse_port)
    arguments = parser.parse_args()
    structlog.configure(
        processors=[
            structlog.processors.add_log_level,
            structlog.processors.TimeStamper("iso", utc=True),
            structlog.processors.format_exc_info,
            structlog.processors.JSONRenderer(),
        ]
    )
    stack = Stack.from_environment()
    with sole_supervisor(stack.home):
        return Supervisor(stack, dict(arguments.port)).run()


if __name__ == "__main__":
    raise SystemExit(main())
