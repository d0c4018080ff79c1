"""Rules of group calls."""

import datetime as dt
from typing import Any
from zoneinfo import ZoneInfo

import pytest
from hypothesis import given
from hypothesis import strategies as st

from services.matching.domain.intro_calls import (
    Plan,
    Wish,
    local_start,
    mark,
    may_answer,
    place_for,
    plan,
    read_clock,
)
from shared.errors import Rejected

NOW = dt.datetime(2027, 1, 10, 12, 0, tzinfo=dt.UTC)


def wish(**changes: Any) -> Wish:
    """A wish without fault."""
    values: dict[str, Any] = {
        "title": "Welcome",
        "day": dt.date(2027, 2, 1),
        "clock": "18:30",
        "time_zone": "America/New_York",
        "minutes": 60,
        "capacity": 10,
        "language": "en",
        "track": None,
        "join_url": "https://calls.example/abc",
        **changes,
    }
    return Wish(**values)


def planned(**changes: Any) -> Plan:
    """What comes of a wish in a program of two languages and one track."""
    return plan(wish(**changes), now=NOW, languages=["en", "es"], tracks=["rural"])


@pytest.mark.parametrize(
    ("text", "time"),
    [
        ("18:30", dt.time(18, 30)),
        ("6:30 PM", dt.time(18, 30)),
        ("6:30 p.m.", dt.time(18, 30)),
        ("6 pm", dt.time(18)),
        ("12 am", dt.time(0)),
        ("12:05 pm", dt.time(12, 5)),
        ("00:00", dt.time(0)),
        ("7", None),
        ("24:00", None),
        ("13 pm", None),
        ("0 am", None),
        ("six", None),
        ("18:60", None),
        ("", None),
    ],
)
def test_read_clock_takes_what_people_write(text: str, time: dt.time | None) -> None:
    assert read_clock(text) == time


@pytest.mark.parametrize(
    ("day", "clock", "zone", "code"),
    [
        (dt.date(2027, 3, 14), dt.time(2, 0), "America/New_York", "time_skipped"),
        (dt.date(2027, 3, 14), dt.time(2, 59), "America/New_York", "time_skipped"),
        (dt.date(2027, 11, 7), dt.time(1, 0), "America/New_York", "time_doubled"),
        (dt.date(2027, 11, 7), dt.time(1, 59), "America/Denver", "time_doubled"),
    ],
)
def test_local_start_refuses_what_is_no_one_moment(day: dt.date, clock: dt.time, zone: str, code: str) -> None:
    with pytest.raises(Rejected) as refused:
        local_start(day, clock, zone)
    assert refused.value.code == code


@pytest.mark.parametrize(
    ("day", "clock", "zone", "utc"),
    [
        (dt.date(2027, 3, 14), dt.time(3, 0), "America/New_York", "2027-03-14T07:00:00+00:00"),
        (dt.date(2027, 3, 14), dt.time(1, 59), "America/New_York", "2027-03-14T06:59:00+00:00"),
        (dt.date(2027, 3, 14), dt.time(2, 30), "America/Phoenix", "2027-03-14T09:30:00+00:00"),
        (dt.date(2027, 11, 7), dt.time(2, 0), "America/New_York", "2027-11-07T07:00:00+00:00"),
        (dt.date(2027, 11, 7), dt.time(0, 59), "America/New_York", "2027-11-07T04:59:00+00:00"),
    ],
)
def test_local_start_is_the_utc_moment(day: dt.date, clock: dt.time, zone: str, utc: str) -> None:
    assert local_start(day, clock, zone).isoformat() == utc


@given(
    st.datetimes(
        dt.datetime.combine(dt.date(2026, 1, 1), dt.time()), dt.datetime.combine(dt.date(2031, 1, 1), dt.time())
    ),
    st.sampled_from(["America/New_York", "America/Phoenix", "Pacific/Honolulu", "America/St_Johns"]),
)
def test_local_start_shows_the_same_clock_back(local: dt.datetime, zone: str) -> None:
    local = local.replace(second=0, microsecond=0, fold=0)
    try:
        start = local_start(local.date(), local.time(), zone)
    except Rejected:
        first, second = (local.replace(tzinfo=ZoneInfo(zone), fold=fold).utcoffset() for fold in (0, 1))
        assert first != second
    else:
        assert start.astimezone(ZoneInfo(zone)).replace(tzinfo=None, fold=0) == local


