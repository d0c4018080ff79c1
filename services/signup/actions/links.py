"""Mailed links: making one, and opening one so that it works once."""

from collections.abc import Mapping
from datetime import timedelta
from typing import Any
from uuid import UUID

from services.signup.store import access, people
from shared.errors import Rejected
from shared.events.envelope import new_id
from shared.events.signup import SignInRequested
from shared.links import derive, fingerprint
from shared.web.text import _
from shared.work import Work

SIGN_IN_LASTS = timedelta(minutes=30)
TOKEN_LENGTH = 22


class UnknownLink(Rejected):
    """No link has this token."""

    def __init__(self) -> None:
        message = _("This link is not complete or was altered. Open it from the mail again, or ask for a new one.")
        super().__init__("link_unknown", message, status=404)


class UsedLink(Rejected):
    """The link did its work already."""

    def __init__(self) -> None:
        super().__init__("link_used", _("This link was used already. Sign in to go on."), status=410)


class ExpiredLink(Rejected):
    """The link is too old."""

    def __init__(self) -> None:
        super().__init__("link_expired", _("This link is too old. Ask for a new one; it comes by mail."), status=410)


def check(link: Mapping[str, Any] | None, purpose: str, work: Work) -> Mapping[str, Any]:
    """The link, if it serves `purpose` now; else `UnknownLink`, `UsedLink` or `ExpiredLink`."""
    if link is None or link["purpose"] != purpose:
        raise UnknownLink
    if link["used_at"] is not None:
        raise UsedLink
    if link["expires_at"] <= work.now:
        raise ExpiredLink
    return link


async def peek(work: Work, purpose: str, token: str) -> Mapping[str, Any]:
    """What a GET may do: look whether the link would open. Raises as `check`."""
    return check(await access.find_link(work.connection, fingerprint(token)), purpose, work)


async def take(work: Work, purpose: str, token: str) -> Mapping[str, Any]:
    """Use the link up; of two at once, the second gets `UsedLink`. Raises as `check`."""
    link = check(await access.lock_link(work.connection, fingerprint(token)), purpose, work)
    await access.mark_link_used(work.connection, link["id"], work.now)
    return link


async def mail_link(work: Work, person: Mapping[str, Any], secret: str, next_url: str | None = None) -> str:
    """Make a link that signs the person in, have it mailed, and return its token.

    For somebody with nothing but an unconfirmed sign-up it is that sign-up's confirmation, which signs in as well.
    """
    pending = None
    if person["confirmed_at"] is None:
        pending = await people.find_pending_signup(work.connection, person["id"])
    purpose = "sign_in" if pending is None else "confirm"
    return await _mail(work, person["id"], pending, purpose, secret, next_url)


async def mail_sign_in(work: Work, person_id: UUID, secret: str) -> str:
    """Make a link that signs in and nothing else, have it mailed, and return its token."""
    return await _mail(work, person_id, None, "sign_in", secret, None)


async def mail_confirmation_again(work: Work, token: str, secret: str) -> None:
    """A fresh link for the sign-up whose link ran out; `UsedLink` or `UnknownLink` otherwise."""
    link = await access.lock_link(work.connection, fingerprint(token))
    if link is None or link["purpose"] != "confirm":
        raise UnknownLink
    signup = await people.lock_signup(work.connection, link["signup_id"])
    if signup is None:
        raise UnknownLink
    if link["used_at"] is not None or signup["status"] == "applied":
        raise UsedLink
    await _mail(work, link["person_id"], link["signup_id"], "confirm", secret, None)


async def _mail(
    work: Work, person_id: UUID, signup_id: UUID | None, purpose: str, secret: str, next_url: str | None
) -> str:
    link_id = new_id()
    token = derive(secret, purpose, str(link_id))
    expires_at = work.now + SIGN_IN_LASTS
    await access.insert_link(
        work.connection,
        link_id,
        purpose=purpose,
        token_hash=fingerprint(token),
        person_id=person_id,
        signup_id=signup_id,
        next_url=next_url,
        now=work.now,
        expires_at=expires_at,
    )
    work.emit(SignInRequested(person_id=person_id, link_id=link_id, expires_at=expires_at))
    return token


def url_of(base: str, purpose: str, token: str) -> str:
    """Where a mailed token is opened."""
    return f"{base}/confirm/{token}" if purpose == "confirm" else f"{base}/account/sign-in/{token}"
