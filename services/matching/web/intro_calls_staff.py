"""What staff do with group calls: pages under /intro-calls/staff, JSON under /v1/intro-calls."""

from __future__ import annotations

import base64
import binascii
import datetime as dt
from collections.abc import Mapping, Sequence
from typing import Annotated, Any, Literal
from uuid import UUID
from zoneinfo import ZoneInfo

from fastapi import APIRouter, Depends, Query, Request, Response
from fastapi.responses import RedirectResponse
from pydantic import BaseModel, ConfigDict, Field
from starlette.datastructures import FormData

from services.matching.actions import intro_calls as actions
from services.matching.domain import intro_calls as rules
from services.matching.domain.intro_calls import Wish
from services.matching.store import intro_calls as calls
from shared.directory import Contacts
from shared.errors import NotFound, Rejected, TryAgain, Unprocessable
from shared.events.envelope import new_id
from shared.program import Program
from shared.web import fields as form_fields
from shared.web import sessions
from shared.web.fields import FieldErrors, Option
from shared.web.sessions import Principal, require
from shared.web.text import Text, _
from shared.web.zones import zone_name

staff_router = APIRouter()
Staff = Annotated[Principal, Depends(require("staff"))]

PAGE = 20
PEOPLE_PAGE = 100
ZONES = (
    "America/New_York",
    "America/Chicago",
    "America/Denver",
    "America/Phoenix",
    "America/Los_Angeles",
    "America/Anchorage",
    "Pacific/Honolulu",
    "America/Puerto_Rico",
    "Pacific/Guam",
)


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


async def _call_json(request: Request, intro_call_id: UUID) -> dict[str, Any]:
    pool = request.app.state.pool
    call = await calls.get_call(pool, intro_call_id)
    if call is None:
        raise NotFound
    return call_json(call, await calls.count_states(pool, intro_call_id))


# ---------------------------------------------------------------- JSON


@staff_router.post("/v1/intro-calls", status_code=201, summary="Schedule a group call and invite whom it fits")
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
    call_id, invited = await _schedule(request, staff, body.intro_call_id or new_id(), wish)
    return {**await _call_json(request, call_id), "invited_now": invited}


@staff_router.get("/v1/intro-calls", summary="Group calls, those to come or the past ones")
async def get_calls(
    request: Request,
    _staff: Staff,
    when: Literal["upcoming", "past"] = "upcoming",
    cursor: Annotated[str | None, Query(max_length=200)] = None,
    limit: Annotated[int, Query(ge=1, le=100)] = PAGE,
) -> dict[str, Any]:
    rows = await _find(request, when == "past", cursor, limit + 1)
    more = _cursor_of(rows[limit - 1]) if len(rows) > limit else None
    return {"items": [call_json(row, row) for row in rows[:limit]], "next_cursor": more}


@staff_router.get("/v1/intro-calls/{intro_call_id}/people", summary="Who is expected at a call, and who came")
async def get_people(
    request: Request, intro_call_id: UUID, _staff: Staff, offset: Annotated[int, Query(ge=0, le=10000)] = 0
) -> dict[str, Any]:
    await _call_json(request, intro_call_id)
    rows = await calls.find_attendance(request.app.state.pool, intro_call_id, PEOPLE_PAGE, offset)
    return {"items": [{**dict(row), "person_id": str(row["person_id"])} for row in rows]}


@staff_router.post("/v1/intro-calls/{intro_call_id}/cancel", summary="Cancel a call; everybody invited is told")
async def post_cancel(request: Request, intro_call_id: UUID, staff: Staff) -> dict[str, Any]:
    async with request.app.state.workshop.begin(request.state.correlation_id) as work:
        told = await actions.cancel(work, staff, intro_call_id)
    return {**await _call_json(request, intro_call_id), "told": told}


@staff_router.post("/v1/intro-calls/{intro_call_id}/invite", summary="Invite people to a call")
async def post_invite(request: Request, intro_call_id: UUID, body: Invitees, staff: Staff) -> dict[str, Any]:
    async with request.app.state.workshop.begin(request.state.correlation_id) as work:
        invited, skipped = await actions.invite(work, staff, intro_call_id, body.person_ids)
    return {"intro_call_id": str(intro_call_id), "invited_now": invited, "skipped": skipped}


