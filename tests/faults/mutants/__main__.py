"""`python -m tests.faults.mutants [NAME…]`: break the product on purpose, and see that the harness notices.

Every catcher passes on the whole tree first. Then each mutant is put into a copy of the tree and its catchers are run;
exit 1 if one of them does not see it. A name may end in `*`.
"""

import signal
import sys
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Annotated

import typer

from tests.faults.mutants import tally
from tests.faults.mutants.catching import Verdict, judge, run, run_rows, run_tests
from tests.faults.mutants.mutant import Mutant, Rows, Stale, Suite, broken, chosen
from tests.faults.mutants.table import TABLE
from tests.faults.mutants.tree import ROOT, copied, revision

PAGE = ROOT / "docs" / "mutants.md"
TALLY = ROOT / "tests" / "faults" / "mutants" / "tally.jsonl"
# Of what a catcher printed that saw nothing, or something else.
SHOWN_LENGTH = 4000
KINDS = {"tests": (Suite,), "rows": (Rows,), "all": (Suite, Rows)}


def main(
    names: Annotated[list[str] | None, typer.Argument(help="mutants; all if none is named")] = None,
    list_them: Annotated[bool, typer.Option("--list", help="print the table")] = False,
    kind: Annotated[str, typer.Option(help="catchers: `tests`, `rows` (the ledger's, minutes each), or `all`")] = "all",
    path: Annotated[Path | None, typer.Option("--tally", help="add what came of each to this file")] = None,
    page: Annotated[bool, typer.Option("--page", help=f"write {PAGE.name} from the tally, run nothing")] = False,
    baseline: Annotated[bool, typer.Option(help="run the catchers on the whole tree first")] = True,
    committed: Annotated[bool, typer.Option(help="break the last commit, without what has changed since")] = False,
) -> None:
    """Break the product on purpose; exit 0 only if everything is noticed."""
    if kind not in KINDS:
        raise typer.BadParameter(f"there is no kind {kind!r}; choose tests, rows or all")
    try:
        mutants = [
            replace(mutant, catchers=tuple(c for c in mutant.catchers if isinstance(c, KINDS[kind])))
            for mutant in chosen(TABLE, names or [])
        ]
    except LookupError as error:
        raise typer.BadParameter(str(error.args[0])) from None
    mutants = [mutant for mutant in mutants if mutant.catchers]
    if page:
        PAGE.write_text(tally.page(TABLE, tally.read(path or TALLY)), encoding="utf-8")
    elif list_them:
        for mutant in mutants:
            typer.echo(f"{mutant.name:<36} {mutant.breaks}")
            for catcher in mutant.catchers:
                typer.echo(f"{'':<36} → {catcher.name}")
    else:
        # Also in the background of a shell, where SIGINT is ignored: what was started is stopped, the copy goes.
        for number in (signal.SIGINT, signal.SIGTERM):
            signal.signal(number, signal.default_int_handler)
        raise typer.Exit(_break(mutants, path, baseline=baseline, committed=committed))


def _break(mutants: Sequence[Mutant], path: Path | None, *, baseline: bool, committed: bool) -> int:
    at = revision(committed=committed)
    with copied(committed=committed) as tree:
        typer.echo(f"{len(mutants)} mutants of {at}, in {tree}")
        if baseline and not _whole(mutants, tree):
            return 1
        missed: list[str] = []
        for number, mutant in enumerate(mutants, 1):
            typer.echo(f"[{number}/{len(mutants)}] {mutant.name}: {mutant.breaks}")
            for catcher in mutant.catchers:
                printed = ""
                try:
                    with broken(mutant, tree):
                        ran = run(catcher, tree)
                    verdict, printed = judge(catcher, ran), ran.output
                except Stale as stale:
                    verdict = Verdict("unclear", str(stale), 0.0)
                typer.echo(f"    {verdict.outcome} by {catcher.name} in {verdict.seconds:.0f} s: {verdict.said}")
                if verdict.outcome != "caught":
                    typer.echo(printed[-SHOWN_LENGTH:])
                    missed.append(f"{mutant.name} ({verdict.outcome}) by {catcher.name}")
                if path is not None:
                    outcome = tally.Outcome(
                        tally.now(), at, mutant.name, catcher.name, verdict.outcome, verdict.said,
                        round(verdict.seconds, 1),
                    )  # fmt: skip
                    tally.append(path, outcome)
    typer.echo(f"{len(mutants)} mutants; " + ("all were caught." if not missed else "not caught:"))
    for what in missed:
        typer.echo(f"  {what}")
    return 1 if missed else 0


def _whole(mutants: Sequence[Mutant], tree: Path) -> bool:
    """Whether every catcher passes while nothing is broken."""
    ids = dict.fromkeys(i for m in mutants for c in m.catchers if isinstance(c, Suite) for i in c.ids)
    rows: dict[bool, dict[str, None]] = {True: {}, False: {}}
    for catcher in (c for mutant in mutants for c in mutant.catchers):
        if isinstance(catcher, Rows):
            rows[catcher.brief] |= dict.fromkeys(catcher.rows)
    for what, ran in (
        ("tests", run_tests(list(ids), tree, seconds=60 + 60.0 * len(ids)) if ids else None),
        *(
            ("rows", run_rows(list(some), tree, seconds=300 + 240.0 * len(some), brief=brief) if some else None)
            for brief, some in rows.items()
        ),
    ):
        if ran is None:
            continue
        typer.echo(f"the {what} on the whole tree: exit {ran.code} in {ran.seconds:.0f} s")
        if ran.code != 0:
            typer.echo(ran.output[-3000:])
            typer.echo("Nothing was broken yet: mend the tree first.", err=True)
            return False
    return True


if __name__ == "__main__":
    sys.argv[0] = "tests.faults.mutants"
    typer.run(main)
