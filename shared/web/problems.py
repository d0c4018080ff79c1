"""Errors as answers: problem+json (RFC 9457) to programs, a page that says what to do to people."""

from collections.abc import Mapping
from typing import Any
from urllib.parse import parse_qsl

import structlog
from asyncpg import CharacterNotInRepertoireError, UntranslatableCharacterError
from fastapi import FastAPI, Request, Response
from fastapi.exceptions import RequestValidationError
from fastapi.responses import JSONResponse
from starlette.exceptions import HTTPException

from shared.db import TRANSIENT
from shared.errors import Rejected, TryAgain
from shared.log import get_logger
from shared.web.pages import Pages
from shared.web.text import Message, Text, _

log = get_logger("web")

UNAVAILABLE = _("We can't save anything at this moment. Nothing you typed was lost; send it again in a minute.")
KEPT = _("What you typed is kept in this page. Wait a moment, then press the button.")
UNSTORABLE = _("The text holds a character that can't be stored (a zero byte). Take it out and send it again.")
TAKEN_OUT = _("What you typed is kept in this page, without that character. Press the button to send it.")
SIGNED_OUT = _("Your session has ended, so nothing was saved yet.")
SIGN_IN_FIRST = _("What you typed is kept in this page. Sign in in another tab, come back, then press the button.")
FORM_FIELDS = 400
BROKEN = _("Something went wrong on our side. Try again, and if it stays, tell us the reference below.")
TITLES = {
    400: _("We did not understand that"),
    401: _("Please sign in"),
    403: _("Your account may not do this"),
    404: _("There is nothing here"),
    405: _("That is not possible here"),
    409: _("That is no longer possible"),
    410: _("This has ended"),
    413: _("That is too much at once"),
    415: _("We did not understand that"),
    422: _("Something needs another look"),
    429: _("Too many at once"),
    500: _("Something went wrong"),
    503: _("One moment, please"),
}


class SignedOut(Exception):
    """A form came from a page of this service without a session; at `sign_in` its sender gets one."""

    def __init__(self, sign_in: str) -> None:
        self.sign_in = sign_in
        super().__init__("signed out")


def wants_html(request: Request) -> bool:
    """Whether the answer is for a browser: it asks for HTML, or posted an HTML form."""
    if request.url.path.startswith(("/v1/", "/internal/")):
        return False
    accept = request.headers.get("accept", "")
    return "text/html" in accept or request.headers.get("content-type", "").startswith(
        ("application/x-www-form-urlencoded", "multipart/form-data")
    )


def problem(
    status: int, code: str, detail: str, *, fields: dict[str, str] | None = None, headers: dict[str, str] | None = None
) -> Response:
    """A problem+json answer; `errors` lists the fields, each with its sentence."""
    body: dict[str, Any] = {
        "type": f"urn:hustings:problem:{code}",
        "title": str(TITLES.get(status, TITLES[500])),
        "status": status,
        "code": code,
        "detail": detail,
        "correlation_id": structlog.contextvars.get_contextvars().get("correlation_id"),
    }
    if fields:
        body["errors"] = [{"field": name, "detail": sentence} for name, sentence in fields.items()]
    return JSONResponse(
        body,
        status_code=status,
        media_type="application/problem+json",
        headers={"Cache-Control": "no-store", **(headers or {})},
    )


def answer(
    request: Request,
    pages: Pages,
    status: int,
    code: str,
    message: Text,
    *,
    fields: Mapping[str, Text] | None = None,
    headers: dict[str, str] | None = None,
    kept: Message | None = None,
    sign_in: str | None = None,
) -> Response:
    """The error as a page or as problem+json, in the reader's language.

    `kept` says what to do with a form that the page keeps, so that it can be sent again; `sign_in` is where to
    sign in before.
    """
    language = pages.page_language(request)
    detail = pages.translate(message, language)
    if not wants_html(request):
        translated = {name: pages.translate(sentence, language) for name, sentence in (fields or {}).items()}
        return problem(status, code, detail, fields=translated, headers=headers)
    kept = kept or (KEPT if status == 429 or status >= 500 else None)
    typed = _typed(request) if kept else []
    page = pages.response(
        request,
        "error.html",
        status=status,
        title=TITLES.get(status, TITLES[500]),
        what_happened=detail,
        what_to_do=kept if kept and typed else _what_to_do(request, status),
        typed=typed,
        sign_in=sign_in,
        send_again=request.url.path + (f"?{request.url.query}" if request.url.query else ""),
        correlation_id=structlog.contextvars.get_contextvars().get("correlation_id") or "",
    )
    page.headers.update(headers or {})
    return page