@staff_router.post("/v1/intro-calls/{intro_call_id}/attendance", summary="Record who was there and who missed it")
async def post_attendance(request: Request, intro_call_id: UUID, body: AttendanceMarks, staff: Staff) -> dict[str, Any]:
    attended, missed = await _record(request, staff, intro_call_id, body.attended, body.missed)
    return {**await _call_json(request, intro_call_id), "attended_now": attended, "missed_now": missed}


# ---------------------------------------------------------------- pages


@staff_router.get("/intro-calls/staff", summary="Page: group calls to come and past")
async def staff_page(
    request: Request, _staff: Staff, past: Annotated[str | None, Query(max_length=200)] = None
) -> Response:
    upcoming = await _find(request, False, None, 50)
    before = await _find(request, True, past, PAGE + 1)
    older = _cursor_of(before[PAGE - 1]) if len(before) > PAGE else None
    return request.app.state.pages.response(  # type: ignore[no-any-return]
        request,
        "intro_calls/staff_list.html",
        language=_language(request),
        title=_("Intro calls"),
        current="intro_calls",
        upcoming=[_shown(request, row) for row in upcoming],
        past=[_shown(request, row) for row in before[:PAGE]],
        older=f"/intro-calls/staff?past={older}" if older else None,
    )


@staff_router.get("/intro-calls/staff/new", summary="Page: form to schedule a group call")
async def new_page(request: Request, _staff: Staff) -> Response:
    program: Program = request.app.state.program
    values = {
        "minutes": program.intro_calls.minutes,
        "capacity": program.intro_calls.capacity,
        "language": program.default_language,
        "time_zone": program.organization.time_zone,
    }
    return _form_page(request, values, FieldErrors(), new_id())


@staff_router.post("/intro-calls/staff/new", summary="Schedule a group call from the form")
async def post_new(request: Request, staff: Staff) -> Response:
    form = await request.form()
    call_id = _uuid(form_fields.value_of(form, "intro_call_id")) or new_id()
    try:
        call_id, _invited = await _schedule(request, staff, call_id, _wish_of(form))
    except Rejected as no:
        if no.status != 422:
            raise
        return _form_page(request, form, FieldErrors(no.fields), call_id, status=422)
    return see_other(request, f"/intro-calls/staff/{call_id}?done=scheduled")


@staff_router.get("/intro-calls/staff/{intro_call_id}", summary="Page: one call, its people and their attendance")
async def call_page(
    request: Request,
    intro_call_id: UUID,
    _staff: Staff,
    page: Annotated[int, Query(ge=1, le=60)] = 1,
    done: Annotated[str, Query(max_length=20)] = "",
) -> Response:
    return await _call_page(request, intro_call_id, page, done)


@staff_router.post("/intro-calls/staff/{intro_call_id}/attendance", summary="Record attendance from the page")
async def post_attendance_page(request: Request, intro_call_id: UUID, staff: Staff) -> Response:
    form = await request.form()
    page = max(1, int(text) if (text := form_fields.value_of(form, "page")).isdigit() else 1)
    there = [p for text in form_fields.chosen(form, "attended") if (p := _uuid(text))]
    missed: list[UUID] = []
    if form_fields.value_of(form, "others_missed") == "yes":
        # Only those whom the page showed: nobody is told that they missed a call because a list was cut.
        shown = {p for text in form_fields.chosen(form, "expected") if (p := _uuid(text))}
        missed = sorted(shown - set(there))
    try:
        await _record(request, staff, intro_call_id, there, missed)
    except Rejected as no:
        if no.status == 404:
            raise
        return await _call_page(request, intro_call_id, page, "", errors=FieldErrors({"attendance": no.message}))
    return see_other(request, f"/intro-calls/staff/{intro_call_id}?done=recorded&page={page}")


@staff_router.post("/intro-calls/staff/{intro_call_id}/invite", summary="Invite everybody whom the call fits")
async def post_invite_page(request: Request, intro_call_id: UUID, staff: Staff) -> Response:
    async with request.app.state.workshop.begin(request.state.correlation_id) as work:
        await actions.invite(work, staff, intro_call_id, ())
    return see_other(request, f"/intro-calls/staff/{intro_call_id}?done=invited")


