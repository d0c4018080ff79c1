"""Compose as a process, and what the daemon says about the containers of one system."""

from __future__ import annotations

import json
import os
import shlex
import subprocess
import time
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cache
from pathlib import Path

from deploy.compose.system import COMPOSE_FILE, ONCE, System
from deploy.embedded.processes import StackError
from deploy.images.docker import docker

# Two cores start fifteen processes of Python and Java.
READY_SECONDS = 600.0
POLL_SECONDS = 0.5
SERVICE_LABEL = "com.docker.compose.service"
PROJECT_LABEL = "com.docker.compose.project"
ONE_OFF_LABEL = "com.docker.compose.oneoff"


@dataclass(frozen=True)
class Container:
    """One container as the daemon sees it. `state`: running, exited, …; `health`: healthy, starting, unhealthy, –.

    `variables` are the names in its environment.
    """

    id: str
    name: str
    service: str
    state: str
    health: str
    exit_code: int
    pid: int
    restarts: int
    variables: frozenset[str]

    @property
    def settled(self) -> bool:
        """Healthy, or ended well where it was to end."""
        if self.service in ONCE:
            return self.state == "exited" and self.exit_code == 0
        return self.state == "running" and self.health == "healthy"


@cache
def compose_command() -> tuple[str, ...]:
    """HUSTINGS_COMPOSE, the plugin `docker compose`, or `docker-compose`, in this order."""
    if chosen := os.environ.get("HUSTINGS_COMPOSE"):
        return tuple(shlex.split(chosen))
    for command in (("docker", "compose"), ("docker-compose",)):
        try:
            subprocess.run([*command, "version"], capture_output=True, check=True, timeout=20)
        except (OSError, subprocess.SubprocessError):
            continue
        return command
    raise StackError(
        "There is neither `docker compose` nor `docker-compose` here: install one (Debian: docker-compose)."
    )


def _command(system: System, *arguments: str) -> list[str]:
    return [*compose_command(), "--file", str(COMPOSE_FILE), "--project-name", system.project, *arguments]


def compose(system: System, *arguments: str, show: bool = False, timeout_seconds: float = READY_SECONDS) -> str:
    """`docker compose …` for this system; its output, or passed on to the terminal with `show`."""
    command = _command(system, *arguments)
    environment = system.variables()
    if show:
        return str(subprocess.run(command, env=environment, check=False).returncode)
    try:
        done = subprocess.run(
            command, env=environment, capture_output=True, text=True, check=False, timeout=timeout_seconds
        )
    except subprocess.TimeoutExpired:
        raise StackError(f"`compose {arguments[0]}` did not end within {timeout_seconds:.0f} seconds.") from None
    if done.returncode:
        failed = [c for c in containers(system) if c.service in ONCE and c.state == "exited" and c.exit_code]
        words = "\n".join([done.stderr.strip()[-600:], *(f"{c.name} said: {last_words(c)}" for c in failed)])
        raise StackError(f"`compose {arguments[0]}` failed: {words}")
    return done.stdout


def run_once(system: System, service: str, *arguments: str) -> str | None:
    """Run another command in a container of its own, as `service` is run; None, or what it said when it failed."""
    done = subprocess.run(
        _command(system, "run", "--rm", "--no-deps", "-T", service, *arguments),
        env=system.variables(),
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        check=False,
        timeout=READY_SECONDS,
    )
    # Compose's own words about the container come first.
    return done.stdout.strip()[-600:] if done.returncode else None


def containers(system: System) -> list[Container]:
    """Every container of the system, running or not, by name."""
    # Without those of `compose run`, which are gone when their command ends.
    labels = (f"{PROJECT_LABEL}={system.project}", f"{ONE_OFF_LABEL}=False")
    filters = [part for label in labels for part in ("--filter", f"label={label}")]
    ids = docker("ps", "--all", "--quiet", *filters).split()
    if not ids:
        return []
    found = []
    for seen in json.loads(docker("inspect", *ids)):
        state = seen["State"]
        found.append(
            Container(
                id=seen["Id"],
                name=seen["Name"].lstrip("/"),
                service=seen["Config"]["Labels"][SERVICE_LABEL],
                state=state["Status"],
                health=state.get("Health", {}).get("Status", "–"),
                exit_code=state["ExitCode"],
                pid=state["Pid"],
                restarts=seen["RestartCount"],
                variables=frozenset(one.partition("=")[0] for one in seen["Config"]["Env"] or ()),
            )
        )
    return sorted(found, key=lambda container: container.name)


def scale(system: System, wanted: Sequence[str] = ()) -> list[str]:
    """Compose's options for as many containers of each service as there are now; `wanted`, as `name=2`, goes before.

    Without them `compose up` would take a service that was scaled back to one.
    """
    counts = {
        service: f"{service}={count}" for service, count in Counter(c.service for c in containers(system)).items()
    }
    counts |= {one.partition("=")[0]: one for one in wanted}
    return [part for one in counts.values() if not one.endswith("=1") or one in wanted for part in ("--scale", one)]


def last_words(container: Container, lines: int = 8) -> str:
    """The end of a container's log."""
    done = subprocess.run(
        ["docker", "logs", "--tail", str(lines), container.id], capture_output=True, text=True, check=False
    )
    return (done.stdout + done.stderr).strip()[-1500:]


def write_log(container: Container, path: Path) -> None:
    """Write all that a container has said and its daemon still keeps."""
    with path.open("wb") as target:
        done = subprocess.run(["docker", "logs", container.id], stdout=target, stderr=subprocess.STDOUT, check=False)
    if done.returncode:
        raise StackError(f"The log of {container.name} could not be written to {path}; see `make status`.")


def wait_until_settled(system: System, services: Sequence[str], timeout_seconds: float = READY_SECONDS) -> None:
    """Until every container of these services is healthy, or has ended well where it was to end."""
    deadline = time.monotonic() + timeout_seconds
    while True:
        here = [container for container in containers(system) if container.service in services]
        late = [container for container in here if not container.settled]
        missing = sorted(set(services) - {container.service for container in here})
        if not late and not missing:
            return
        for container in late:
            if container.service in ONCE and container.state == "exited":
                raise StackError(f"{container.name} ended with {container.exit_code}: {last_words(container)}")
        if time.monotonic() > deadline:
            states = ", ".join(f"{container.name} ({container.state}, {container.health})" for container in late)
            words = "\n".join(f"{container.name} said: {last_words(container)}" for container in late[:3])
            raise StackError(
                f"Not ready within {timeout_seconds:.0f} seconds: {states or ', '.join(missing)}.\n{words}"
            )
        time.sleep(POLL_SECONDS)
