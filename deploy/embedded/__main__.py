"""`python -m deploy.embedded`: the whole system on this machine, without Docker."""

from __future__ import annotations

import shutil
import signal
import sys
import time
from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console
from rich.table import Table

from deploy.console import print_addresses, run
from deploy.embedded.kafka import java
from deploy.embedded.processes import Process, StackError, demand_disk, last_lines
from deploy.embedded.stack import PORT_NAMES, Home, Stack, demand_foreign_free, read_json
from deploy.embedded.supervisor import launch, parse_port, stop_leftovers
from shared.program import ProgramError, load

# Kafka's segments, PostgreSQL's write-ahead log and the mailbox, with room to work.
DISK_BYTES = 2**30
# Services 25 s, mailbox 10 s, Kafka and PostgreSQL 20 s each, one after the other.
DOWN_SECONDS = 90.0
POLL_SECONDS = 0.1

app = typer.Typer(help=__doc__, no_args_is_help=True, add_completion=False)
out = Console(highlight=False)


@app.command()
def up(
    port: Annotated[
        list[str] | None, typer.Option(help="A port of your choice, e.g. signup=8000; may be repeated.")
    ] = None,
) -> None:
    """Starts everything and waits until it is ready; on a running stack it only prints the addresses."""
    stack = Stack.from_environment()
    supervisor = _supervisor(stack.home)
    if supervisor and read_json(stack.home.state).get("phase") == "stopping":
        _wait_for_end(stack.home, supervisor)
        supervisor = None
    if supervisor is None:
        wanted = dict(parse_port(text) for text in port or [])
        _check(stack, wanted)
        supervisor = launch(stack, wanted)
    try:
        _wait_until_ready(stack.home, supervisor)
    except KeyboardInterrupt:
        out.print("Stopping again.")
        _down(stack.home)
        raise typer.Exit(130) from None
    print_addresses(stack.home, out)


def _check(stack: Stack, wanted: dict[str, int]) -> None:
    """What would fail later, said at once."""
    try:
        load(stack.program)
    except (ProgramError, OSError) as error:
        raise StackError(f"The program file cannot be used: {error}") from error
    java()
    stack.home.path.mkdir(parents=True, exist_ok=True)
    demand_disk(stack.home.path, DISK_BYTES, "The stack")
    for name, number in wanted.items():
        demand_foreign_free(number, name)


def _wait_until_ready(home: Home, supervisor: Process) -> None:
    said = ""
    with out.status("Starting") as spinner:
        while True:
            state = read_json(home.state)
            # Until the new supervisor has written, the file tells of the one before.
            if state.get("supervisor") == supervisor.record():
                if state["message"] != said:
                    said = state["message"]
                    spinner.update(said)
                    if not out.is_terminal and state["phase"] == "starting":
                        out.print(f"{said} …")
                if state["phase"] == "ready":
                    return
                if state["phase"] == "failed":
                    supervisor.wait(DOWN_SECONDS)
                    raise StackError(said)
                if state["phase"] in {"stopping", "stopped"} and not supervisor.running():
                    raise StackError("The stack was stopped while it started: start it again.")
            if not supervisor.running() and read_json(home.state) == state:
                path = home.log("supervisor")
                raise StackError(f"The supervisor ended; its log {path} ends:\n{last_lines(path)}")
            time.sleep(POLL_SECONDS)


def _supervisor(home: Home) -> Process | None:
    return Process.find(read_json(home.state).get("supervisor"))


def _wait_for_end(home: Home, supervisor: Process) -> None:
    deadline = time.monotonic() + DOWN_SECONDS
    with out.status("Stopping") as spinner:
        while supervisor.running():
            spinner.update(str(read_json(home.state).get("message", "Stopping")))
            if time.monotonic() > deadline:
                supervisor.stop(0, signal.SIGKILL)
                stop_leftovers(home, servers=True)
                raise StackError(
                    f"The supervisor did not end within {DOWN_SECONDS:.0f} seconds and was killed with all it "
                    f"ran; nothing runs now; its log is {home.log('supervisor')}."
                )
            time.sleep(POLL_SECONDS)


