"""`hustings clock`: the business clock of a development stack."""

import asyncio
from collections.abc import Awaitable, Callable
from datetime import timedelta
from typing import Annotated

import asyncpg
import typer

from cli.endpoints import endpoints, fail
from shared.clock import advance, parse_span, reach

app = typer.Typer(help="Show or advance the business clock of a development stack.", no_args_is_help=True)


Step = Callable[[asyncpg.Connection], Awaitable[timedelta]]


async def _offsets(step: Step) -> dict[str, timedelta]:
    offsets = {}
    for service, dsn in endpoints().owner_dsn.items():
        connection = await asyncpg.connect(dsn, timeout=5)
        try:
            offsets[service] = await step(connection)
        finally:
            await connection.close()
    return offsets


def _in_every_service(step: Step) -> dict[str, timedelta]:
    try:
        return asyncio.run(_offsets(step))
    except (OSError, asyncpg.PostgresError) as error:
        raise fail(f"The databases do not answer ({type(error).__name__}); run `make status`.") from None


def move(span: timedelta) -> timedelta:
    """Move every service's clock by the same span; returns the new offset."""
    offsets = _in_every_service(lambda connection: advance(connection, span))
    if len(set(offsets.values())) != 1:
        listed = ", ".join(f"{service} {offset}" for service, offset in offsets.items())
        raise fail(f"The services' clocks differ ({listed}); run `hustings clock level`.")
    return next(iter(offsets.values()))


def move_to(ahead: timedelta) -> timedelta:
    """Set every service's clock so far ahead, none back; returns the new offset. Safe to repeat after a cut."""
    offsets = _in_every_service(lambda connection: reach(connection, ahead))
    furthest = max(offsets.values())
    if min(offsets.values()) != furthest:
        _in_every_service(lambda connection: reach(connection, furthest))
    return furthest


@app.command("advance")
def advance_command(span: Annotated[str, typer.Argument(help="90m, 36h, 3d or 2w")]) -> None:
    """Move the clock ahead in every service: timers due by then fire at once."""
    try:
        wanted = parse_span(span)
    except ValueError as error:
        raise fail(str(error)) from None
    typer.echo(f"The business clock is {move(wanted)} ahead of the wall clock.")


@app.command("show")
def show() -> None:
    """Say how far the clock is ahead."""
    typer.echo(f"The business clock is {move(timedelta(0))} ahead of the wall clock.")


@app.command("level")
def level() -> None:
    """Bring every service's clock to the one furthest ahead, after an advance that was cut off."""
    typer.echo(f"The business clock is {move_to(timedelta(0))} ahead of the wall clock.")
