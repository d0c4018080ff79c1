"""Accounts of the organization, opened on the command line and signed in to by their mailed links."""

import asyncio
import subprocess
import sys
from pathlib import Path

from deploy.demo import journey
from deploy.demo.journey import Staff, Stage

ROOT = Path(__file__).parents[2]
WANTED: tuple[tuple[str, tuple[str, ...], bool], ...] = (
    ("decider", ("staff", "admin"), False),
    ("announcer", ("staff",), False),
    ("reviewer", ("reviewer",), False),
    ("outsider", ("reviewer",), True),
)
"""Name, roles, and whether they are from outside."""


async def open_accounts(
    stage: Stage, run_id: str, *, domain: str = "example.org", title: str = "Demo", tries: int = 1
) -> Staff:
    """The accounts a path needs, signed in. `TimeoutError` when one can't be opened in so many tries."""

    async def open_account(name: str, roles: tuple[str, ...], outside: bool) -> str:
        email = f"{name}.{run_id}@{domain}"
        arguments = ["--name", f"{title} {name.title()}", "--email", email]
        arguments += [part for role in roles for part in ("--role", role)] + (["--outside"] if outside else [])
        await _add(arguments, tries)
        answer = await journey.sign_in(stage, email, asked=True)
        return str(answer["session"])

    decider, announcer, *reviewers = await asyncio.gather(*(open_account(*wanted) for wanted in WANTED))
    return Staff(decider, announcer, reviewers)


async def _add(arguments: list[str], tries: int) -> None:
    command = [sys.executable, "-m", "cli", "staff", "add", *arguments]
    for left in range(tries - 1, -1, -1):
        done = await asyncio.to_thread(
            subprocess.run, command, cwd=ROOT, capture_output=True, text=True, check=False, timeout=240
        )
        if done.returncode == 0:
            return
        if not left:
            raise TimeoutError(f"The account could not be opened: {(done.stderr or done.stdout).strip()}")
        await asyncio.sleep(2)
