"""The pages behind mailed links: the one button that uses a link up, and why a link does not open."""

from fastapi import Request, Response

from services.signup.actions import links
from services.signup.web.forms import language_of
from services.signup.web.requests import pages_of, workshop_of
from shared.errors import Rejected
from shared.web.problems import wants_html
from shared.web.text import Message, _


async def button_page(
    request: Request,
    purpose: str,
    token: str,
    *,
    title: Message,
    explanation: Message,
    action: str,
    submit_label: Message,
    otherwise: Message,
) -> Response:
    """One button that posts to `action`, or the page of a link that does not open; looking uses nothing up."""
    try:
        async with workshop_of(request).begin() as work:
            await links.peek(work, purpose, token)
    except Rejected as refusal:
        return refused(request, refusal, token)
    return pages_of(request).response(
        request,
        "confirm.html",
        language=language_of(request),
        title=title,
        explanation=explanation,
        action=action,
        hidden_values={},
        submit_label=submit_label,
        otherwise=otherwise,
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
