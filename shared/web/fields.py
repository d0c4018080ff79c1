"""Form fields as values: what a form asks, what is wrong with an answer, and a week's free hours.

`templates/fields.html` renders them; a service builds them from its program and its rules. A value is looked
up by the control's name in whatever the browser sent, so a refused form shows what was typed.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import date, time
from typing import Literal, TypeAlias

from shared.web.text import Text, _

Kind: TypeAlias = Literal[
    "text",
    "email",
    "tel",
    "number",
    "url",
    "textarea",
    "select",
    "radios",
    "checkboxes",
    "checkbox",
    "date",
    "availability",
]

DAYS = ("mon", "tue", "wed", "thu", "fri", "sat", "sun")
WINDOWS_PER_DAY = 2


@dataclass(frozen=True, slots=True)
class Option:
    """One answer that may be chosen; `value` is what the browser sends."""

    value: str
    label: Text
    hint: Text | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Field:
    """One question of a form.

    `name` is the control's name and id, and the key of its error. A `checkbox` sends `yes` when ticked. A `date`
    sends `<name>-month`, `<name>-day` and `<name>-year`; an `availability` sends `<name>-<day>-<1|2>-<start|end>`
    as HH:MM. `width` is the number of characters expected (2, 3, 4, 5, 10, 20, 30); `autocomplete` is HTML's
    token. A field that is not `required` says so in its label, unless it `is_filter`: a search is never obliged.
    """

    name: str
    kind: Kind
    label: Text
    hint: Text | None = None
    required: bool = True
    options: Sequence[Option] = ()
    autocomplete: str | None = None
    inputmode: str | None = None
    width: Literal[2, 3, 4, 5, 10, 20, 30] | None = None
    rows: int = 5
    max_length: int | None = None
    prefix: str | None = None
    suffix: str | None = None
    empty_option: Text | None = None
    is_filter: bool = False

    def __post_init__(self) -> None:
        if self.kind in ("select", "radios", "checkboxes") and not self.options:
            raise ValueError(f"field {self.name!r} is a {self.kind} without options: give it at least one Option")


class FieldErrors(Mapping[str, Text]):
    """What is wrong, by control name, in the order it was found; the first finding of a control stays.

    Falsy while nothing is wrong, so `if errors: return …400`.
    """

    def __init__(self, errors: Mapping[str, Text] | None = None) -> None:
        self._errors: dict[str, Text] = dict(errors or {})

    def add(self, name: str, sentence: Text) -> None:
        """Note one sentence that says what to do, against the control `name`."""
        self._errors.setdefault(name, sentence)

    def __getitem__(self, name: str) -> Text:
        return self._errors[name]

    def __iter__(self) -> Iterator[str]:
        return iter(self._errors)

    def __len__(self) -> int:
        return len(self._errors)


def value_of(values: Mapping[str, object], name: str) -> str:
    """The control's single value as text; empty when the form did not send it."""
    value = values.get(name)
    if value is None or isinstance(value, (list, tuple, set, frozenset)):
        return ""
    return str(value)


def chosen(values: Mapping[str, object], name: str) -> list[str]:
    """Every value ticked under `name`, from a multi-valued form or from a mapping of lists."""
    getlist = getattr(values, "getlist", None)
    if getlist is not None:
        return [str(value) for value in getlist(name)]
    value = values.get(name)
    if value is None:
        return []
    if isinstance(value, (list, tuple, set, frozenset)):
        return [str(item) for item in value]
    return [str(value)]


@dataclass(frozen=True, slots=True, order=True)
class WeeklyWindow:
    """Hours free each week, in the person's own time zone: weekday 0 is Monday, start before end."""

    weekday: int
    start: time
    end: time


