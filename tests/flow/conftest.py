"""The whole system, started as a user starts it, in a directory of its own, and a browser to use it with."""

import asyncio
import json
import os
import subprocess
import sys
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import closing, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import asyncpg
import pytest
from playwright.async_api import Browser

from deploy.demo.mailbox import Mailbox
from tests import servers
from tests.browser import launch_browser
from tests.harness import ROOT

# Webhooks go to a receiver on the loopback address here; a production system refuses that.
LOCAL_WEBHOOKS = {"ENDORSEMENT_WEBHOOK_ALLOW_PRIVATE": "true"}


@dataclass(frozen=True, slots=True)
class System:
    """A running stack: where it is, and its command lines."""

    home: Path
    endpoints: dict[str, Any]
    mailbox: Mailbox

    def url(self, service: str, path: str = "") -> str:
        """An address of a service."""
        return f"{self.endpoints[service]}{path}"

    def run(self, module: str, *arguments: str, timeout_seconds: float = 600) -> str:
        """Run `python -m module …` against this stack; its output, or a failure that shows it."""
        return run(self.home, module, *arguments, timeout_seconds=timeout_seconds)

    async def command(self, *arguments: str) -> str:
        """Run a command of `./hustings`; its output."""
        return await asyncio.to_thread(self.run, "cli", *arguments)

    async def fetch(self, service: str, sql: str, *arguments: Any) -> list[tuple[Any, ...]]:
        """Rows of a service's database, read as its owner, as plain tuples for equality."""
        connection = await asyncpg.connect(self.endpoints["postgres_owner"][service])
        try:
            return [tuple(row) for row in await connection.fetch(sql, *arguments)]
        finally:
            await connection.close()


def run(
    home: Path, module: str, *arguments: str, timeout_seconds: float = 600, environment: dict[str, str] | None = None
) -> str:
    """Run `python -m module …` with the stack's directory `home`."""
    done = subprocess.run(
        [sys.executable, "-m", module, *arguments],
        cwd=ROOT,
        env={**os.environ, **(environment or {}), "HUSTINGS_HOME": str(home)},
        capture_output=True,
        text=True,
        timeout=timeout_seconds,
        check=False,
    )
    assert done.returncode == 0, f"{module} {' '.join(arguments)} failed:\n{done.stdout}\n{done.stderr}"
    return done.stdout


@contextmanager
def running_system(home: Path, *, stack: str = "deploy.embedded", **environment: str) -> Iterator[System]:
    """A stack with a directory of its own; stopped at the end, also when a test fails."""
    try:
        run(home, stack, "up", timeout_seconds=240, environment={**LOCAL_WEBHOOKS, **environment})
        endpoints = json.loads((home / "endpoints.json").read_text())
        with closing(Mailbox(endpoints["mailbox"])) as mailbox:
            yield System(home, endpoints, mailbox)
    finally:
        run(home, "deploy.embedded", "down", timeout_seconds=120)


@pytest.fixture(scope="session")
def system(new_home: Callable[[str], Path]) -> Iterator[System]:
    """The system that the flows share, on the servers that the run is on; each flow brings people of its own."""
    stack = "deploy.embedded" if servers.kind() == "embedded" else "tests.flow.on_containers"
    with running_system(new_home("system"), stack=stack) as running:
        yield running


@pytest.fixture(scope="session")
def receiver_host() -> str:
    """The address under which the system reaches a receiver of webhooks on this machine."""
    return "127.0.0.1"


@pytest.fixture(scope="session")
async def browser() -> AsyncIterator[Browser]:
    """A headless Chromium."""
    async with launch_browser() as launched:
        yield launched
