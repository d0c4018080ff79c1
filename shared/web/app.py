"""The web application that every service starts from: correlation, limits, headers, sessions, errors, probes."""

import asyncio
import re
import time
from collections.abc import Awaitable, Callable, Mapping, Sequence
from contextlib import AbstractAsyncContextManager

import structlog
from fastapi import APIRouter, FastAPI, Request, Response
from fastapi.responses import JSONResponse, RedirectResponse
from prometheus_client import CONTENT_TYPE_LATEST, generate_latest
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from shared import metrics
from shared.db import PATIENCE_SECONDS
from shared.events.envelope import new_id
from shared.pulse import Pulse
from shared.settings import SERVICES, ServiceSettings
from shared.web import problems, sessions
from shared.web.express import Express
from shared.web.pages import Pages
from shared.web.text import _

BODY_LIMIT_BYTES = 32 * 1024
# A batch of two hundred references between services is larger than anything a person types.
INTERNAL_BODY_LIMIT_BYTES = 256 * 1024
# Within the two seconds after which somebody who sends a form is told that the database is away.
REQUEST_PATIENCE_SECONDS = 1.5
GRACE_SECONDS = 0.2
CORRELATION = re.compile(r"^[A-Za-z0-9\-]{8,64}$")
SECURITY_HEADERS = {
    "X-Content-Type-Options": "nosniff",
    "Referrer-Policy": "strict-origin-when-cross-origin",
    "Cross-Origin-Opener-Policy": "same-origin",
    "Permissions-Policy": "camera=(), geolocation=(), microphone=(), payment=()",
}
POLICY = (
    "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' data:; font-src 'self';"
    " connect-src 'self'; frame-src 'self'; base-uri 'none'; form-action {form_action}; frame-ancestors {ancestors}"
)

Lifespan = Callable[[FastAPI], AbstractAsyncContextManager[None]]
Probe = Callable[[], Awaitable[str | None]]


def create_app(
    *,
    service: str,
    settings: ServiceSettings,
    pages: Pages,
    routers: Sequence[APIRouter],
    ready: Probe,
    alive: Probe,
    lifespan: Lifespan | None = None,
    body_limits: dict[str, int] | None = None,
    embeddable: Sequence[str] = (),
    frame_ancestors: Sequence[str] = (),
    pulse: Pulse | None = None,
    express: Mapping[tuple[str, str], Express] | None = None,
    front: str | None = None,
) -> FastAPI:
    """A FastAPI application with everything that is the same in each service.

    `ready` and `alive` return None, or the sentence that says what is wrong. `body_limits` maps a path prefix to a
    larger limit in bytes than the usual 32 KiB. `embeddable` are path prefixes that `frame_ancestors` may frame.
    Once `pulse` says that the database is away, requests that wait for it are answered 503. `express` maps a method and
    a path to the route that answers it without the framework. The root leads to the page `front`.
    """
    app = FastAPI(title=f"Hustings {service}", version="1", lifespan=lifespan, docs_url=None, redoc_url=None)
    app.state.settings = settings
    app.state.pages = pages
    app.state.service = service
    app.state.public_url = settings.public_url(service)
    for router in routers:
        app.include_router(router)
    app.router.routes.extend(pages.routes())
    _add_probes(app, ready, alive)
    if front:
        _add_root(app, front)
    problems.install(app, pages)
    own = [settings.public_url(name) for name in SERVICES]
    form_action = " ".join(["'self'", *sorted({_origin(url) for url in own})])
    app.add_middleware(
        Edge,
        settings=settings,
        pages=pages,
        public_url=app.state.public_url,
        body_limits=body_limits or {},
        embeddable=tuple(embeddable),
        policy=POLICY.format(form_action=form_action, ancestors="'none'"),
        embed_policy=POLICY.format(form_action=form_action, ancestors=" ".join(frame_ancestors) or "*"),
        secure=app.state.public_url.startswith("https://"),
        pulse=pulse,
        express=express or {},
    )
    return app


