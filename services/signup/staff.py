"""The organization's accounts, from the command line: `python -m services.signup.staff add|list|remove`.

Reads the service's own settings and works as its run role. There is no default account; `add` prints a link that
signs in once, and has the same link mailed.
"""

import argparse
from collections.abc import Sequence

from services.signup.actions.access import close_account, open_account
from services.signup.actions.links import url_of
from services.signup.settings import Settings
from services.signup.store.access import list_accounts
from shared.command import run_command
from shared.work import Workshop


def parser() -> argparse.ArgumentParser:
    """The command line."""
    top = argparse.ArgumentParser(prog="python -m services.signup.staff", description=__doc__)
    commands = top.add_subparsers(dest="command", required=True)
    add = commands.add_parser("add", help="open an account, or give it other roles")
    add.add_argument("--name", required=True)
    add.add_argument("--email", required=True)
    add.add_argument("--role", required=True, action="append", choices=["staff", "reviewer", "admin"])
    add.add_argument("--outside", action="store_true", help="a reviewer who is not of the staff")
    commands.add_parser("list", help="the open accounts")
    remove = commands.add_parser("remove", help="close an account and end its sessions")
    remove.add_argument("--email", required=True)
    return top


async def run(settings: Settings, workshop: Workshop, arguments: argparse.Namespace) -> list[str]:
    """Do what was asked; the lines to print."""
    async with workshop.begin() as work:
        if arguments.command == "list":
            rows = await list_accounts(work.connection)
            return [
                f"{row['email']}\t{row['name']}\t{','.join(row['roles'])}{' (outside)' if row['outside'] else ''}"
                for row in rows
            ]
        if arguments.command == "remove":
            return [f"Closed account {await close_account(work, arguments.email)}."]
        _account, token = await open_account(
            work,
            name=arguments.name,
            email=arguments.email,
            roles=arguments.role,
            outside=arguments.outside,
            secret=settings.link_secret.get_secret_value(),
        )
        return [url_of(settings.public_url("signup"), "sign_in", token)]


def main(argv: Sequence[str] | None = None) -> None:
    """Print what was done, or one sentence that says what to do."""
    arguments = parser().parse_args(argv)
    run_command("signup", Settings, lambda settings, workshop, _pool: run(settings, workshop, arguments))


if __name__ == "__main__":
    main()
