"""Headers of any bytes become JSON that PostgreSQL takes, and decoding has one way to fail."""

import json
from uuid import uuid4

import pytest
from hypothesis import given
from hypothesis import strategies as st

from shared.errors import Unprocessable
from shared.events.envelope import Received, Unknown, decode, raw_headers_as_json
from shared.events.signup import SignedUp

headers = st.lists(st.tuples(st.text(max_size=8), st.none() | st.binary(max_size=20)), max_size=6)
known = st.sampled_from(["ce_id", "ce_type", "ce_time", "ce_sequence", "correlation_id"])
likely = st.sampled_from(
    [SignedUp.type.encode(), str(uuid4()).encode(), b"1", b"2026-03-02T12:00:00Z", b"0001-01-01T00:00:00+23:00",
     b"9999-12-31T23:59:59-23:00", b"\\u0000", b"\x00", b"\xff", b""]
)  # fmt: skip


@given(headers)
def test_raw_headers_are_json_without_nul(pairs: list[tuple[str, bytes | None]]) -> None:
    text = raw_headers_as_json(pairs)
    kept = json.loads(text)
    assert [name for name, _ in kept] == [name.replace("\x00", "\\x00") for name, _ in pairs]
    assert "\x00" not in "".join(part or "" for pair in kept for part in pair)


def test_raw_headers_keep_a_backslash_followed_by_u0000() -> None:
    assert json.loads(raw_headers_as_json([("x", b"\\u0000")])) == [["x", "\\u0000"]]


@given(st.lists(st.tuples(known, likely), max_size=8), st.none() | st.binary(max_size=30))
def test_decoding_yields_an_event_an_unknown_or_one_error(
    pairs: list[tuple[str, bytes | None]], value: bytes | None
) -> None:
    try:
        found = decode(topic="t", partition=0, offset=0, key=b"k", headers=pairs, value=value)
    except Unprocessable:
        return
    assert isinstance(found, (Received, Unknown))


@pytest.mark.parametrize("time", ["0001-01-01T00:00:00+14:00", "9999-12-31T23:59:59-12:00", "1969-12-31T00:00:00Z"])
def test_time_without_a_utc_day_is_refused(time: str) -> None:
    pairs: list[tuple[str, bytes | None]] = [
        ("ce_type", SignedUp.type.encode()),
        ("ce_id", str(uuid4()).encode()),
        ("ce_time", time.encode()),
        ("ce_sequence", b"1"),
    ]
    with pytest.raises(Unprocessable, match="header ce_time is out of range"):
        decode(topic="t", partition=0, offset=0, key=b"k", headers=pairs, value=b"{}")
