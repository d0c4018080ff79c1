"""Signing in and out. No password anywhere: a mailed link opens a session, and a refresh cookie keeps it."""

from fastapi import APIRouter, Request, Response
from fastapi.responses import RedirectResponse
from pydantic import BaseModel, ConfigDict, Field

from services.signup.actions import access
from services.signup.domain import email_address
from services.signup.domain.next_url import safe_next
from services.signup.store import access as store
from services.signup.web.forms import language_of
from services.signup.web.link_pages import button_page, refused
from services.signup.web.requests import (
    REFRESH_COOKIE,
    correlation_of,
    drop_session,
    form_body,
    limits_of,
    pages_of,
    private_key_of,
    set_session,
    settings_of,
    workshop_of,
)
from services.signup.web.signups import SessionBody, TokenBody
from shared.errors import Rejected
from shared.links import fingerprint
from shared.settings import SERVICES
from shared.web.app import client_address
from shared.web.fields import Field as FormField
from shared.web.fields import FieldErrors
from shared.web.text import Message, _

router = APIRouter(tags=["account"])

BAD_EMAIL = _("Enter an e-mail address in the form name@example.com")


class SignInBody(BaseModel):
    """Who wants to sign in, and where they want to go."""

    model_config = ConfigDict(extra="forbid")
    email: str = Field(max_length=254)
    next: str | None = None


class Asked(BaseModel):
    """The same for known and unknown addresses."""

    status: str = "If we know this address, a link is on its way to it."


@router.get("/account/sign-in", summary="Ask for a sign-in link")
async def sign_in_page(request: Request) -> Response:
    """The form for the address."""
    return _sign_in_page(request, safe(request, request.query_params.get("next")), {}, FieldErrors())


@router.post("/account/sign-in", summary="Mail a sign-in link")
async def sign_in(request: Request) -> Response:
    """The same page for known and unknown addresses."""
    form = await form_body(request)
    next_url = safe(request, str(form.get("next", "")))
    values = {"email": str(form.get("email", ""))}
    try:
        await _ask(request, values["email"], next_url)
    except Rejected as refusal:
        if refusal.code != "bad_email":
            raise
        return _sign_in_page(request, next_url, values, FieldErrors({"email": BAD_EMAIL}), status=422)
    return pages_of(request).response(
        request,
        "message.html",
        language=language_of(request),
        title=_("Look at your mail"),
        summary=_("If we know this address, a link is on its way to it. It works once, within 30 minutes."),
    )


@router.post("/v1/account/sign-in", status_code=202, summary="Mail a sign-in link")
async def sign_in_json(request: Request, body: SignInBody) -> Asked:
    """Always 202, for known and unknown addresses alike."""
    await _ask(request, body.email, safe(request, body.next))
    return Asked()


@router.post("/v1/account/session", summary="Use a sign-in link")
async def session_json(request: Request, body: TokenBody) -> SessionBody:
    """What the button of `/account/sign-in/<token>` does, for programs."""
    await limits_of(request).admit_one(client_address(request), None)
    async with workshop_of(request).begin(correlation_of(request)) as work:
        person_id, _next = await access.use_sign_in_link(work, body.token)
        session = await access.open_session(work, person_id, private_key_of(request))
    return SessionBody(session=session.token, expires_at=session.expires_at, person_id=person_id)


@router.get("/account/sign-in/{token}", summary="Show the sign-in button")
async def link_page(request: Request, token: str) -> Response:
    """A page with one button; GET uses nothing up."""
    return await button_page(
        request,
        "sign_in",
        token,
        title=_("Sign in"),
        explanation=_("Press the button to sign in on this device."),
        action=f"/account/sign-in/{token}",
        submit_label=_("Sign in"),
        otherwise=_("On a device that others use, sign out when you are done."),
    )


@router.post("/account/sign-in/{token}", summary="Sign in by link", status_code=303)
async def use_link(request: Request, token: str) -> Response:
    """Open a session and go where the person wanted to go."""
    await limits_of(request).admit_one(client_address(request), None)
    try:
        async with workshop_of(request).begin(correlation_of(request)) as work:
            person_id, next_url = await access.use_sign_in_link(work, token)
            session = await access.open_session(work, person_id, private_key_of(request))
    except Rejected as refusal:
        return refused(request, refusal, token)
    home = _home(request, session.principal.roles)
    response = RedirectResponse(safe(request, next_url) or home, status_code=303)
    set_session(request, response, session)
    return response


@router.get("/account/refresh", summary="Renew a session that ran out", status_code=303)
async def refresh(request: Request) -> Response:
    """Go on to `next` with a fresh session, or ask for a sign-in that keeps it."""
    next_url = safe(request, request.query_params.get("next"))
    token = request.cookies.get(REFRESH_COOKIE)
    if token:
        async with workshop_of(request).begin() as work:
            session = await access.renew_session(work, token, private_key_of(request))
        if session is not None:
            response = RedirectResponse(next_url or _home(request, session.principal.roles), status_code=303)
            response.headers["Cache-Control"] = "no-store"
            set_session(request, response, session)
            return response
    return _sign_in_page(request, next_url, {}, FieldErrors())


@router.get("/account/sign-out", summary="Show the sign-out button")
async def sign_out_page(request: Request) -> Response:
    """Where the other services' headers lead: their own forms would be of another origin."""
    return pages_of(request).response(
        request,
        "confirm.html",
        language=language_of(request),
        title=_("Sign out"),
        explanation=_("Press the button to end your session on this device."),
        action="/account/sign-out",
        hidden_values={},
        submit_label=_("Sign out"),
    )


@router.post("/account/sign-out", summary="Sign out of this browser", status_code=303)
async def sign_out(request: Request) -> Response:
    """End the session that the browser can renew, and take its cookies back."""
    token = request.cookies.get(REFRESH_COOKIE)
    if token:
        async with workshop_of(request).begin() as work:
            await store.revoke_session(work.connection, fingerprint(token))
    response = RedirectResponse("/f", status_code=303)
    drop_session(response)
    return response


def safe(request: Request, next_url: str | None) -> str | None:
    """`next`, if it leads to one of the organization's services."""
    return safe_next(next_url, [settings_of(request).public_url(name) for name in SERVICES])


def _home(request: Request, roles: frozenset[str]) -> str:
    settings = settings_of(request)
    if roles & {"staff", "admin"}:
        return f"{settings.public_url('signup')}/people"
    if "reviewer" in roles:
        return f"{settings.public_url('endorsement')}/reviews"
    return f"{settings.public_url('signup')}/me"


async def _ask(request: Request, email: str, next_url: str | None) -> None:
    try:
        address = email_address.read(email)
    except ValueError:
        raise Rejected("bad_email", BAD_EMAIL, status=422, fields={"email": BAD_EMAIL}) from None
    await limits_of(request).admit_one(client_address(request), address.key)
    async with workshop_of(request).begin(correlation_of(request)) as work:
        await access.request_sign_in(work, address.key, next_url)


def _sign_in_page(
    request: Request, next_url: str | None, values: dict[str, str], errors: FieldErrors, status: int = 200
) -> Response:
    label: Message = _("E-mail address")
    return pages_of(request).response(
        request,
        "form.html",
        status=status,
        language=language_of(request),
        title=_("Sign in"),
        intro=_("Enter the address that you signed up with; we mail you a link. There is no password."),
        action="/account/sign-in",
        form_fields=[FormField(name="email", kind="email", label=label, autocomplete="email", max_length=254)],
        values=values,
        errors=errors,
        hidden_values={"next": next_url} if next_url else {},
        submit_label=_("Mail me a link"),
    )
