"""Wall-clock windows into UTC slots, clock changes included."""

from datetime import UTC, date, datetime, time, timedelta
from typing import Any
from zoneinfo import ZoneInfo

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from services.matching.domain.availability import (
    AvailabilityError,
    Window,
    parse_windows,
    slot_indices,
    slots_between,
    zone_of,
)
from tests.unit.matching import oracle

NEW_YORK = ZoneInfo("America/New_York")
SPRING = datetime(2027, 3, 11, tzinfo=UTC)  # clocks go forward on Sunday the 14th
AUTUMN = datetime(2027, 11, 4, tzinfo=UTC)  # clocks go back on Sunday the 7th


def starts(window: Window, start: datetime, zone: ZoneInfo = NEW_YORK, days: int = 7) -> list[str]:
    slots = slots_between([window], zone, start, start + timedelta(days=days), 30)
    assert {b - a for a, b in slots} <= {timedelta(minutes=30)}
    return [f"{a:%d %H:%M}" for a, _ in slots]


def test_slots_follow_the_wall_clock_across_both_changes() -> None:
    evening = Window(0, time(18), time(19))
    assert starts(evening, SPRING - timedelta(days=7)) == ["08 23:00", "08 23:30"]
    assert starts(evening, SPRING) == ["15 22:00", "15 22:30"]
    assert starts(evening, AUTUMN - timedelta(days=7)) == ["01 22:00", "01 22:30"]
    assert starts(evening, AUTUMN) == ["08 23:00", "08 23:30"]


@pytest.mark.parametrize(
    ("start", "end", "expected"),
    [
        (time(1), time(2), ["14 06:00", "14 06:30"]),
        (time(2), time(3), []),
        (time(2, 30), time(3), []),
        (time(2, 30), time(3, 30), []),
        (time(1, 30), time(2, 30), ["14 06:30", "14 07:00"]),
        (time(1, 30), time(4), ["14 06:30", "14 07:00", "14 07:30"]),
        (time(2, 30), time(4), ["14 07:30"]),
    ],
)
def test_nonexistent_times_take_the_offset_before_the_gap(start: time, end: time, expected: list[str]) -> None:
    assert starts(Window(6, start, end), SPRING) == expected


@pytest.mark.parametrize(
    ("start", "end", "expected"),
    [
        (time(0, 30), time(1), ["07 04:30"]),
        (time(1), time(1, 30), ["07 05:00"]),
        (time(1), time(2), ["07 05:00", "07 05:30", "07 06:00", "07 06:30"]),
        (time(1, 30), time(2, 30), ["07 05:30", "07 06:00", "07 06:30", "07 07:00"]),
        (time(2), time(2, 30), ["07 07:00"]),
    ],
)
def test_ambiguous_times_are_their_first_occurrence(start: time, end: time, expected: list[str]) -> None:
    assert starts(Window(6, start, end), AUTUMN) == expected


def test_windows_off_the_grid_offer_whole_slots_only() -> None:
    assert starts(Window(0, time(18, 10), time(19, 50)), SPRING) == ["15 22:30", "15 23:00"]
    assert starts(Window(0, time(18, 10), time(18, 45)), SPRING) == []
    kathmandu = ZoneInfo("Asia/Kathmandu")  # UTC+05:45
    assert starts(Window(0, time(18), time(19)), SPRING, kathmandu) == ["15 12:30"]


def test_windows_reach_midnight_and_the_edges_of_the_range() -> None:
    assert starts(Window(0, time(23), time(0)), SPRING) == ["16 03:00", "16 03:30"]
    # Thursday 11 March 00:00 in UTC is Wednesday 19:00 in New York: the window began before the range.
    assert starts(Window(2, time(18), time(20)), SPRING) == [
        "11 00:00",
        "11 00:30",
        "17 22:00",
        "17 22:30",
        "17 23:00",
        "17 23:30",
    ]


def test_adjacent_windows_are_not_joined_and_repeats_count_once() -> None:
    halves = [Window(0, time(18), time(18, 15)), Window(0, time(18, 15), time(18, 30))]
    assert slots_between(halves, NEW_YORK, SPRING, SPRING + timedelta(days=7), 30) == ()
    twice = [Window(0, time(18), time(19)), Window(0, time(18), time(18, 30))]
    assert len(slots_between(twice, NEW_YORK, SPRING, SPRING + timedelta(days=7), 30)) == 2


def test_days_off_and_dates_of_validity_are_local_dates() -> None:
    window = Window(0, time(22), time(23), valid_from=date(2027, 3, 15), valid_until=date(2027, 3, 22))
    # 22:00 on the 15th in New York is 02:00 on the 16th in UTC.
    assert starts(window, SPRING - timedelta(days=7), days=28) == ["16 02:00", "16 02:30", "23 02:00", "23 02:30"]
    off = frozenset({date(2027, 3, 15)})
    assert slot_indices(window, NEW_YORK, SPRING, 48 * 7, 30, off) == ()


