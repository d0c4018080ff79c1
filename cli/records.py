"""`hustings records`: what could not be handled or sent, and the commands to try it again."""

import asyncio
from collections.abc import Awaitable, Callable
from typing import Annotated, Any, TypeVar
from uuid import UUID

import asyncpg
import typer
from rich.console import Console
from rich.table import Table

from cli.endpoints import endpoints, fail
from cli.oversized import LEAST_CHARACTERS, NotShortened, find_large, shorten
from shared.settings import SERVICES

app = typer.Typer(
    help="See and redrive parked, dead and quarantined records, and those that are too large to send.",
    no_args_is_help=True,
)

# Bounded: an outage must not be made worse by listing what it piled up.
FIND = """
    SELECT 'parked' AS fate, status, topic, partition, record_offset, event_id::text AS event, attempts, error
    FROM parked
    UNION ALL
    SELECT 'quarantined', '', topic, partition, record_offset, '', 0, reason FROM quarantined
    UNION ALL
    SELECT 'timer', 'dead', kind, 0, id, dedupe_key, attempts, error FROM timers WHERE dead
    ORDER BY 1, 3, 4, 5 LIMIT 200
"""
REDRIVE = """
    UPDATE parked SET status = 'parked', attempts = 0, retry_at = clock_timestamp()
    WHERE $1::uuid IS NULL OR event_id = $1 RETURNING 1
"""
REDRIVE_TIMERS = """
    UPDATE timers SET dead = false, attempts = 0, due_at = business_now() WHERE dead AND $1::uuid IS NULL
    RETURNING 1
"""

RESET_OFFSETS = "DELETE FROM inbox_offsets"
LONGEST_REASON = 300

T = TypeVar("T")


def _service(name: str) -> str:
    if name not in SERVICES:
        raise fail(f"There is no service {name!r}; use one of {', '.join(SERVICES)}.")
    return name


def _run(service: str, *statements: tuple[str, tuple[Any, ...]]) -> list[Any]:
    async def fetch(connection: "asyncpg.Connection[asyncpg.Record]") -> list[Any]:
        return [await connection.fetch(sql, *arguments) for sql, arguments in statements]

    return _connected(service, fetch)


def _connected(service: str, job: Callable[["asyncpg.Connection[asyncpg.Record]"], Awaitable[T]]) -> T:
    async def run() -> T:
        connection = await asyncpg.connect(endpoints().dsn[service], timeout=5)
        try:
            return await job(connection)
        finally:
            await connection.close()

    try:
        return asyncio.run(run())
    except (OSError, asyncpg.PostgresError) as error:
        raise fail(f"The database of {service} does not answer ({type(error).__name__}); run `make status`.") from None


def _show(rows: list[Any], columns: tuple[str, ...]) -> None:
    table = Table(*columns)
    for row in rows:
        table.add_row(*(str(row[column]) for column in columns))
    Console().print(table)


@app.command("list")
def list_records(service: Annotated[str, typer.Argument(help="signup, matching, …")]) -> None:
    """List what a service could not handle, at most 200."""
    (rows,) = _run(_service(service), (FIND, ()))
    if not rows:
        typer.echo(f"{service} has nothing parked, dead or quarantined.")
        return
    _show(rows, ("fate", "status", "topic", "partition", "record_offset", "event", "attempts", "error"))


@app.command("redrive")
def redrive(
    service: Annotated[str, typer.Argument(help="signup, matching, …")],
    event: Annotated[UUID | None, typer.Option(help="One event's id; all of the service's without it")] = None,
) -> None:
    """Try parked and dead records again, with their original event ids, in their original order."""
    records, timers = _run(_service(service), (REDRIVE, (event,)), (REDRIVE_TIMERS, (event,)))
    if event is not None and not records:
        raise fail(f"{service} has nothing parked or dead of {event}; see `hustings records list {service}`.")
    if not records and not timers:
        typer.echo(f"{service} has nothing parked or dead.")
        return
    typer.echo(
        f"{service} tries {len(records)} records and {len(timers)} timers again now;"
        f" see `hustings records list {service}`."
    )


@app.command("reset-offsets")
def reset_offsets(service: Annotated[str, typer.Argument(help="signup, matching, …")]) -> None:
    """After the brokers were replaced: let a service read its topics from their beginning.

    What it has handled before has no second effect, since event ids are kept. Restart the service afterwards.
    """
    _run(_service(service), (RESET_OFFSETS, ()))
    typer.echo(f"{service} reads its topics from their beginning when it is restarted.")


@app.command("large")
def large(service: Annotated[str, typer.Argument(help="signup, matching, …")]) -> None:
    """List the events that wait in a service's outbox and are too large to be sent, at most 200."""
    rows = _connected(_service(service), find_large)
    if not rows:
        typer.echo(f"The outbox of {service} holds nothing that is too large.")
        return
    _show(rows, ("event_id", "topic", "key", "bytes", "created_at"))


@app.command("shorten")
def shorten_event(
    service: Annotated[str, typer.Argument(help="signup, matching, …")],
    event: Annotated[UUID, typer.Argument(help="The event's id, as `large` lists it")],
    reason: Annotated[str, typer.Option(help="Why, in one line without names or contacts; kept for good")],
    to: Annotated[int, typer.Option(min=LEAST_CHARACTERS, help="Characters that each longer text is cut to")] = 2000,
) -> None:
    """Cut the texts of an event that is too large to be sent; it keeps its id and its number, and goes out.

    What was cut is still in the service's own tables. Which fields were cut, and why, is written down.
    """
    if not 3 <= len(reason.strip()) <= LONGEST_REASON or not reason.isprintable():
        raise fail(f"Give the reason in one line of 3 to {LONGEST_REASON} characters.")
    try:
        size, fields = _connected(_service(service), lambda connection: shorten(connection, event, to, reason.strip()))
    except NotShortened as no:
        raise fail(str(no)) from None
    typer.echo(f"{event} has {size:,} bytes now ({', '.join(fields)} cut); the relay sends it within half a minute.")
