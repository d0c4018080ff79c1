"""Messages whose hand-over ended unknown, from the command line: `python -m services.notifications.operator`.

Reads the service's own settings and works as its run role. Shows ids, names of messages and times; no personal data.
"""

import argparse
import sys
from collections.abc import Sequence
from typing import Any
from uuid import UUID

from services.notifications.actions import COMMAND_LINE, settle
from services.notifications.settings import Settings
from services.notifications.store.messages import find_unknown
from shared.command import run_command
from shared.db import Pool
from shared.errors import NotFound
from shared.work import Workshop

LISTED = 200
COLUMNS = ("id", "class", "template", "channel", "since", "ended", "next", "person")
DECISIONS = {"accepted": "accepted", "send-again": "retry", "drop": "drop"}


def parser() -> argparse.ArgumentParser:
    """The command line."""
    top = argparse.ArgumentParser(prog="python -m services.notifications.operator", description=__doc__)
    commands = top.add_subparsers(dest="command", required=True)
    commands.add_parser("unknown", help=f"the messages whose hand-over ended unknown, at most {LISTED}")
    one = commands.add_parser("settle", help="decide what became of one")
    one.add_argument("id", type=UUID)
    one.add_argument("decision", choices=list(DECISIONS))
    one.add_argument("--reason", required=True)
    return top


async def run(workshop: Workshop, pool: Pool, arguments: argparse.Namespace) -> list[str]:
    """Do what was asked; the lines to print."""
    if arguments.command == "unknown":
        return _table([_line(row) for row in await find_unknown(pool, LISTED)])
    try:
        async with workshop.begin() as work:
            await settle(work, COMMAND_LINE, arguments.id, DECISIONS[arguments.decision], arguments.reason)  # type: ignore[arg-type]
    except NotFound:
        # Its own words speak of an address.
        sys.exit(f"No message has the id {arguments.id}; list the unknown ones to see theirs.")
    return [
        {
            "accepted": f"{arguments.id} counts as handed over.",
            "send-again": f"{arguments.id} is sent again; it may come twice.",
            "drop": f"{arguments.id} is left unsent.",
        }[arguments.decision]
    ]


def _line(row: Any) -> tuple[str, ...]:
    since = f"{row['since']:%Y-%m-%d %H:%M:%SZ}" if row["since"] else ""
    if row["due_at"] is None:
        following = "waits for you"
    else:
        following = f"{'looked up' if row['channel'] == 'sms' else 'sent again'} at {row['due_at']:%H:%M:%SZ}"
    return (str(row["id"]), row["delivery"], row["template"], row["channel"], since, row["reason"] or "", following,
            str(row["person_id"]))  # fmt: skip


def _table(lines: Sequence[tuple[str, ...]]) -> list[str]:
    if not lines:
        return ["No message is unknown."]
    widths = [max(len(line[number]) for line in (COLUMNS, *lines)) for number in range(len(COLUMNS))]
    return [
        "  ".join(cell.ljust(width) for cell, width in zip(line, widths, strict=True)).rstrip()
        for line in (COLUMNS, *lines)
    ]


def main(argv: Sequence[str] | None = None) -> None:
    """Print what was done, or one sentence that says what to do."""
    arguments = parser().parse_args(argv)
    run_command("notifications", Settings, lambda _settings, workshop, pool: run(workshop, pool, arguments))


if __name__ == "__main__":
    main()
