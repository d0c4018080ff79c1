"""`python -m deploy.compose`: the whole system on this machine by containers."""

from __future__ import annotations

import shutil
import sys
from collections.abc import Sequence
from enum import StrEnum
from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console
from rich.table import Table

from deploy.compose.control import (
    Container,
    compose,
    compose_command,
    containers,
    run_once,
    wait_until_settled,
    write_log,
)
from deploy.compose.control import scale as scale_options
from deploy.compose.system import KEPT, ONCE, System
from deploy.console import print_addresses, run
from deploy.embedded.processes import StackError
from deploy.embedded.stack import KEYS_FOR_GOOD
from deploy.embedded.supervisor import parse_port
from deploy.images.base import demand_bases
from deploy.images.build import build_all
from deploy.images.docker import demand_docker
from shared.program import ProgramError, load
from shared.settings import SERVICES

SERVERS = ("postgres", "kafka", "mailbox")

app = typer.Typer(help=__doc__, no_args_is_help=True, add_completion=False)
out = Console(highlight=False)


class Secret(StrEnum):
    """Kinds of secrets that are renewed together."""

    PASSWORDS = "passwords"
    INTERNAL = "internal"
    SESSIONS = "sessions"
    LINKS = "links"


@app.command()
def up(
    port: Annotated[
        list[str] | None, typer.Option(help="A port of your choice, e.g. signup=8000; may be repeated.")
    ] = None,
    scale: Annotated[list[str] | None, typer.Option(help="E.g. matching-worker=2; may be repeated.")] = None,
    build: Annotated[bool, typer.Option(help="Build images whose sources changed.")] = True,
) -> None:
    """Starts everything and waits until every container is healthy; what runs already, as it is wanted, is left alone.

    Variables that are set are remembered for every later command; set to nothing, one is forgotten.
    """
    system = System.from_environment()
    _demand_docker()
    try:
        load(system.program)
    except (ProgramError, OSError) as error:
        raise StackError(f"The program file cannot be used: {error}") from error
    system.remember()
    if build:
        demand_bases()
        out.print("Building images whose sources changed …")
        build_all()
    if not any(container.state == "running" for container in containers(system)):
        system.choose_ports(dict(parse_port(text) for text in port or []))
    changed = system.make_secrets()
    out.print("Starting containers …")
    compose(system, "up", "--detach", "--no-build", *scale_options(system, scale or ()))
    if again := [name for name in KEPT if any(file.startswith(f"{name.partition('-')[0]}_") for file in changed)]:
        # Compose sees no difference in a file; what runs has read the former one.
        compose(system, "restart", "--timeout", "30", *again)
    wait_until_settled(system, (*ONCE, *KEPT))
    system.write_endpoints()
    print_addresses(system.home, out)


@app.command()
def down() -> None:
    """Stops and removes the containers; the data stays in its volumes."""
    system = System.from_environment()
    _demand_docker()
    ran = bool(containers(system))
    if ran:
        compose(system, "down", "--timeout", "30")
    out.print("Everything is stopped." if ran else "Nothing was running.")


@app.command()
def reset(yes: Annotated[bool, typer.Option("--yes", help="Do not ask.")] = False) -> None:
    """Stops everything and deletes all data, secrets and messages."""
    system = System.from_environment()
    _demand_docker()
    if not system.folder.exists():
        out.print(f"There is nothing at {system.folder}.")
        return
    if not yes and sys.stdin.isatty():
        typer.confirm(f"Delete all data of {system.project} and {system.folder}?", abort=True)
    if system.ports:
        compose(system, "down", "--timeout", "30", "--volumes")
    shutil.rmtree(system.folder)
    system.home.endpoints.unlink(missing_ok=True)
    out.print(f"The volumes of {system.project} and {system.folder} are deleted.")


@app.command()
def status() -> None:
    """Which container runs, how often it was restarted; exit code 0 only if everything is ready."""
    system = System.from_environment()
    _demand_docker()
    table = Table("container", "pid", "state", "health", "restarts", box=None, pad_edge=False)
    here = containers(system)
    for one in here:
        state = f"ended ({one.exit_code})" if one.state == "exited" else one.state
        table.add_row(one.name, str(one.pid or ""), state, one.health, str(one.restarts))
    if not here:
        raise StackError("The stack is down: start it with `make up`.")
    out.print(table)
    if any(not one.settled for one in here) or {one.service for one in here} != {*ONCE, *KEPT}:
        raise StackError("Not everything is ready: see `make logs`.")


