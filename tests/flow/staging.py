"""The steps of the demo's path, taken on a running stack, and its business clock."""

import asyncio
import datetime as dt
import random
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

from deploy.demo.client import Client
from deploy.demo.journey import Stage
from deploy.demo.mailbox import Watch
from shared.program import load
from shared.settings import SERVICES
from tests.flow.conftest import System


async def business_now(system: System) -> dt.datetime:
    """What the stack's clocks say."""
    [(now,)] = await system.fetch("matching", "SELECT business_now()")
    assert isinstance(now, dt.datetime)
    return now


async def pass_until(system: System, moment: dt.datetime) -> None:
    """Move the business clock to just after a moment."""
    minutes = int((moment - await business_now(system)).total_seconds() // 60) + 1
    await system.command("clock", "advance", f"{minutes}m")


@asynccontextmanager
async def staging(system: System, program: Path) -> AsyncIterator[Stage]:
    """What the steps of the path need, on this stack; its mail is read meanwhile."""
    client = Client({name: system.url(name) for name in SERVICES})
    mail = Watch(system.mailbox)
    watching = asyncio.create_task(mail.run())
    started = await business_now(system)

    async def advance(span: str) -> None:
        await system.command("clock", "advance", span)

    try:
        yield Stage(client, mail, load(program), advance, lambda: started, random.Random(1))
    finally:
        watching.cancel()
        await asyncio.gather(watching, return_exceptions=True)
        await client.close()
