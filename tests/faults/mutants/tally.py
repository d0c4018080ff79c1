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
[a test](../tests/faults/test_mutants.py) holds that each still fits the code, and that its catchers exist. This page is
written from [the tally](../tests/faults/mutants/tally.jsonl) by
`.venv/bin/python -m tests.faults.mutants --page`; the rows play with 40 people and 6 walkers of the whole path, seed
2017.

## What the first runs found

- Three mutants were not caught. Two deciders in a race never met, because one was through while the other's connection
  was still new: the test now has the first take its time. A parked key was watched by a test of one batch only, and a
  relay that claims what is leased by one that did not end: both have a test that sees it.
- The point `kill.consumer.in_transaction` killed a process whose batch held nothing that its service reads, and the
  ledger rightly saw no loss. The point passes over such batches now.
- A brief `sms_fails`, as in continuous integration, is over after the first text, which may be the answer to a STOP and
  is never tried again; its mutant plays the row at full length.
- Eight mutants had no test aimed at them, and got one: events that are refused with their change, a row that commits
  late, offsets that can't be written, a commit that fails, a commit that does not wait for the disk, a stop beside a
  hand-over, one active match by the constraint alone, the audit entry of an announcement.
- `no_inbox` is seen by tests. After a brief `topics_replayed` (9 records, twice more) the ledger found nothing: the
  messages and steps that events cause are also unique by event, which is the second line.

## The mutants
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
