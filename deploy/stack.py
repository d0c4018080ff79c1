"""Which of the two stacks `make up`, `down`, `reset`, `status` and `logs` mean: containers, or embedded.

HUSTINGS_STACK=embedded|docker decides. Without it: the one that this directory was started with before, since its
data is there; for a fresh directory containers, where a daemon answers and the images can be had, else embedded.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Callable, Mapping

from rich.console import Console

from deploy.compose.control import compose_command
from deploy.embedded.processes import StackError
from deploy.embedded.stack import Home, Stack
from deploy.images.base import at_hand
from deploy.images.docker import missing_docker

STACKS = {"embedded": "deploy.embedded", "docker": "deploy.compose"}

out = Console(stderr=True, highlight=False, soft_wrap=True)


def started_before(home: Home) -> str | None:
    """The stack whose data this directory has; embedded where both left some."""
    if home.state.exists():
        return "embedded"
    return "docker" if (home.path / "docker" / "ports.json").exists() else None


def why_not_docker() -> str | None:
    """What stands against containers here, in one sentence; None when nothing does. May ask a registry for images."""
    if why := missing_docker():
        return why
    try:
        compose_command()
    except StackError:
        return "there is no compose for Docker"
    return at_hand(pull=True)


def choose(
    home: Home, environ: Mapping[str, str], *, starting: bool, obstacle: Callable[[], str | None] = why_not_docker
) -> str:
    """`embedded` or `docker`. Only a start asks whether containers are possible: where nothing was started before,
    the other commands have nothing to do in either stack."""
    chosen = environ.get("HUSTINGS_STACK", "")
    if chosen in STACKS:
        return chosen
    if chosen:
        raise StackError(f"HUSTINGS_STACK={chosen}: write embedded or docker, or leave it out.")
    if before := started_before(home):
        return before
    if not starting:
        return "embedded"
    why = obstacle()
    if why is None:
        out.print("Docker answers: starting by containers (HUSTINGS_STACK=embedded starts without).", markup=False)
        return "docker"
    out.print(f"Starting without containers: {why}.", markup=False)
    return "embedded"


def main() -> None:
    try:
        stack = choose(Stack.from_environment().home, os.environ, starting="up" in sys.argv[1:2])
    except StackError as error:
        out.print(str(error), markup=False)
        sys.exit(1)
    os.execv(sys.executable, [sys.executable, "-m", STACKS[stack], *sys.argv[1:]])  # noqa: S606 (our own module)


if __name__ == "__main__":
    main()
