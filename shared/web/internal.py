"""Calls between services: a credential per caller, a scope per purpose, an audit row per access.

The callee knows each caller by the hash of its credential (`<SERVICE>_INTERNAL_CALLERS`). Personal data is
fetched in batches, by reference, at the moment it is needed.
"""

import hashlib
import hmac
from collections.abc import Callable, Mapping
from typing import Any

import httpx
import structlog
from fastapi import Request
from starlette.exceptions import HTTPException

from shared.db import Connection
from shared.errors import TryAgain, Unprocessable
from shared.settings import Caller

# One row for each access, whatever the number of items.
INSERT_ACCESS = "INSERT INTO internal_accesses (caller, scope, items, correlation_id) VALUES ($1, $2, $3, $4)"


def require_scope(scope: str) -> Callable[[Request], str]:
    """Dependency: the name of the calling service, if its credential holds `scope`; else 401 or 403."""

    def check(request: Request) -> str:
        callers: Mapping[str, Caller] = request.app.state.settings.internal_callers
        _scheme, _, token = request.headers.get("authorization", "").partition(" ")
        digest = hashlib.sha256(token.encode()).hexdigest()
        for name, caller in callers.items():
            if hmac.compare_digest(digest, caller.token_sha256):
                if scope not in caller.scopes:
                    raise HTTPException(403, detail=f"{name} has no scope {scope} here.")
                return name
        raise HTTPException(401, detail="This interface is for the organization's own services.")

    return check


async def record_access(connection: Connection, caller: str, scope: str, items: int) -> None:
    """Write the audit row of one access; in the transaction that read the data."""
    correlation_id = structlog.contextvars.get_contextvars().get("correlation_id")
    await connection.execute(INSERT_ACCESS, caller, scope, items, correlation_id)


class InternalClient:
    """Calls one other service. `TryAgain` when it is away or busy, `Unprocessable` when it refuses what we sent."""

    def __init__(
        self,
        base_url: str,
        token: str,
        *,
        timeout_seconds: float = 10.0,
        transport: httpx.AsyncBaseTransport | None = None,
    ) -> None:
        self._client = httpx.AsyncClient(
            transport=transport,
            base_url=base_url,
            headers={"Authorization": f"Bearer {token}"},
            timeout=timeout_seconds,
            limits=httpx.Limits(max_connections=20),
        )

    async def post(self, path: str, body: Mapping[str, Any]) -> Any:
        """The decoded JSON answer to a POST of `body`."""
        correlation_id = structlog.contextvars.get_contextvars().get("correlation_id")
        headers = {"X-Correlation-Id": correlation_id} if correlation_id else {}
        try:
            answer = await self._client.post(path, json=body, headers=headers)
        except httpx.HTTPError as error:
            raise TryAgain(f"{self._client.base_url} does not answer: {type(error).__name__}") from None
        if answer.status_code >= 500 or answer.status_code == 429:
            raise TryAgain(f"{self._client.base_url}{path} answered {answer.status_code}")
        if answer.status_code != 200:
            raise Unprocessable(f"{self._client.base_url}{path} answered {answer.status_code}")
        return answer.json()

    async def close(self) -> None:
        """Close the connections."""
        await self._client.aclose()
