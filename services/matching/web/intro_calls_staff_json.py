"""What staff do with group calls by JSON, under /v1/intro-calls, and what the pages do alike."""

from __future__ import annotations

import base64
import binascii
import datetime as dt
from collections.abc import Sequence
from typing import Annotated, Any, Literal
from uuid import UUID

from fastapi import APIRouter, Depends, Query, Request
from pydantic import BaseModel, ConfigDict, Field

from services.matching.actions import intro_calls as actions
from services.matching.domain import intro_calls as rules
from services.matching.domain.intro_calls import Wish
from services.matching.store import intro_calls as calls
from shared.errors import NotFound, Rejected
from shared.events.envelope import new_id
from shared.program import Program
from shared.web.sessions import Principal, require
from shared.web.text import _

staff_json_router = APIRouter()
Staff = Annotated[Principal, Depends(require("staff"))]

PAGE = 20
PEOPLE_PAGE = 100


class NewCall(BaseModel):
    """A call to schedule: the time as a wall clock shows it in `time_zone` (IANA). Left out, the program's values."""

    model_config = ConfigDict(extra="forbid")

    intro_call_id: UUID | None = Field(None, description="Your own id, so that sending twice schedules once.")
    title: str = Field(max_length=200)
    date: dt.date
    time: str = Field(max_length=20, description="18:30 or 6:30 PM")
    time_zone: str = Field(max_length=60)
    minutes: int | None = None
    capacity: int | None = None
    language: str | None = Field(None, max_length=10)
    track: str | None = Field(None, max_length=40)
    join_url: str = Field(max_length=600)


class Invitees(BaseModel):
    """Whom to invite; left out, everybody whom the call fits and who has no invitation."""

    model_config = ConfigDict(extra="forbid")

    person_ids: tuple[UUID, ...] = Field((), max_length=1000)


class AttendanceMarks(BaseModel):
    """Who was there, and who was expected and did not come."""

    model_config = ConfigDict(extra="forbid")

    attended: tuple[UUID, ...] = Field((), max_length=5000)
    missed: tuple[UUID, ...] = Field((), max_length=5000)


def call_json(call: Any, counts: Any) -> dict[str, Any]:
    """A call as staff see it."""
    return {
        "intro_call_id": str(call["intro_call_id"]),
        "title": call["title"],
        "starts_at": call["starts_at"],
        "ends_at": call["ends_at"],
        "minutes": call["minutes"],
        "time_zone": call["time_zone"],
        "capacity": call["capacity"],
        "waiting_list": call["waiting_list"],
        "language": call["language"],
        "track": call["track"],
        "join_url": call["join_url"],
        "status": call["status"],
        "going": call["going"],
        **{name: counts[name] for name in ("invited", "waiting", "declined", "attended", "missed")},
    }


async def get_call_json(request: Request, intro_call_id: UUID) -> dict[str, Any]:
    """A call with its counts. Raises `NotFound`."""
    pool = request.app.state.pool
    call = await calls.get_call(pool, intro_call_id)
    if call is None:
        raise NotFound
    return call_json(call, await calls.count_states(pool, intro_call_id))


@staff_json_router.post("/v1/intro-calls", status_code=201, summary="Schedule a group call and invite whom it fits")
async def post_call(request: Request, body: NewCall, staff: Staff) -> dict[str, Any]:
    program: Program = request.app.state.program
    wish = Wish(
        title=body.title,
        day=body.date,
        clock=body.time,
        time_zone=body.time_zone,
        minutes=program.intro_calls.minutes if body.minutes is None else body.minutes,
        capacity=program.intro_calls.capacity if body.capacity is None else body.capacity,
        language=body.language or program.default_language,
        track=body.track,
        join_url=body.join_url,
    )
    call_id, invited = await schedule(request, staff, body.intro_call_id or new_id(), wish)
    return {**await get_call_json(request, call_id), "invited_now": invited}


