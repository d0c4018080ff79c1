"""`hustings staff`: accounts of the organization. There is no default account."""

import subprocess
from typing import Annotated

import typer

from cli.endpoints import endpoints
from deploy.embedded.postgres import ServiceDatabase
from deploy.embedded.stack import Stack

app = typer.Typer(help="Open, list and close accounts.", no_args_is_help=True)


def run_in_signup(arguments: list[str]) -> int:
    """Run the signup service's own account command with the running stack's settings."""
    known = endpoints()
    database = ServiceDatabase(owner_dsn=known.owner_dsn["signup"], dsn=known.dsn["signup"])
    spec = Stack.from_environment().service("signup", known.kafka, database)
    command = [spec.argv[0], "-m", "services.signup.staff", *arguments]
    return subprocess.run(command, env=dict(spec.env), cwd=spec.cwd, check=False).returncode


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
