"""The SMTP sink: aiosmtpd, with a plan asked at each stage of a transaction."""

import asyncio
import socket
import struct
from datetime import UTC, datetime
from typing import Any

from aiosmtpd.smtp import SMTP, Envelope, Session

from deploy.embedded.mail_store import parse_mail
from tests.faults.journal import Journal
from tests.faults.sinks.plan import Plans, Rule
from tests.faults.sinks.stored import Counters, Stored

MAX_MAIL_BYTES = 25 * 2**20
HEAD_SECONDS = 5.0
REPLIES = {4: "4.3.0 Try again later", 5: "5.3.0 Not taken", 2: "2.0.0 Fine"}
"""Texts by the code's first digit; a code may bring its own, as 550 does."""
NO_SUCH = "5.1.1 No such address"


class Mails:
    """Where mails go: the journal first, then to whoever reads."""

    def __init__(self, journal: Journal, plans: Plans, stored: Stored, counters: Counters) -> None:
        self.journal, self.plans, self.stored, self.counters = journal, plans, stored, counters
        self.connections: set[Connection] = set()

    async def hang_up(self) -> None:
        """Close every connection."""
        for connection in tuple(self.connections):
            connection.leave(reset=False)
        while self.connections:
            await asyncio.sleep(0.01)

    async def take(self, envelope: Envelope, content: bytes, answer: str, *, is_whole: bool) -> None:
        """Write down a transaction that reached DATA. Not undone by a client that goes away meanwhile."""
        await asyncio.shield(asyncio.ensure_future(self._take(envelope, content, answer, is_whole)))

    async def _take(self, envelope: Envelope, content: bytes, answer: str, is_whole: bool) -> None:
        mail = parse_mail(content)
        headers: dict[str, str] = {}
        for name, value in mail["headers"].items():
            headers.setdefault(name.lower(), value.partition("\n")[0])
        stored = is_whole and (answer in ("none", "closed") or answer.startswith("2"))
        line: dict[str, Any] = {
            "at": datetime.now(UTC).isoformat(timespec="microseconds"),
            "answer": answer,
            "stored": stored,
            "message_id": mail["message_id"].strip().removeprefix("<").removesuffix(">"),
            "sender": envelope.mail_from or "",
            "to": list(envelope.rcpt_tos),
            "headers": headers,
            "subject": mail["subject"],
            "text": mail["text"],
            "attachments": [
                {
                    "filename": attachment["filename"],
                    "content_type": attachment["content_type"],
                    "text": attachment["content"] if attachment["content_type"].startswith("text/") else "",
                }
                for attachment in mail["attachments"]
            ],
        }
        await self.journal.write(**line)
        self.counters.answers["smtp"][answer] += 1
        if stored:
            self.stored.add_mail(line)


class Handler:
    """aiosmtpd's hooks. Each asks the plan, with the recipient where there is one by then."""

    def __init__(self, mails: Mails) -> None:
        self._mails = mails

    async def handle_MAIL(  # noqa: N802
        self, server: "Connection", _session: Session, envelope: Envelope, address: str, options: list[str]
    ) -> str:
        if refusal := await server.obey("mail", address):
            return refusal
        envelope.mail_from = address
        envelope.mail_options.extend(options)
        return "250 2.1.0 Fine"

    async def handle_RCPT(  # noqa: N802
        self, server: "Connection", _session: Session, envelope: Envelope, address: str, options: list[str]
    ) -> str:
        if refusal := await server.obey("rcpt", address):
            return refusal
        envelope.rcpt_tos.append(address)
        envelope.rcpt_options.extend(options)
        return "250 2.1.5 Fine"

    async def handle_DATA(self, server: "Connection", _session: Session, envelope: Envelope) -> str:  # noqa: N802
        content = envelope.content if isinstance(envelope.content, bytes) else b""
        head = content.partition(b"\r\n\r\n")[0].decode("utf-8", "replace")
        rule = self._mails.plans.decide("smtp", "data", envelope.rcpt_tos[0], head)
        answer = _journaled_answer(rule)
        await self._mails.take(envelope, content, answer, is_whole=True)
        if rule is not None:
            return await server.act(rule) or "250 2.0.0 Stored"
        return "250 2.0.0 Stored"


def _journaled_answer(rule: Rule | None) -> str:
    if rule is None or rule.act == "late":
        return "250"
    return {"hang": "none", "close": "closed"}.get(rule.act) or str(rule.code)


class Connection(SMTP):
    """One client's connection."""

    def __init__(self, mails: Mails) -> None:
        self._mails = mails
        super().__init__(
            Handler(mails),
            hostname="sink.localhost",
            ident="sink",
            data_size_limit=MAX_MAIL_BYTES,
            enable_SMTPUTF8=True,
            # Whoever is kept waiting gives up first.
            timeout=3600,
        )

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._mails.connections.add(self)
        super().connection_made(transport)

    def connection_lost(self, error: Exception | None) -> None:
        super().connection_lost(error)
        self._mails.connections.discard(self)

    def eof_received(self) -> bool:
        """Whoever says no more is gone: the library would keep its side open."""
        super().eof_received()
        return False

    async def _handle_client(self) -> None:
        if refusal := await self.obey("connect", ""):
            await self.push(refusal)
            self.leave(reset=False)
            return
        await super()._handle_client()

    async def smtp_DATA(self, arg: str) -> None:  # noqa: N802
        """As the library's, unless a rule wants to act between 354 and the end of the body."""
        envelope = self.envelope
        if envelope is None or not envelope.rcpt_tos:
            await super().smtp_DATA(arg)
            return
        rule = self._mails.plans.decide("smtp", "body", envelope.rcpt_tos[0])
        if rule is None or rule.act == "late":
            if rule is not None:
                await self.act(rule)
            await super().smtp_DATA(arg)
            return
        head = b""
        if rule.act != "answer":
            await self.push("354 End data with <CR><LF>.<CR><LF>")
            # The head tells whose mail it is that was cut off.
            async with asyncio.timeout(HEAD_SECONDS):
                head = await self._reader.readuntil(b"\r\n\r\n")
        await self._mails.take(envelope, head, _journaled_answer(rule), is_whole=False)
        if refusal := await self.act(rule):
            await self.push(refusal)

    async def obey(self, stage: str, recipient: str) -> str | None:
        """Do what the plan wants at this stage; a reply that ends it, or None to go on."""
        rule = self._mails.plans.decide("smtp", stage, recipient)
        return None if rule is None else await self.act(rule)

    async def act(self, rule: Rule) -> str | None:
        """Carry a rule out. Returns a reply, None to go on, or never where the connection ends."""
        if rule.act == "late":
            await asyncio.sleep(rule.delay_seconds)
            return None
        if rule.act == "answer":
            assert rule.code is not None
            return f"{rule.code} {NO_SUCH if rule.code == 550 else REPLIES.get(rule.code // 100, 'Hm')}"
        if rule.act == "hang":
            self._mails.counters.hanging += 1
            try:
                await self._mails.plans.released.wait()
            finally:
                self._mails.counters.hanging -= 1
        self.leave(reset=True)
        # connection_lost cancels this task.
        await asyncio.Event().wait()
        return None

    def leave(self, *, reset: bool) -> None:
        """End the connection."""
        transport = self.transport
        if transport is None:
            return
        if reset:
            reset_connection(transport)
        else:
            transport.close()


def reset_connection(transport: asyncio.BaseTransport) -> None:
    """End a connection with RST, dropping what is unsent."""
    connection = transport.get_extra_info("socket")
    if connection is not None:
        connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    assert isinstance(transport, asyncio.Transport)
    transport.abort()
