"""Text messages by HTTP, neutral of the provider: POST {to, from, body, client_reference}, GET ?client_reference=."""

import asyncio
import datetime as dt
from email.utils import parsedate_to_datetime
from typing import Literal

import httpx

from services.notifications.sending.answers import Answer

# Failures in which the request certainly did not reach the provider.
_NOT_REACHED = (httpx.ConnectError, httpx.ConnectTimeout, httpx.PoolTimeout, httpx.UnsupportedProtocol)


class SmsGateway:
    """One provider."""

    def __init__(
        self, url: str, sender: str, token: str | None, *, timeout_seconds: float,
        transport: httpx.AsyncBaseTransport | None = None,
    ) -> None:  # fmt: skip
        self._url = url
        self._sender = sender
        self._timeout_seconds = timeout_seconds
        self._client = httpx.AsyncClient(
            headers={"Authorization": f"Bearer {token}"} if token else {},
            timeout=httpx.Timeout(timeout_seconds, connect=timeout_seconds / 2, pool=timeout_seconds / 2),
            limits=httpx.Limits(max_connections=8),
            transport=transport,
        )

    async def hand_over(self, to: str, body: str, client_reference: str) -> Answer:
        """Hand one text over; never raises for what the provider or the network does."""
        request = {"to": to, "from": self._sender, "body": body, "client_reference": client_reference}
        try:
            # The client's own time-outs are for each read: an answer that trickles in would never meet them.
            async with asyncio.timeout(self._timeout_seconds):
                answer = await self._client.post(self._url, json=request)
        except _NOT_REACHED as error:
            return Answer("temporary", type(error).__name__.lower(), provider_failed=True)
        except TimeoutError:
            return Answer("unknown", "timeout", provider_failed=True)
        except httpx.HTTPError as error:
            return Answer("unknown", type(error).__name__.lower(), provider_failed=True)
        if answer.status_code in (200, 201, 202):
            return Answer("accepted", provider_id=_id_of(answer))
        if answer.status_code == 429:
            return Answer("temporary", "http_429", retry_after_seconds=_retry_after(answer))
        if answer.status_code >= 500:
            return Answer("unknown", f"http_{answer.status_code}", provider_failed=True)
        return Answer("rejected", f"http_{answer.status_code}")

    async def look_up(self, client_reference: str) -> tuple[Literal["taken", "absent", "no_answer"], str | None]:
        """Whether the provider has a text under that reference, and its id there."""
        try:
            async with asyncio.timeout(self._timeout_seconds):
                answer = await self._client.get(self._url, params={"client_reference": client_reference})
        except (httpx.HTTPError, TimeoutError):
            return "no_answer", None
        if answer.status_code == 200:
            return "taken", _id_of(answer)
        return ("absent" if answer.status_code == 404 else "no_answer"), None

    async def close(self) -> None:
        """Close the connections."""
        await self._client.aclose()


def _id_of(answer: httpx.Response) -> str | None:
    try:
        content = answer.json()
    except ValueError:
        return None
    found = content.get("id") if isinstance(content, dict) else None
    return str(found)[:200] if found is not None else None


def _retry_after(answer: httpx.Response) -> int | None:
    """Seconds or a date (RFC 9110, 10.2.3)."""
    given = answer.headers.get("retry-after", "")
    if given.isdigit():
        return min(int(given), 86_400)
    try:
        until = parsedate_to_datetime(given)
    except ValueError:
        return None
    return max(0, min(int((until - dt.datetime.now(dt.UTC)).total_seconds()), 86_400))
