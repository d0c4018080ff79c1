"""`python -m tests.faults.load`; see the package's docstring."""

import asyncio
import os
from pathlib import Path
from typing import Annotated

import typer
import uvloop

from shared.program import ProgramError
from tests.faults.load import Settings, Summary, run

ROOT = Path(__file__).parents[3]
SHOWN = 40


def main(
    endpoints: Annotated[Path, typer.Option(help="the stack's endpoints.json")],
    journals: Annotated[Path, typer.Option(help="where load.jsonl and summary.json go")],
    seed: Annotated[int, typer.Option(help="the same seed plans the same crowd")],
    people: Annotated[int, typer.Option(min=0, help="sign-ups of the crowd")],
    walkers: Annotated[int, typer.Option(min=0, help="people who walk the whole path")] = 0,
    rate: Annotated[float, typer.Option(min=0, help="sign-ups offered per second; 0: all at once")] = 50.0,
    mailbox: Annotated[str | None, typer.Option(help="where mails are read; default: the stack's mailbox")] = None,
    inbound_token: Annotated[str | None, typer.Option(envvar="NOTIFICATIONS_SMS_INBOUND_TOKEN")] = None,
    webhook: Annotated[str | None, typer.Option(help="an address to subscribe")] = None,
    patience: Annotated[float, typer.Option(min=1, help="seconds for which one thing is tried again")] = 180.0,
    rest: Annotated[bool, typer.Option(help="volunteers take no more calls after the run")] = True,
    program: Annotated[Path | None, typer.Option(help="the stack's program file")] = None,
) -> None:
    """Send a crowd through the running system and write down what it was told."""
    chosen = program or Path(os.environ.get("HUSTINGS_PROGRAM", ROOT / "programs" / "org_2025.toml"))
    settings = Settings(
        endpoints=endpoints,
        journals=journals,
        seed=seed,
        people=people,
        walkers=walkers,
        rate=rate,
        mailbox=mailbox,
        inbound_token=inbound_token,
        webhook=webhook,
        patience_seconds=patience,
        rest=rest,
        program=chosen,
    )
    try:
        with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
            summary = runner.run(run(settings, lambda line: print(line, flush=True)))
    except typer.Exit:
        raise typer.Exit(2) from None
    except (OSError, ProgramError) as error:
        typer.echo(f"The run could not begin: {error}", err=True)
        raise typer.Exit(2) from None
    print_summary(summary)
    raise typer.Exit(0 if summary.ok else 1)


def print_summary(summary: Summary) -> None:
    """The numbers, and what is not settled."""
    print(f"seed {summary.seed}, {summary.seconds} s: sent {summary.sent}, ack {summary.ack}, nack {summary.nack},"
          f" unknown {summary.unknown}, in {summary.tries} tries; {summary.confirmed} confirmed,"
          f" {summary.mails_missed} waited for a mail in vain")  # fmt: skip
    print("answers: " + ", ".join(f"{count} × {answer}" for answer, count in summary.answers.items()))
    if summary.latency_ms:
        print("acknowledged after ms: " + ", ".join(f"{name} {value}" for name, value in summary.latency_ms.items()))
    for window in summary.windows:
        shown = ", ".join(f"{name} {window[name]}" for name in ("p50", "p99", "max") if name in window)
        print(f"  from {window['from_seconds']:5.0f} s: {window['sent']:5} sent, {window['ack']:5} ack; {shown}")
    if summary.walkers:
        print("walkers: " + ", ".join(f"{count} {name}" for name, count in summary.walkers.items()))
    for sentence in summary.wrong[:SHOWN]:
        print(f"NOT SETTLED: {sentence}")
    if len(summary.wrong) > SHOWN:
        print(f"NOT SETTLED: {len(summary.wrong) - SHOWN} more, in summary.json")


if __name__ == "__main__":
    app = typer.Typer(add_completion=False, pretty_exceptions_enable=False)
    app.command()(main)
    app()
