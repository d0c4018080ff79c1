"""Stated hours (local wall clock) into slots (UTC).

People state weekly hours as wall-clock times in their own IANA zone, because "Tuesdays after work" survives
a clock change and an instant does not. A window is resolved afresh on each local date:

- both ends are read with `fold=0` and converted to UTC; a slot is offered when it lies inside, compared in UTC;
- an *ambiguous* time (clocks go back) is its first occurrence, so 01:00-02:00 covers both repeated hours
  (it ends at the only 02:00) while 01:00-01:30 covers the first half hour only;
- a *nonexistent* time (clocks go forward) takes the offset that held before the gap, so 02:30 is the instant
  that clocks show as 03:30: 02:00-03:00 is empty on that date and 01:30-02:30 keeps its full hour;
- adjacent or overlapping windows are not joined: a call lies wholly inside one stated window.

The slot grid starts at an instant and steps by whole minutes; windows need not lie on it.
"""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from datetime import UTC, date, datetime, time, timedelta
from functools import lru_cache
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

DAY_NAMES = ("Monday", "Tuesday", "Wednesday", "Thursday", "Friday", "Saturday", "Sunday")
MAX_WINDOWS = 28
"""Four stated windows for each day of the week: more is a calendar, not a habit."""


class AvailabilityError(ValueError):
    """Stated hours that cannot be used; the message is a sentence for the person who typed them."""


@dataclass(frozen=True)
class Window:
    """Hours that recur weekly: `dow` counts from Monday = 0, `[start, end)` in the person's zone.

    An `end` of 00:00 is midnight at the end of that day. `valid_from` and `valid_until` are local dates,
    both inclusive; None leaves that side open. Raises AvailabilityError when the window is empty.
    """

    dow: int
    start: time
    end: time
    valid_from: date | None = None
    valid_until: date | None = None

    def __post_init__(self) -> None:
        if not 0 <= self.dow <= 6:
            raise AvailabilityError(f"Day {self.dow} is not a day of the week: use 0 for Monday to 6 for Sunday.")
        if self.start.tzinfo is not None or self.end.tzinfo is not None:
            raise AvailabilityError("Give the hours as local wall-clock times, without an offset.")
        if self.end != time(0) and self.end <= self.start:
            raise AvailabilityError(
                f"{DAY_NAMES[self.dow]} {self.start:%H:%M} to {self.end:%H:%M} must end after it starts."
            )
        if self.valid_from and self.valid_until and self.valid_until < self.valid_from:
            raise AvailabilityError(
                f"{DAY_NAMES[self.dow]} {self.start:%H:%M} to {self.end:%H:%M} must be valid until a date"
                " that is not before its first."
            )

    @property
    def minutes(self) -> int:
        """Length in minutes of wall clock, on a date without a clock change."""
        end = self.end.hour * 60 + self.end.minute or 24 * 60
        return end - (self.start.hour * 60 + self.start.minute)

    def on(self, day: date, zone: ZoneInfo) -> tuple[datetime, datetime] | None:
        """The window's instants in UTC on one local date; None when it does not apply or a gap swallows it."""
        if day.weekday() != self.dow:
            return None
        if (self.valid_from and day < self.valid_from) or (self.valid_until and day > self.valid_until):
            return None
        start = datetime.combine(day, self.start, zone).astimezone(UTC)
        last = day + timedelta(days=1) if self.end == time(0) else day
        end = datetime.combine(last, self.end, zone).astimezone(UTC)
        return (start, end) if start < end else None


def zone_of(name: str) -> ZoneInfo:
    """The IANA zone of that name. Raises AvailabilityError when there is none."""
    try:
        return ZoneInfo(name)
    except (ZoneInfoNotFoundError, ValueError, OSError, TypeError) as error:
        raise AvailabilityError(
            f"Unknown time zone {name!r}: choose a name from the IANA list, such as America/Chicago."
        ) from error


