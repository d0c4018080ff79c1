"""The whole system, started as a user starts it, in a directory of its own."""

import json
import os
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from deploy.demo.mailbox import Mailbox
from tests.harness import ROOT


@dataclass(frozen=True, slots=True)
class System:
    """A running stack: where it is, and its command lines."""

    home: Path
    endpoints: dict[str, Any]

    def url(self, service: str, path: str = "") -> str:
        """An address of a service."""
        return f"{self.endpoints[service]}{path}"

    @property
    def mailbox(self) -> Mailbox:
        """The local mailbox."""
        return Mailbox(self.endpoints["mailbox"])

    def run(self, module: str, *arguments: str, timeout_seconds: float = 600) -> str:
        """Run `python -m module …` against this stack; its output, or a failure that shows it."""
        return run(self.home, module, *arguments, timeout_seconds=timeout_seconds)


def run(home: Path, module: str, *arguments: str, timeout_seconds: float = 600) -> str:
    """Run `python -m module …` with the stack's directory `home`."""
    done = subprocess.run(
        [sys.executable, "-m", module, *arguments],
        cwd=ROOT,
        env={**os.environ, "HUSTINGS_HOME": str(home)},
        capture_output=True,
        text=True,
        timeout=timeout_seconds,
        check=False,
    )
    assert done.returncode == 0, f"{module} {' '.join(arguments)} failed:\n{done.stdout}\n{done.stderr}"
    return done.stdout


@pytest.fixture(scope="session")
def system(tmp_path_factory: pytest.TempPathFactory) -> Iterator[System]:
    """A running system; stopped at the end, also when a test fails."""
    home = tmp_path_factory.mktemp("system")
    try:
        run(home, "deploy.embedded", "up", timeout_seconds=240)
        yield System(home, json.loads((home / "endpoints.json").read_text()))
    finally:
        run(home, "deploy.embedded", "down", timeout_seconds=120)
