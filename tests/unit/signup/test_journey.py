"""Where somebody stands, what is next, and which numbers are hidden."""

from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from services.signup.domain import journey
from services.signup.domain.journey import Step
from services.signup.domain.next_url import safe_next
from services.signup.domain.small_cells import suppressed
from shared.program import Program, load

START = datetime(2026, 1, 1, tzinfo=UTC)
BASES = ("https://signup.example", "https://apps.example/matching")


@pytest.fixture(scope="module")
def program() -> Program:
    """The program with optional calls."""
    return load(Path(__file__).parents[3] / "programs" / "org_2025.toml")


def steps(*names: str) -> list[Step]:
    return [Step(name, START + timedelta(days=n), "one") for n, name in enumerate(names, 1)]


@pytest.mark.parametrize(
    ("taken", "current", "code"),
    [
        ((), "intro_call", "intro_call"),
        (("intro_call_attended",), "one_on_one", "availability"),
        (("match_offered",), "intro_call", "answer_offer"),
        (("match_offered", "call_booked"), "intro_call", "call"),
        (("intro_call_attended", "call_completed"), "filed", "file"),
        (("filing_confirmed",), "applied", "apply"),
        (("filing_confirmed", "application_submitted"), "eligible", "wait"),
    ],
)
def test_next_step_follows_the_path(program: Program, taken: tuple[str, ...], current: str, code: str) -> None:
    found = journey.places(program, journey.reached(START, START, steps(*taken)))
    step = journey.next_step(["prospect"], found, steps(*taken))
    assert step is not None
    assert ([p.stage.id for p in found if p.state == "current"], step.code) == ([current], code)


def test_campaign_staff_have_nothing_to_do(program: Program) -> None:
    assert journey.next_step(["campaign_staff"], journey.places(program, {"signed_up": START}), []) is None


def test_withdrawn_endorsement_is_no_stage() -> None:
    when = journey.reached(START, START, steps("endorsement_announced", "endorsement_withdrawn"))
    assert sorted(when) == ["confirmed", "signed_up"]


def test_single_small_cell_takes_a_second_one_with_it() -> None:
    shown = suppressed({"a": {"x": 3, "y": 50}, "b": {"x": 40, "y": 60}, "c": {"x": 20, "y": 0}})
    assert shown == {"a": {"x": None, "y": 50}, "b": {"x": 40, "y": 60}, "c": {"x": None, "y": 0}}


def test_two_small_cells_hide_each_other() -> None:
    assert suppressed({"a": {"x": 3}, "b": {"x": 4}, "c": {"x": 20}}) == {
        "a": {"x": None},
        "b": {"x": None},
        "c": {"x": 20},
    }


@pytest.mark.parametrize(
    "text", ["https://signup.example/me?x=1", "https://apps.example/matching/calls", "https://apps.example/matching"]
)
def test_next_leads_to_our_own_services(text: str) -> None:
    assert safe_next(text, BASES) == text


@pytest.mark.parametrize(
    "text",
    [
        None,
        "",
        "/me",
        "//signup.example",
        "https://signup.example.evil.example/",
        "https://signup.example@evil.example/",
        "https://signup.example:8443/",
        "http://signup.example/",
        "https://apps.example/matchingx",
        "https://apps.example/",
        "https:\\\\signup.example/",
        "https://signup.example/\nx",
        "https://[::1",
    ],
)
def test_next_leads_nowhere_else(text: str | None) -> None:
    assert safe_next(text, BASES) is None