@settings(max_examples=150, deadline=None, derandomize=True)
@given(
    zone=st.sampled_from(
        ["America/New_York", "America/Phoenix", "Australia/Lord_Howe", "Europe/Dublin", "America/St_Johns", "Asia/Gaza"]
    ),
    dow=st.integers(0, 6),
    begin=st.integers(0, 24 * 60 - 10),
    length=st.integers(5, 600),
    day=st.dates(date(2024, 1, 1), date(2030, 12, 31)),
    step=st.sampled_from([15, 20, 30, 45, 60]),
)
def test_slots_agree_with_the_oracle(zone: str, dow: int, begin: int, length: int, day: date, step: int) -> None:
    end = min(begin + length, 24 * 60 - 1)
    window = Window(dow, time(begin // 60, begin % 60), time(end // 60, end % 60))
    start = datetime.combine(day, time(0), UTC)
    person = {"tz": zone, "avail": [{"dow": dow, "start": f"{window.start:%H:%M}", "end": f"{window.end:%H:%M}"}]}
    first = int(start.timestamp())
    spans = oracle.spans(person, first, first + 14 * 86_400)
    expected = [
        k
        for k in range(14 * 24 * 60 // step)
        if any(a <= first + k * step * 60 and first + (k + 1) * step * 60 <= b for a, b in spans)
    ]
    assert sorted(slot_indices(window, ZoneInfo(zone), start, 14 * 24 * 60 // step, step)) == expected


def test_parse_windows_reads_what_people_state() -> None:
    stated = [
        {"dow": 0, "start": "18:00", "end": "20:30"},
        {"dow": 6, "start": "22:15", "end": "24:00"},
        {"dow": 0, "start": "18:00", "end": "20:30"},
    ]
    windows = parse_windows(stated, call_minutes=30)
    assert windows == (Window(0, time(18), time(20, 30)), Window(6, time(22, 15), time(0)))
    assert [w.minutes for w in windows] == [150, 105]


@pytest.mark.parametrize(
    ("row", "sentence"),
    [
        ({"start": "18:00", "end": "19:00"}, "Window 1 needs a day: a number from 0 for Monday to 6 for Sunday."),
        ({"dow": True, "start": "18:00", "end": "19:00"}, "Window 1 needs a day"),
        ({"dow": 7, "start": "18:00", "end": "19:00"}, "Day 7 is not a day of the week"),
        ({"dow": 0, "start": "6pm", "end": "19:00"}, "Window 1 needs 'start' as a time of day such as 18:30, not '6"),
        ({"dow": 0, "start": "18:00"}, "Window 1 needs 'end' as a time of day such as 18:30, not None."),
        ({"dow": 0, "start": "18:00", "end": "19:00+02:00"}, "Window 1 needs 'end' as a time of day"),
        ({"dow": 0, "start": "24:00", "end": "19:00"}, "Window 1 needs 'start' as a time of day"),
        ({"dow": 0, "start": "18:00", "end": "17:00"}, "Monday 18:00 to 17:00 must end after it starts."),
        ({"dow": 0, "start": "18:00", "end": "18:00"}, "Monday 18:00 to 18:00 must end after it starts."),
        ({"dow": 0, "start": "18:00", "end": "00:00"}, "Window 1 ends at 00:00, before it starts: for midnight"),
        ({"dow": 0, "start": "18:00", "end": "18:20"}, "Window 1 (Monday 18:00 to 18:20) is too short"),
    ],
)
def test_parse_windows_says_what_to_mend(row: dict[str, Any], sentence: str) -> None:
    with pytest.raises(AvailabilityError) as caught:
        parse_windows([row], call_minutes=30)
    assert str(caught.value).startswith(sentence)


def test_parse_windows_accepts_only_so_many() -> None:
    stated = [{"dow": n % 7, "start": f"{n // 7:02d}:00", "end": "23:00"} for n in range(4)]
    assert len(parse_windows(stated, at_most=4)) == 4
    with pytest.raises(AvailabilityError, match="State at most 3 windows a week"):
        parse_windows(stated, at_most=3)


def test_window_refuses_a_span_of_validity_that_ends_before_it_begins() -> None:
    with pytest.raises(AvailabilityError, match="not before its first"):
        Window(0, time(18), time(19), date(2027, 2, 1), date(2027, 1, 1))


@pytest.mark.parametrize("name", ["Mars/Olympus", "", "../etc/passwd", "America"])
def test_zone_of_refuses_what_is_no_zone(name: str) -> None:
    with pytest.raises(AvailabilityError, match=r"Unknown time zone .*: choose a name from the IANA list"):
        zone_of(name)
