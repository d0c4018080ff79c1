"""What the command lines of both stacks share: the table of addresses, and how a command ends."""

from __future__ import annotations

import sys

import typer
from rich.console import Console
from rich.table import Table

from deploy.embedded.processes import StackError
from deploy.embedded.stack import Home, read_json


def print_addresses(home: Home, out: Console) -> None:
    """Every address of the running system, and the file that has the rest."""
    table = Table(box=None, pad_edge=False, show_header=False)
    for name, address in read_json(home.endpoints).items():
        if isinstance(address, str) and name != "stack":
            table.add_row(name, address)
    table.add_row("all of it", str(home.endpoints))
    out.print(table)


def run(app: typer.Typer, name: str) -> None:
    """Run the command line; what cannot be done is one sentence and exit status 1."""
    try:
        app(prog_name=name)
    except StackError as error:
        Console(stderr=True, highlight=False, soft_wrap=True).print(str(error), markup=False)
        sys.exit(1)
    except BrokenPipeError:
        sys.exit(1)
    except KeyboardInterrupt:
        sys.exit(130)
