"""What was typed into an application: read as what it means, kept as it was typed, refused in a sentence."""

import time
from typing import Any

import pytest

from services.endorsement.domain.answers import read_typed
from shared.program import ApplicationField

AMOUNT = "Enter an amount in dollars, like 12,500 or 950.50."


def field(kind: str) -> ApplicationField:
    written = {"max_length": 100} if kind == "short_text" else {}
    return ApplicationField.model_validate(
        {"id": "it", "kind": kind, "label": {"en": "It"}, "required": True} | written
    )


def read(kind: str, typed: object) -> tuple[Any, str | None]:
    answer, error = read_typed(field(kind), typed)
    return answer, None if error is None else str(error)


@pytest.mark.parametrize(
    ("typed", "cents"),
    [
        ("12,500", 1_250_000),
        (" $950.50 ", 95_050),
        ("0", 0),
        ("0.000", 0),
        ("1e3", 100_000),
        (1_250_000, 1_250_000),
        (12.5, 1250),
        ("10,000,000,000", 10**12),
        ("", None),
    ],
)
def test_amount_is_whole_cents(typed: object, cents: int | None) -> None:
    assert read("money", typed) == (cents, None)


@pytest.mark.parametrize(
    "typed",
    [
        "much",
        "1.005",
        "-5",
        "10,000,000,000.01",
        "9e900000",
        "-9e900000",
        "9e-900000",
        "0e900000",
        "1e999999",
        "1e-2000000",
        "1e" + "9" * 17,
        "1e" + "9" * 30,
        "9" * 200_000,
        "0." + "0" * 40 + "1",
        "1." + "0" * 40 + "1",
        "Infinity",
        "NaN",
        "sNaN",
    ],
    ids=lambda typed: typed[:20],
)
def test_amount_that_is_none_is_kept_as_typed_at_once(typed: str) -> None:
    began = time.process_time()
    assert read("money", typed) == (typed, AMOUNT)
    assert time.process_time() - began < 1


@pytest.mark.parametrize(
    ("kind", "typed", "answer", "error"),
    [
        ("money", "12\x0034", 123_400, "Remove the control characters."),
        ("money", "much\x00", "much", AMOUNT),
        ("money", "\x00", "", AMOUNT),
        ("whole_number", "42\x0000", 4200, "Remove the control characters."),
        ("whole_number", "\x1bmany", "many", "Enter a whole number, like 4200."),
        ("short_text", "a\x00b", "ab", "Remove the control characters."),
        ("short_text", "a\ud800b", "ab", "Remove the control characters."),
        ("money", "\ud8005", 500, "Remove the control characters."),
    ],
)
def test_what_the_database_has_no_room_for_is_left_out(kind: str, typed: str, answer: object, error: str) -> None:
    assert read(kind, typed) == (answer, error)


@pytest.mark.parametrize(
    "typed", [-1, 10**12 + 1, 2**63, 10**4000], ids=["negative", "too_much", "past_64_bits", "of_4001_digits"]
)
def test_number_that_is_no_amount_is_kept_as_text(typed: int) -> None:
    """The database takes none past 64 bits; and what is kept is refused again when it is handed in."""
    assert read("money", typed) == (str(typed), AMOUNT)
    assert read("money", str(typed)) == (str(typed), AMOUNT)
