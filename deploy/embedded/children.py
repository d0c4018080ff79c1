"""What the supervisor runs: servers that wait for themselves, and processes that answer `/readyz`."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Protocol

import httpx
import structlog

from deploy.embedded.kafka import Kafka
from deploy.embedded.postgres import Postgres
from deploy.embedded.processes import Process
from deploy.embedded.stack import Spec

LOG_BYTES = 20 * 2**20

log = structlog.get_logger("supervisor")


@dataclass(frozen=True)
class Child:
    """One line of `status`. `state`: starting, ready, not ready, backing off, stopped."""

    name: str
    state: str
    address: str
    pid: int | None = None
    started: float | None = None
    restarts: int = 0
    last_exit: int | None = None


class Runs(Protocol):
    """What the supervisor does with anything it runs."""

    name: str

    @property
    def address(self) -> str: ...
    @property
    def process(self) -> Process | None: ...
    def start(self) -> None: ...
    def stop(self) -> None: ...
    def ready(self) -> bool: ...


class Server:
    """Kafka or PostgreSQL: its `start()` returns when it is ready."""

    def __init__(self, name: str, server: Kafka | Postgres) -> None:
        self.name = name
        self.server = server

    @property
    def address(self) -> str:
        if isinstance(self.server, Kafka):
            return self.server.bootstrap
        return f"127.0.0.1:{self.server.port}"

    @property
    def process(self) -> Process | None:
        return self.server.process

    def start(self) -> None:
        self.server.start()

    def stop(self) -> None:
        self.server.stop()

    def ready(self) -> bool:
        return self.process is not None and self.process.running()


class Service:
    """The mailbox or a service: ready when `/readyz` answers 200."""

    def __init__(self, spec: Spec) -> None:
        self.spec = spec
        self.name = spec.name
        self.process: Process | None = None

    @property
    def address(self) -> str:
        return self.spec.url

    def start(self) -> None:
        if self.spec.log.exists() and self.spec.log.stat().st_size > LOG_BYTES:
            self.spec.log.replace(self.spec.log.with_suffix(".log.1"))
        self.process = Process.spawn(self.spec.argv, log=self.spec.log, env=self.spec.env, cwd=self.spec.cwd)

    def stop(self) -> None:
        if self.process is not None and not self.process.stop(self.spec.grace_seconds):
            log.warning("killed after its grace", name=self.name, grace_seconds=self.spec.grace_seconds)

    def ready(self) -> bool:
        if self.process is None or not self.process.running():
            return False
        try:
            return httpx.get(f"{self.spec.url}/readyz", timeout=2).status_code == 200
        except httpx.HTTPError:
            return False
