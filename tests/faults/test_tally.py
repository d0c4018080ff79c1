"""What the tally says of its runs, and that it claims no more than they support."""

from pathlib import Path

import pytest

from tests.faults import tally
from tests.faults.__main__ import least_played, number_of
from tests.faults.rows import Row
from tests.faults.session import grouped


def run(
    *rows: str,
    at: str = "2030-01-01",
    people: int = 1000,
    verdict: str = "clean",
    violations: int = 0,
    whole_path: int | None = None,
) -> tally.Run:
    """A line."""
    return tally.Run(
        at=at,
        rows=list(rows),
        seed=1,
        people=people,
        walkers=20,
        verdict=verdict,
        violations=violations,
        problems=[],
        seconds=10.0,
        revision="0000000",
        whole_path=whole_path,
    )


def row(name: str, lane: str) -> Row:
    """A row that does nothing."""
    return Row(name, lane, "", lambda _scene: None, walkers=False)


def test_upper_bound_is_what_a_rate_would_hide_in_one_of_twenty_such_tallies() -> None:
    for people in (1, 10, 100_000):
        bound = tally.upper_bound(people)
        assert (1 - bound) ** people == pytest.approx(0.05, rel=1e-6)
    assert tally.upper_bound(100_000) == pytest.approx(3 / 100_000, rel=0.01)
    assert tally.upper_bound(0) == 1.0


def test_tally_is_read_as_it_was_written(tmp_path: Path) -> None:
    path = tmp_path / "tally.jsonl"
    assert tally.read(path) == []
    runs = [run("one", "two"), run("three", verdict="not clean", violations=2)]
    for each in runs:
        tally.append(path, each)
    assert tally.read(path) == runs


def test_summary_counts_each_row_and_bounds_what_was_clean() -> None:
    clean = tally.summary([run("one", "two"), run("one", people=500)])
    assert "| one | 2 | 1,500 | 40 | 2 | 0 |" in clean
    assert "0 of 1,500 in all runs:" in clean
    slow = tally.summary([run("one"), run("one", people=500, verdict="not clean")])
    assert "1 runs were not clean" in slow
    assert "the ledger complained in 0" in slow
    assert "0 of 1,000 in all clean runs:" in slow
    assert "since" not in slow


def test_summary_says_what_a_violation_leaves_of_the_tally() -> None:
    runs = [run("one"), run("one", at="2030-01-02", verdict="not clean", violations=3)]
    broken = tally.summary(runs)
    assert "| one | 2 | 2,000 | 40 | 1 | 3 |" in broken
    assert broken.endswith("Nothing since.")
    mended = tally.summary([*runs, run("one", at="2030-01-03", people=700)])
    assert "0 of 1,700 in all clean runs:" in mended
    assert "0 of 700 since the last violation (2030-01-02):" in mended


def test_summary_says_how_many_walkers_were_seen_to_get_through() -> None:
    assert "counted" not in tally.summary([run("one")])
    said = tally.summary([run("one"), run("one", whole_path=19), run("one", whole_path=3, verdict="not clean")])
    assert "Where it was counted, 19 of 20 had their one-on-one and a decision." in said


def test_repeated_run_hits_the_same_service() -> None:
    assert [number_of(seed) for seed in (7, 7, 107, 8)] == [7, 7, 7, 8]


def test_groups_join_rows_of_different_lanes_and_hold_every_row_once() -> None:
    rows = [row("a1", "a"), row("a2", "a"), row("b1", "b"), row("w1", "world"), row("w2", "world"), row("w3", "world")]
    names = [[each.name for each in group] for group in grouped(rows, together=2)]
    assert names == [["a1", "b1"], ["a2"], ["w1", "w2"], ["w3"]]


def test_campaign_goes_on_with_what_was_played_least() -> None:
    groups = [[row("a", "world")], [row("b", "world")], [row("c", "world")]]
    assert least_played(groups, [])[0].name == "a"
    assert least_played(groups, [run("a"), run("b")])[0].name == "c"
    assert least_played(groups, [run("a"), run("b"), run("c")])[0].name == "a"
