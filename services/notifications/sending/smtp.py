"""E-mail by SMTP, over a few connections that stay open.

What a failure means depends on when it comes: until the message's body is under way nothing was taken, and the
message may be tried again; after that, only the server's answer tells, and without one the hand-over is unknown.
"""

import asyncio
import re
from dataclasses import dataclass
from typing import cast

from aiosmtplib import SMTP, SMTPException, SMTPHeloError, SMTPResponseException

from services.notifications.sending.answers import Answer
from services.notifications.sending.dialogue import Dialogue, Lost, Refused, Reply
from services.notifications.sending.mime import Mail

_ENHANCED = re.compile(r"\b([245]\.\d{1,3}\.\d{1,3})\b")
_NO_SUCH_ADDRESS = frozenset({"5.1.1", "5.1.2", "5.1.3", "5.1.6", "5.1.10", "5.2.1"})
MAX_PER_CONNECTION = 500
_LOST = "server_disconnected"


@dataclass(frozen=True, slots=True)
class Relay:
    """Where mail is handed over, and how."""

    host: str
    port: int
    security: str
    username: str | None
    password: str | None
    timeout_seconds: float

    def client(self) -> SMTP:
        """A client that is not connected yet."""
        return SMTP(
            hostname=self.host,
            port=self.port,
            username=self.username,
            password=self.password,
            timeout=self.timeout_seconds,
            use_tls=self.security == "tls",
            start_tls={"auto": None, "starttls": True}.get(self.security, False),
        )


class _Failed(Exception):
    """The hand-over ended early, with this answer."""

    def __init__(self, answer: Answer) -> None:
        super().__init__(answer.reason)
        self.answer = answer


class SmtpPool:
    """Connections to the relay host, opened when needed and kept; as many as hand-overs run at once."""

    def __init__(self, relay: Relay) -> None:
        self._relay = relay
        self._idle: list[Dialogue] = []

    async def hand_over(self, mail: Mail) -> Answer:
        """Hand one message over; never raises for what the server or the network does."""
        if not (_is_path(mail.sender) and _is_path(mail.recipient)):
            return Answer("rejected", "bad_address")
        ready: Dialogue | None = None
        try:
            async with asyncio.timeout(self._relay.timeout_seconds):
                ready = await self._begin(mail)
                reply = await ready.send(mail.content)
        except _Failed as failed:
            return failed.answer
        except Lost:
            return Answer("unknown", _LOST, provider_failed=True)
        except TimeoutError:
            if ready is not None:
                ready.close()
            return Answer("temporary" if ready is None else "unknown", "timeout", provider_failed=True)
        except BaseException:
            if ready is not None:
                ready.close()
            raise
        if ready.used < MAX_PER_CONNECTION and reply.code != 421 and not ready.ended:
            self._idle.append(ready)
        else:
            ready.close()
        return Answer("accepted", provider_id=reply.text[:200]) if reply.code // 100 == 2 else _refusal(reply)

    async def _begin(self, mail: Mail) -> Dialogue:
        """A connection on which the mail's body is due. One that went stale while idle is replaced."""
        while True:
            reused = bool(self._idle)
            dialogue = self._idle.pop() if reused else await self._open()
            begun = False
            try:
                if mail.needs_utf8 and not dialogue.smtputf8:
                    raise _Failed(Answer("temporary", "not_supported"))
                await dialogue.announce(mail.sender, mail.recipient, utf8=mail.needs_utf8)
                begun = True
            except Refused as refused:
                if refused.reply.code == 421 and reused:
                    continue
                raise _Failed(_refusal(refused.reply)) from None
            except Lost:
                if reused:
                    continue
                raise _Failed(Answer("temporary", _LOST, provider_failed=True)) from None
            finally:
                if not begun:
                    dialogue.close()
            return dialogue

    async def _open(self) -> Dialogue:
        client = self._relay.client()
        opened = False
        try:
            await client.connect()
            if client.is_ehlo_or_helo_needed:
                await _introduce(client)
            transport = client.transport
            opened = transport is not None
        except SMTPResponseException as refused:
            # Whatever the relay host says to us before a recipient is named is not about the recipient.
            raise _Failed(Answer("temporary", f"smtp_{refused.code}", provider_failed=True)) from None
        except (SMTPException, OSError) as error:
            raise _Failed(Answer("temporary", _code_of(error), provider_failed=True)) from None
        finally:
            if not opened:
                client.close()
        if transport is None:
            raise _Failed(Answer("temporary", _LOST, provider_failed=True))
        return Dialogue(
            cast(asyncio.Transport, transport),
            pipelining=client.supports_extension("pipelining"),
            smtputf8=client.supports_extension("smtputf8"),
        )

    async def close(self) -> None:
        """Say goodbye on the open connections."""
        while self._idle:
            dialogue = self._idle.pop()
            try:
                async with asyncio.timeout(1):
                    await dialogue.quit()
            except TimeoutError:
                dialogue.close()


async def _introduce(client: SMTP) -> None:
    """EHLO, or HELO where that is not known."""
    try:
        await client.ehlo()
    except SMTPHeloError:
        if not client.is_connected:
            raise
        await client.helo()


def _is_path(address: str) -> bool:
    """Whether an address can stand between angle brackets as it is."""
    return address.isprintable() and not any(sign in address for sign in "<> ")


def _refusal(refused: Reply) -> Answer:
    if 400 <= refused.code < 500:
        # 421 is said of the host, the others of this recipient or this message.
        return Answer("temporary", f"smtp_{refused.code}", provider_failed=refused.code == 421)
    enhanced = _ENHANCED.search(refused.text)
    bounced = enhanced is not None and enhanced[1] in _NO_SUCH_ADDRESS
    return Answer("rejected", "bounced" if bounced else f"smtp_{refused.code}", bounced=bounced)


def _code_of(error: Exception) -> str:
    name = re.sub(r"(?<!^)(?=[A-Z][a-z])", "_", type(error).__name__.removeprefix("SMTP")).lower()
    return name[:60]
