"""What staff do with group calls: the pages under /intro-calls/staff."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Annotated, Any
from uuid import UUID
from zoneinfo import ZoneInfo

from fastapi import APIRouter, Query, Request, Response
from fastapi.responses import RedirectResponse
from starlette.datastructures import FormData

from services.matching.actions import intro_calls as actions
from services.matching.domain.intro_calls import Wish
from services.matching.store import intro_calls as calls
from services.matching.web.intro_calls_staff_json import (
    PAGE,
    PEOPLE_PAGE,
    Staff,
    cursor_of,
    find,
    get_call_json,
    record,
    schedule,
)
from shared.directory import Contacts
from shared.errors import NotFound, Rejected, TryAgain, Unprocessable
from shared.events.envelope import new_id
from shared.program import Program
from shared.web import fields as form_fields
from shared.web import sessions
from shared.web.fields import FieldErrors, Option
from shared.web.text import Text, _
from shared.web.zones import zone_name

staff_router = APIRouter()

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


@staff_router.get("/intro-calls/staff", summary="Page: group calls to come and past")
async def staff_page(
    request: Request, _staff: Staff, past: Annotated[str | None, Query(max_length=200)] = None
) -> Response:
    upcoming = await find(request, False, None, 50)
    before = await find(request, True, past, PAGE + 1)
    older = cursor_of(before[PAGE - 1]) if len(before) > PAGE else None
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
        call_id, _invited = await schedule(request, staff, call_id, _wish_of(form))
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
    page = max(1, _number(form_fields.value_of(form, "page")) or 1)
    there = [p for text in form_fields.chosen(form, "attended") if (p := _uuid(text))]
    missed: list[UUID] = []
    if form_fields.value_of(form, "others_missed") == "yes":
        # Only those whom the page showed: nobody is told that they missed a call because a list was cut.
        shown = {p for text in form_fields.chosen(form, "expected") if (p := _uuid(text))}
        missed = sorted(shown - set(there))
    try:
        await record(request, staff, intro_call_id, there, missed)
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
    call = await get_call_json(request, intro_call_id)
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
