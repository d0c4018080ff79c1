"""`hustings staff`: accounts of the organization. There is no default account."""

from typing import Annotated

import typer

from cli.inside import run_inside

app = typer.Typer(help="Open, list and close accounts.", no_args_is_help=True)


def run_in_signup(arguments: list[str]) -> int:
    """Run the signup service's own account command with the running system's settings."""
    return run_inside("signup", "services.signup.staff", arguments)


@app.command("add")
def add(
    email: Annotated[str, typer.Option(help="Where the single-use sign-in link goes")],
    name: Annotated[str, typer.Option(help="The person's name")],
    role: Annotated[list[str], typer.Option(help="staff, reviewer or admin; may be repeated")],
    outside: Annotated[bool, typer.Option(help="A reviewer who is not of the staff")] = False,
) -> None:
    """Open an account, linked to a person, and print its single-use sign-in link."""
    arguments = ["add", "--email", email, "--name", name, *(part for r in role for part in ("--role", r))]
    raise typer.Exit(run_in_signup([*arguments, *(["--outside"] if outside else [])]))


@app.command("list")
def list_accounts() -> None:
    """List the accounts."""
    raise typer.Exit(run_in_signup(["list"]))


@app.command("remove")
def remove(email: Annotated[str, typer.Option(help="The account's address")]) -> None:
    """Close an account; its sessions end."""
    raise typer.Exit(run_in_signup(["remove", "--email", email]))
