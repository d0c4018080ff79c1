"""The flow test on Kafka and PostgreSQL by testcontainers; tests/flow has it on the embedded ones."""

from collections.abc import Callable, Iterator
from pathlib import Path
from urllib.parse import urlsplit

import pytest

from deploy.images.docker import docker
from tests.flow.conftest import System, running_system
from tests.flow.test_path import test_path_from_signup_to_endorsement_and_back as path


@pytest.fixture(scope="module")
def served(daemon: None, new_home: Callable[[str], Path]) -> Iterator[System]:
    """The services as processes of this machine, their servers in containers."""
    with running_system(new_home("served"), stack="tests.flow.on_containers") as running:
        yield running


async def test_path_on_servers_in_containers(served: System, browser: object) -> None:
    dsns = served.endpoints["postgres"].values()
    addresses = [served.endpoints["kafka"], *(f"{urlsplit(dsn).hostname}:{urlsplit(dsn).port}" for dsn in dsns)]
    published = docker("ps", "--format", "{{.Ports}}")
    assert [address for address in addresses if f"{address}->" not in published] == []
    await path(served, browser, "127.0.0.1")  # type: ignore[arg-type]
