"""The tally: one JSON line per run, and what all of them together support.

{"at": …, "rows": [...], "seed": 7, "people": 5000, "walkers": 100, "whole_path": 99, "verdict": "clean",
 "violations": 0, "problems": [], "seconds": 97.1, "revision": "1a2b3c4"}
"""

import datetime as dt
import json
import subprocess
from collections import defaultdict
from dataclasses import asdict, dataclass
from pathlib import Path

from tests.faults.stand import ROOT

CONFIDENCE = 0.95


@dataclass(frozen=True, slots=True)
class Run:
    """One crowd through some rows. `violations` are the ledger's; `problems` what rows and load client asserted.

    Of the `walkers` who set out `whole_path` had their one-on-one and got as far as a decision (None: not counted). In
    a clean run nobody got stuck on the way.
    """

    at: str
    rows: list[str]
    seed: int
    people: int
    walkers: int
    verdict: str
    violations: int
    problems: list[str]
    seconds: float
    revision: str
    whole_path: int | None = None


def revision() -> str:
    """The commit under test; `+` marks changes that are not committed, but for the tally's own."""

    def git(*arguments: str) -> str:
        return subprocess.run(["git", *arguments], cwd=ROOT, capture_output=True, text=True, check=False).stdout.strip()

    changed = git("status", "--porcelain", "--untracked-files=no", "--", ".", ":!tests/faults/*.jsonl")
    return git("rev-parse", "--short", "HEAD") + ("+" if changed else "")


def append(path: Path, run: Run) -> None:
    """Add a run."""
    path.parent.mkdir(parents=True, exist_ok=True)
    with path.open("a", encoding="utf-8") as out:
        out.write(json.dumps(asdict(run), ensure_ascii=False) + "\n")


def read(path: Path) -> list[Run]:
    """Every run so far."""
    if not path.exists():
        return []
    return [Run(**json.loads(line)) for line in path.read_text(encoding="utf-8").splitlines() if line.strip()]


def upper_bound(people: int, confidence: float = CONFIDENCE) -> float:
    """The greatest rate of a loss that may go unseen in `people` sign-ups with probability 1 - `confidence`.

    Exact for independent sign-ups: 1 - (1 - confidence)^(1/people), about 3/people.
    """
    if people < 1:
        return 1.0
    return float(-((1 - confidence) ** (1 / people)) + 1)


def summary(runs: list[Run]) -> str:
    """A Markdown table by row, and what the total supports."""
    by_row: dict[str, list[Run]] = defaultdict(list)
    for run in runs:
        for name in run.rows:
            by_row[name].append(run)
    lines = [
        "| row | runs | people | walkers | clean | violations |",
        "| --- | --: | --: | --: | --: | --: |",
    ]
    for name, met in by_row.items():
        clean = sum(run.verdict == "clean" for run in met)
        lines.append(
            f"| {name} | {len(met)} | {sum(r.people for r in met):,} | {sum(r.walkers for r in met):,} "
            f"| {clean} | {sum(r.violations for r in met)} |"
        )
    clean_runs = [run for run in runs if run.verdict == "clean"]
    people, walkers = sum(run.people for run in clean_runs), sum(run.walkers for run in clean_runs)
    unclean = [run for run in runs if run.verdict != "clean"]
    violated = [run for run in unclean if run.violations]
    lines += [
        "",
        f"{len(runs)} runs, {people:,} people signed up and {walkers:,} walked the path in the clean ones"
        + (f"; {len(unclean)} runs were not clean." if unclean else "; all were clean."),
    ]
    if unclean:
        lines.append(
            f"Of these the ledger complained in {len(violated)}; in the others a row's own demand was not met, "
            "or somebody was left without an answer."
        )
    if counted := [run for run in clean_runs if run.whole_path is not None]:
        through, of = sum(run.whole_path or 0 for run in counted), sum(run.walkers for run in counted)
        lines.append(f"Where it was counted, {through:,} of {of:,} had their one-on-one and a decision.")
    if people:
        lines.append(_bound(people, "in all clean runs" if unclean else "in all runs"))
    if violated:
        # What was violated is mended or not: only what came after can speak for the product as it is.
        since = sum(run.people for run in clean_runs if run.at > violated[-1].at)
        lines.append(_bound(since, f"since the last violation ({violated[-1].at})") if since else "Nothing since.")
    return "\n".join(lines)


def _bound(people: int, among: str) -> str:
    bound = upper_bound(people)
    rate = f"with {CONFIDENCE:.0%} confidence the rate is below {bound:.2e} (1 in {1 / bound:,.0f})"
    return f"0 of {people:,} {among}: {rate}."


def now() -> str:
    """The wall clock, to the second."""
    return dt.datetime.now(dt.UTC).isoformat(timespec="seconds")