def broken(request: Request, pages: Pages, error: Exception) -> Response:
    """The answer to a bug: it tells nothing but the reference under which the log has it."""
    log.error("request_failed", path=route_of(request), exc_info=error)
    return answer(request, pages, 500, "internal_error", BROKEN)


def put_off(request: Request, pages: Pages, error: str) -> Response:
    """The answer while the database (or what else is needed) is away: try again soon."""
    log.warning("request_put_off", path=route_of(request), error=error)
    return answer(request, pages, 503, "unavailable", UNAVAILABLE, headers={"Retry-After": "5"})


def install(app: FastAPI, pages: Pages) -> None:
    """Register the one place where errors become answers."""

    async def rejected(request: Request, error: Exception) -> Response:
        assert isinstance(error, Rejected)
        headers = {"Retry-After": "60"} if error.status == 429 else None
        return answer(request, pages, error.status, error.code, error.message, fields=error.fields, headers=headers)

    async def invalid(request: Request, error: Exception) -> Response:
        assert isinstance(error, RequestValidationError)
        fields: dict[str, Text] = {
            ".".join(str(part) for part in e["loc"][1:]) or str(e["loc"][0]): _sentence(e) for e in error.errors()
        }
        message = _("Some fields need another look; each is listed with what is expected.")
        return answer(request, pages, 422, "invalid", message, fields=fields)

    async def http(request: Request, error: Exception) -> Response:
        assert isinstance(error, HTTPException)
        message: Text = _standard(error.status_code) if error.status_code in (404, 405) else str(error.detail)
        return answer(request, pages, error.status_code, f"http_{error.status_code}", message,
                      headers=dict(error.headers or {}))  # fmt: skip

    async def signed_out(request: Request, error: Exception) -> Response:
        assert isinstance(error, SignedOut)
        if (sent := getattr(request.state, "sent", None)) is not None:
            await sent.rest()
        return answer(request, pages, 401, "signed_out", SIGNED_OUT, kept=SIGN_IN_FIRST, sign_in=error.sign_in)

    async def unstorable(request: Request, _error: Exception) -> Response:
        return answer(request, pages, 422, "unstorable", UNSTORABLE, kept=TAKEN_OUT)

    async def unavailable(request: Request, error: Exception) -> Response:
        if (sent := getattr(request.state, "sent", None)) is not None:
            await sent.rest()
        return put_off(request, pages, type(error).__name__)

    async def failed(request: Request, error: Exception) -> Response:
        return broken(request, pages, error)

    app.add_exception_handler(Rejected, rejected)
    app.add_exception_handler(RequestValidationError, invalid)
    app.add_exception_handler(HTTPException, http)
    app.add_exception_handler(SignedOut, signed_out)
    # PostgreSQL's text and JSON hold every character but one; whoever sends it is told by the database's own word.
    for refusal in (CharacterNotInRepertoireError, UntranslatableCharacterError):
        app.add_exception_handler(refusal, unstorable)
    for fault in (*TRANSIENT, TryAgain):
        if issubclass(fault, Exception):
            app.add_exception_handler(fault, unavailable)
    app.add_exception_handler(Exception, failed)


def route_of(request: Request) -> str:
    """The path's template, never the path itself: a link's token must not reach a log or a metric."""
    route = request.scope.get("route")
    return str(getattr(route, "path", "unrouted"))


def _typed(request: Request) -> list[tuple[str, str]]:
    """The fields of the HTML form that was sent, so that the page can send them again."""
    sent = getattr(request.state, "sent", None)
    kind = request.headers.get("content-type", "").partition(";")[0].strip().lower()
    if request.method != "POST" or sent is None or kind != "application/x-www-form-urlencoded":
        return []
    try:
        fields = parse_qsl(bytes(sent.taken).decode(), keep_blank_values=True, max_num_fields=FORM_FIELDS)
    except ValueError:
        return []
    return [(name, value.replace("\x00", "")) for name, value in fields]


def _what_to_do(request: Request, status: int) -> Message:
    if status == 503 and request.method in ("GET", "HEAD"):
        return _("Load this page again in a minute.")
    if status >= 500:
        return _("Go back: your browser keeps what you typed. Then send it again.")
    return _("Go back and try again, or write to us; the address is at the foot of this page.")


def _standard(status: int) -> Message:
    if status == 404:
        return _("There is nothing at this address. Check the link and try again.")
    return _("This address does not take that kind of request. Go back and use the form or link on the page.")


def _sentence(error: Any) -> str:
    """pydantic's message without its input: what a person typed must not come back in an error body."""
    return str(error["msg"]).removeprefix("Value error, ")
