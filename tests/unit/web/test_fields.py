"""What the browser sends becomes windows and dates, or one sentence per control."""

from datetime import date, time

import pytest

from shared.web.fields import (
    Field,
    FieldErrors,
    WeeklyWindow,
    availability_values,
    chosen,
    read_availability,
    read_date,
    value_of,
)

WEEK = (
    WeeklyWindow(0, time(18), time(20, 15)),
    WeeklyWindow(6, time(9), time(11)),
    WeeklyWindow(6, time(15), time(17)),
)


def said(errors: FieldErrors) -> dict[str, str]:
    return {name: str(sentence) for name, sentence in errors.items()}


def test_availability_survives_the_round_through_the_editor() -> None:
    errors = FieldErrors()
    assert read_availability(availability_values("hours", WEEK), "hours", errors) == WEEK
    assert said(errors) == {}


@pytest.mark.parametrize(
    ("typed", "read"),
    [
        ("18:30", time(18, 30)),
        ("6:30 PM", time(18, 30)),
        ("6:30 p.m.", time(18, 30)),
        ("12 am", time(0)),
        ("12:05 PM", time(12, 5)),
        ("18:30:00", time(18, 30)),
    ],
)
def test_availability_reads_times_as_people_type_them(typed: str, read: time) -> None:
    errors = FieldErrors()
    values = {"hours-mon-1-start": typed, "hours-mon-1-end": "23:45"}
    assert read_availability(values, "hours", errors) == (WeeklyWindow(0, read, time(23, 45)),)


@pytest.mark.parametrize(
    ("values", "sentences"),
    [
        ({}, {"h": "Enter at least one time when you are free"}),
        ({"h-mon-1-start": "9:00"}, {"h-mon-1-end": "Enter both a start time and an end time"}),
        (
            {"h-mon-1-start": "1" * 5000 + ":00", "h-mon-1-end": "10:00"},
            {"h-mon-1-start": "Enter a time like 6:30 PM or 18:30"},
        ),
        (
            {"h-mon-1-start": "10:00", "h-mon-1-end": "10:00"},
            {"h-mon-1-end": "Enter an end time that is later than the start time"},
        ),
        (
            {"h-tue-2-start": "soon", "h-tue-2-end": "25:00"},
            {
                "h-tue-2-start": "Enter a time like 6:30 PM or 18:30",
                "h-tue-2-end": "Enter a time like 6:30 PM or 18:30",
            },
        ),
        (
            {"h-sun-1-start": "9:00", "h-sun-1-end": "11:00", "h-sun-2-start": "10:00", "h-sun-2-end": "12:00"},
            {"h-sun-2-start": "These times overlap. Change one, or make them one time"},
        ),
    ],
)
def test_availability_says_what_is_wrong_with_a_control(values: dict[str, str], sentences: dict[str, str]) -> None:
    errors = FieldErrors()
    read_availability(values, "h", errors)
    assert said(errors) == sentences


def test_availability_may_be_empty_when_optional() -> None:
    errors = FieldErrors()
    assert read_availability({}, "h", errors, required=False) == ()
    assert not errors


def test_availability_shows_at_most_two_windows_a_day() -> None:
    with pytest.raises(ValueError, match="3 windows on one day: the editor shows at most 2"):
        availability_values("h", [WeeklyWindow(0, time(hour), time(hour + 1)) for hour in (8, 10, 12)])


@pytest.mark.parametrize(
    ("values", "result", "sentences"),
    [
        ({"b-year": "1990", "b-month": "2", "b-day": "28"}, date(1990, 2, 28), {}),
        ({}, None, {"b": "Enter a date"}),
        (
            {"b-year": "1990", "b-month": "2", "b-day": "30"},
            None,
            {"b": "Enter a real date with month, day and a four-digit year, like 11 3 2026"},
        ),
        (
            {"b-year": "90", "b-month": "2", "b-day": "3"},
            None,
            {"b": "Enter a real date with month, day and a four-digit year, like 11 3 2026"},
        ),
        (
            {"b-year": "20261103000", "b-month": "1", "b-day": "1"},
            None,
            {"b": "Enter a real date with month, day and a four-digit year, like 11 3 2026"},
        ),
        (
            {"b-year": "1" * 5000, "b-month": "1", "b-day": "1"},
            None,
            {"b": "Enter a real date with month, day and a four-digit year, like 11 3 2026"},
        ),
    ],
)
def test_date_is_read_or_refused(values: dict[str, str], result: date | None, sentences: dict[str, str]) -> None:
    errors = FieldErrors()
    assert read_date(values, "b", errors) == result
    assert said(errors) == sentences


def test_first_error_of_a_control_stays() -> None:
    errors = FieldErrors()
    errors.add("name", "Enter your name")
    errors.add("name", "Enter a shorter name")
    assert dict(errors) == {"name": "Enter your name"}


def test_values_are_read_from_plain_mappings() -> None:
    values = {"one": "a", "many": ["a", "b"], "number": 5}
    assert [value_of(values, name) for name in ("one", "many", "number", "none")] == ["a", "", "5", ""]
    assert [chosen(values, name) for name in ("one", "many", "none")] == [["a"], ["a", "b"], []]


def test_choice_without_options_is_refused() -> None:
    with pytest.raises(ValueError, match="field 'office' is a radios without options: give it at least one Option"):
        Field(name="office", kind="radios", label="Office")
