"""What prospects do with group calls: the page behind the link of a message, their own list, the calendar file."""

from __future__ import annotations

import datetime as dt
from typing import Annotated, Any, Literal
from uuid import UUID

from fastapi import APIRouter, Depends, Query, Request, Response
from pydantic import BaseModel, ConfigDict

from services.matching.actions import intro_calls as actions
from services.matching.store import intro_calls as calls
from services.matching.store import intro_calls_people as people
from services.matching.web.intro_calls_messages import (
    INTRO_TEMPLATES,
    answer_path,
    calendar_path,
    calendar_text,
    calendar_type,
    message_data,
    token_matches,
)
from services.matching.web.intro_calls_staff import see_other, staff_router
from services.matching.web.intro_calls_staff_json import staff_json_router
from shared.errors import NotFound, Rejected
from shared.people import resolve
from shared.program import Program
from shared.web.fields import value_of
from shared.web.sessions import Principal, signed_in
from shared.web.text import Text, _
from shared.web.zones import zone_name

intro_router = APIRouter()
Someone = Annotated[Principal, Depends(signed_in)]


class Reply(BaseModel):
    """`going` asks for a seat (or a place on the waiting list), `declined` gives back whatever the person had."""

    model_config = ConfigDict(extra="forbid")

    answer: Literal["going", "declined"]


# ---------------------------------------------------------------- JSON


@intro_router.get("/v1/intro-calls/mine", summary="My invitations and places, and the calls I can still choose")
async def get_mine(request: Request, principal: Someone) -> dict[str, Any]:
    mine, open_calls = await _mine(request, principal.person_id)
    return {
        "mine": [_place_json(place) for place in mine],
        "open": [
            {
                **_public_json(call),
                "free": max(call["capacity"] - call["going"], 0),
                "waiting_list": call["waiting_list"],
            }
            for call in open_calls
        ],
    }


@intro_router.post("/v1/intro-calls/{intro_call_id}/answer", summary="Answer an invitation, or choose a call")
async def post_answer(request: Request, intro_call_id: UUID, body: Reply, principal: Someone) -> dict[str, Any]:
    async with request.app.state.workshop.begin(request.state.correlation_id) as work:
        await actions.answer(work, intro_call_id, principal.person_id, body.answer)
    return _place_json(await _place(request, intro_call_id, principal.person_id))


def _public_json(call: Any) -> dict[str, Any]:
    return {
        "intro_call_id": str(call["intro_call_id"]),
        "title": call["title"],
        "starts_at": call["starts_at"],
        "ends_at": call["ends_at"],
        "minutes": call["minutes"],
        "language": call["language"],
        "track": call["track"],
    }


def _place_json(place: Any) -> dict[str, Any]:
    """`answer` is `invited`, `going`, `waiting` or `declined`; the address to join only for who has a seat."""
    return {
        **_public_json(place),
        "answer": place["state"],
        "place": place["place"],
        "join_url": place["join_url"] if place["state"] == "going" else None,
    }


# ---------------------------------------------------------------- signed in


@intro_router.get("/intro-calls", summary="Page: my intro calls")
async def my_page(request: Request, principal: Someone) -> Response:
    mine, open_calls = await _mine(request, principal.person_id)
    person = await _person(request, principal.person_id)
    return _page(
        request,
        "intro_calls/mine.html",
        language=principal.language,
        title=_("Your intro calls"),
        mine=[_shown(request, place, place["person_id"]) for place in mine],
        open_calls=[_shown(request, call, None) for call in open_calls],
        zone=_zone(request, person["time_zone"] if person is not None else None),
        zone_label=zone_name(_zone(request, person["time_zone"] if person is not None else None)),
        known=person is not None,
    )


@intro_router.post("/intro-calls/{intro_call_id}/answer", summary="Answer from the own page")
async def post_answer_page(request: Request, intro_call_id: UUID, principal: Someone) -> Response:
    form = await request.form()
    async with request.app.state.workshop.begin(request.state.correlation_id) as work:
        await actions.answer(work, intro_call_id, principal.person_id, _reply_of(value_of(form, "answer")))
    return see_other(request, "/intro-calls")


# ---------------------------------------------------------------- by link


@intro_router.get("/intro-calls/{intro_call_id}/answer/{key}", summary="Page: answer an invitation by its link")
async def answer_page(request: Request, intro_call_id: str, key: str) -> Response:
    call_id, person_id = _by_link(request, intro_call_id, key)
    place = await _place(request, call_id, person_id)
    now = await request.app.state.pool.fetchval("SELECT business_now()")
    closed: str | None = None
    if place["status"] == "cancelled":
        closed = "cancelled"
    elif place["starts_at"] <= now:
        closed = "over" if place["ends_at"] <= now else "begun"
    return _page(
        request,
        "intro_calls/answer.html",
        language=place["person_language"],
        title=place["title"],
        call=_shown(request, place, person_id),
        zone=_zone(request, place["person_zone"]),
        closed=closed,
        full=place["going"] >= place["capacity"],
        action=answer_path(request.app.state.settings, call_id, person_id),
    )


