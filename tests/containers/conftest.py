"""Our images, and the whole system by compose. Without a daemon and its images these tests are skipped, by name."""

import json
import os
from collections.abc import Iterator
from contextlib import closing, contextmanager
from dataclasses import dataclass
from pathlib import Path

import pytest

from deploy.compose.control import Container, containers
from deploy.compose.system import System as Compose
from deploy.demo.mailbox import Mailbox
from deploy.embedded.kafka import Kafka
from deploy.embedded.postgres import Postgres
from deploy.images.base import at_hand
from deploy.images.build import build_all
from deploy.images.docker import docker, missing_docker
from tests.flow.conftest import LOCAL_WEBHOOKS, System, browser, run
from tests.harness import Databases
from tests.servers import ContainerKafka, ContainerPostgres

__all__ = ["browser"]

# A secret that the operator gives; only `up` gets it.
INBOUND_TOKEN = "inbound-of-tests"
# Fifteen containers on two cores, beside the tests.
UP_SECONDS = 600


@pytest.fixture(scope="session")
def daemon() -> None:
    """A Docker daemon with the base images."""
    if why := missing_docker() or at_hand(pull=True):
        pytest.skip(f"No container tests: {why}.")


@pytest.fixture(scope="session")
def images(daemon: None) -> None:
    """Every image of ours, as the sources are now."""
    build_all()


# Servers and system end with these tests: the others need the machine.
@pytest.fixture(scope="package")
def postgres(daemon: None, server_directory: Path) -> Iterator[Postgres]:
    """A server in a container, whatever the other tests run on."""
    server = ContainerPostgres(server_directory / "container-postgres").start()
    yield server
    server.stop()


@pytest.fixture(scope="package")
def kafka(daemon: None, server_directory: Path) -> Iterator[Kafka]:
    """A broker in a container, without topics."""
    broker = ContainerKafka(server_directory / "container-kafka").start()
    yield broker
    broker.stop()


@pytest.fixture(scope="package")
def template_databases(postgres: Postgres) -> Databases:
    """Made as the embedded stack makes them, on that server."""
    return Databases(postgres)


@dataclass(frozen=True, slots=True)
class Containers(System):
    """A system by containers: its processes are not of this machine's table."""

    compose: Compose

    def all(self) -> list[Container]:
        """Every container."""
        return containers(self.compose)

    def one(self, service: str) -> Container:
        """The only container of a compose service."""
        [found] = [container for container in self.all() if container.service == service]
        return found


@contextmanager
def composed(home: Path, *options: str, **environment: str) -> Iterator[Containers]:
    """The system by `make up`'s own command, in a directory of its own; wiped at the end."""
    chosen = {"HUSTINGS_STACK": "docker", **LOCAL_WEBHOOKS, **environment}
    try:
        run(home, "deploy.stack", "up", "--no-build", *options, timeout_seconds=UP_SECONDS, environment=chosen)
        endpoints = json.loads((home / "endpoints.json").read_text())
        compose = Compose.from_environment({**os.environ, "HUSTINGS_HOME": str(home)})
        with closing(Mailbox(endpoints["mailbox"])) as mailbox:
            yield Containers(home, endpoints, mailbox, compose)
    finally:
        run(home, "deploy.stack", "reset", "--yes", timeout_seconds=180, environment=chosen)


@pytest.fixture(scope="module")
def system(images: None, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Containers]:
    """The system that the tests of a module share; one worker twice."""
    home = tmp_path_factory.mktemp("containers")
    with composed(home, "--scale", "matching-worker=2", NOTIFICATIONS_SMS_INBOUND_TOKEN=INBOUND_TOKEN) as running:
        yield running


@pytest.fixture(scope="module")
def receiver_host(system: Containers) -> str:
    """The address under which containers reach a receiver on this machine."""
    network = json.loads(docker("network", "inspect", f"{system.compose.project}_default"))[0]
    return str(network["IPAM"]["Config"][0]["Gateway"])
