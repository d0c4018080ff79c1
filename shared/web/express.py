"""Routes that are answered without the framework's layers: for the few that a surge meets.

An express route is a route like any other: it is in a router, for the documents and as what it means. But its path is
fixed and its function takes the request alone, so nothing has to be matched, injected or validated before it, and
that is most of what a request costs. Limits, headers, sessions and errors are the same (`shared.web.app`).
"""

from collections.abc import Awaitable, Callable
from dataclasses import dataclass

from fastapi import Request, Response
from starlette.applications import Starlette
from starlette.types import Receive, Scope, Send

Endpoint = Callable[[Request], Awaitable[Response]]


@dataclass(frozen=True, slots=True)
class Express:
    """One address, answered by `endpoint`; `path` is the route's template, which metrics and logs name."""

    path: str
    endpoint: Endpoint

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer as the application would; what it has no answer for is raised."""
        scope["route"] = self
        request = Request(scope, receive)
        try:
            response = await self.endpoint(request)
        except Exception as error:  # noqa: BLE001 (the one place that knows is asked; the rest is raised again)
            response = await _answer_to(error, request)
        await response(scope, receive, send)


async def _answer_to(error: Exception, request: Request) -> Response:
    application: Starlette = request.app
    handlers = application.exception_handlers
    for cls in type(error).__mro__:
        if cls in handlers and cls is not Exception:
            response: Response = await handlers[cls](request, error)
            return response
    raise error
