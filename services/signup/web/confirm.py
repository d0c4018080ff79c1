"""The mailed confirmation link: GET shows one button, POST uses the link and signs in."""

from fastapi import APIRouter, Request, Response
from fastapi.responses import RedirectResponse

from services.signup.actions import access, links
from services.signup.actions import people as actions
from services.signup.web.forms import language_of
from services.signup.web.link_pages import button_page, refused
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
from shared.web.text import _

router = APIRouter(tags=["confirm"])


@router.get("/confirm/{token}", summary="Show the confirmation button")
async def show(request: Request, token: str) -> Response:
    """A page with one button; mail scanners that follow the link change nothing."""
    return await button_page(
        request,
        "confirm",
        token,
        title=_("Is this your address?"),
        explanation=_("Press the button, and what you signed up for holds. You will be signed in."),
        action=f"/confirm/{token}",
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
