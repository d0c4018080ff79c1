"""All sinks together, in a running event loop."""

import asyncio
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from aiohttp import web

from tests.faults.journal import Journal, read_journal
from tests.faults.sinks.plan import Plans
from tests.faults.sinks.smtp import Connection, Mails
from tests.faults.sinks.stored import Counters, Stored
from tests.faults.sinks.web import Web

STOP_SECONDS = 2.0


@dataclass(frozen=True, slots=True)
class Sinks:
    """Running sinks."""

    directory: Path
    smtp_port: int
    http_port: int
    plans: Plans
    stored: Stored
    counts: Counters

    @property
    def url(self) -> str:
        """The HTTP address, without a path."""
        return f"http://127.0.0.1:{self.http_port}"

    def counters(self) -> dict[str, Any]:
        """As `GET /counters`."""
        return {**self.counts.as_json(), "stored": len(self.stored)}

    def addresses(self) -> dict[str, str]:
        """As in the ports file."""
        return {
            "smtp": f"127.0.0.1:{self.smtp_port}",
            "sms": f"{self.url}/sms",
            "webhook": f"{self.url}/hooks/NAME",
            "control": self.url,
            "mailbox": self.url,
        }


def environment(addresses: Mapping[str, str]) -> dict[str, str]:
    """What a stack has to be started with to hand over to sinks at these addresses."""
    host, _colon, port = addresses["smtp"].rpartition(":")
    return {
        "NOTIFICATIONS_SMTP_HOST": host,
        "NOTIFICATIONS_SMTP_PORT": port,
        "NOTIFICATIONS_SMS_URL": addresses["sms"],
        "ENDORSEMENT_WEBHOOK_ALLOW_PRIVATE": "true",
    }


@asynccontextmanager
async def open_sinks(directory: Path, *, smtp_port: int = 0, http_port: int = 0) -> AsyncIterator[Sinks]:
    """Sinks that end with the block; port 0 takes a free one. What was stored in `directory` before is there again."""
    plans, counters = Plans(), Counters()
    stored = _stored_before(directory)
    async with (
        Journal(directory / "smtp.jsonl") as mails,
        Journal(directory / "sms.jsonl") as texts,
        Journal(directory / "webhook.jsonl") as hooks,
    ):
        target = Mails(mails, plans, stored, counters)
        loop = asyncio.get_running_loop()
        smtp = await loop.create_server(lambda: Connection(target), "127.0.0.1", smtp_port, backlog=512)
        runner = web.AppRunner(
            Web(texts, hooks, plans, stored, counters).app(), access_log=None, shutdown_timeout=STOP_SECONDS
        )
        await runner.setup()
        site = web.TCPSite(runner, "127.0.0.1", http_port, backlog=512)
        try:
            await site.start()
            yield Sinks(
                directory=directory,
                smtp_port=smtp.sockets[0].getsockname()[1],
                http_port=runner.addresses[0][1],
                plans=plans,
                stored=stored,
                counts=counters,
            )
        finally:
            plans.released.set()
            smtp.close()
            await target.hang_up()
            await runner.cleanup()


def _stored_before(directory: Path) -> Stored:
    """Everything stored, in the order of arrival."""
    lines = [(line["at"], "mail", line) for line in read_journal(directory / "smtp.jsonl") if line["stored"]]
    lines += [(line["at"], "text", line) for line in read_journal(directory / "sms.jsonl") if line["stored"]]
    stored = Stored()
    for _at, kind, line in sorted(lines, key=lambda entry: entry[0]):
        if kind == "mail":
            stored.add_mail(line)
        else:
            stored.add_text(line)
    return stored
