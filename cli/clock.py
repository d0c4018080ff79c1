"""`hustings clock`: the business clock of a development stack."""

import asyncio
from datetime import timedelta
from typing import Annotated

import asyncpg
import typer

from cli.endpoints import endpoints, fail
from shared.clock import advance, parse_span

app = typer.Typer(help="Show or advance the business clock of a development stack.", no_args_is_help=True)


async def _offsets(span: timedelta) -> dict[str, timedelta]:
    offsets = {}
    for service, dsn in endpoints().owner_dsn.items():
        connection = await asyncpg.connect(dsn, timeout=5)
        try:
            offsets[service] = await advance(connection, span)
        finally:
            await connection.close()
    return offsets


def move(span: timedelta) -> timedelta:
    """Move every service's clock by the same span; returns the new offset."""
    try:
        offsets = asyncio.run(_offsets(span))
    except (OSError, asyncpg.PostgresError) as error:
        raise fail(f"The databases do not answer ({type(error).__name__}); run `make status`.") from None
    if len(set(offsets.values())) != 1:
        listed = ", ".join(f"{service} {offset}" for service, offset in offsets.items())
        raise fail(f"The services' clocks differ ({listed}); set each `clock.ahead` to the same span.")
    return next(iter(offsets.values()))


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
