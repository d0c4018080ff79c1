"""Signing in and out, and the accounts of the organization."""

import datetime as dt
import secrets
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any, get_args
from uuid import UUID

from services.signup.actions import links, people
from services.signup.domain import email_address
from services.signup.domain.facts import Asked, Invalid, read_name
from services.signup.store import access
from services.signup.store import people as people_store
from shared import timers
from shared.errors import Rejected
from shared.events.envelope import new_id
from shared.events.signup import AccountChanged, AccountRole
from shared.links import fingerprint
from shared.timers import Timer
from shared.web.sessions import SESSION_MINUTES, Principal, issue
from shared.web.text import _
from shared.work import Work

SESSION_LASTS = dt.timedelta(days=30)
SIGN_IN_TIMER = "sign_in"


@dataclass(frozen=True, slots=True)
class Session:
    """What a browser or program gets: the signed token, how long it lasts, and the token that renews it."""

    principal: Principal
    token: str
    expires_at: dt.datetime
    refresh: str | None = None


async def request_sign_in(work: Work, email_key: str, next_url: str | None) -> None:
    """Note that somebody wants to sign in. The same work for a known and an unknown address: it is looked up later."""
    await timers.schedule(work, SIGN_IN_TIMER, str(new_id()), work.now, email_key=email_key, next_url=next_url)


def sign_in_action(secret: str) -> timers.Action:
    """The timer's action: mail a link if the address is somebody's, else nothing."""

    async def on_sign_in(work: Work, timer: Timer) -> None:
        person = await people_store.find_by_email(work.connection, timer.payload["email_key"])
        if person is not None:
            await links.mail_link(work, person, secret, timer.payload["next_url"])

    return on_sign_in


async def use_sign_in_link(work: Work, token: str) -> tuple[UUID, str | None]:
    """Use a sign-in link; whose it is and where they wanted to go. Raises as `links.take`."""
    link = await links.take(work, "sign_in", token)
    person = await people.lock(work, link["person_id"])
    # The link came to the address, so the address is theirs; that says nothing about a form.
    await people_store.mark_confirmed(work.connection, person["id"], work.now)
    return person["id"], link["next_url"]


async def open_session(work: Work, person_id: UUID, private_key: str) -> Session:
    """A new session that can be renewed for 30 days."""
    refresh = secrets.token_urlsafe(24)
    now = dt.datetime.now(dt.UTC)
    await access.insert_session(work.connection, new_id(), person_id, fingerprint(refresh), now, now + SESSION_LASTS)
    principal = await principal_of(work, person_id)
    return _signed(principal, private_key, now, refresh)


async def renew_session(work: Work, refresh: str, private_key: str) -> Session | None:
    """A fresh signed token with today's roles, while the refresh token is good and not revoked."""
    person_id = await access.find_session(work.connection, fingerprint(refresh))
    if person_id is None:
        return None
    return _signed(await principal_of(work, person_id), private_key, dt.datetime.now(dt.UTC), None)


def _signed(principal: Principal, private_key: str, now: dt.datetime, refresh: str | None) -> Session:
    token = issue(principal, private_key, now=now)
    return Session(principal, token, now + dt.timedelta(minutes=SESSION_MINUTES), refresh)


async def principal_of(work: Work, person_id: UUID) -> Principal:
    """Who a person is signed in as."""
    person = await people_store.get_person(work.connection, person_id)
    account = await access.get_account(work.connection, person_id)
    return Principal(
        person_id=person_id,
        roles=frozenset(account["roles"]) if account else frozenset(),
        account_id=account["id"] if account else None,
        outside=account["outside"] if account else False,
        language=person["language"] if person else None,
    )


async def open_account(
    work: Work, *, name: str, email: str, roles: Iterable[str], outside: bool, secret: str
) -> tuple[UUID, str]:
    """Open an account, or give it other roles, and mail its sign-in link; returns the account's id and the token.

    An address that is known keeps its person and name. `Rejected` says which value to correct. Emits
    `AccountChanged` and `SignInRequested`.
    """
    chosen = frozenset(roles)
    known = get_args(AccountRole)
    if not chosen or not chosen <= set(known):
        raise Rejected("bad_role", _("Give one or more of these roles: %(known)s.", known=", ".join(known)), status=422)
    if outside and chosen != {"reviewer"}:
        raise Rejected("bad_role", _("Only a reviewer can be from outside; leave out the other roles."), status=422)
    try:
        address = email_address.read(email)
        clean_name = read_name(name, Asked(work.program, None, work.now))
    except ValueError:
        raise Rejected("bad_email", _("Enter an e-mail address in the form name@example.com"), status=422) from None
    except Invalid as invalid:
        raise Rejected("bad_name", invalid.message, status=422) from None
    if clean_name is None:
        raise Rejected("bad_name", _("Enter your name"), status=422)
    person = await _person_for(work, clean_name, address)
    account_id = await access.upsert_account(
        work.connection, new_id(), person["id"], sorted(chosen), outside=outside, now=work.now
    )
    await access.append_audit(
        work.connection,
        at=work.now,
        account_id=None,
        person_id=None,
        action="account_opened",
        subject=str(account_id),
        details={"roles": sorted(chosen), "outside": outside},
    )
    work.emit(
        AccountChanged(
            person_id=person["id"],
            account_id=account_id,
            roles=tuple(sorted(chosen)),
            outside=outside,
        )
    )
    return account_id, await links.mail_sign_in(work, person["id"], secret)


async def _person_for(work: Work, name: str, address: email_address.EmailAddress) -> Mapping[str, Any]:
    person_id = new_id()
    if await people_store.insert_email(
        work.connection, person_id, email_key=address.key, email=address.typed, now=work.now
    ):
        await people_store.insert_person(
            work.connection,
            person_id,
            name=name,
            language=work.program.default_language,
            legal_body=work.program.legal_bodies[0].id,
            now=work.now,
        )
    found = await people_store.find_by_email(work.connection, address.key)
    assert found is not None
    return await people.lock(work, found["id"])


async def close_account(work: Work, email: str) -> UUID:
    """Close an account and end its sessions; `Rejected` when there is none. Emits `AccountChanged` without roles."""
    try:
        person = await people_store.find_by_email(work.connection, email_address.read(email).key)
    except ValueError:
        raise Rejected("bad_email", _("Enter an e-mail address in the form name@example.com"), status=422) from None
    if person is not None:
        person = await people.lock(work, person["id"])
    closed = await access.close_account(work.connection, person["id"], work.now) if person else None
    if person is None or closed is None:
        raise Rejected("no_account", _("No open account has this address; list the accounts to see which there are."))
    account_id: UUID = closed["id"]
    await access.revoke_sessions(work.connection, person["id"])
    await access.append_audit(
        work.connection,
        at=work.now,
        account_id=None,
        person_id=None,
        action="account_closed",
        subject=str(account_id),
    )
    work.emit(AccountChanged(person_id=person["id"], account_id=account_id, roles=(), outside=closed["outside"]))
    return account_id
