"""What routes take from a request: this service's parts, a JSON body, an HTML form."""

import hashlib
import hmac
from typing import Any, cast
from urllib.parse import parse_qsl
from uuid import UUID

import orjson
from fastapi import Request, Response
from starlette.datastructures import FormData

from services.signup.actions.access import SESSION_LASTS, Session
from services.signup.intake import Intake
from services.signup.limits import Limits
from services.signup.settings import Settings
from shared.errors import Rejected
from shared.program import Program
from shared.web.pages import Pages
from shared.web.sessions import COOKIE, SESSION_MINUTES
from shared.web.text import _
from shared.work import Workshop

MAX_FIELDS = 400
REFRESH_COOKIE = "hustings_refresh"


def intake_of(request: Request) -> Intake:
    """The process's intake."""
    return cast(Intake, request.app.state.intake)


def limits_of(request: Request) -> Limits:
    """The process's rate limits."""
    return cast(Limits, request.app.state.limits)


def workshop_of(request: Request) -> Workshop:
    """Begins units of work."""
    return cast(Workshop, request.app.state.workshop)


def program_of(request: Request) -> Program:
    """The organization's program."""
    return cast(Program, request.app.state.program)


def pages_of(request: Request) -> Pages:
    """Renders pages."""
    return cast(Pages, request.app.state.pages)


def settings_of(request: Request) -> Settings:
    """The service's settings."""
    return cast(Settings, request.app.state.settings)


def secret_of(request: Request) -> str:
    """The key that link tokens are derived from."""
    return settings_of(request).link_secret.get_secret_value()


def private_key_of(request: Request) -> str:
    """The key that session tokens are signed with."""
    return settings_of(request).session_private_key.get_secret_value()


def correlation_of(request: Request) -> str | None:
    """The request's correlation id."""
    return cast(str | None, request.state.correlation_id)


async def json_body(request: Request) -> dict[str, Any]:
    """The JSON object that was sent; `Rejected` 415 or 400 says what to send instead."""
    kind = request.headers.get("content-type", "").partition(";")[0].strip().lower()
    if kind != "application/json":
        message = _("Send JSON, with the header Content-Type: application/json.")
        raise Rejected("wrong_content_type", message, status=415)
    try:
        body = orjson.loads(await request.body())
    except orjson.JSONDecodeError:
        raise Rejected("bad_json", _("The body is not JSON. Check its quotes and commas."), status=400) from None
    if not isinstance(body, dict):
        raise Rejected("bad_json", _("Send a JSON object, with names and values."), status=400)
    return body


async def form_body(request: Request) -> FormData:
    """The HTML form that was sent, text only; `Rejected` 415 otherwise."""
    kind = request.headers.get("content-type", "").partition(";")[0].strip().lower()
    if kind != "application/x-www-form-urlencoded":
        message = _("Send the form as a browser does, with Content-Type: application/x-www-form-urlencoded.")
        raise Rejected("wrong_content_type", message, status=415)
    try:
        body = (await request.body()).decode("utf-8", "replace")
        sent = parse_qsl(body, keep_blank_values=True, max_num_fields=MAX_FIELDS)
        return FormData([(name, value) for name, value in sent])
    except ValueError:
        message = _("That has more fields than the form. Open the form again and send it as it is shown.")
        raise Rejected("bad_form", message, status=400) from None


def set_session(request: Request, response: Response, session: Session) -> None:
    """Give the browser its cookies: the session for every service, the refresh token for /account only."""
    secure = settings_of(request).public_url("signup").startswith("https://")
    response.set_cookie(
        COOKIE, session.token, max_age=SESSION_MINUTES * 60, httponly=True, samesite="lax", secure=secure
    )
    if session.refresh:
        response.set_cookie(
            REFRESH_COOKIE,
            session.refresh,
            max_age=int(SESSION_LASTS.total_seconds()),
            path="/account",
            httponly=True,
            samesite="lax",
            secure=secure,
        )


def drop_session(response: Response) -> None:
    """Take the cookies back."""
    response.delete_cookie(COOKIE, httponly=True, samesite="lax")
    response.delete_cookie(REFRESH_COOKIE, path="/account", httponly=True, samesite="lax")


def derived_intent(secret: str, *parts: str) -> UUID:
    """An intent id for a form that brought none: the same for the same content, so that a double click adds nothing."""
    return UUID(
        bytes=hmac.digest(secret.encode(), "\x00".join(("intent", *parts)).encode(), hashlib.sha256)[:16], version=4
    )
