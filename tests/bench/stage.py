"""What benchmarks stand on: PostgreSQL and Kafka of their own, cloned databases, and the CPU time of everybody."""

import os
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path

import psutil

from deploy.embedded.kafka import Kafka
from deploy.embedded.postgres import Postgres
from deploy.embedded.processes import Process
from tests.harness import Databases


@dataclass
class Stage:
    """Servers that start when they are first needed and stop at the end.

    `seconds` bounds a measurement that runs for a time, `scale` multiplies those that take a count. `full` asks for
    the sizes that take long.
    """

    directory: Path
    seconds: float = 4.0
    scale: float = 1.0
    full: bool = False
    _servers: list[Kafka | Postgres] = field(default_factory=list)

    @cached_property
    def postgres(self) -> Postgres:
        """Durable as delivered: fsync and synchronous_commit on."""
        server = Postgres(self.directory / "postgres").start()
        self._servers.append(server)
        return server

    @cached_property
    def kafka(self) -> Kafka:
        """A broker that benches share, with the topics and records of those before."""
        broker = Kafka(self.directory / "kafka").start()
        self._servers.append(broker)
        return broker

    @contextmanager
    def empty_kafka(self) -> Iterator[Kafka]:
        """A broker of one's own, for whose processes what others left in the topics would be a backlog."""
        with tempfile.TemporaryDirectory(dir=self.directory) as directory:
            broker = Kafka(Path(directory)).start()
            self._servers.append(broker)
            try:
                yield broker
            finally:
                self._servers.remove(broker)
                broker.stop()

    @cached_property
    def databases(self) -> Databases:
        """Migrated templates to clone."""
        return Databases(self.postgres)

    def count(self, number: int) -> int:
        """A number of things to do, at this run's scale."""
        return max(1, int(number * self.scale))

    def servers_cpu_seconds(self) -> float:
        """CPU time of PostgreSQL and Kafka so far."""
        return sum(tree_cpu_seconds(server.process) for server in self._servers if server.process is not None)

    def stop(self) -> None:
        """Stop what was started."""
        for server in reversed(self._servers):
            server.stop()


@contextmanager
def open_stage(*, seconds: float, scale: float, full: bool) -> Iterator[Stage]:
    """A stage in a directory of its own, removed at the end."""
    with tempfile.TemporaryDirectory(prefix="hustings-bench-", ignore_cleanup_errors=True) as directory:
        stage = Stage(Path(directory), seconds=seconds, scale=scale, full=full)
        try:
            yield stage
        finally:
            stage.stop()


def tree_cpu_seconds(process: Process | int) -> float:
    """User and system time of a process and its descendants, those that have ended and been waited for included."""
    pid = process if isinstance(process, int) else process.pid
    total = 0.0
    try:
        root = psutil.Process(pid)
        for each in (root, *root.children(recursive=True)):
            try:
                times = each.cpu_times()
            except psutil.NoSuchProcess:
                continue
            total += times.user + times.system + times.children_user + times.children_system
    except psutil.NoSuchProcess:
        return total
    return total


class Clock:
    """Wall and CPU time since it was made: of this process, of the servers, and of further processes by pid."""

    def __init__(self, stage: Stage, *pids: int) -> None:
        self._stage = stage
        self._pids = pids
        self._cpu = self._now()
        self._wall = time.perf_counter()

    def _now(self) -> float:
        own = os.times()
        return own.user + own.system + self._stage.servers_cpu_seconds() + sum(tree_cpu_seconds(p) for p in self._pids)

    def wall_seconds(self) -> float:
        """Time passed."""
        return time.perf_counter() - self._wall

    def cpu_seconds(self) -> float:
        """CPU time spent."""
        return self._now() - self._cpu
