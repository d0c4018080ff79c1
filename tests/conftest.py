"""Real Kafka and real PostgreSQL for the tests: one server each per run, one cloned database per test."""

import tempfile
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import AsyncExitStack
from pathlib import Path

import pytest

from deploy.embedded.kafka import Kafka
from deploy.embedded.postgres import Postgres
from tests import servers
from tests.harness import Database, Databases
from tests.servers import kafka_server, postgres_server


def pytest_report_header() -> str:
    """Which servers the run is on."""
    return f"servers: {servers.kind()} ({servers.VARIABLE})"


@pytest.fixture(scope="session")
def server_directory() -> Iterator[Path]:
    """Where servers keep their data.

    Not below pytest's own directory: started by root, PostgreSQL runs as another user, who has to pass through, and
    every pytest session that begins takes that right away again.
    """
    with tempfile.TemporaryDirectory(prefix="hustings-tests-", ignore_cleanup_errors=True) as directory:
        yield Path(directory)


@pytest.fixture(scope="session")
def new_home(server_directory: Path) -> Callable[[str], Path]:
    """Makes an empty directory for a system, or a server, that a test starts for itself."""

    def make(name: str) -> Path:
        return Path(tempfile.mkdtemp(prefix=f"{name}-", dir=server_directory))

    return make


@pytest.fixture(scope="session")
def postgres(server_directory: Path) -> Iterator[Postgres]:
    """A running server."""
    server = postgres_server(server_directory / "postgres").start()
    yield server
    server.stop()


@pytest.fixture(scope="session")
def kafka(server_directory: Path) -> Iterator[Kafka]:
    """A running broker without topics."""
    broker = kafka_server(server_directory / "kafka").start()
    yield broker
    broker.stop()


@pytest.fixture(scope="session")
def template_databases(postgres: Postgres) -> Databases:
    """Migrated once per service, cloned per test."""
    return Databases(postgres)


@pytest.fixture
async def databases(template_databases: Databases) -> AsyncIterator["DatabaseFactory"]:
    """A function that clones a migrated database of a service: `await databases("signup")`."""
    async with AsyncExitStack() as stack:
        yield DatabaseFactory(template_databases, stack)


class DatabaseFactory:
    """Clones databases and drops them when the test ends."""

    def __init__(self, templates: Databases, stack: AsyncExitStack) -> None:
        self._templates = templates
        self._stack = stack

    async def __call__(self, service: str) -> Database:
        """A fresh, migrated database of `service`."""
        return await self._stack.enter_async_context(self._templates.clone(service))


@pytest.fixture(scope="session")
def repository() -> Path:
    """The repository's root."""
    return Path(__file__).parent.parent
