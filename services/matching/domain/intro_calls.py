"""Rules of group intro calls: when one can be, who may answer, and what a calendar is told. No I/O."""

from __future__ import annotations

import datetime as dt
import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Literal, TypeAlias
from urllib.parse import urlsplit
from uuid import UUID
from zoneinfo import ZoneInfo, available_timezones

from icalendar import Calendar
from icalendar import Event as CalendarEvent

from shared.errors import Rejected
from shared.web.text import Text, _

Answer: TypeAlias = Literal["going", "declined"]
SeatState: TypeAlias = Literal["invited", "going", "waiting", "declined", "dropped", "guest"]
Attendance: TypeAlias = Literal["attended", "missed"]
Origin: TypeAlias = Literal["confirmed", "scheduled", "closed", "cancelled", "missed", "staff", "self"]

ATTENDANCE_GRACE = dt.timedelta(days=2)
"""How long after a call its people wait for staff to record attendance before they count as free again."""

UNANSWERED_LIMIT = 3
"""After so many invitations without an answer a person is left in peace; they can still choose a call themselves."""

FARTHEST = dt.timedelta(days=400)
TITLE_LENGTH = 120
URL_LENGTH = 500
PRODUCT_ID = "-//Hustings//Intro calls//EN"
_CLOCK = re.compile(r"^(\d{1,2})(?::(\d{2}))?(?::00)?\s*([ap])?\.?m?\.?$", re.IGNORECASE)


@dataclass(frozen=True, slots=True, kw_only=True)
class Plan:
    """A call as it goes on the calendar. Times are UTC; `time_zone` is the zone that staff gave the time in."""

    title: str
    starts_at: dt.datetime
    minutes: int
    capacity: int
    time_zone: str
    language: str
    track: str | None
    join_url: str

    @property
    def ends_at(self) -> dt.datetime:
        return self.starts_at + dt.timedelta(minutes=self.minutes)


@dataclass(frozen=True, slots=True, kw_only=True)
class Wish:
    """What staff asked for, before it was checked; None where nothing was given."""

    title: str
    day: dt.date | None
    clock: str
    time_zone: str
    minutes: int | None
    capacity: int | None
    language: str
    track: str | None
    join_url: str
    problems: Mapping[str, Text] = field(default_factory=dict)
    """What reading the form already found, by field."""


def plan(wish: Wish, *, now: dt.datetime, languages: Iterable[str], tracks: Iterable[str]) -> Plan:
    """The checked call. Raises `Rejected` (422) with a sentence for every field that needs another look."""
    problems: dict[str, Text] = dict(wish.problems)
    if not 1 <= len(wish.title.strip()) <= TITLE_LENGTH or not wish.title.isprintable():
        problems.setdefault("title", _("Enter a title of at most %(most)d characters", most=TITLE_LENGTH))
    if wish.minutes is None or not 15 <= wish.minutes <= 240:
        problems.setdefault("minutes", _("Enter a length between 15 and 240 minutes"))
    if wish.capacity is None or not 1 <= wish.capacity <= 5000:
        problems.setdefault("capacity", _("Enter a number of seats between 1 and 5,000"))
    if wish.language not in set(languages):
        problems.setdefault("language", _("Choose one of the languages of this program"))
    if wish.track is not None and wish.track not in set(tracks):
        problems.setdefault("track", _("Choose one of the tracks of this program, or none"))
    if not _is_https(wish.join_url):
        problems.setdefault("join_url", _("Enter the address to join the call; it starts with https://"))
    starts_at = _start(wish, now, problems)
    if problems or starts_at is None or wish.minutes is None or wish.capacity is None:
        raise Rejected(
            "invalid",
            _("Some fields need another look; each is listed with what is expected."),
            status=422,
            fields=problems,  # type: ignore[arg-type]
        )
    return Plan(
        title=wish.title.strip(),
        starts_at=starts_at,
        minutes=wish.minutes,
        capacity=wish.capacity,
        time_zone=wish.time_zone,
        language=wish.language,
        track=wish.track,
        join_url=wish.join_url.strip(),
    )


def _start(wish: Wish, now: dt.datetime, problems: dict[str, Text]) -> dt.datetime | None:
    if wish.time_zone not in available_timezones():
        problems.setdefault("time_zone", _("Choose a time zone, like America/Chicago"))
    if wish.day is None:
        problems.setdefault("date", _("Enter a date"))
    clock = read_clock(wish.clock)
    if clock is None:
        problems.setdefault("time", _("Enter a time like 6:30 PM or 18:30"))
    if clock is None or wish.day is None or {"date", "time", "time_zone"} & problems.keys():
        return None
    try:
        starts_at = local_start(wish.day, clock, wish.time_zone)
    except Rejected as no:
        problems["time"] = no.message
        return None
    if starts_at <= now:
        problems.setdefault("date", _("This time has passed. Choose one in the future"))
    elif starts_at > now + FARTHEST:
        problems.setdefault("date", _("This is more than a year ahead. Check the year"))
    return starts_at