class Edge:
    """The outermost layer: what holds for every request, whatever route it meets."""

    def __init__(
        self,
        app: ASGIApp,
        *,
        settings: ServiceSettings,
        pages: Pages,
        public_url: str,
        body_limits: dict[str, int],
        embeddable: tuple[str, ...],
        policy: str,
        embed_policy: str,
        secure: bool,
        pulse: Pulse | None = None,
        express: Mapping[tuple[str, str], Express],
    ) -> None:
        self._app = app
        self._express = express
        self._pulse = pulse
        self._abandoned: set[asyncio.Task[None]] = set()
        self._waiting: set[asyncio.Future[None]] = set()
        self._watched: asyncio.Future[None] | None = None
        self._settings = settings
        self._pages = pages
        self._public_url = public_url
        self._body_limits = body_limits
        self._embeddable = embeddable
        self._headers = [(name.lower().encode(), value.encode()) for name, value in SECURITY_HEADERS.items()]
        if secure:
            self._headers.append((b"strict-transport-security", b"max-age=63072000; includeSubDomains"))
        self._policy = (b"content-security-policy", policy.encode())
        self._embed_policy = (b"content-security-policy", embed_policy.encode())

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        request = Request(scope)
        # Each look-up in a request's headers goes through all of them; these are looked up for every request.
        headers: dict[bytes, bytes] = dict(scope["headers"])
        given = headers.get(b"x-correlation-id", b"").decode("latin-1")
        correlation_id = given if CORRELATION.match(given) else str(new_id())
        structlog.contextvars.clear_contextvars()
        structlog.contextvars.bind_contextvars(correlation_id=correlation_id)
        scope.setdefault("state", {})
        scope["state"]["correlation_id"] = correlation_id
        token = sessions.token_of(request) if b"cookie" in headers or b"authorization" in headers else None
        principal = sessions.verify(token, self._settings.session_public_key) if token else None
        scope["state"]["principal"] = principal
        began, status, started = time.perf_counter(), 500, False
        path = scope["path"]
        policy = self._embed_policy if self._embeddable and path.startswith(self._embeddable) else self._policy

        limit = self._limit(path)
        body = _Limited(receive, limit)
        scope["state"]["sent"] = body
        PATIENCE_SECONDS.set(REQUEST_PATIENCE_SECONDS)

        async def send_with_headers(message: Message) -> None:
            nonlocal status, started
            if body.over and not started:
                # Whatever a framework makes of a body that broke off; the answer is 413.
                return
            if message["type"] == "http.response.start":
                status, started = message["status"], True
                message["headers"] = [
                    *message["headers"],
                    *self._headers,
                    policy,
                    (b"x-correlation-id", correlation_id.encode()),
                ]
                if policy is self._policy:
                    message["headers"].append((b"x-frame-options", b"DENY"))
            await send(message)

        try:
            length = headers.get(b"content-length", b"0").decode("latin-1")
            refusal = self._refuse(request, length, principal is not None)
            if refusal is None and int(length) > limit:
                refusal = self._too_large(request, limit)
            if refusal is not None:
                await refusal(scope, receive, send_with_headers)
                return
            try:
                if not await self._answered(scope, body, send_with_headers, lambda: started):
                    await body.rest()
                    await problems.put_off(request, self._pages, "database_away")(scope, receive, send_with_headers)
            except Exception as error:
                if started:
                    raise
                if not body.over:
                    # Here and not further out, so that this answer has the headers that every answer has.
                    await problems.broken(request, self._pages, error)(scope, receive, send_with_headers)
            if body.over and not started:
                body.over = False
                await self._too_large(request, limit)(scope, receive, send_with_headers)
        finally:
            route = problems.route_of(request)
            metrics.REQUEST_SECONDS.labels(route, str(status)).observe(time.perf_counter() - began)

    async def _answered(self, scope: Scope, receive: Receive, send: Send, started: Callable[[], bool]) -> bool:
        """Let the application answer; false when the database went away before it began to.

        What waits for the database then is left to itself: undoing it would wait for the same database.
        """
        app = self._express.get((scope["method"], scope["path"]), self._app)
        if self._pulse is None:
            await app(scope, receive, send)
            return True
        left = False

        async def send_unless_left(message: Message) -> None:
            if not left:
                await send(message)

        async def answer() -> None:
            await app(scope, receive, send_unless_left)

        answering = asyncio.create_task(answer())
        try:
            await self._done_or_gone(answering, self._pulse.gone)
            if not answering.done():
                # It may need no database.
                await asyncio.wait({answering}, timeout=GRACE_SECONDS)
            if not answering.done() and not started():
                left = True
                self._abandoned.add(answering)
                answering.add_done_callback(self._forget)
                answering.cancel()
                return False
            await answering
        except asyncio.CancelledError:
            answering.cancel()
            raise
        return True

    async def _done_or_gone(self, answering: "asyncio.Task[None]", gone: "asyncio.Future[None]") -> None:
        """Wait for whichever comes first. One call-back on `gone` serves every request that is under way."""
        if gone.done():
            return
        if gone is not self._watched:
            self._watched = gone
            gone.add_done_callback(self._wake_all)
        first: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        answering.add_done_callback(lambda _answering: _settle(first))
        self._waiting.add(first)
        try:
            await first
        finally:
            self._waiting.discard(first)

    def _wake_all(self, _gone: "asyncio.Future[None]") -> None:
        for first in self._waiting:
            _settle(first)

    def _forget(self, answering: "asyncio.Task[None]") -> None:
        self._abandoned.discard(answering)
        if not answering.cancelled():
            answering.exception()

    def _limit(self, path: str) -> int:
        for prefix, limit in self._body_limits.items():
            if path.startswith(prefix):
                return limit
        return INTERNAL_BODY_LIMIT_BYTES if path.startswith("/internal/") else BODY_LIMIT_BYTES

    def _refuse(self, request: Request, length: str, signed_in: bool) -> Response | None:
        if not length.isdecimal():
            return problems.answer(request, self._pages, 400, "bad_request", _("The Content-Length is not a number."))
        changes = request.method not in ("GET", "HEAD", "OPTIONS")
        if (
            changes
            and signed_in
            and not sessions.has_bearer(request)
            and not sessions.same_origin(request, self._public_url)
        ):
            message = _("This form was sent from another site. Open the page here and send it again.")
            return problems.answer(request, self._pages, 403, "foreign_origin", message)
        return None

    def _too_large(self, request: Request, limit: int) -> Response:
        message = _("That is more than %(kib)d KiB, the most that fits here. Shorten it and send it again.",
                    kib=limit // 1024)  # fmt: skip
        return problems.answer(request, self._pages, 413, "too_large", message, headers={"Connection": "close"})


def _settle(first: "asyncio.Future[None]") -> None:
    if not first.done():
        first.set_result(None)


class _TooLarge(Exception):
    """More body came than the route takes."""


class _Limited:
    """A request's body up to a limit in bytes; `over` once more came.

    What came is kept until the answer is out: a page that can't be made gives back what was typed.
    """

    def __init__(self, receive: Receive, limit: int) -> None:
        self._receive = receive
        self._left = limit
        self._ended = False
        self.over = False
        self.taken = bytearray()

    async def __call__(self) -> Message:
        message = await self._receive()
        if message["type"] == "http.request":
            self._left -= len(message.get("body", b""))
            if self._left < 0:
                self.over = True
                raise _TooLarge
            self.taken += message.get("body", b"")
            self._ended = not message.get("more_body", False)
        else:
            self._ended = True
        return message

    async def rest(self) -> None:
        """Read what the application has not read, as far as it comes within a moment."""
        try:
            async with asyncio.timeout(GRACE_SECONDS):
                while not self._ended:
                    await self()
        except (TimeoutError, _TooLarge):
            self.taken.clear()


def _add_root(app: FastAPI, front: str) -> None:
    """Whoever opens the bare address is led on, with the language and source that came with it."""

    @app.get("/", include_in_schema=False)
    async def root(request: Request) -> Response:
        query = request.url.query
        return RedirectResponse(f"{front}?{query}" if query else front, status_code=307)


def _add_probes(app: FastAPI, ready: Probe, alive: Probe) -> None:
    async def probe(check: Probe) -> Response:
        problem = await check()
        return JSONResponse(
            {"status": "ok"} if problem is None else {"status": "failing", "reason": problem},
            status_code=200 if problem is None else 503,
            headers={"Cache-Control": "no-store"},
        )

    @app.get("/livez", include_in_schema=False)
    async def livez() -> Response:
        return await probe(alive)

    @app.get("/readyz", include_in_schema=False)
    async def readyz() -> Response:
        return await probe(ready)

    @app.get("/metrics", include_in_schema=False)
    async def metrics_page() -> Response:
        return Response(generate_latest(), media_type=CONTENT_TYPE_LATEST)


def _origin(url: str) -> str:
    scheme, _sep, rest = url.partition("://")
    return f"{scheme}://{rest.partition('/')[0]}"


def client_address(request: Request) -> str:
    """The address to hold a rate against: the peer's, or the one that the trusted proxies report."""
    hops: int = request.app.state.settings.trusted_proxies
    # A proxy may append a line of its own below the one that the client sent.
    lines = ",".join(request.headers.getlist("x-forwarded-for"))
    forwarded = [part.strip() for part in lines.split(",") if part.strip()]
    if hops and len(forwarded) >= hops:
        return forwarded[-hops]
    return request.client.host if request.client else "unknown"
