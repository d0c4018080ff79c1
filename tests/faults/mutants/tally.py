"""What came of the mutants: one JSON line per mutant and catcher, and the page that is written from the newest ones."""

import datetime as dt
import json
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

from tests.faults.mutants.mutant import Catcher, Mutant

HEAD = """# Mutants

A harness that has never failed proves little. So the product is broken on purpose, one way at a time, in a copy of the
tree, and a test or the ledger must see it: `make mutants`, or for some of them

```
make mutants NAME="no_inbox relay_*"
.venv/bin/python -m tests.faults.mutants --kind rows     # those that the ledger has to see
```

Before anything is broken, every catcher has to pass. A mutant counts as caught when its test fails by an assertion
with the words that are expected, or when the ledger names a violation of the check that is expected; a crash, a test
that can't be collected or a time-out is no catch. The mutants are in [tests/faults/mutants](../tests/faults/mutants);
[a test](../tests/faults/test_mutants.py) holds that each still fits the code, and that its catchers exist.
"""


@dataclass(frozen=True, slots=True)
class Outcome:
    """One mutant before one catcher."""

    at: str
    revision: str
    mutant: str
    catcher: str
    outcome: str
    said: str
    seconds: float


def append(path: Path, outcome: Outcome) -> None:
    """Add a line."""
    path.parent.mkdir(parents=True, exist_ok=True)
    with path.open("a", encoding="utf-8") as out:
        out.write(json.dumps(asdict(outcome), ensure_ascii=False) + "\n")


def read(path: Path) -> list[Outcome]:
    """Every line, the oldest first."""
    if not path.exists():
        return []
    return [Outcome(**json.loads(line)) for line in path.read_text(encoding="utf-8").splitlines() if line.strip()]


def now() -> str:
    """The wall clock, to the second."""
    return dt.datetime.now(dt.UTC).isoformat(timespec="seconds")


def page(table: Sequence[Mutant], outcomes: Sequence[Outcome]) -> str:
    """The page: what was broken, where, what may then happen, what saw it and what it said; the newest of each."""
    newest = {(outcome.mutant, outcome.catcher): outcome for outcome in outcomes}
    lines = [HEAD, "| mutant | what may then happen | broken | caught by | what it said | when, at |"]
    lines.append("| --- | --- | --- | --- | --- | --- |")
    for mutant in table:
        files = ", ".join(dict.fromkeys(f"`{edit.file}`" for edit in mutant.edits))
        for number, catcher in enumerate(mutant.catchers):
            first = number == 0
            lines.append(
                f"| {f'`{mutant.name}`' if first else ''} | {mutant.promise if first else ''} "
                f"| {f'{mutant.breaks} {files}' if first else ''} | {_link(catcher)} "
                f"| {_told(newest.get((mutant.name, catcher.name)))} |"
            )
    caught = [outcome for outcome in newest.values() if outcome.outcome == "caught"]
    rows = sum("of the ledger" in outcome.catcher for outcome in caught)
    days = sorted(outcome.at[:10] for outcome in newest.values())
    lines += [
        "",
        f"{len(table)} mutants; {len(caught)} catches, {rows} of them by the ledger"
        + (f", from {days[0]} to {days[-1]} (UTC)." if days else "."),
    ]
    return "\n".join(lines) + "\n"


def _link(catcher: Catcher) -> str:
    return f"`{catcher.name}`" if "::" in catcher.name else catcher.name


def _told(outcome: Outcome | None) -> str:
    if outcome is None:
        return "not run yet | "
    said = outcome.said.replace("|", "\\|").replace("`", "'").replace("<", "&lt;")
    mark = "" if outcome.outcome == "caught" else f"**{outcome.outcome}**: "
    return f"{mark}{said} | {outcome.at[:16].replace('T', ' ')}, {outcome.revision}"
