"""A client of the public interfaces that a restart of any process does not put off."""

import asyncio
from collections.abc import Awaitable, Callable
from typing import Any

import httpx
import stamina

# A restarted service is expected here, and its retries are no news.
stamina.instrumentation.set_on_retry_hooks([])


class Refused(Exception):
    """A service said no: 4xx other than 429, with its own words.

    `repeated`: an earlier try of the same request had no answer, so that it may have gone through.
    """

    def __init__(self, status: int, code: str, detail: str, *, repeated: bool = False) -> None:
        self.status, self.code, self.repeated = status, code, repeated
        super().__init__(f"{status} {code}: {detail}")


class Busy(Exception):
    """Away, starting, or asking for patience; the same request again is right."""


UNANSWERED = (httpx.TransportError, Busy)
"""What a call ends with when nobody said yes or no to it."""


class Client:
    """JSON calls to the four services, a bounded number at once; every one is safe to repeat."""

    def __init__(self, urls: dict[str, str], *, at_once: int = 12, patience_seconds: float = 180) -> None:
        self._urls = urls
        self._patience_seconds = patience_seconds
        self._http = httpx.AsyncClient(timeout=30, limits=httpx.Limits(max_connections=at_once * 2))
        self._gate = asyncio.Semaphore(at_once)

    async def call(
        self,
        method: str,
        service: str,
        path: str,
        body: Any = None,
        *,
        session: str | None = None,
        headers: dict[str, str] | None = None,
        attempts: int = 60,
    ) -> Any:
        """The decoded answer; `Refused` when the service says no, `UNANSWERED` when the last attempt had no answer."""
        sent = dict(headers or {})
        if session:
            sent["Authorization"] = f"Bearer {session}"
        async for attempt in stamina.retry_context(
            on=UNANSWERED, attempts=attempts, timeout=self._patience_seconds, wait_max=3
        ):
            with attempt:
                async with self._gate:
                    answer = await self._http.request(method, f"{self._urls[service]}{path}", json=body, headers=sent)
                if answer.status_code == 429:
                    await asyncio.sleep(min(float(answer.headers.get("Retry-After", "1")), 5.0))
                    raise Busy(f"{service} asks for patience")
                if answer.status_code >= 500:
                    raise Busy(f"{service} answered {answer.status_code}")
        if answer.status_code >= 400:
            problem = answer.json()
            raise Refused(
                answer.status_code,
                problem.get("code", "?"),
                f"{problem.get('detail')} {problem.get('errors')}",
                repeated=attempt.num > 1,
            )
        return answer.json() if answer.content else None

    async def get(self, service: str, path: str, session: str | None = None) -> Any:
        """GET."""
        return await self.call("GET", service, path, session=session)

    async def post(self, service: str, path: str, body: Any = None, session: str | None = None) -> Any:
        """POST."""
        return await self.call("POST", service, path, body, session=session)

    async def put(self, service: str, path: str, body: Any, session: str | None = None) -> Any:
        """PUT."""
        return await self.call("PUT", service, path, body, session=session)

    async def close(self) -> None:
        """Close the connections."""
        await self._http.aclose()


async def done_or_was(action: Awaitable[Any], *already: str) -> Any:
    """The answer of an action; None where a refusal code in `already` says that an earlier try of it had succeeded."""
    try:
        return await action
    except Refused as no:
        if no.code not in already:
            raise
        return None


async def until(condition: Callable[[], Awaitable[Any]], what: str, *, seconds: float = 240) -> Any:
    """Poll until `condition` gives something true; `TimeoutError` names what was awaited."""
    loop = asyncio.get_running_loop()
    deadline = loop.time() + seconds
    while loop.time() < deadline:
        if result := await condition():
            return result
        await asyncio.sleep(0.3)
    raise TimeoutError(f"Waited {seconds:.0f} s in vain for {what}; see `make status` and `make logs`.")
