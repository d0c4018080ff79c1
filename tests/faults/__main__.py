"""`python -m tests.faults`: the fault table on stacks of its own; see docs/faults.md.

run         rows under a crowd, each verdict by the ledger
campaign    rows × seeds until so many people have signed up; adds to the tally
tally       what the tally supports
list        the rows
"""

import asyncio
import contextlib
import datetime as dt
import signal
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Annotated

import typer

from tests.faults import tally
from tests.faults.crowd import Size
from tests.faults.rows import Row, table
from tests.faults.session import Played, Session, grouped, open_session
from tests.faults.stand import ROOT, forget

EVIDENCE = ROOT / ".faults"
TALLY = ROOT / "tests" / "faults" / "tally.jsonl"
# A stand is given up after so many people: reading the whole of it again takes the ledger longer each time.
PEOPLE_PER_STAND = 12_000
# A campaign ends when so many runs were not clean.
MOST_UNCLEAN = 5

app = typer.Typer(help=__doc__, no_args_is_help=True, add_completion=False, pretty_exceptions_enable=False)


def size_of(people: int, walkers: int | None) -> Size:
    """A crowd of so many, within a minute; a fiftieth of them, at least six, walk the whole path."""
    return Size(people, max(6, people // 50) if walkers is None else walkers, max(20.0, people / 60))


def more(rows: list[Row]) -> Size:
    """The smaller crowds that follow one that its rows outlast; they walk where a row needs it."""
    return Size(people=60, walkers=6 if any(row.walkers for row in rows) else 0, rate=20)


def chosen(fault: str) -> list[Row]:
    """Rows by name or by the beginning of their names, separated by commas; all for an empty text."""
    rows = table()
    if not fault:
        return list(rows.values())
    found: list[Row] = []
    for part in fault.split(","):
        if part in rows:
            found.append(rows[part])
        else:
            matching = [row for name, row in rows.items() if name.startswith(part.rstrip("*"))]
            if not matching:
                raise typer.BadParameter(f"there is no row {part!r}; `python -m tests.faults list` names them")
            found += matching
    return found


@app.command("list")
def list_rows() -> None:
    """Print every row with what it does."""
    for row in table().values():
        typer.echo(f"{row.name:<40} {row.does}")


@app.command("tally")
def show_tally(path: Annotated[Path, typer.Option("--tally")] = TALLY) -> None:
    """Print what the tally supports."""
    typer.echo(tally.summary(tally.read(path)))


@app.command("run")
def run(
    fault: Annotated[str, typer.Option(help="a row, a beginning (`kill.`), several with commas; empty: all")] = "",
    seed: Annotated[int, typer.Option(min=1)] = 2017,
    people: Annotated[int, typer.Option(min=1, help="who sign up during each group of rows")] = 300,
    walkers: Annotated[int | None, typer.Option(min=0, help="who walk the whole path; default a fiftieth")] = None,
    together: Annotated[int, typer.Option(min=1, help="rows under one crowd")] = 5,
    brief: Annotated[bool, typer.Option(help="short outages, as in continuous integration")] = False,
    keep: Annotated[bool, typer.Option(help="keep the evidence also when all is well")] = False,
) -> None:
    """Play rows; exit 0 only if all of them are clean."""
    groups = grouped(chosen(fault), together=together)
    worst = _run(lambda: play_all(groups, seed=seed, size=size_of(people, walkers), brief=brief, keep=keep))
    raise typer.Exit(worst)


@app.command("campaign")
def campaign(
    people: Annotated[int, typer.Option(min=1, help="the tally goes on until so many have signed up")] = 100_000,
    each: Annotated[int, typer.Option(min=10, help="people in one crowd")] = 5000,
    walkers: Annotated[int | None, typer.Option(min=0, help="as of `run`")] = None,
    together: Annotated[int, typer.Option(min=1)] = 5,
    path: Annotated[Path, typer.Option("--tally")] = TALLY,
    fault: Annotated[str, typer.Option(help="as of `run`")] = "",
) -> None:
    """Rows × seeds until the tally has so many people; interrupted, it goes on where it was."""
    groups = grouped(chosen(fault), together=together)
    raise typer.Exit(_run(lambda: go_on(people, size_of(each, walkers), groups, path)))


def _run(what: Callable[[], Awaitable[int]]) -> int:
    """Run to the end; SIGTERM and SIGINT stop everything that was started first."""

    async def interruptible() -> int:
        task = asyncio.ensure_future(what())
        for number in (signal.SIGTERM, signal.SIGINT):
            asyncio.get_running_loop().add_signal_handler(number, task.cancel)
        with contextlib.suppress(asyncio.CancelledError):
            return await task
        typer.echo("Interrupted; everything is stopped.")
        return 130

    return asyncio.run(interruptible())


def number_of(seed: int) -> int:
    """Which of the services that share a kill point is hit: another one with each seed, the same one when repeated."""
    return seed % 100


def evidence_of(seed: int) -> Path:
    """A fresh directory."""
    stamp = dt.datetime.now(dt.UTC).strftime("%Y%m%dT%H%M%S")
    return EVIDENCE / f"{stamp}-{seed}"


async def play_all(groups: list[list[Row]], *, seed: int, size: Size, brief: bool, keep: bool) -> int:
    """Groups one after another, on one stand while all is well and it is not too full; 0 if all were clean."""
    worst = 0
    waiting = list(groups)
    while waiting:
        evidence = evidence_of(seed)
        clean = True
        async with open_session(evidence, seed=seed, number=number_of(seed), brief=brief) as session:
            while waiting and clean and session.crowd.people < PEOPLE_PER_STAND:
                group = waiting.pop(0)
                played = await session.play(group, size, more(group))
                clean = played.clean
                report(played, session, seed, size, evidence)
        if clean and not keep:
            forget(evidence)
        worst = worst if clean else 1
    return worst


def report(played: Played, session: Session, seed: int, size: Size, evidence: Path) -> None:
    """The verdict, and the command that repeats it."""
    session.stand.tell(
        f"{', '.join(played.rows)}: {'clean' if played.clean else 'NOT CLEAN'}; "
        f"{played.people} people, {played.walkers} walkers, of whom {played.whole_path} went the whole path, "
        f"{played.seconds:.0f} s, seed {seed}"
    )
    again = f"make faults FAULT={','.join(played.rows)} SEED={seed} PEOPLE={size.people}"
    if played.clean:
        typer.echo(f"  again: {again}")
        return
    for name, what in played.broken.items():
        typer.echo(f"  {name}: {what}")
    for problem in played.problems:
        typer.echo(f"  {problem}")
    if played.ledger_code != 0:
        typer.echo(played.ledger_said)
    typer.echo(f"The evidence is in {evidence}. To repeat it:")
    typer.echo(f"  {again}")


async def go_on(target: int, size: Size, groups: list[list[Row]], path: Path) -> int:
    """Play groups that the tally has fewest runs of, with fresh seeds, until it has enough people, or until
    `MOST_UNCLEAN` runs were not clean: then something wants repair, and more runs won't help."""
    unclean = 0
    while unclean < MOST_UNCLEAN:
        done = tally.read(path)
        if sum(run.people for run in done if run.verdict == "clean") >= target:
            break
        seed = 1 + max((run.seed for run in done), default=0)
        evidence = evidence_of(seed)
        clean = True
        async with open_session(evidence, seed=seed, number=number_of(seed)) as session:
            while clean and session.crowd.people < PEOPLE_PER_STAND:
                done = tally.read(path)
                if sum(run.people for run in done if run.verdict == "clean") >= target:
                    break
                group = least_played(groups, done)
                played = await session.play(group, size, more(group))
                clean = played.clean
                report(played, session, seed, size, evidence)
                tally.append(path, as_run(played, seed))
                people = sum(run.people for run in tally.read(path) if run.verdict == "clean")
                session.stand.tell(f"tally: {people:,} of {target:,} people in clean runs")
        if clean:
            forget(evidence)
        else:
            unclean += 1
    if unclean == MOST_UNCLEAN:
        typer.echo(f"Given up: {unclean} runs were not clean.")
    typer.echo(tally.summary(tally.read(path)))
    return min(unclean, 1)


def least_played(groups: list[list[Row]], done: list[tally.Run]) -> list[Row]:
    """The first of the groups with the fewest clean runs, and of those the fewest runs."""

    def runs(group: list[Row]) -> tuple[int, int]:
        names = [row.name for row in group]
        return (
            sum(run.rows == names and run.verdict == "clean" for run in done),
            sum(run.rows == names for run in done),
        )

    return min(groups, key=runs)


def as_run(played: Played, seed: int) -> tally.Run:
    """A line of the tally."""
    problems = [f"{name}: {what}"[:300] for name, what in played.broken.items()]
    return tally.Run(
        at=tally.now(),
        rows=played.rows,
        seed=seed,
        people=played.people,
        walkers=played.walkers,
        whole_path=played.whole_path,
        verdict="clean" if played.clean else "not clean",
        violations=played.violations,
        problems=problems + [problem[:300] for problem in played.problems],
        seconds=round(played.seconds, 1),
        revision=tally.revision(),
    )


if __name__ == "__main__":
    app(prog_name="python -m tests.faults")
