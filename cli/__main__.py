"""`hustings`: the command line for operators and developers of a running system."""

import typer

from cli import clock, messages, records, staff
from cli.ledger import app as ledger

app = typer.Typer(help=__doc__, no_args_is_help=True, add_completion=False, pretty_exceptions_enable=False)
app.add_typer(clock.app, name="clock")
app.add_typer(staff.app, name="staff")
app.add_typer(messages.app, name="messages")
app.add_typer(records.app, name="records")
app.add_typer(ledger.app, name="ledger")

if __name__ == "__main__":
    app(prog_name="hustings")
