"""The servers under the tests: containers where Docker answers and has the images, else the embedded ones.

HUSTINGS_TEST_SERVERS=embedded|docker forces either. Both are used through the same class: a container is an embedded
server that runs elsewhere.
"""

from __future__ import annotations

import os
import time
from collections.abc import Callable
from functools import cache
from pathlib import Path
from typing import Any, Self

from testcontainers.core.config import testcontainers_config
from testcontainers.core.container import DockerContainer

from deploy.compose.system import COMPOSE_FILE
from deploy.embedded.kafka import Kafka, answering_cluster
from deploy.embedded.postgres import MAX_CONNECTIONS, Postgres
from deploy.embedded.processes import Process, StackError, choose_port
from deploy.images.base import at_hand
from deploy.images.docker import missing_docker
from deploy.images.names import KAFKA, POSTGRES

VARIABLE = "HUSTINGS_TEST_SERVERS"
START_SECONDS = 120.0
# The reaper is an image that machines without a registry don't have; the fixtures stop what they start.
testcontainers_config.ryuk_disabled = True


class ContainerPostgres(Postgres):
    """PostgreSQL in a container; `dir` keeps the passwords."""

    container: DockerContainer | None = None

    def start(self) -> Self:
        self.dir.mkdir(parents=True, exist_ok=True)
        port = choose_port()
        self._state = {"port": port}
        container = (
            DockerContainer(POSTGRES)
            .with_env("POSTGRES_PASSWORD", self._password("postgres"))
            .with_env("POSTGRES_INITDB_ARGS", "--encoding=UTF8 --locale=C.UTF-8")
            .with_command(f"postgres -c max_connections={MAX_CONNECTIONS} -c timezone=UTC")
        )
        publish(container, 5432, port)
        self.container = container.start()
        # By TCP: while the data directory is made, a server answers on the socket only.
        asked = ["pg_isready", "-q", "-h", "127.0.0.1", "-U", "postgres"]
        wait_for(container, "PostgreSQL", lambda: container.exec(asked).exit_code == 0)
        self.process = process_of(container)
        return self

    def stop(self) -> bool:
        return stop(self)


class ContainerKafka(Kafka):
    """Kafka in a container, started by the script that compose starts it with."""

    container: DockerContainer | None = None

    def start(self) -> Self:
        port = choose_port()
        container = (
            DockerContainer(KAFKA, entrypoint=["bash", "/compose/start.sh"], hostname="kafka")
            .with_env("ADVERTISED", f"127.0.0.1:{port}")
            .with_env("KAFKA_HEAP_OPTS", "-Xms128m -Xmx512m -XX:TieredStopAtLevel=1")
            .with_env("LOG_DIR", "/tmp/logs")
            .with_volume_mapping(COMPOSE_FILE.parent / "kafka", "/compose", "ro")
        )
        publish(container, 9094, port)
        self.container = container.start()
        self._state = {"port": port}
        wait_for(container, "Kafka", self._answers)
        self.process = process_of(container)
        return self

    def _answers(self) -> bool:
        cluster = answering_cluster(self.bootstrap)
        self._state["cluster_id"] = cluster
        return cluster is not None

    def stop(self) -> bool:
        return stop(self)


def stop(server: ContainerPostgres | ContainerKafka) -> bool:
    """Remove a server's container with its data; False if there is none."""
    server.process = None
    if server.container is None:
        return False
    server.container.stop()
    server.container = None
    return True


def publish(container: DockerContainer, inside: int, outside: int) -> None:
    """Publish a port on the loopback address only, which testcontainers' own method does not offer."""
    ports: dict[str, Any] = container.ports
    ports[f"{inside}/tcp"] = ("127.0.0.1", outside)


def process_of(container: DockerContainer) -> Process:
    """A container's first process as this machine sees it: what a supervisor watches."""
    container.reload()
    return Process.of(int(container.get_wrapped_container().attrs["State"]["Pid"]))


def wait_for(container: DockerContainer, what: str, ready: Callable[[], bool]) -> None:
    """Poll until the server answers; on the way out, the container is stopped if it never did."""
    deadline = time.monotonic() + START_SECONDS
    try:
        while not ready():
            container.reload()
            assert container.status != "exited", f"{what} ended: {container.get_logs()}"
            assert time.monotonic() < deadline, f"{what} did not answer: {container.get_logs()}"
            time.sleep(0.2)
    except BaseException:
        container.stop()
        raise


@cache
def kind() -> str:
    """`docker` or `embedded`: what the variable says, or what is possible here."""
    chosen = os.environ.get(VARIABLE, "")
    if chosen == "embedded":
        return chosen
    why = missing_docker() or at_hand(pull=True, names=(POSTGRES, KAFKA))
    if chosen == "docker":
        if why:
            raise StackError(f"{VARIABLE}=docker can't be done: {why}.")
        return chosen
    if chosen:
        raise StackError(f"{VARIABLE}={chosen}: write embedded or docker, or leave it out.")
    return "embedded" if why else "docker"


def postgres_server(directory: Path) -> Postgres:
    """A server that is not started yet."""
    return ContainerPostgres(directory) if kind() == "docker" else Postgres(directory)


def kafka_server(directory: Path) -> Kafka:
    """A broker that is not started yet."""
    return ContainerKafka(directory) if kind() == "docker" else Kafka(directory)