def parse_windows(
    stated: Iterable[Mapping[str, object]], *, call_minutes: int = 1, at_most: int = MAX_WINDOWS
) -> tuple[Window, ...]:
    """Windows from `{"dow": 0, "start": "18:00", "end": "20:30"}` as people state them; repeats are dropped.

    `end` may be "24:00". Raises AvailabilityError, naming the window by its place, when a field is missing or
    unreadable, when a window is shorter than `call_minutes`, or when there are more than `at_most`.
    """
    windows: dict[Window, None] = {}
    for place, row in enumerate(stated, start=1):
        dow, start, end = row.get("dow"), row.get("start"), row.get("end")
        if isinstance(dow, bool) or not isinstance(dow, int):
            raise AvailabilityError(f"Window {place} needs a day: a number from 0 for Monday to 6 for Sunday.")
        window = Window(dow, _parse_time(start, place, "start"), _parse_time(end, place, "end", midnight=True))
        if window.minutes < call_minutes:
            raise AvailabilityError(
                f"Window {place} ({DAY_NAMES[dow]} {start} to {end}) is too short for a call:"
                f" offer at least {call_minutes} minutes."
            )
        windows[window] = None
        if len(windows) > at_most:
            raise AvailabilityError(f"State at most {at_most} windows a week; join some of them.")
    return tuple(windows)


def _parse_time(stated: object, place: int, field: str, *, midnight: bool = False) -> time:
    if midnight and stated == "24:00":
        return time(0)
    try:
        parsed = time.fromisoformat(stated) if isinstance(stated, str) else None
    except ValueError:
        parsed = None
    if parsed is None or parsed.tzinfo is not None or parsed.second or parsed.microsecond:
        raise AvailabilityError(f"Window {place} needs {field!r} as a time of day such as 18:30, not {stated!r}.")
    if midnight and parsed == time(0):
        raise AvailabilityError(f"Window {place} ends at 00:00, before it starts: for midnight write 24:00.")
    return parsed


def slot_indices(
    window: Window,
    zone: ZoneInfo,
    start: datetime,
    count: int,
    slot_minutes: int,
    absent: frozenset[date] = frozenset(),
) -> tuple[int, ...]:
    """Which of `count` slots of `slot_minutes` from the aware instant `start` lie inside the window.

    `absent` are local dates on which the person offers no hours: a window that begins on one is not offered.
    """
    return _slot_indices(window, zone.key, start.astimezone(UTC), count, slot_minutes, absent)


# Thousands of people state the same evening in the same zone: resolve it once.
@lru_cache(maxsize=1 << 16)
def _slot_indices(
    window: Window, zone_key: str, start: datetime, count: int, slot_minutes: int, absent: frozenset[date]
) -> tuple[int, ...]:
    zone, step = ZoneInfo(zone_key), timedelta(minutes=slot_minutes)
    day = start.astimezone(zone).date() - timedelta(days=1)
    last = (start + count * step).astimezone(zone).date()
    found: list[int] = []
    while day <= last:
        span = None if day in absent else window.on(day, zone)
        if span is not None:
            first = -((start - span[0]) // step)
            found.extend(range(max(0, first), min(count, (span[1] - start) // step)))
        day += timedelta(days=1)
    return tuple(found)


def slots_between(
    windows: Iterable[Window],
    zone: ZoneInfo,
    start: datetime,
    end: datetime,
    slot_minutes: int,
    absent: frozenset[date] = frozenset(),
) -> tuple[tuple[datetime, datetime], ...]:
    """The person's slots as UTC pairs `[from, to)`, in order, on the grid that begins at `start`.

    Both instants aware; slots that would pass `end` are left out.
    """
    step = timedelta(minutes=slot_minutes)
    origin = start.astimezone(UTC)
    count = max(0, (end - start) // step)
    found = {k for w in windows for k in slot_indices(w, zone, origin, count, slot_minutes, absent)}
    return tuple((origin + k * step, origin + (k + 1) * step) for k in sorted(found))