def test_plan_is_in_utc_and_trimmed() -> None:
    made = planned(title="  Welcome ", track="rural")
    assert (made.title, made.track) == ("Welcome", "rural")
    assert made.starts_at == dt.datetime(2027, 2, 1, 23, 30, tzinfo=dt.UTC)
    assert made.ends_at - made.starts_at == dt.timedelta(hours=1)


@pytest.mark.parametrize(
    ("changes", "field"),
    [
        ({"title": "  "}, "title"),
        ({"title": "x" * 121}, "title"),
        ({"title": "two\nlines"}, "title"),
        ({"day": None}, "date"),
        ({"day": dt.date(2027, 1, 9)}, "date"),
        ({"day": dt.date(2029, 1, 9)}, "date"),
        ({"clock": "late"}, "time"),
        ({"day": dt.date(2027, 3, 14), "clock": "2:15"}, "time"),
        ({"time_zone": "../etc/passwd"}, "time_zone"),
        ({"time_zone": ""}, "time_zone"),
        ({"minutes": 14}, "minutes"),
        ({"minutes": None}, "minutes"),
        ({"capacity": 5001}, "capacity"),
        ({"capacity": 0}, "capacity"),
        ({"language": "fr"}, "language"),
        ({"track": "urban"}, "track"),
        ({"join_url": "http://calls.example/abc"}, "join_url"),
        ({"join_url": "https://"}, "join_url"),
        ({"join_url": "https://calls"}, "join_url"),
        ({"join_url": "https://calls.example/a b"}, "join_url"),
        ({"join_url": "https://[calls.example"}, "join_url"),
        ({"join_url": "https://calls.example/" + "x" * 500}, "join_url"),
    ],
)
def test_plan_names_the_field_at_fault(changes: dict[str, Any], field: str) -> None:
    with pytest.raises(Rejected) as refused:
        planned(**changes)
    assert (refused.value.status, list(refused.value.fields)) == (422, [field])


def test_answers_close_at_the_start() -> None:
    may_answer("scheduled", NOW + dt.timedelta(seconds=1), NOW)
    for status, starts_at, code in (
        ("scheduled", NOW, "over"),
        ("cancelled", NOW + dt.timedelta(days=1), "cancelled"),
    ):
        with pytest.raises(Rejected) as refused:
            may_answer(status, starts_at, NOW)
        assert (refused.value.code, refused.value.status) == (code, 410)


@pytest.mark.parametrize(
    ("going", "waits", "waiting_list", "state"),
    [(0, False, True, "going"), (9, False, False, "going"), (10, False, True, "waiting"), (10, True, True, "waiting")],
)
def test_place_depends_on_the_seats_left(going: int, waits: bool, waiting_list: bool, state: str) -> None:
    assert place_for("going", going=going, capacity=10, waiting_list=waiting_list, waits=waits) == state
    assert place_for("declined", going=going, capacity=10, waiting_list=waiting_list, waits=waits) == "declined"


def test_full_call_without_waiting_list_has_no_place() -> None:
    with pytest.raises(Rejected) as refused:
        place_for("going", going=10, capacity=10, waiting_list=False, waits=False)
    assert refused.value.code == "full"


def test_marks_change_one_way_only() -> None:
    assert mark("going", None, "attended") is True
    assert mark(None, None, "attended") is True
    assert mark("going", "missed", "attended") is True
    assert mark("going", None, "missed") is True
    assert mark("going", "missed", "missed") is False
    assert mark("guest", "attended", "attended") is False
    for state, before in (("going", "attended"), ("waiting", None), (None, None), ("declined", None)):
        with pytest.raises(Rejected):
            mark(state, before, "missed")  # type: ignore[arg-type]
