"""What is said on one SMTP connection, from the first MAIL on (RFC 5321).

Connecting, TLS and signing in are aiosmtplib's. A mail's commands go out in one group where the server offers
PIPELINING (RFC 2920): two round trips a mail instead of four. DATA ends the group, and the body is sent only after
its 354; up to there nothing was taken.
"""

import asyncio
from dataclasses import dataclass

MAX_REPLY_BYTES = 32_768


@dataclass(frozen=True, slots=True)
class Reply:
    """A server's reply; the lines of a long one are joined."""

    code: int
    text: str


class Refused(Exception):
    """The server said no: `reply` tells what, and the connection is in no state to go on."""

    def __init__(self, reply: Reply) -> None:
        super().__init__(f"{reply.code} {reply.text}")
        self.reply = reply


class Lost(Exception):
    """The connection ended before the server had answered, or what came is no reply."""


class Dialogue(asyncio.Protocol):
    """Takes over an open connection. One question at a time; not for use after `Refused` or `Lost`."""

    def __init__(self, transport: asyncio.Transport, *, pipelining: bool, smtputf8: bool) -> None:
        self.smtputf8 = smtputf8
        self.used = 0
        self.ended = transport.is_closing()
        self._transport = transport
        self._pipelining = pipelining
        self._buffer = b""
        self._lines: list[str] = []
        self._replies: list[Reply] = []
        self._wanted = 0
        self._waiter: asyncio.Future[None] | None = None
        transport.set_protocol(self)

    async def announce(self, sender: str, recipient: str, *, utf8: bool = False) -> None:
        """MAIL, RCPT and DATA. After it the body is due; `Refused` and `Lost` mean that nothing was taken."""
        commands = [
            f"MAIL FROM:<{sender}>{' SMTPUTF8' if utf8 else ''}\r\n".encode(), f"RCPT TO:<{recipient}>\r\n".encode(),
            b"DATA\r\n",
        ]  # fmt: skip
        groups = [b"".join(commands)] if self._pipelining else commands
        expected = [(2, 2, 3)] if self._pipelining else [(2,), (2,), (3,)]
        for group, classes in zip(groups, expected, strict=True):
            replies = await self._ask(group, len(classes))
            # The first refusal is the reason; those that follow in a group follow from it.
            for reply, wanted in zip(replies, classes, strict=False):
                if reply.code // 100 != wanted:
                    raise Refused(reply)
            if len(replies) < len(classes):
                raise Lost

    async def send(self, content: bytes) -> Reply:
        """The body, whose lines all end with CRLF: the server's reply, whatever it is. `Lost`: nobody knows."""
        replies = await self._ask(content.replace(b"\r\n.", b"\r\n..") + b".\r\n", 1)
        if not replies:
            raise Lost
        self.used += 1
        return replies[0]

    async def quit(self) -> None:
        """Say goodbye, and close."""
        try:
            await self._ask(b"QUIT\r\n", 1)
        except Lost:
            pass
        finally:
            self.close()

    def close(self) -> None:
        """Close without a word."""
        self.ended = True
        self._transport.close()

    async def _ask(self, said: bytes, wanted: int) -> list[Reply]:
        """So many replies, or fewer when the connection ended with the last of them."""
        if self.ended:
            raise Lost
        self._replies, self._wanted = [], wanted
        self._waiter = asyncio.get_running_loop().create_future()
        self._transport.write(said)
        try:
            await self._waiter
        finally:
            self._waiter = None
        return self._replies

    def data_received(self, data: bytes) -> None:
        """Gather replies; a server that speaks unasked is about to go, or is none."""
        if self._waiter is None or self._waiter.done():
            self.close()
            return
        self._buffer += data
        *lines, self._buffer = self._buffer.split(b"\n")
        for line in lines:
            text = line.decode("utf-8", "replace").replace("\x00", " ").strip()
            if not text[:3].isdigit() or text[3:4] not in ("", " ", "-") or len(self._replies) == self._wanted:
                self._end()
                return
            self._lines.append(text[4:].strip())
            if text[3:4] != "-":
                self._replies.append(Reply(int(text[:3]), "\n".join(self._lines)))
                self._lines = []
        if len(self._buffer) + sum(map(len, self._lines)) > MAX_REPLY_BYTES:
            self._end()
        elif len(self._replies) == self._wanted and not self._lines:
            self._waiter.set_result(None)

    def connection_lost(self, error: Exception | None) -> None:  # noqa: ARG002 (the library's signature)
        """What was answered until then is all there is."""
        self._end()

    def _end(self) -> None:
        self.close()
        if self._waiter is not None and not self._waiter.done():
            self._waiter.set_result(None)
