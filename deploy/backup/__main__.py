"""`python -m deploy.backup save|restore FOLDER`: a backup of a system by containers, and its way back.

A backup is the four databases and the broker's data of one moment at which no service runs. Each service remembers
in its own database how far it has read each topic and of which cluster, so databases and topics only fit together
when they are of the same moment: a database that is older than the topics has forgotten events that others acted on,
one that is newer remembers events that nobody can read again. Services are away while it is made, about as long as
PostgreSQL takes to write the dumps; forms are answered again afterwards.

With PostgreSQL's write-ahead log archived and three brokers, as in production, restore the databases to the newest
moment instead and leave the topics alone: what was in the outbox is sent again under the same ids, and what was read
is read again without a second effect.
"""

from __future__ import annotations

import hashlib
import json
import subprocess
import sys
import time
from pathlib import Path
from typing import IO, Annotated

import typer
from rich.console import Console

from deploy.compose.control import Container, compose, containers, scale, wait_until_settled
from deploy.compose.system import KEPT, ONCE, System
from deploy.console import run
from deploy.embedded.processes import StackError, write_atomically
from deploy.images.docker import demand_docker
from shared.settings import SERVICES

BROKER_DATA = "/var/lib/kafka/data"
# Written last: a folder without it is no backup.
CONTENTS = "contents.json"
RUNNING = [name for name in KEPT if name not in {"postgres", "kafka", "mailbox"}]
TRANSFER_SECONDS = 3600

app = typer.Typer(help=__doc__, no_args_is_help=True, add_completion=False)
out = Console(highlight=False)


@app.command()
def save(folder: Annotated[Path, typer.Argument(help="A new folder; secrets are not part of a backup.")]) -> None:
    """Stop the services, write databases and topics, start the services again."""
    system = _running_system()
    folder.mkdir(parents=True, exist_ok=True)
    if any(folder.iterdir()):
        raise StackError(f"{folder} is not empty: name a new folder.")
    folder.chmod(0o700)
    began = time.monotonic()
    compose(system, "stop", "--timeout", "30", *RUNNING)
    try:
        for service in SERVICES:
            dump = ("pg_dump", "--username=postgres", "--format=custom", service)
            _to_file(["docker", "exec", _one(system, "postgres").id, *dump], folder / f"{service}.dump")
        compose(system, "stop", "--timeout", "30", "kafka")
        _to_file(["docker", "cp", f"{_one(system, 'kafka').id}:{BROKER_DATA}/.", "-"], folder / "kafka.tar")
        sums = {path.name: _sha256(path) for path in sorted(folder.iterdir())}
        write_atomically(folder / CONTENTS, json.dumps(sums, indent=1), 0o600)
    finally:
        for names in (["kafka"], RUNNING):
            compose(system, "start", *names)
            wait_until_settled(system, names)
    size = sum(path.stat().st_size for path in folder.iterdir()) / 1e6
    out.print(f"{folder}: {size:.0f} MB. The services were away for {time.monotonic() - began:.0f} s.")


@app.command()
def restore(
    folder: Annotated[Path, typer.Argument(help="What `save` wrote.")],
    yes: Annotated[bool, typer.Option("--yes", help="Do not ask.")] = False,
) -> None:
    """Replace databases and topics by those of the backup; the mailbox of a development system begins empty."""
    system = System.from_environment()
    demand_docker("Nothing can be restored")
    check(folder)
    if not system.ports:
        raise StackError("There is no system to restore into: start one with `HUSTINGS_STACK=docker make up`.")
    if not yes and sys.stdin.isatty():
        typer.confirm(f"Replace all data of {system.project} by {folder}?", abort=True)
    began = time.monotonic()
    as_many = scale(system)
    compose(system, "down", "--timeout", "30", "--volumes")
    # Created and not started: the broker's data is put where it will look, under the numbers of users in the archive.
    compose(system, "up", "--no-start", "--no-build", "kafka")
    with (folder / "kafka.tar").open("rb") as packed:
        _run(["docker", "cp", "-", f"{_one(system, 'kafka').id}:{BROKER_DATA}"], packed)
    compose(system, "up", "--detach", "--no-build", "databases")
    wait_until_settled(system, ["postgres", "databases"])
    for service in SERVICES:
        # All of one database or nothing of it; ownership and grants come with the dump.
        load = ("pg_restore", "--username=postgres", f"--dbname={service}", "--clean", "--if-exists", "--exit-on-error",
                "--single-transaction")  # fmt: skip
        with (folder / f"{service}.dump").open("rb") as dump:
            _run(["docker", "exec", "--interactive", _one(system, "postgres").id, *load], dump)
    compose(system, "up", "--detach", "--no-build", *as_many)
    wait_until_settled(system, (*ONCE, *KEPT))
    out.print(f"{folder} is restored, and every container is healthy, after {time.monotonic() - began:.0f} s.")


def check(folder: Path) -> None:
    """Raise `StackError` unless the folder is a whole backup whose files are what was written."""
    try:
        sums = json.loads((folder / CONTENTS).read_text(encoding="utf-8"))
    except FileNotFoundError:
        raise StackError(f"{folder} is no backup, or one that was cut off: it has no {CONTENTS}.") from None
    for name, wanted in sums.items():
        path = folder / name
        if not path.exists() or _sha256(path) != wanted:
            raise StackError(f"{path} is missing or not what was written: use another backup.")


def _running_system() -> System:
    system = System.from_environment()
    demand_docker("Nothing can be saved")
    if not any(container.state == "running" for container in containers(system)):
        raise StackError("No system by containers runs here: start it with `HUSTINGS_STACK=docker make up`.")
    return system


def _one(system: System, service: str) -> Container:
    [found] = [container for container in containers(system) if container.service == service]
    return found


def _to_file(command: list[str], path: Path) -> None:
    with path.open("wb") as target:
        done = subprocess.run(command, stdout=target, stderr=subprocess.PIPE, check=False, timeout=TRANSFER_SECONDS)
    if done.returncode:
        raise StackError(f"{path.name} could not be written: {done.stderr.decode(errors='replace').strip()[-600:]}")


def _run(command: list[str], source: IO[bytes]) -> None:
    done = subprocess.run(command, stdin=source, capture_output=True, check=False, timeout=TRANSFER_SECONDS)
    if done.returncode:
        raise StackError(f"The backup could not be read: {done.stderr.decode(errors='replace').strip()[-600:]}")


def _sha256(path: Path) -> str:
    with path.open("rb") as content:
        return hashlib.file_digest(content, "sha256").hexdigest()


def main() -> None:
    run(app, "python -m deploy.backup")


if __name__ == "__main__":
    main()
