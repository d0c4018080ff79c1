"""Which of the two stacks `make up`, `down`, `reset`, `status` and `logs` mean: containers, or embedded.

HUSTINGS_STACK=embedded|docker decides. Without it: the one that this directory was started with before, since its
data is there; for a fresh directory the embedded one.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Mapping

from rich.console import Console

from deploy.embedded.processes import StackError
from deploy.embedded.stack import Home, Stack

STACKS = {"embedded": "deploy.embedded", "docker": "deploy.compose"}

out = Console(stderr=True, highlight=False, soft_wrap=True)


def started_before(home: Home) -> str | None:
    """The stack whose data this directory has; embedded where both left some."""
    if home.state.exists():
        return "embedded"
    return "docker" if (home.path / "docker" / "ports.json").exists() else None


def choose(home: Home, environ: Mapping[str, str]) -> str:
    """`embedded` or `docker`."""
    chosen = environ.get("HUSTINGS_STACK", "")
    if chosen in STACKS:
        return chosen
    if chosen:
        raise StackError(f"HUSTINGS_STACK={chosen}: write embedded or docker, or leave it out.")
    return started_before(home) or "embedded"


def main() -> None:
    try:
        stack = choose(Stack.from_environment().home, os.environ)
    except StackError as error:
        out.print(str(error), markup=False)
        sys.exit(1)
    os.execv(sys.executable, [sys.executable, "-m", STACKS[stack], *sys.argv[1:]])  # noqa: S606 (our own module)


if __name__ == "__main__":
    main()
