"""How long a receiver asks us to wait, and what it writes instead."""

import datetime as dt

import pytest

from services.endorsement.domain.deliveries import read_retry_after

NOW = dt.datetime(2026, 11, 4, 15, 0, tzinfo=dt.UTC)
DAY = dt.timedelta(hours=24)


@pytest.mark.parametrize(
    ("header", "wait"),
    [
        ("120", dt.timedelta(minutes=2)),
        (" 0 ", dt.timedelta(0)),
        ("9" * 4000, DAY),
        ("Wed, 04 Nov 2026 15:30:00 GMT", dt.timedelta(minutes=30)),
        ("Wed, 04 Nov 2026 14:30:00 GMT", dt.timedelta(0)),
        ("Wed, 04 Nov 2026 16:30:00 +0100", dt.timedelta(minutes=30)),
    ],
    ids=["seconds", "spaces", "many_digits", "date", "past", "zone"],
)
def test_retry_after_is_seconds_or_a_date(header: str, wait: dt.timedelta) -> None:
    assert read_retry_after(header, NOW) == wait


@pytest.mark.parametrize(
    "header",
    [
        None,
        "",
        "soon",
        "-5",
        "²",
        "9" * 5000,
        "Mon, 01 Jan 99999999999 00:00:00 GMT",
        "Mon, 01 Jan 2027 00:00:00 +9999999999999999",
        "Mon, 01 Jan 2027 00:00:00 -0000",
    ],
    ids=["none", "empty", "word", "negative", "superscript", "digits", "year", "zone", "no_zone"],
)
def test_retry_after_that_cannot_be_read_is_none(header: str | None) -> None:
    assert read_retry_after(header, NOW) is None
