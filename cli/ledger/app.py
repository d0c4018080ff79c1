"""`hustings ledger`: the checks as a command, for operators and for runs with faults."""

import json
import os
import sys
import tempfile
from collections.abc import Iterable
from pathlib import Path
from typing import Annotated, Any

import typer

from cli.ledger import judge, watch
from cli.ledger.errors import BadEvidence
from cli.ledger.report import Check
from cli.ledger.topics import Partition, RawRecord, archive, read_file, read_kafka

VIOLATED, BAD_EVIDENCE = 1, 2

app = typer.Typer(
    help="Compare what was promised to people with what the system holds (docs/ledger.md).",
    invoke_without_command=True,
)


def _endpoints(path: Path | None) -> tuple[Path, dict[str, Any]]:
    home = Path(os.environ.get("HUSTINGS_HOME", ".hustings"))
    found = path or Path(os.environ.get("HUSTINGS_ENDPOINTS", home / "endpoints.json"))
    try:
        content = json.loads(found.read_text(encoding="utf-8"))
        known = {"kafka": str(content["kafka"]), "owners": dict(content["postgres_owner"])}
        return found, {**known, "stack": str(content.get("stack", ""))}
    except FileNotFoundError:
        raise BadEvidence(
            f"{found} is missing: run `make up` first, or give --endpoints the file of the system to check."
        ) from None
    except (json.JSONDecodeError, KeyError, TypeError):
        raise BadEvidence(
            f"{found} does not name `kafka` and `postgres_owner`: give --endpoints the file of the system to check."
        ) from None


def _logs(home: Path, given: list[Path]) -> list[Path]:
    """Every log of a stack's directory, or of those given."""
    if missing := [path for path in given if not path.is_dir()]:
        raise BadEvidence(f"There is no directory {missing[0]}: give --logs one that holds *.log files.")
    places = given or [home / "logs", home / "kafka", home / "postgres"]
    return sorted(path for place in places if place.is_dir() for path in place.glob("*.log*") if path.is_file())


def _check_options(store: Path | None, topics: Path | None, archive_to: Path | None) -> None:
    if store is not None and store.exists():
        raise BadEvidence(f"{store} is there already: give --store the name of a new file.")
    if topics is not None and archive_to is not None:
        raise BadEvidence("--archive copies what Kafka holds: leave out --topics, or --archive.")


def _tell(line: str) -> None:
    typer.echo(line, err=True)


def _end(error: BadEvidence) -> typer.Exit:
    _tell(str(error))
    return typer.Exit(BAD_EVIDENCE)


EndpointsOption = Annotated[
    Path | None,
    typer.Option("--endpoints", help="the stack's endpoints.json; default: HUSTINGS_ENDPOINTS, HUSTINGS_HOME"),
]


@app.callback()
def ledger(
    context: typer.Context,
    endpoints: EndpointsOption = None,
    journals: Annotated[
        Path | None, typer.Option(help="directory with load.jsonl, smtp.jsonl, sms.jsonl, webhook.jsonl")
    ] = None,
    topics: Annotated[Path | None, typer.Option(help="read this archive instead of Kafka")] = None,
    archive_to: Annotated[
        Path | None, typer.Option("--archive", help="write the topics as read to this file (.gz: compressed)")
    ] = None,
    logs: Annotated[
        list[Path] | None, typer.Option(help="directory of *.log files; default: those of the stack's directory")
    ] = None,
    at_rest: Annotated[
        bool, typer.Option("--at-rest/--running", help="is nothing under way any more, or is the system in use")
    ] = True,
    require_all: Annotated[
        bool, typer.Option("--require-all", help="exit 2 when a check, or a part of one, could not be made")
    ] = False,
    as_json: Annotated[bool, typer.Option("--json", help="print the report as JSON, with every violation")] = False,
    store: Annotated[
        Path | None, typer.Option(help="keep the evidence in this new SQLite file, to look further into it")
    ] = None,
) -> None:
    """Check L1 to L14. Exit 0: nothing is violated. Exit 1: something is, and named. Exit 2: evidence is missing."""
    if context.invoked_subcommand is not None:
        return
    try:
        _check_options(store, topics, archive_to)
        place, known = _endpoints(endpoints)

        def records() -> Iterable[Partition | RawRecord]:
            found: Iterable[Partition | RawRecord] = read_file(topics) if topics else read_kafka(known["kafka"])
            return archive(archive_to, found) if archive_to else found

        read = _logs(place.parent, logs or [])
        if not read and known["stack"] == "docker":
            _tell("The logs are with the containers: `make logs TO=FOLDER` writes them, `--logs FOLDER` reads them.")
        sources = judge.Sources(known["owners"], records, journals, read, at_rest)
        with tempfile.TemporaryDirectory(prefix="hustings-ledger-") as scratch:
            evidence = judge.gather(sources, store or Path(scratch) / "evidence.sqlite3", _tell)
            try:
                checks = judge.judge(evidence, _show if not as_json else lambda check: _tell(check.lines()[0]))
            finally:
                judge.close(evidence)
    except BadEvidence as error:
        raise _end(error) from None
    if as_json:
        json.dump({"checks": [check.as_json() for check in checks]}, sys.stdout, indent=1)
        typer.echo()
    raise typer.Exit(_verdict(checks, require_all=require_all))


def _show(check: Check) -> None:
    for line in check.lines():
        typer.echo(line)


def _verdict(checks: list[Check], *, require_all: bool) -> int:
    violated = [check.name for check in checks if check.violations]
    unchecked = [check.name for check in checks if check.not_checked]
    if violated:
        _tell(f"Violated: {', '.join(violated)}. The ids above are where to look.")
        return VIOLATED
    if unchecked and require_all:
        _tell(f"Not checked, or in part: {', '.join(unchecked)}. Give what is missing, and run again.")
        return BAD_EVIDENCE
    _tell("Nothing is violated." + (f" Not checked, or in part: {', '.join(unchecked)}." if unchecked else ""))
    return 0


@app.command("watch-outbox")
def watch_outbox(
    endpoints: EndpointsOption = None,
    stop: Annotated[bool, typer.Option("--stop", help="stop watching, and drop the copies")] = False,
) -> None:
    """Copy every outbox row from now on, by a trigger, so that L3 can compare row by row."""
    try:
        _, known = _endpoints(endpoints)
        changed = watch.remove(known["owners"]) if stop else watch.install(known["owners"])
    except BadEvidence as error:
        raise _end(error) from None
    done = "No longer watched" if stop else "Watched from now on"
    typer.echo(f"{done}: {', '.join(changed) or 'nothing that was not so already'}.")
