"""The mutants still fit the code, their catchers exist, and a catch is only what deserves the name."""

import ast
from pathlib import Path

import pytest

from tests.faults.mutants import tally
from tests.faults.mutants.__main__ import PAGE, TALLY
from tests.faults.mutants.catching import Ran, judge
from tests.faults.mutants.mutant import Edit, Mutant, Rows, Stale, Suite, broken, chosen, mutated
from tests.faults.mutants.table import TABLE
from tests.faults.rows import table

CATCHER = Suite(("tests/a.py::test_a",), "2 == 1")


def test_mutants_are_many_and_named_once() -> None:
    names = [mutant.name for mutant in TABLE]
    assert len(set(names)) == len(names) >= 20
    assert sum(any(isinstance(catcher, Rows) for catcher in mutant.catchers) for mutant in TABLE) >= 5


def test_every_mutant_fits_the_code_and_is_a_program(repository: Path) -> None:
    """A mutant that no longer says anything, or that can't even be loaded, would be caught by everything."""
    for mutant in TABLE:
        for path, text in mutated(mutant, repository).items():
            assert text != path.read_text(encoding="utf-8"), mutant.name
            if path.suffix == ".py":
                compile(text, str(path), "exec")


def test_every_catcher_exists(repository: Path) -> None:
    functions: dict[str, set[str]] = {}
    missing = []
    for catcher in (catcher for mutant in TABLE for catcher in mutant.catchers):
        if isinstance(catcher, Rows):
            missing += [row for row in catcher.rows if row not in table()]
            assert catcher.check in {f"L{number}" for number in range(1, 15)}
            continue
        for name in catcher.ids:
            file, _, function = name.partition("::")
            if file not in functions:
                body = ast.parse((repository / file).read_text(encoding="utf-8")).body
                functions[file] = {n.name for n in body if isinstance(n, ast.FunctionDef | ast.AsyncFunctionDef)}
            if function.partition("[")[0] not in functions[file]:
                missing.append(name)
    assert missing == []


def test_page_says_what_came_of_them() -> None:
    assert PAGE.read_text(encoding="utf-8") == tally.page(TABLE, tally.read(TALLY)), (
        "run `python -m tests.faults.mutants --page`"
    )


@pytest.mark.parametrize(
    ("ran", "outcome"),
    [
        (Ran(1, ("assert 2 == 1",), (), "", 1.0), "caught"),
        (Ran(0, (), (), "1 passed", 1.0), "survived"),
        (Ran(1, ("NameError: name 'fresh' is not defined",), (), "", 1.0), "unclear"),
        (Ran(1, ("assert 2 == 1",), ("fixture 'kernel' not found",), "", 1.0), "unclear"),
        (Ran(4, (), (), "ERROR: not found", 1.0), "unclear"),
        (Ran(None, (), (), "", 240.0), "unclear"),
    ],
    ids=["failed", "passed", "crashed", "not set up", "not collected", "timed out"],
)
def test_catch_is_a_failure_in_the_expected_words(ran: Ran, outcome: str) -> None:
    assert judge(CATCHER, ran).outcome == outcome


def test_ledger_catches_by_the_check_that_is_expected() -> None:
    said = "L3  holds         outbox (12 rows)\nL7  violated      what the sinks took (30 mails)\n      ab-1: twice\n"
    ran = Ran(1, (said,), (), said, 60.0)
    assert judge(Rows(("sms_fails",), "L7"), ran).said == "L7 violated what the sinks took (30 mails) ab-1: twice"
    assert judge(Rows(("sms_fails",), "L3"), ran).outcome == "unclear"


def test_tree_is_whole_again_after_a_mutant(tmp_path: Path) -> None:
    (tmp_path / "a.py").write_text("one = 1\ntwo = 2\n")
    mutant = Mutant("m", "", "", (Edit("a.py", "one = 1", "one = 7"), Edit("a.py", "two = 2", "two = 8")), ())
    with broken(mutant, tmp_path):
        assert (tmp_path / "a.py").read_text() == "one = 7\ntwo = 8\n"
    assert (tmp_path / "a.py").read_text() == "one = 1\ntwo = 2\n"


@pytest.mark.parametrize("text", ["one = 2\n", "one = 1\none = 1\n"], ids=["changed", "twice"])
def test_text_that_is_not_there_once_is_refused(tmp_path: Path, text: str) -> None:
    (tmp_path / "a.py").write_text(text)
    with pytest.raises(Stale, match=r"m: a\.py has this text \d times, not once; mend the table\."):
        mutated(Mutant("m", "", "", (Edit("a.py", "one = 1", "one = 7"),), ()), tmp_path)


def test_mutants_are_chosen_by_name_or_beginning() -> None:
    assert [mutant.name for mutant in chosen(TABLE, ["no_inbox", "relay_by*", "no_inbox"])] == [
        "no_inbox",
        "relay_by_cursor",
    ]
    with pytest.raises(LookupError, match="There is no mutant nobody"):
        chosen(TABLE, ["nobody"])
