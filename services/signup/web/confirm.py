"""The mailed confirmation link: GET shows one button, POST uses the link and signs in."""

from fastapi import APIRouter, Request, Response
from fastapi.responses import RedirectResponse

from services.signup.actions import access, links
from services.signup.actions import people as actions
from services.signup.web.forms import language_of
from services.signup.web.requests import (
    correlation_of,
    limits_of,
    pages_of,
    private_key_of,
    secret_of,
    set_session,
    settings_of,
    workshop_of,
)
from shared.errors import Rejected
from shared.web.app import client_address
from shared.web.problems import wants_html
from shared.web.text import _

router = APIRouter(tags=["confirm"])


@router.get("/confirm/{token}", summary="Show the confirmation button")
async def show(request: Request, token: str) -> Response:
    """A page with one button; mail scanners that follow the link change nothing."""
    try:
        async with workshop_of(request).begin() as work:
            await links.peek(work, "confirm", token)
    except Rejected as refusal:
        return refused(request, refusal, token)
    return pages_of(request).response(
        request,
        "confirm.html",
        language=language_of(request),
        title=_("Is this your address?"),
        explanation=_("Press the button, and what you signed up for holds. You will be signed in."),
        action=f"/confirm/{token}",
        hidden_values={},
        submit_label=_("Yes, confirm my sign-up"),
        otherwise=_("If you did not sign up, close this page: nothing happens."),
    )


@router.post("/confirm/{token}", summary="Confirm a sign-up and sign in", status_code=303)
async def confirm(request: Request, token: str) -> Response:
    """Use the link up, open a session, and go to the person's own page."""
    await limits_of(request).admit_one(client_address(request), None)
    try:
        async with workshop_of(request).begin(correlation_of(request)) as work:
            confirmed = await actions.confirm(work, token)
            session = await access.open_session(work, confirmed.person_id, private_key_of(request))
    except Rejected as refusal:
        return refused(request, refusal, token)
    response = RedirectResponse(f"{settings_of(request).public_url('signup')}/me", status_code=303)
    set_session(request, response, session)
    return response


@router.post("/confirm/{token}/again", summary="Mail a fresh link for a sign-up whose link ran out")
async def again(request: Request, token: str) -> Response:
    """Only to the address that the old link was mailed to."""
    await limits_of(request).admit_one(client_address(request), f"link:{token}")
    try:
        async with workshop_of(request).begin(correlation_of(request)) as work:
            await links.mail_confirmation_again(work, token, secret_of(request))
    except Rejected as refusal:
        return refused(request, refusal, token)
    return pages_of(request).response(
        request,
        "message.html",
        language=language_of(request),
        title=_("A new link is on its way"),
        summary=_("It can take a few minutes. Look in the spam folder too. It works for 30 minutes."),
    )


def refused(request: Request, refusal: Rejected, token: str) -> Response:
    """The page of a link that does not open: why, and the one thing to do."""
    if not wants_html(request) or refusal.status == 429:
        raise refusal
    expired = refusal.code == "link_expired" and request.url.path.startswith("/confirm/")
    return pages_of(request).response(
        request,
        "link_refused.html",
        status=refusal.status,
        language=language_of(request),
        title=_("This link does not work"),
        what=refusal.message,
        again_action=f"/confirm/{token}/again" if expired else None,
    )