@staff_json_router.get("/v1/intro-calls", summary="Group calls, those to come or the past ones")
async def get_calls(
    request: Request,
    _staff: Staff,
    when: Literal["upcoming", "past"] = "upcoming",
    cursor: Annotated[str | None, Query(max_length=200)] = None,
    limit: Annotated[int, Query(ge=1, le=100)] = PAGE,
) -> dict[str, Any]:
    rows = await find(request, when == "past", cursor, limit + 1)
    more = cursor_of(rows[limit - 1]) if len(rows) > limit else None
    return {"items": [call_json(row, row) for row in rows[:limit]], "next_cursor": more}


@staff_json_router.get("/v1/intro-calls/{intro_call_id}/people", summary="Who is expected at a call, and who came")
async def get_people(
    request: Request, intro_call_id: UUID, _staff: Staff, offset: Annotated[int, Query(ge=0, le=10000)] = 0
) -> dict[str, Any]:
    await get_call_json(request, intro_call_id)
    rows = await calls.find_attendance(request.app.state.pool, intro_call_id, PEOPLE_PAGE, offset)
    return {"items": [{**dict(row), "person_id": str(row["person_id"])} for row in rows]}


@staff_json_router.post("/v1/intro-calls/{intro_call_id}/cancel", summary="Cancel a call; everybody invited is told")
async def post_cancel(request: Request, intro_call_id: UUID, staff: Staff) -> dict[str, Any]:
    async with request.app.state.workshop.begin(request.state.correlation_id) as work:
        told = await actions.cancel(work, staff, intro_call_id)
    return {**await get_call_json(request, intro_call_id), "told": told}


@staff_json_router.post("/v1/intro-calls/{intro_call_id}/invite", summary="Invite people to a call")
async def post_invite(request: Request, intro_call_id: UUID, body: Invitees, staff: Staff) -> dict[str, Any]:
    async with request.app.state.workshop.begin(request.state.correlation_id) as work:
        invited, skipped = await actions.invite(work, staff, intro_call_id, body.person_ids)
    return {"intro_call_id": str(intro_call_id), "invited_now": invited, "skipped": skipped}


@staff_json_router.post("/v1/intro-calls/{intro_call_id}/attendance", summary="Record who was there and who missed it")
async def post_attendance(request: Request, intro_call_id: UUID, body: AttendanceMarks, staff: Staff) -> dict[str, Any]:
    attended, missed = await record(request, staff, intro_call_id, body.attended, body.missed)
    return {**await get_call_json(request, intro_call_id), "attended_now": attended, "missed_now": missed}


async def schedule(request: Request, staff: Principal, call_id: UUID, wish: Wish) -> tuple[UUID, int]:
    """Schedule a call; its id, and how many were invited. Raises `Rejected` 422 with a sentence per field."""
    program: Program = request.app.state.program
    async with request.app.state.workshop.begin(request.state.correlation_id) as work:
        plan = rules.plan(
            wish, now=work.now, languages=program.languages, tracks=[track.id for track in program.tracks]
        )
        call, invited = await actions.schedule(work, staff, call_id, plan)
    return call["intro_call_id"], invited


async def record(
    request: Request, staff: Principal, call_id: UUID, attended: Sequence[UUID], missed: Sequence[UUID]
) -> tuple[int, int]:
    """Record who was there and who was not; how many of each are new."""
    async with request.app.state.workshop.begin(request.state.correlation_id) as work:
        return await actions.record_attendance(work, staff, call_id, attended, missed)


async def find(request: Request, past: bool, cursor: str | None, limit: int) -> list[Any]:
    """Calls to come, or past ones from `cursor` on."""
    after = _read_cursor(cursor) if cursor else None
    pool = request.app.state.pool
    now = await pool.fetchval("SELECT business_now()")
    return await calls.find_calls(pool, past=past, now=now, limit=limit, after=after)


def cursor_of(row: Any) -> str:
    """Where the list goes on after this call."""
    text = f"{row['starts_at'].isoformat()} {row['intro_call_id']}"
    return base64.urlsafe_b64encode(text.encode()).decode()


def _read_cursor(cursor: str) -> tuple[dt.datetime, UUID]:
    try:
        starts_at, call_id = base64.urlsafe_b64decode(cursor.encode()).decode().split(" ")
        return dt.datetime.fromisoformat(starts_at), UUID(call_id)
    except (ValueError, binascii.Error):
        raise Rejected("bad_cursor", _("This cursor is not one of ours. Start again without it."), status=422) from None