def local_start(day: dt.date, clock: dt.time, zone: str) -> dt.datetime:
    """The UTC moment of a wall-clock time in an IANA zone.

    Raises `Rejected` for a time that clocks skip or show twice on that day: people would come an hour apart.
    """
    local = dt.datetime.combine(day, clock, ZoneInfo(zone))
    first, second = local.replace(fold=0), local.replace(fold=1)
    # In a gap the earlier reading has the smaller offset, in an overlap the larger.
    if first.utcoffset() != second.utcoffset():
        if first.astimezone(dt.UTC).astimezone(ZoneInfo(zone)).replace(tzinfo=None) != local.replace(tzinfo=None):
            raise Rejected(
                "time_skipped",
                _("Clocks are put forward over this time on that day, so it does not exist. Choose another time"),
                status=422,
            )
        raise Rejected(
            "time_doubled",
            _("Clocks are put back on that day, so this time comes twice. Choose a time before or after that hour"),
            status=422,
        )
    return local.astimezone(dt.UTC)


def read_clock(text: str) -> dt.time | None:
    """`18:30`, `6:30 PM` or `6 pm` as a time; None if it is none."""
    match = _CLOCK.match(text.replace("\u202f", " ").replace(".", "").strip())
    if match is None:
        return None
    hour, minute, half = int(match[1]), int(match[2] or 0), (match[3] or "").lower()
    if not half and match[2] is None:
        return None
    if half:
        if not 1 <= hour <= 12:
            return None
        hour = hour % 12 + (12 if half == "p" else 0)
    return dt.time(hour, minute) if hour < 24 and minute < 60 else None


def _is_https(url: str) -> bool:
    text = url.strip()
    if len(text) > URL_LENGTH or any(c.isspace() or c in '<>"' or not c.isprintable() for c in text):
        return False
    try:
        parts = urlsplit(text)
        return parts.scheme == "https" and bool(parts.hostname) and "." in (parts.hostname or "")
    except ValueError:
        return False


def may_answer(status: str, starts_at: dt.datetime, now: dt.datetime) -> None:
    """Raise `Rejected` (410) once a call is cancelled or has begun."""
    if status == "cancelled":
        raise Rejected("cancelled", _("This call was cancelled. Choose another call from your list."), status=410)
    if starts_at <= now:
        raise Rejected(
            "over", _("This call has begun or is over, so answers are closed. Choose another call."), status=410
        )


def place_for(answer: Answer, *, going: int, capacity: int, waiting_list: bool, waits: bool) -> SeatState:
    """What an answer comes to. A free seat goes to whoever asks: people only wait while there is none."""
    if answer == "declined":
        return "declined"
    if waits:
        return "waiting"
    if going < capacity:
        return "going"
    if waiting_list:
        return "waiting"
    raise Rejected("full", _("Every seat in this call is taken. Choose another call from your list."))


def mark(state: SeatState | None, before: Attendance | None, after: Attendance) -> bool:
    """Whether recording `after` changes anything. Raises `Rejected` where it would contradict what is known.

    Whoever came is recorded, invited or not; only somebody who held a seat can have missed the call. A person
    recorded as missed may still turn out to have been there; the other way round nothing is taken back, since the
    next step of their path has begun.
    """
    if before == after:
        return False
    if after == "missed" and before == "attended":
        raise Rejected(
            "already_attended",
            _("Somebody in your list is recorded as having been there, which stays. Take them out of the missed."),
        )
    if after == "missed" and state != "going":
        raise Rejected(
            "no_seat", _("Somebody in your list of missed held no seat in this call. Leave out who was not expected.")
        )
    return True


@dataclass(frozen=True, slots=True, kw_only=True)
class CalendarEntry:
    """What one person's calendar is told about one call."""

    intro_call_id: UUID
    title: str
    starts_at: dt.datetime
    ends_at: dt.datetime
    join_url: str
    sequence: int
    changed_at: dt.datetime
    organizer_name: str
    organizer_email: str
    cancelled: bool


def calendar_file(entry: CalendarEntry) -> str:
    """The iCalendar text (RFC 5545, 5546): UTC times; the same UID through every change; REQUEST or CANCEL.

    Carries no attendee: matching knows no addresses, and mail programs add the recipient's own.
    """
    calendar = Calendar()
    calendar.add("prodid", PRODUCT_ID)
    calendar.add("version", "2.0")
    calendar.add("method", "CANCEL" if entry.cancelled else "REQUEST")
    event = CalendarEvent()
    event.add("uid", f"intro-call-{entry.intro_call_id}@hustings")
    event.add("dtstamp", entry.changed_at)
    event.add("dtstart", entry.starts_at.astimezone(dt.UTC))
    event.add("dtend", entry.ends_at.astimezone(dt.UTC))
    event.add("sequence", entry.sequence)
    event.add("summary", f"{entry.title} – {entry.organizer_name}")
    event.add("organizer", f"mailto:{entry.organizer_email}", parameters={"CN": entry.organizer_name})
    event.add("status", "CANCELLED" if entry.cancelled else "CONFIRMED")
    if not entry.cancelled:
        event.add("location", entry.join_url)
        event.add("url", entry.join_url)
    calendar.add_component(event)
    return str(calendar.to_ical(), "utf-8")