@intro_router.post("/intro-calls/{intro_call_id}/answer/{key}", summary="Answer an invitation by its link")
async def post_answer_link(request: Request, intro_call_id: str, key: str) -> Response:
    call_id, person_id = _by_link(request, intro_call_id, key)
    # A link opens what the person was asked; it is not a way to choose another call.
    await _place(request, call_id, person_id)
    form = await request.form()
    async with request.app.state.workshop.begin(request.state.correlation_id) as work:
        await actions.answer(work, call_id, person_id, _reply_of(value_of(form, "answer")))
    return see_other(request, answer_path(request.app.state.settings, call_id, person_id))


@intro_router.get("/intro-calls/{intro_call_id}/calendar.ics", summary="Calendar file of one person's seat")
async def calendar(
    request: Request,
    intro_call_id: str,
    person: Annotated[str, Query(max_length=60)] = "",
    token: Annotated[str, Query(max_length=60)] = "",
) -> Response:
    call_id, person_id = _by_link(request, intro_call_id, f"{person}.{token}")
    place = await _place(request, call_id, person_id)
    if place["sequence"] == 0 and place["state"] != "going":
        raise Rejected("no_seat", _("You have no seat in this call yet. Answer the invitation first."))
    text = calendar_text(place, request.app.state.program)
    return Response(
        text,
        headers={
            "Content-Type": calendar_type(text),
            "Content-Disposition": 'attachment; filename="intro-call.ics"',
            "Cache-Control": "no-store",
        },
    )


# ---------------------------------------------------------------- what they share


def _by_link(request: Request, intro_call_id: str, key: str) -> tuple[UUID, UUID]:
    """The call and the person of a link. Altered, foreign and malformed ones all look like nothing at all."""
    person, _dot, token = key.partition(".")
    try:
        call_id, person_id = UUID(intro_call_id), UUID(person)
    except ValueError:
        raise NotFound from None
    if not token_matches(request.app.state.settings, call_id, person_id, token):
        raise NotFound
    return call_id, person_id


def _reply_of(text: str) -> Literal["going", "declined"]:
    if text == "going":
        return "going"
    if text == "declined":
        return "declined"
    raise Rejected("no_answer", _("Choose whether you will be there, then send your answer again."), status=422)


async def _ids_of(request: Request, person_id: UUID) -> list[UUID]:
    async with request.app.state.pool.acquire() as connection:
        current = (await resolve(connection, [person_id]))[person_id]
    return sorted({person_id, current})


async def _place(request: Request, intro_call_id: UUID, person_id: UUID) -> Any:
    ids = await _ids_of(request, person_id)
    place = await calls.get_place(request.app.state.pool, intro_call_id, ids)
    if place is None:
        raise NotFound
    return place


async def _person(request: Request, person_id: UUID) -> Any | None:
    for known_id in await _ids_of(request, person_id):
        person = await people.get_person(request.app.state.pool, known_id)
        if person is not None:
            return person
    return None


async def _mine(request: Request, person_id: UUID) -> tuple[list[Any], list[Any]]:
    """What the person has to do with, and what else they may choose."""
    pool = request.app.state.pool
    now: dt.datetime = await pool.fetchval("SELECT business_now()")
    mine = await calls.find_places(pool, await _ids_of(request, person_id), now)
    taken = {place["intro_call_id"] for place in mine}
    person = await _person(request, person_id)
    if person is None or not person["prospect"]:
        return mine, []
    return mine, [call for call in await calls.find_open(pool, now) if call["intro_call_id"] not in taken]


def _zone(request: Request, zone: str | None) -> str:
    """A person's zone, or the organization's while theirs is not known."""
    program: Program = request.app.state.program
    return zone or program.organization.time_zone


def _shown(request: Request, call: Any, person_id: UUID | None) -> dict[str, Any]:
    """A call with what a person's page adds."""
    program: Program = request.app.state.program
    settings = request.app.state.settings
    track: Text | None = next((t.label for t in program.tracks if t.id == call["track"]), call["track"])
    return {
        **dict(call),
        "track_label": track,
        "language_label": {"en": _("English"), "es": _("Spanish")}[call["language"]],
        "free": max(call["capacity"] - call["going"], 0),
        "calendar_href": calendar_path(settings, call["intro_call_id"], person_id) if person_id else None,
    }


def _page(request: Request, template: str, *, language: str | None, **context: object) -> Response:
    pages = request.app.state.pages
    spoken = pages.page_language(request, language)
    return pages.response(request, template, language=spoken, **context)  # type: ignore[no-any-return]


intro_router.include_router(staff_json_router)
intro_router.include_router(staff_router)

__all__ = ["INTRO_TEMPLATES", "intro_router", "message_data"]