def availability_values(name: str, windows: Sequence[WeeklyWindow]) -> dict[str, str]:
    """Control values that show `windows` in the editor called `name`. At most two windows a day can be shown."""
    values: dict[str, str] = {}
    for weekday, day in enumerate(DAYS):
        of_day = sorted(window for window in windows if window.weekday == weekday)
        if len(of_day) > WINDOWS_PER_DAY:
            raise ValueError(f"{len(of_day)} windows on one day: the editor shows at most {WINDOWS_PER_DAY}")
        for number, window in enumerate(of_day, start=1):
            values[f"{name}-{day}-{number}-start"] = window.start.strftime("%H:%M")
            values[f"{name}-{day}-{number}-end"] = window.end.strftime("%H:%M")
    return values


def read_availability(
    values: Mapping[str, object], name: str, errors: FieldErrors, *, required: bool = True
) -> tuple[WeeklyWindow, ...]:
    """The windows that the editor `name` sent, sorted; what is wrong goes into `errors` by control."""
    windows: list[WeeklyWindow] = []
    found_before = len(errors)
    for weekday, day in enumerate(DAYS):
        of_day: list[WeeklyWindow] = []
        for number in range(1, WINDOWS_PER_DAY + 1):
            window = _read_window(values, f"{name}-{day}-{number}", weekday, errors)
            if window is None:
                continue
            if any(window.start < other.end and other.start < window.end for other in of_day):
                errors.add(f"{name}-{day}-{number}-start", _("These times overlap. Change one, or make them one time"))
            of_day.append(window)
        windows += of_day
    if required and not windows and len(errors) == found_before:
        errors.add(name, _("Enter at least one time when you are free"))
    return tuple(sorted(windows))


def _read_window(values: Mapping[str, object], control: str, weekday: int, errors: FieldErrors) -> WeeklyWindow | None:
    typed = {end: value_of(values, f"{control}-{end}").strip() for end in ("start", "end")}
    if not any(typed.values()):
        return None
    times: dict[str, time] = {}
    for end, text in typed.items():
        parsed = _read_time(text)
        if parsed is None:
            sentence = _("Enter a time like 6:30 PM or 18:30") if text else _("Enter both a start time and an end time")
            errors.add(f"{control}-{end}", sentence)
        else:
            times[end] = parsed
    if len(times) < len(typed):
        return None
    if times["start"] >= times["end"]:
        errors.add(f"{control}-end", _("Enter an end time that is later than the start time"))
        return None
    return WeeklyWindow(weekday, times["start"], times["end"])


def _read_time(text: str) -> time | None:
    """HH:MM as a browser's time control sends it, or a typed 6:30 PM where there is no such control."""
    compact = text.replace(".", "").replace("\u202f", " ").upper().strip()
    meridiem = compact[-2:] if compact.endswith(("AM", "PM")) else ""
    clock = compact.removesuffix(meridiem).strip() if meridiem else compact
    hour_text, _colon, rest = clock.partition(":")
    minute_text, _colon, _seconds = rest.partition(":")
    minute_text = minute_text or ("00" if meridiem else "")
    if not all(text.isascii() and text.isdigit() and len(text) <= 2 for text in (hour_text, minute_text)):
        return None
    hour, minute = int(hour_text), int(minute_text)
    if meridiem:
        if not 1 <= hour <= 12:
            return None
        hour = hour % 12 + (12 if meridiem == "PM" else 0)
    return time(hour, minute) if hour < 24 and minute < 60 else None


def read_date(values: Mapping[str, object], name: str, errors: FieldErrors, *, required: bool = True) -> date | None:
    """The date that a `date` field sent, or None with a sentence in `errors` (None alone when empty and optional)."""
    parts = [value_of(values, f"{name}-{part}").strip() for part in ("year", "month", "day")]
    if not any(parts):
        if required:
            errors.add(name, _("Enter a date"))
        return None
    try:
        year, month, day = (int(part) for part in parts)
        found = date(year, month, day)
    except (ValueError, OverflowError):
        found = None
    if found is None or found.year < 1000:
        errors.add(name, _("Enter a real date with month, day and a four-digit year, like 11 3 2026"))
        return None
    return found
