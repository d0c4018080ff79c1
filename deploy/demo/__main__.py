"""`make demo`: a crowd goes through the running system by its public interfaces, months in minutes.

Ends by printing the funnel and the first endorsement event as a subscriber of the public topic reads it. A process
that dies meanwhile is restarted by the supervisor; the crowd tries again.
"""

import asyncio
import datetime as dt
import json
import os
import random
import time
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Annotated, Any

import typer
from aiokafka import AIOKafkaConsumer
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn
from rich.table import Table

from cli.clock import move_to
from cli.endpoints import Endpoints, endpoints
from deploy.demo import endorsing, journey
from deploy.demo.accounts import open_accounts
from deploy.demo.client import Client
from deploy.demo.journey import Member, Stage
from deploy.demo.mailbox import Mailbox, Watch
from deploy.demo.people import crowd
from shared.clock import parse_span
from shared.events.topics import ENDORSEMENT_ENDORSEMENTS
from shared.program import Program, load

ROOT = Path(__file__).parents[2]
PATIENCE_SECONDS = 120
console = Console(highlight=False)


def main(
    prospects: Annotated[int, typer.Option(min=10, help="people who think about running")] = 300,
    volunteers: Annotated[int, typer.Option(min=4, help="people who take calls")] = 40,
    seed: Annotated[int, typer.Option(help="the same seed makes the same crowd")] = 2017,
) -> None:
    """Send a crowd through the running system."""
    started = time.monotonic()
    known = endpoints()
    program = load(Path(os.environ.get("HUSTINGS_PROGRAM", ROOT / "programs" / "org_2025.toml")))
    try:
        asyncio.run(_run(known, program, prospects, volunteers, seed))
    except TimeoutError as error:
        console.print(str(error))
        raise typer.Exit(1) from None
    console.print(f"The demo took {time.monotonic() - started:.0f} s. Look around: {known.urls['signup']}/funnel")


async def _run(known: Endpoints, program: Program, prospects: int, volunteers: int, seed: int) -> None:
    client = Client(known.urls)
    offset = await _reach(dt.timedelta(0))

    async def advance(span: str) -> None:
        nonlocal offset
        offset = await _reach(offset + parse_span(span))

    mail = Watch(Mailbox(known.mailbox))
    watching = asyncio.create_task(mail.run())
    stage = Stage(
        client=client,
        mail=mail,
        program=program,
        advance=advance,
        now=lambda: dt.datetime.now(dt.UTC) + offset,
        rng=random.Random(seed),  # noqa: S311 (a reproducible crowd)
    )
    with Progress(
        TextColumn("{task.description:<34}"), BarColumn(), MofNCompleteColumn(), TimeElapsedColumn(), console=console
    ) as bars:
        try:
            await _walk(stage, bars, prospects, volunteers, seed)
        finally:
            watching.cancel()
            await client.close()
    await _show_first_endorsement(known)


async def _reach(ahead: dt.timedelta) -> dt.timedelta:
    """Set the business clock so far ahead in every service, trying again while a database is away; what holds then."""
    deadline = time.monotonic() + PATIENCE_SECONDS
    while True:
        try:
            return await asyncio.to_thread(move_to, ahead)
        except typer.Exit:
            # It has said why; whatever services it reached are brought to the same time.
            if time.monotonic() > deadline:
                raise
            await asyncio.sleep(1)


async def _walk(stage: Stage, bars: Progress, prospects: int, volunteers: int, seed: int) -> None:
    run_id = f"{seed}-{int(time.time())}"

    async def step(title: str, total: int, act: Callable[[Callable[[], None]], Awaitable[Any]]) -> Any:
        task = bars.add_task(title, total=total)
        result = await act(lambda: bars.advance(task))
        bars.update(task, completed=total)
        return result

    staff = await step("Open accounts, sign in", 5, lambda _: open_accounts(stage, run_id))
    people = [Member(p) for p in _crowd(stage.program, seed, run_id, "run", prospects)]
    callers = [Member(p) for p in _crowd(stage.program, seed, run_id, "volunteer", volunteers)]
    everybody = [*people, *callers]
    await step("Sign up", len(everybody), lambda tick: journey.sign_up(stage, everybody, tick))
    confirming = [member for member in everybody if member.invented.confirms]
    await step("Read the mail, confirm", len(confirming), lambda tick: journey.confirm(stage, confirming, tick))
    confirmed = [member for member in people if member.invented.confirms]
    await step("Intro calls", len(confirmed), lambda tick: journey.intro_calls(stage, confirmed, staff, tick))
    await step("One-on-ones", 100, lambda tick: journey.one_on_ones(stage, confirmed, callers, staff, tick))
    called = [member for member in confirmed if member.calls]
    filing = [member for member in called if member.invented.files][: max(8, prospects // 8)]
    filing = filing if len(filing) >= 6 else called[:6]
    reached = await step(
        "File, apply, review, decide", len(filing), lambda tick: endorsing.endorse(stage, filing, staff, tick)
    )
    funnel = await stage.client.get("signup", "/v1/funnel", staff.decider)
    table = Table("stage", "people", title="The funnel")
    for name in funnel["stages"]:
        table.add_row(name, str(sum(group[name] or 0 for group in funnel["groups"])))
    bars.console.print(table)
    bars.console.print(
        "This crowd: " + ", ".join(f"{number} {name}" for name, number in reached.items() if name != "rescinded") + "."
    )


def _crowd(program: Program, seed: int, run_id: str, form_id: str, count: int) -> list[Any]:
    form = program.form(form_id)
    fields = frozenset(item.field for item in form.fields)
    offices = tuple(office.id for office in program.offices if office.is_endorsable)
    for item in form.fields:
        if item.field == "office" and item.offices:
            offices = tuple(item.offices)
    tracks = tuple(track.id for track in program.tracks)
    return list(crowd(seed=seed, run=run_id, form=form_id, count=count, offices=offices, tracks=tracks, fields=fields))


async def _show_first_endorsement(known: Endpoints) -> None:
    """Read the public topic from its beginning, as any subscriber may."""
    name = ENDORSEMENT_ENDORSEMENTS.name
    consumer = AIOKafkaConsumer(
        name, bootstrap_servers=known.kafka, isolation_level="read_committed", auto_offset_reset="earliest"
    )
    await consumer.start()
    try:
        first: Any = None
        async with asyncio.timeout(60):
            while first is None:
                found = await consumer.getmany(timeout_ms=1000)
                records = [record for batch in found.values() for record in batch]
                first = min(records, key=lambda record: record.timestamp, default=None)
        console.print(f"The first endorsement event on {name}:")
        for header, value in first.headers:
            console.print(f"  {header}: {value.decode()}")
        console.print_json(json.dumps(json.loads(first.value)))
    finally:
        await consumer.stop()


if __name__ == "__main__":
    app = typer.Typer(add_completion=False, pretty_exceptions_enable=False)
    app.command()(main)
    app()
