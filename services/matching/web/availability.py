"""Weekly hours: the page, reachable signed in or by the link of a mail, and the same as JSON."""

from collections.abc import Mapping
from datetime import date, time
from typing import Any
from uuid import UUID
from zoneinfo import available_timezones

from fastapi import APIRouter, Request, Response
from pydantic import BaseModel, ConfigDict, Field

from services.matching.actions.availability import WINDOWS_A_DAY, get_hours, state_hours
from services.matching.domain.availability import AvailabilityError, Window, parse_windows, zone_of
from services.matching.store.availability import Availability
from services.matching.store.people import get_people
from services.matching.web.addresses import Addresses
from services.matching.web.calls_json import At, Me, begin
from shared.directory import AvailabilityWindow
from shared.errors import NotFound, Rejected
from shared.people import resolve
from shared.web import fields
from shared.web.fields import FieldErrors, Option, WeeklyWindow, availability_values, read_availability, value_of
from shared.web.pages import Pages
from shared.web.sessions import current, signed_in
from shared.web.text import _
from shared.web.zones import zone_name
from shared.work import Work

router = APIRouter(tags=["availability"])

US_ZONES = (
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
MIDNIGHT = time(0)
LAST_MINUTE = time(23, 59)


class HoursIn(BaseModel):
    """Weekly hours as local wall clock in `time_zone`; `weekly_cap` null is the program's default."""

    model_config = ConfigDict(extra="forbid")

    time_zone: str = Field(max_length=64)
    windows: list[AvailabilityWindow] = Field(max_length=28)
    away: list[date] = Field(default_factory=list)
    weekly_cap: int | None = None
    paused: bool = False


class HoursOut(HoursIn):
    """What is stated; `stated` is false for somebody who never did, with the program's time zone."""

    stated: bool


def _out(hours: Availability | None, default_zone: str) -> HoursOut:
    if hours is None:
        return HoursOut(time_zone=default_zone, windows=[], stated=False)
    return HoursOut(
        time_zone=hours.time_zone,
        windows=[
            AvailabilityWindow(
                dow=w.dow, start=f"{w.start:%H:%M}", end=f"{w.end:%H:%M}" if w.end != MIDNIGHT else "24:00"
            )
            for w in hours.windows
        ],
        away=list(hours.away),
        weekly_cap=hours.weekly_cap,
        paused=hours.paused,
        stated=True,
    )


@router.get("/v1/availability", summary="The caller's weekly hours")
async def get_json(request: Request, principal: Me) -> HoursOut:
    """Local wall clock in an IANA zone, days away, cap, pause."""
    async with begin(request) as work:
        hours = await get_hours(work, principal.person_id)
    return _out(hours, request.app.state.program.organization.time_zone)


@router.put("/v1/availability", summary="Replace the caller's weekly hours")
async def put_json(request: Request, given: HoursIn, principal: Me) -> HoursOut:
    """Booked calls stand; the next round of matching reads the new hours."""
    windows = _parsed([w.model_dump() for w in given.windows])
    async with begin(request) as work:
        hours = await state_hours(
            work,
            principal.person_id,
            time_zone=_zone(given.time_zone),
            windows=windows,
            away=given.away,
            weekly_cap=given.weekly_cap,
            paused=given.paused,
        )
    return _out(hours, hours.time_zone)


def _parsed(stated: list[dict[str, Any]]) -> tuple[Window, ...]:
    try:
        return parse_windows(stated)
    except AvailabilityError:
        sentence = _("A time must end after it starts. Correct the times and send them again.")
        raise Rejected("hours_invalid", sentence, status=422, fields={"windows": sentence}) from None


def _zone(name: str) -> str:
    try:
        return zone_of(name).key
    except AvailabilityError:
        sentence = _("Choose a time zone from the IANA list, such as America/Chicago.")
        raise Rejected("time_zone_unknown", sentence, status=422, fields={"time_zone": sentence}) from None


async def _reader(request: Request, at: Addresses) -> UUID:
    """Whose hours: by the mail's link, or by the session."""
    person, token = request.query_params.get("person"), request.query_params.get("token")
    if person is None or token is None:
        return signed_in(request).person_id
    try:
        person_id = UUID(person)
    except ValueError:
        raise NotFound from None
    at.check("availability", person_id, token)
    return person_id


@router.get("/availability", summary="A person's weekly hours")
async def page(request: Request, at: At) -> Response:
    """The editor, filled with what is stated."""
    person_id = await _reader(request, at)
    async with begin(request) as work:
        known = await _person(work, person_id)
        hours = await get_hours(work, person_id)
    values = _values(hours, known["time_zone"] or request.app.state.program.organization.time_zone)
    return _form(request, at, person_id, known, values, FieldErrors())


@router.post("/availability", summary="Save weekly hours")
async def save(request: Request, at: At) -> Response:
    """Saves, or shows the page again with what to mend."""
    person_id = await _reader(request, at)
    form = await request.form()
    errors = FieldErrors()
    stated = read_availability(form, "hours", errors, required=False)
    windows = tuple(Window(w.weekday, w.start, MIDNIGHT if w.end == LAST_MINUTE else w.end) for w in stated)
    away = _read_days(value_of(form, "away"), errors)
    cap = _read_cap(value_of(form, "weekly_cap"), errors)
    async with begin(request) as work:
        known = await _person(work, person_id)
    if not errors:
        try:
            async with begin(request) as work:
                await state_hours(
                    work,
                    person_id,
                    time_zone=_zone(value_of(form, "time_zone")),
                    windows=windows,
                    away=away,
                    weekly_cap=cap,
                    paused=value_of(form, "paused") == "yes",
                )
        except Rejected as no:
            if no.status != 422:
                raise
            for name, sentence in no.fields.items():
                errors.add({"windows": "hours"}.get(name, name), sentence)
    if errors:
        return _form(request, at, person_id, known, form, errors)
    pages: Pages = request.app.state.pages
    return pages.response(
        request,
        "message.html",
        language=_language(request, known),
        title=_("Your hours are saved"),
        summary=_("We use them from the next round on. Calls that are already booked stay as they are."),
        next_href=_own_address(request, at, person_id),
        next_label=_("See your hours"),
    )


async def _person(work: Work, person_id: UUID) -> Mapping[str, Any]:
    current_id = (await resolve(work.connection, [person_id]))[person_id]
    known = (await get_people(work.connection, [current_id])).get(current_id)
    if known is None:
        raise NotFound
    found: Mapping[str, Any] = known
    return found


def _language(request: Request, known: Mapping[str, Any]) -> str:
    pages: Pages = request.app.state.pages
    principal = current(request)
    return pages.page_language(request, (principal.language if principal else None) or known["language"])


def _own_address(request: Request, at: Addresses, person_id: UUID) -> str:
    return at.availability(person_id) if "token" in request.query_params else f"{at.base}/availability"


def _values(hours: Availability | None, zone: str) -> dict[str, str]:
    if hours is None:
        return {"time_zone": zone}
    shown = [
        WeeklyWindow(w.dow, w.start, LAST_MINUTE if w.end == MIDNIGHT else w.end)
        for day in range(7)
        for w in [w for w in hours.windows if w.dow == day][:WINDOWS_A_DAY]
    ]
    return {
        **availability_values("hours", shown),
        "time_zone": hours.time_zone,
        "away": "\n".join(day.isoformat() for day in hours.away),
        "weekly_cap": "" if hours.weekly_cap is None else str(hours.weekly_cap),
        "paused": "yes" if hours.paused else "",
    }


def _form(
    request: Request, at: Addresses, person_id: UUID, known: Mapping[str, Any], values: Any, errors: FieldErrors
) -> Response:
    pages: Pages = request.app.state.pages
    return pages.response(
        request,
        "form.html",
        status=422 if errors else 200,
        language=_language(request, known),
        title=_("When are you free?"),
        intro=_("Say when you usually have half an hour to talk. You can change it at any time."),
        action=_own_address(request, at, person_id),
        form_fields=_fields(request, known, value_of(values, "time_zone")),
        values=values,
        errors=errors,
        hidden_values={},
        submit_label=_("Save your hours"),
    )


def _fields(request: Request, known: Mapping[str, Any], zone: str) -> list[fields.Field]:
    policy = request.app.state.program.one_on_one
    zones = [*US_ZONES, *([zone] if zone not in US_ZONES and zone in available_timezones() else [])]
    found = [
        fields.Field(
            name="time_zone",
            kind="select",
            label=_("Your time zone"),
            options=[Option(name, zone_name(name)) for name in zones],
        ),
        fields.Field(
            name="hours",
            kind="availability",
            label=_("Hours in a usual week"),
            hint=_("In your own time; we take care of the other person’s."),
            required=False,
        ),
        fields.Field(
            name="away",
            kind="textarea",
            label=_("Days when you are away"),
            hint=_("One date on each line, like 2026-12-24."),
            required=False,
            rows=3,
        ),
    ]
    if "volunteer" in known["roles"]:
        found.append(
            fields.Field(
                name="weekly_cap",
                kind="number",
                label=_("Most calls in one week"),
                hint=_(
                    "Left empty: %(usual)d. At most %(most)d.",
                    usual=policy.weekly_cap_default,
                    most=policy.weekly_cap_max,
                ),
                required=False,
                width=2,
            )
        )
    found.append(
        fields.Field(name="paused", kind="checkbox", label=_("Pause: don’t find me new calls for now"), required=False)
    )
    return found


def _read_days(text: str, errors: FieldErrors) -> list[date]:
    days = []
    for line in text.replace(",", "\n").split():
        try:
            days.append(date.fromisoformat(line))
        except ValueError:
            errors.add("away", _("Write each day as year-month-day, like 2026-12-24."))
    return days


def _read_cap(text: str, errors: FieldErrors) -> int | None:
    if not text.strip():
        return None
    if not (text.strip().isascii() and text.strip().isdigit() and len(text.strip()) <= 3):
        errors.add("weekly_cap", _("Enter a whole number, like 2."))
        return None
    return int(text)
