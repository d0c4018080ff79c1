"""`hustings messages`: messages whose hand-over ended without an answer, and what an operator decides about them."""

from typing import Annotated
from uuid import UUID

import typer

from cli.endpoints import fail
from cli.inside import run_inside

app = typer.Typer(help="See and settle messages of which nobody knows whether they arrived.", no_args_is_help=True)


def run_in_notifications(arguments: list[str]) -> int:
    """Run the service's own operator command with the running system's settings."""
    return run_inside("notifications", "services.notifications.operator", arguments)


@app.command("unknown")
def unknown() -> None:
    """List them: id, class, template, channel, since when, how it ended, what happens next, the person's id."""
    raise typer.Exit(run_in_notifications(["unknown"]))


@app.command("settle")
def settle(
    message: Annotated[UUID, typer.Argument(help="The message's id")],
    reason: Annotated[str, typer.Option(help="Why, in one line without names or contacts; kept in the audit log")],
    accepted: Annotated[bool, typer.Option("--accepted", help="The provider's log shows that it was taken")] = False,
    send_again: Annotated[bool, typer.Option("--send-again", help="Send it again; it may come twice")] = False,
    drop: Annotated[bool, typer.Option("--drop", help="Leave it unsent")] = False,
) -> None:
    """Decide what became of one: look in the provider's log first."""
    chosen = [name for name, is_set in (("accepted", accepted), ("send-again", send_again), ("drop", drop)) if is_set]
    if len(chosen) != 1:
        raise fail("Say what became of it with one of --accepted, --send-again and --drop.")
    raise typer.Exit(run_in_notifications(["settle", str(message), chosen[0], f"--reason={reason}"]))