@app.command()
def down() -> None:
    """Stops everything in order; the data stays."""
    home = Stack.from_environment().home
    out.print("Everything is stopped." if _down(home) else "Nothing was running.")


def _down(home: Home) -> bool:
    """False if nothing ran."""
    supervisor = _supervisor(home)
    if supervisor is not None:
        supervisor.send(signal.SIGTERM)
        _wait_for_end(home, supervisor)
    return bool(stop_leftovers(home, servers=True)) or supervisor is not None


@app.command()
def status() -> None:
    """Which process runs where, how often it was restarted; exit code 0 only if everything is ready."""
    home = Stack.from_environment().home
    state = read_json(home.state)
    running = _supervisor(home) is not None
    table = Table("process", "pid", "state", "restarts", "address", box=None, pad_edge=False)
    for child in state.get("processes", {}).values():
        alive = Process.find(child) if child["pid"] else None
        shown = child["state"] if running or alive is None else "left behind"
        table.add_row(
            child["name"],
            str(child["pid"] or ""),
            shown if alive or child["state"] in {"stopped", "backing off"} else "gone",
            str(child["restarts"]),
            child["address"],
        )
    if table.row_count:
        out.print(table)
    if not running:
        raise StackError("The stack is down: start it with `python -m deploy.embedded up`.")
    if state["phase"] != "ready" or any(child["state"] != "ready" for child in state["processes"].values()):
        raise StackError("Not everything is ready: see `python -m deploy.embedded logs`.")


@app.command()
def logs(
    name: Annotated[str | None, typer.Argument(help="A process of `status`, or supervisor.")] = None,
    follow: Annotated[bool, typer.Option("-f", "--follow", help="Go on printing what comes.")] = False,
    lines: Annotated[int, typer.Option("-n", "--lines", min=0, help="How many of the last lines.")] = 20,
) -> None:
    """Prints the end of one log, or of all."""
    home = Stack.from_environment().home
    names = [name for name in (*PORT_NAMES, "topics", "supervisor") if name != "smtp"]
    chosen = names if name is None else [name]
    if name is not None and name not in names:
        raise StackError(f"There is no process {name!r}: choose one of {', '.join(names)}.")
    paths = {known: home.log(known) for known in chosen if home.log(known).exists()}
    if not paths:
        raise StackError("There is no log yet: start the stack with `python -m deploy.embedded up`.")
    positions: dict[Path, int] = {}
    for known, path in paths.items():
        positions[path] = path.stat().st_size
        for line in last_lines(path, lines).splitlines() if lines else []:
            _print_line(known, line, len(paths))
    while follow:
        for known, path in paths.items():
            size = path.stat().st_size if path.exists() else 0
            if size < positions[path]:
                positions[path] = 0  # it was put aside for a new one
            if size > positions[path]:
                with path.open("rb") as log:
                    log.seek(positions[path])
                    # A line that is still being written waits for its end.
                    text = log.read().rpartition(b"\n")[0]
                if text:
                    positions[path] += len(text) + 1
                    for line in text.decode("utf-8", "replace").splitlines():
                        _print_line(known, line, len(paths))
        time.sleep(POLL_SECONDS * 2)


def _print_line(name: str, line: str, sources: int) -> None:
    sys.stdout.write(f"{name:<13} {line}\n" if sources > 1 else f"{line}\n")
    sys.stdout.flush()


@app.command()
def reset(
    yes: Annotated[bool, typer.Option("--yes", help="Do not ask.")] = False,
) -> None:
    """Stops everything and deletes all data, secrets and messages."""
    home = Stack.from_environment().home
    if not home.path.exists():
        out.print(f"There is nothing at {home.path}.")
        return
    if not (home.state.exists() or home.ports.exists() or home.lock.exists()):
        raise StackError(f"{home.path} does not look like a stack's directory: remove it yourself if it is one.")
    if not yes and sys.stdin.isatty():
        typer.confirm(f"Delete all data in {home.path}?", abort=True)
    _down(home)
    shutil.rmtree(home.path)
    out.print(f"{home.path} is deleted.")


def main() -> None:
    run(app, "python -m deploy.embedded")


if __name__ == "__main__":
    main()
