"""`hustings records`: what could not be handled, and the commands to try it again."""

import asyncio
from typing import Annotated, Any

import asyncpg
import typer
from rich.console import Console
from rich.table import Table

from cli.endpoints import endpoints, fail
from shared.settings import SERVICES

app = typer.Typer(help="See and redrive parked, dead and quarantined records.", no_args_is_help=True)

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
    WHERE $1::uuid IS NULL OR event_id = $1
"""
REDRIVE_TIMERS = """
    UPDATE timers SET dead = false, attempts = 0, due_at = business_now() WHERE dead AND $1::uuid IS NULL
"""

RESET_OFFSETS = "DELETE FROM inbox_offsets"


def _service(name: str) -> str:
    if name not in SERVICES:
        raise fail(f"There is no service {name!r}; use one of {', '.join(SERVICES)}.")
    return name


def _run(service: str, *statements: tuple[str, tuple[Any, ...]]) -> list[Any]:
    async def run() -> list[Any]:
        connection = await asyncpg.connect(endpoints().dsn[service], timeout=5)
        try:
            return [await connection.fetch(sql, *arguments) for sql, arguments in statements]
        finally:
            await connection.close()

    try:
        return asyncio.run(run())
    except (OSError, asyncpg.PostgresError) as error:
        raise fail(f"The database of {service} does not answer ({type(error).__name__}); run `make status`.") from None


@app.command("list")
def list_records(service: Annotated[str, typer.Argument(help="signup, matching, …")]) -> None:
    """List what a service could not handle, at most 200."""
    (rows,) = _run(_service(service), (FIND, ()))
    if not rows:
        typer.echo(f"{service} has nothing parked, dead or quarantined.")
        return
    columns = ("fate", "status", "topic", "partition", "record_offset", "event", "attempts", "error")
    table = Table(*columns)
    for row in rows:
        table.add_row(*(str(row[column]) for column in columns))
    Console().print(table)


@app.command("redrive")
def redrive(
    service: Annotated[str, typer.Argument(help="signup, matching, …")],
    event: Annotated[str | None, typer.Option(help="One event's id; all of the service's without it")] = None,
) -> None:
    """Try parked and dead records again, with their original event ids, in their original order."""
    _run(_service(service), (REDRIVE, (event,)), (REDRIVE_TIMERS, (event,)))
    typer.echo(f"{service} tries them again now; see `hustings records list {service}`.")


@app.command("reset-offsets")
def reset_offsets(service: Annotated[str, typer.Argument(help="signup, matching, …")]) -> None:
    """After the brokers were replaced: let a service read its topics from their beginning.

    What it has handled before has no second effect, since event ids are kept. Restart the service afterwards.
    """
    _run(_service(service), (RESET_OFFSETS, ()))
    typer.echo(f"{service} reads its topics from their beginning when it is restarted.")
