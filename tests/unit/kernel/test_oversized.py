"""What is cut of an event that is too large, and when the ledger takes a record that differs for the one appended."""

import sqlite3
from typing import Any

import pytest

from cli.ledger.checks.streams import CHANGED
from cli.oversized import cut


@pytest.mark.parametrize(
    ("value", "left", "fields"),
    [
        ("short", "short", []),
        ("exactly te", "exactly te", []),
        ("eleven long", "eleven lo…", [""]),
        ({"a": 12345678901, "b": None, "c": True}, {"a": 12345678901, "b": None, "c": True}, []),
        (
            {"plan": "x" * 11, "votes": [{"why": "y" * 12}, "z", ["w" * 30]]},
            {"plan": "x" * 9 + "…", "votes": [{"why": "y" * 9 + "…"}, "z", ["w" * 9 + "…"]]},
            ["plan", "votes.0.why", "votes.2.0"],
        ),
    ],
)
def test_only_long_texts_are_cut_and_named(value: Any, left: Any, fields: list[str]) -> None:
    assert cut(value, 10) == (left, fields)


@pytest.mark.parametrize(
    ("written", "found"),
    [
        ([], ["event"]),
        ([("event", "topic", "appended", "sent")], []),
        ([("event", "topic", "appended", "another")], ["event"]),
        ([("event", "topic", "another", "sent")], ["event"]),
        ([("event", "elsewhere", "appended", "sent")], ["event"]),
        ([("another", "topic", "appended", "sent")], ["event"]),
    ],
    ids=["nothing", "this", "to another end", "from another beginning", "on another topic", "another event"],
)
def test_record_that_differs_is_altered_unless_exactly_that_was_written_down(
    written: list[tuple[str, ...]], found: list[str]
) -> None:
    store = sqlite3.connect(":memory:")
    store.execute("CREATE TABLE records (event_id, topic, key, partition, offset, digest)")
    store.execute("CREATE TABLE copies (event_id, topic, key, digest)")
    store.execute("CREATE TABLE shortened (event_id, topic, former, later)")
    store.execute("INSERT INTO records VALUES ('event', 'topic', 'key', 0, 7, 'sent')")
    store.execute("INSERT INTO copies VALUES ('event', 'topic', 'key', 'appended')")
    store.executemany("INSERT INTO shortened VALUES (?, ?, ?, ?)", written)
    assert [row[0] for row in store.execute(CHANGED, ("topic",))] == found
    store.close()
