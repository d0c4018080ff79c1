"""What this service's messages say, looked up at the moment of sending: a link that was used needs no mail."""

from collections.abc import Mapping, Sequence
from typing import Any
from uuid import UUID

from services.signup.actions.links import url_of
from services.signup.store import access, people
from shared.links import derive
from shared.messages import AlreadyKnown, Answer, ConfirmedWelcome, Item, SignIn, WelcomeConfirm
from shared.work import Work

TEMPLATES = ("welcome_confirm", "already_known", "sign_in", "confirmed_welcome")


async def answer(work: Work, items: Sequence[Item], *, base_url: str, secret: str) -> list[Answer]:
    """An answer for each item, in their order."""
    by_template = {name: [item for item in items if item.template == name] for name in TEMPLATES}
    signups = await access.get_signup_links(
        work.connection, _ids([*by_template["welcome_confirm"], *by_template["already_known"]])
    )
    links = await access.get_links(work.connection, _ids(by_template["sign_in"]))
    persons = {
        row["asked_id"]: row
        for row in await people.get_profiles(
            work.connection, [item.person_id for item in by_template["confirmed_welcome"]]
        )
    }

    def one(item: Item) -> Answer:
        reference = _id(item)
        if item.template in ("welcome_confirm", "already_known"):
            return _confirmation(work, item, signups.get(reference) if reference else None, base_url, secret)
        if item.template == "sign_in":
            return _sign_in(work, item, links.get(reference) if reference else None, base_url, secret)
        if item.template == "confirmed_welcome":
            person = persons.get(item.person_id)
            if person is None:
                return _gone(item, "no_person")
            return ConfirmedWelcome(page_url=f"{base_url}/me", roles=tuple(person["roles"])).answer(item)
        return _gone(item, "unknown_template")

    return [one(item) for item in items]


def _confirmation(work: Work, item: Item, link: Mapping[str, Any] | None, base_url: str, secret: str) -> Answer:
    if link is None or link["person_id"] != item.person_id:
        return _gone(item, "no_signup")
    if link["status"] == "applied" or link["used_at"] is not None:
        return _gone(item, "already_used")
    if link["expires_at"] <= work.now:
        return _gone(item, "expired")
    url = url_of(base_url, "confirm", derive(secret, "confirm", str(link["id"])))
    kind = WelcomeConfirm if item.template == "welcome_confirm" else AlreadyKnown
    return kind(confirm_url=url, form=link["form"]).answer(item)


def _sign_in(work: Work, item: Item, link: Mapping[str, Any] | None, base_url: str, secret: str) -> Answer:
    if link is None or link["person_id"] != item.person_id:
        return _gone(item, "no_link")
    if link["used_at"] is not None:
        return _gone(item, "already_used")
    if link["expires_at"] <= work.now:
        return _gone(item, "expired")
    url = url_of(base_url, link["purpose"], derive(secret, link["purpose"], str(link["id"])))
    return SignIn(sign_in_url=url, expires_at=link["expires_at"]).answer(item)


def _gone(item: Item, reason: str) -> Answer:
    return Answer(id=item.id, status="gone", reason=reason)


def _id(item: Item) -> UUID | None:
    try:
        return UUID(item.reference)
    except ValueError:
        return None


def _ids(items: Sequence[Item]) -> list[UUID]:
    return [reference for item in items if (reference := _id(item)) is not None]