@app.command()
def logs(
    name: Annotated[str | None, typer.Argument(help="signup, signup-web, kafka, …")] = None,
    follow: Annotated[bool, typer.Option("-f", "--follow", help="Go on printing what comes.")] = False,
    lines: Annotated[int, typer.Option("-n", "--lines", min=0, help="How many of the last lines.")] = 20,
    to: Annotated[
        Path | None, typer.Option(help="Write the whole logs into this folder instead, for the ledger.")
    ] = None,
) -> None:
    """Prints the end of one log, or of all; `signup` means all its processes."""
    system = System.from_environment()
    _demand_docker()
    known = (*KEPT, *ONCE)
    chosen = [one for one in known if name in {None, one} or (name in SERVICES and one.startswith(f"{name}-"))]
    if not chosen:
        raise StackError(f"There is no container {name!r}: choose one of {', '.join((*SERVICES, *known))}.")
    if to is not None:
        to.mkdir(parents=True, exist_ok=True)
        for container in (one for one in containers(system) if one.service in chosen):
            write_log(container, to / f"{container.name}.log")
        out.print(f"The logs are in {to}: `./hustings ledger --logs {to}` reads them.", markup=False)
        return
    sys.exit(int(compose(system, "logs", "--tail", str(lines), *(["-f"] if follow else []), *chosen, show=True)))


@app.command()
def contract() -> None:
    """Ends a deploy: applies the migrations that waited for the old version to end, or says what still waits."""
    system = System.from_environment()
    _demand_docker()
    if not any(container.state == "running" for container in containers(system)):
        raise StackError("The stack is down: start it with `make up`.")
    held = {service: run_once(system, f"{service}-migrate", "contract") for service in SERVICES}
    for service, words in held.items():
        out.print(f"{service}: {words or 'nothing is held back.'}", markup=False)
    if any(held.values()):
        raise StackError("The deploy is not at its end: do what is said above, then run `make finish-deploy` again.")


@app.command()
def rotate(what: Annotated[list[Secret], typer.Argument(help="Which secrets to renew.")]) -> None:
    """Renews secrets and restarts the services with them: about half a minute without answers.

    passwords: of the databases' roles. internal: between services. sessions: everybody signs in again.
    links: links that answer, unsubscribe or explain stop working in mails sent before. What bounced or said STOP and
    the secrets of webhooks have keys of their own, which stay.
    """
    system = System.from_environment()
    _demand_docker()
    if not system.ports:
        raise StackError("There is no system to rotate secrets of: start one with `make up`.")
    if Secret.LINKS in what:
        _demand_keys_for_good(containers(system))
    for kind in what:
        system.forget(kind)
    system.make_secrets()
    if Secret.PASSWORDS in what:
        compose(system, "up", "--detach", "--no-build", "--no-deps", "--force-recreate", "databases")
        wait_until_settled(system, ["databases"])
    services = [name for name in KEPT if name not in SERVERS]
    # Not made anew: they keep what they were started with, and mount the new files as they start.
    compose(system, "restart", "--timeout", "30", *services)
    wait_until_settled(system, services)
    system.write_endpoints()
    out.print(f"The {', '.join(what)} are new, and every service runs with them.")


def _demand_keys_for_good(here: Sequence[Container]) -> None:
    """Containers of an earlier version would take the new link secret for these keys too."""
    for service, key in KEYS_FOR_GOOD.items():
        variable = f"{service}_{key}_file".upper()
        if late := [one.name for one in here if one.service.startswith(service) and variable not in one.variables]:
            raise StackError(f"{late[0]} is of a version without {variable}: run `make up` first.")


def _demand_docker() -> None:
    demand_docker("The system can't run by containers (HUSTINGS_STACK=embedded runs it without)")
    compose_command()


def main() -> None:
    run(app, "python -m deploy.compose")


if __name__ == "__main__":
    main()
