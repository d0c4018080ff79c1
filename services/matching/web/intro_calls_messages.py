"""What messages about group calls say, looked up at the moment of sending; links and calendar files."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping
from datetime import datetime
from typing import Any, TypeAlias
from uuid import UUID

from fastapi import Request

from services.matching.domain.intro_calls import CalendarEntry, calendar_file
from services.matching.store import intro_calls as calls
from shared import links, messages
from shared.db import Connection
from shared.messages import Answer, Attachment, Item
from shared.people import resolve
from shared.program import Program
from shared.settings import ServiceSettings

PURPOSE = "intro_answer"

Row: TypeAlias = Any
Teller: TypeAlias = Callable[[Request, list[Item]], Awaitable[list[Answer]]]

_SEATS: Mapping[str, type[messages.IntroConfirmed | messages.IntroPromoted | messages.IntroReminder]] = {
    "intro_confirmed": messages.IntroConfirmed,
    "intro_promoted": messages.IntroPromoted,
    "intro_reminder": messages.IntroReminder,
}


def token_of(settings: ServiceSettings, intro_call_id: UUID, person_id: UUID) -> str:
    """The token of one person's link to one call; it opens nothing else and is stored nowhere."""
    return links.derive(settings.link_secret.get_secret_value(), PURPOSE, f"{intro_call_id}:{person_id}")


def token_matches(settings: ServiceSettings, intro_call_id: UUID, person_id: UUID, token: str) -> bool:
    """Whether `token` is that of this person's link to this call."""
    secret = settings.link_secret.get_secret_value()
    return links.matches(secret, PURPOSE, f"{intro_call_id}:{person_id}", token)


def answer_path(settings: ServiceSettings, intro_call_id: UUID, person_id: UUID) -> str:
    """Path of the page where one person answers, without signing in."""
    return f"/intro-calls/{intro_call_id}/answer/{person_id}.{token_of(settings, intro_call_id, person_id)}"


def answer_url(settings: ServiceSettings, intro_call_id: UUID, person_id: UUID) -> str:
    """The same as a whole address, for messages."""
    return settings.public_url("matching") + answer_path(settings, intro_call_id, person_id)


def calendar_path(settings: ServiceSettings, intro_call_id: UUID, person_id: UUID) -> str:
    """Path of one person's calendar file for a call."""
    token = token_of(settings, intro_call_id, person_id)
    return f"/intro-calls/{intro_call_id}/calendar.ics?person={person_id}&token={token}"


def calendar_text(place: Row, program: Program) -> str:
    """The calendar file of one place: a request while the person has the seat, else a cancellation."""
    return calendar_file(
        CalendarEntry(
            intro_call_id=place["intro_call_id"],
            title=place["title"],
            starts_at=place["starts_at"],
            ends_at=place["ends_at"],
            join_url=place["join_url"],
            sequence=place["sequence"],
            changed_at=place["changed_at"],
            organizer_name=program.organization.name,
            organizer_email=program.organization.contact_email,
            cancelled=place["status"] == "cancelled" or place["state"] != "going",
        )
    )


def calendar_type(text: str) -> str:
    """The media type of a calendar file, with its method."""
    method = "CANCEL" if "METHOD:CANCEL" in text else "REQUEST"
    return f"text/calendar; charset=utf-8; method={method}"


async def message_data(
    connection: Connection, item: Item, *, settings: ServiceSettings, program: Program, now: datetime
) -> Answer:
    """What `item.template` says to one person about one call, or that it no longer applies.

    Reasons of `gone`: `unknown`, `cancelled`, `over`, `answered` (it says what is no longer so), `attended`,
    `said_elsewhere` (the message about a missed call carries the invitation).
    """
    place = await _place(connection, item)
    if place is None:
        return _gone(item, "unknown")
    url = answer_url(settings, place["intro_call_id"], place["person_id"])
    if item.template == "intro_missed":
        return await _missed(connection, item, place, settings, now)
    if item.template == "intro_cancelled":
        return _cancelled(item, place, program, now)
    reason = _why_not(item.template, place, now)
    if reason is not None:
        return _gone(item, reason)
    said: dict[str, Any] = {
        "starts_at": place["starts_at"],
        "minutes": place["minutes"],
        "track": place["track"],
        "call_language": place["language"],
        "answer_url": url,
    }
    if item.template == "intro_invitation":
        return messages.IntroInvitation(**said).answer(item)
    if item.template == "intro_waiting":
        return messages.IntroWaiting(**said, place=place["place"]).answer(item)
    data = _SEATS[item.template](**said, join_url=place["join_url"])
    attachments = [] if item.template == "intro_reminder" else [_attachment(place, program)]
    return data.answer(item, *attachments)


def _why_not(template: str, place: Row, now: datetime) -> str | None:
    """Why a message about a call to come no longer applies."""
    wanted = {"intro_invitation": "invited", "intro_waiting": "waiting"}.get(template, "going")
    if place["status"] == "cancelled":
        return "cancelled"
    if place["starts_at"] <= now:
        return "over"
    if place["state"] != wanted:
        return "answered"
    if template == "intro_invitation":
        if place["attended_at"] is not None:
            return "attended"
        if place["origin"] == "missed":
            return "said_elsewhere"
    return None


async def _missed(connection: Connection, item: Item, place: Row, settings: ServiceSettings, now: datetime) -> Answer:
    if place["attendance"] != "missed" or place["attended_at"] is not None:
        return _gone(item, "attended")
    ahead = [row for row in await calls.find_places(connection, [place["person_id"]], now) if row["starts_at"] > now]
    following = next((row for row in ahead if row["state"] in ("invited", "going", "waiting")), None)
    return messages.IntroMissed(
        next_starts_at=following["starts_at"] if following else None,
        answer_url=answer_url(settings, following["intro_call_id"], following["person_id"]) if following else None,
    ).answer(item)


def _cancelled(item: Item, place: Row, program: Program, now: datetime) -> Answer:
    if place["status"] != "cancelled" or place["state"] != "dropped":
        return _gone(item, "answered")
    if place["starts_at"] <= now:
        return _gone(item, "over")
    return messages.IntroCancelled(starts_at=place["starts_at"]).answer(item, _attachment(place, program))


def _attachment(place: Row, program: Program) -> Attachment:
    text = calendar_text(place, program)
    return Attachment(filename="intro-call.ics", content_type=calendar_type(text), content=text)


def _gone(item: Item, reason: str) -> Answer:
    return Answer(id=item.id, status="gone", reason=reason)


async def _place(connection: Connection, item: Item) -> Row | None:
    try:
        intro_call_id = UUID(item.reference)
    except ValueError:
        return None
    current = (await resolve(connection, [item.person_id]))[item.person_id]
    return await calls.get_place(connection, intro_call_id, sorted({item.person_id, current}))


async def _tell(request: Request, items: list[Item]) -> list[Answer]:
    context = request.app.state.context
    async with context.workshop.begin() as work:
        return [
            await message_data(work.connection, item, settings=context.settings, program=context.program, now=work.now)
            for item in items
        ]


INTRO_TEMPLATES: Mapping[str, Teller] = dict.fromkeys(
    (
        "intro_invitation",
        "intro_confirmed",
        "intro_waiting",
        "intro_promoted",
        "intro_reminder",
        "intro_missed",
        "intro_cancelled",
    ),
    _tell,
)
"""By template, for the route of the internal interface."""

__all__ = ["INTRO_TEMPLATES", "answer_path", "answer_url", "calendar_path", "message_data"]