@staff_router.get("/intro-calls/staff/{intro_call_id}/cancel", summary="Page: confirm that a call is cancelled")
async def cancel_page(request: Request, intro_call_id: UUID, _staff: Staff) -> Response:
    call = await _call_json(request, intro_call_id)
    return request.app.state.pages.response(  # type: ignore[no-any-return]
        request,
        "intro_calls/staff_cancel.html",
        language=_language(request),
        title=_("Cancel this call?"),
        current="intro_calls",
        call=call,
        action=f"/intro-calls/staff/{intro_call_id}/cancel",
        back=f"/intro-calls/staff/{intro_call_id}",
        people=call["going"] + call["waiting"] + call["invited"],
    )


@staff_router.post("/intro-calls/staff/{intro_call_id}/cancel", summary="Cancel a call from its page")
async def post_cancel_page(request: Request, intro_call_id: UUID, staff: Staff) -> Response:
    async with request.app.state.workshop.begin(request.state.correlation_id) as work:
        await actions.cancel(work, staff, intro_call_id)
    return see_other(request, f"/intro-calls/staff/{intro_call_id}?done=cancelled")


# ---------------------------------------------------------------- what they share


async def _schedule(request: Request, staff: Principal, call_id: UUID, wish: Wish) -> tuple[UUID, int]:
    program: Program = request.app.state.program
    async with request.app.state.workshop.begin(request.state.correlation_id) as work:
        plan = rules.plan(
            wish, now=work.now, languages=program.languages, tracks=[track.id for track in program.tracks]
        )
        call, invited = await actions.schedule(work, staff, call_id, plan)
    return call["intro_call_id"], invited


async def _record(
    request: Request, staff: Principal, call_id: UUID, attended: Sequence[UUID], missed: Sequence[UUID]
) -> tuple[int, int]:
    async with request.app.state.workshop.begin(request.state.correlation_id) as work:
        return await actions.record_attendance(work, staff, call_id, attended, missed)


def _language(request: Request) -> str:
    session = sessions.current(request)
    pages = request.app.state.pages
    return str(pages.page_language(request, session.language if session else None))


def see_other(request: Request, path: str) -> Response:
    """Go to `path` after a POST, in the language that the page was read in."""
    language = request.query_params.get("lang", "")
    if language in request.app.state.program.languages:
        path += f"{'&' if '?' in path else '?'}lang={language}"
    return RedirectResponse(path, status_code=303)


async def _find(request: Request, past: bool, cursor: str | None, limit: int) -> list[Any]:
    after = _read_cursor(cursor) if cursor else None
    pool = request.app.state.pool
    now = await pool.fetchval("SELECT business_now()")
    return await calls.find_calls(pool, past=past, now=now, limit=limit, after=after)


def _cursor_of(row: Any) -> str:
    text = f"{row['starts_at'].isoformat()} {row['intro_call_id']}"
    return base64.urlsafe_b64encode(text.encode()).decode()


def _read_cursor(cursor: str) -> tuple[dt.datetime, UUID]:
    try:
        starts_at, call_id = base64.urlsafe_b64decode(cursor.encode()).decode().split(" ")
        return dt.datetime.fromisoformat(starts_at), UUID(call_id)
    except (ValueError, binascii.Error):
        raise Rejected("bad_cursor", _("This cursor is not one of ours. Start again without it."), status=422) from None


def _uuid(text: str) -> UUID | None:
    try:
        return UUID(text)
    except ValueError:
        return None


def _number(text: str) -> int | None:
    return int(text) if text.isascii() and text.isdigit() and len(text) <= 6 else None


def _wish_of(form: FormData) -> Wish:
    errors = FieldErrors()
    day = form_fields.read_date(form, "date", errors)
    return Wish(
        title=form_fields.value_of(form, "title"),
        day=day,
        clock=form_fields.value_of(form, "time"),
        time_zone=form_fields.value_of(form, "time_zone"),
        minutes=_number(form_fields.value_of(form, "minutes").strip()),
        capacity=_number(form_fields.value_of(form, "capacity").strip()),
        language=form_fields.value_of(form, "language"),
        track=form_fields.value_of(form, "track") or None,
        join_url=form_fields.value_of(form, "join_url"),
        problems=dict(errors),
    )


def _form_page(
    request: Request, values: Mapping[str, object], errors: FieldErrors, call_id: UUID, *, status: int = 200
) -> Response:
    pages, program = request.app.state.pages, request.app.state.program
    call_fields = _fields(program)
    return pages.response(  # type: ignore[no-any-return]
        request,
        "intro_calls/staff_new.html",
        language=_language(request),
        status=status,
        title=_("Schedule an intro call"),
        current="intro_calls",
        call_id=str(call_id),
        call_fields=call_fields,
        values=values,
        # As the form has them, from the top down.
        errors=FieldErrors({f.name: errors[f.name] for f in call_fields if f.name in errors}),
    )


