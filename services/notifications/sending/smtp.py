"""E-mail by SMTP, over a few connections that stay open.

What a failure means depends on when it comes: until the message's body is under way nothing was taken, and the
message may be tried again; after that, only the server's answer tells, and without one the hand-over is unknown.
"""

import asyncio
import re
from dataclasses import dataclass

import aiosmtplib
from aiosmtplib import SMTP, SMTPException, SMTPResponseException

from services.notifications.sending.answers import Answer
from services.notifications.sending.mime import Mail

_ENHANCED = re.compile(r"\b([245]\.\d{1,3}\.\d{1,3})\b")
_NO_SUCH_ADDRESS = frozenset({"5.1.1", "5.1.2", "5.1.3", "5.1.6", "5.1.10", "5.2.1"})
MAX_PER_CONNECTION = 500


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


@dataclass(slots=True)
class _Connection:
    client: SMTP
    used: int = 0


class SmtpPool:
    """Connections to the relay host, opened when needed and kept; as many as hand-overs run at once."""

    def __init__(self, relay: Relay) -> None:
        self._relay = relay
        self._idle: list[_Connection] = []

    async def hand_over(self, mail: Mail) -> Answer:
        """Hand one message over; never raises for what the server or the network does."""
        body_under_way = [False]
        try:
            async with asyncio.timeout(self._relay.timeout_seconds):
                return await self._hand_over(mail, body_under_way)
        except _Failed as failed:
            return failed.answer
        except TimeoutError:
            return Answer("unknown" if body_under_way[0] else "temporary", "timeout", provider_failed=True)

    async def _hand_over(self, mail: Mail, body_under_way: list[bool]) -> Answer:
        connection = await self._begin(mail)
        keep = False
        try:
            body_under_way[0] = True
            response = await connection.client.data(mail.content)
            keep = True
        except aiosmtplib.SMTPDataError as refused:
            keep = refused.code != 421
            return _refusal(refused)
        except (SMTPException, OSError) as error:
            raise _Failed(Answer("unknown", _code_of(error), provider_failed=True)) from None
        finally:
            connection.used += 1
            self._put_back(connection, keep)
        return Answer("accepted", provider_id=response.message[:200])

    async def _begin(self, mail: Mail) -> _Connection:
        """A connection that has taken sender and recipient. One that went stale while idle is replaced once."""
        while True:
            reused = bool(self._idle)
            connection = self._idle.pop() if reused else await self._open()
            started = False
            try:
                options = ["SMTPUTF8"] if mail.needs_utf8 else []
                encoding = "utf-8" if mail.needs_utf8 else "ascii"
                await connection.client.mail(mail.sender, options=options, encoding=encoding)
                await connection.client.rcpt(mail.recipient, encoding=encoding)
                started = True
            except SMTPResponseException as refused:
                if refused.code == 421 and reused:
                    continue
                raise _Failed(_refusal(refused)) from None
            except (SMTPException, OSError, RuntimeError) as error:
                if reused:
                    continue
                raise _Failed(Answer("temporary", _code_of(error), provider_failed=True)) from None
            finally:
                if not started:
                    connection.client.close()
            return connection

    async def _open(self) -> _Connection:
        client = self._relay.client()
        opened = False
        try:
            await client.connect()
            opened = True
        except SMTPResponseException as refused:
            # Whatever the relay host says to us before a recipient is named is not about the recipient.
            raise _Failed(Answer("temporary", f"smtp_{refused.code}", provider_failed=True)) from None
        except (SMTPException, OSError) as error:
            raise _Failed(Answer("temporary", _code_of(error), provider_failed=True)) from None
        finally:
            if not opened:
                client.close()
        return _Connection(client)

    def _put_back(self, connection: _Connection, keep: bool) -> None:
        if keep and connection.used < MAX_PER_CONNECTION and connection.client.is_connected:
            self._idle.append(connection)
        else:
            connection.client.close()

    async def close(self) -> None:
        """Say goodbye on the open connections."""
        while self._idle:
            client = self._idle.pop().client
            try:
                async with asyncio.timeout(1):
                    await client.quit()
            except (SMTPException, OSError, TimeoutError):
                client.close()


def _refusal(refused: SMTPResponseException) -> Answer:
    if 400 <= refused.code < 500:
        # 421 is said of the host, the others of this recipient or this message.
        return Answer("temporary", f"smtp_{refused.code}", provider_failed=refused.code == 421)
    enhanced = _ENHANCED.search(refused.message)
    bounced = enhanced is not None and enhanced[1] in _NO_SUCH_ADDRESS
    return Answer("rejected", "bounced" if bounced else f"smtp_{refused.code}", bounced=bounced)


def _code_of(error: Exception) -> str:
    name = re.sub(r"(?<!^)(?=[A-Z][a-z])", "_", type(error).__name__.removeprefix("SMTP")).lower()
    return name[:60]
