"""The senders' ceiling: aiosmtplib over a few connections, bytes that lie ready."""

import asyncio
from collections.abc import Sequence

from aiosmtplib import SMTP

Mail = tuple[str, str, bytes]
"""Sender, recipient, the mail."""


async def send(port: int, mails: Sequence[Mail], connections: int) -> None:
    """Send them all."""
    waiting = iter(mails)

    async def one() -> None:
        async with SMTP(hostname="127.0.0.1", port=port) as client:
            for sender, recipient, content in waiting:
                await client.sendmail(sender, [recipient], content)

    await asyncio.gather(*(one() for _ in range(connections)))