def _fields(program: Program) -> list[form_fields.Field]:
    zones = dict.fromkeys((program.organization.time_zone, *ZONES))
    names = {"en": _("English"), "es": _("Spanish")}
    field = form_fields.Field
    return [
        field(name="title", kind="text", label=_("Title"), hint=_("People see it in their invitation"), max_length=120),
        field(name="date", kind="date", label=_("Date"), hint=_("For example, 11 3 2026")),
        field(
            name="time",
            kind="text",
            label=_("Start time"),
            width=10,
            hint=_("For example, 6:30 PM. Everybody is shown it in their own time zone"),
        ),
        field(
            name="time_zone",
            kind="select",
            label=_("Time zone of that time"),
            options=[Option(zone, zone_name(zone)) for zone in zones],
        ),
        field(name="minutes", kind="number", label=_("Length"), width=4, suffix="min"),
        field(name="capacity", kind="number", label=_("Seats"), width=5),
        field(
            name="language",
            kind="select",
            label=_("Language"),
            hint=_("People who chose this language are invited"),
            options=[Option(code, names[code]) for code in program.languages],
        ),
        field(
            name="track",
            kind="select",
            label=_("Track"),
            required=False,
            hint=_("With a track, only people of that track are invited"),
            options=[Option(track.id, track.label) for track in program.tracks] or [Option("", _("No tracks"))],
            empty_option=_("For everybody"),
        ),
        field(
            name="join_url",
            kind="url",
            label=_("Address to join the call"),
            hint=_("Only people with a seat are shown it"),
            max_length=500,
        ),
    ]


def _shown(request: Request, row: Any) -> dict[str, Any]:
    """A call with what its page adds."""
    program: Program = request.app.state.program
    track: Text | None = next((t.label for t in program.tracks if t.id == row["track"]), row["track"])
    return {**dict(row), "track_label": track, "href": f"/intro-calls/staff/{row['intro_call_id']}"}


async def _call_page(
    request: Request, intro_call_id: UUID, page: int, done: str, *, errors: FieldErrors | None = None
) -> Response:
    pool = request.app.state.pool
    call = await calls.get_call(pool, intro_call_id)
    if call is None:
        raise NotFound
    counts = await calls.count_states(pool, intro_call_id)
    now = await pool.fetchval("SELECT business_now()")
    rows = await calls.find_attendance(pool, intro_call_id, PEOPLE_PAGE + 1, (page - 1) * PEOPLE_PAGE)
    names = await _names(request, [row["person_id"] for row in rows[:PEOPLE_PAGE]])
    local = call["starts_at"].astimezone(ZoneInfo(call["time_zone"]))
    base = f"/intro-calls/staff/{intro_call_id}"
    return request.app.state.pages.response(  # type: ignore[no-any-return]
        request,
        "intro_calls/staff_call.html",
        language=_language(request),
        status=422 if errors else 200,
        title=call["title"],
        current="intro_calls",
        call=_shown(request, {**dict(call), **dict(counts)}),
        local=local,
        expected=any(row["state"] == "going" and row["attendance"] is None for row in rows[:PEOPLE_PAGE]),
        people=[{**dict(row), "name": names.get(row["person_id"])} for row in rows[:PEOPLE_PAGE]],
        began=call["starts_at"] <= now,
        over=call["ends_at"] <= now,
        done=done,
        page=page,
        newer=f"{base}?page={page - 1}" if page > 1 else None,
        older=f"{base}?page={page + 1}" if len(rows) > PEOPLE_PAGE else None,
        errors=errors or FieldErrors(),
    )


async def _names(request: Request, person_ids: Sequence[UUID]) -> dict[UUID, str]:
    """Names from signup; none of them while it does not answer, and the page shows ids instead."""
    if not person_ids:
        return {}
    try:
        answer = await request.app.state.signup.post(
            "/internal/contacts", {"person_ids": [str(person_id) for person_id in person_ids]}
        )
    except (TryAgain, Unprocessable):
        return {}
    return {contact.person_id: contact.name for contact in Contacts.model_validate(answer).contacts}
