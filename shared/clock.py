"""The business clock: `business_now()` in each database is the wall clock plus an offset row.

Only the owning role may move the row, and a service whose environment is `production` refuses to start while the
offset is not zero. So a path of 310 days runs in minutes on a development stack, and nowhere else.
"""

import re
from datetime import timedelta

from shared.db import Connection, Pool

SPAN = re.compile(r"^(\d{1,5})(m|h|d|w)$")
UNITS = {"m": "minutes", "h": "hours", "d": "days", "w": "weeks"}


def parse_span(text: str) -> timedelta:
    """`90m`, `36h`, `3d` or `2w` as a timedelta; `ValueError` says what is expected."""
    match = SPAN.match(text.strip())
    if not match:
        raise ValueError(f"{text!r} is not a span of time; write a number and a unit, e.g. 90m, 36h, 3d or 2w.")
    return timedelta(**{UNITS[match[2]]: int(match[1])})


async def advance(connection: Connection, span: timedelta) -> timedelta:
    """Move the clock ahead, as the owning role; returns the new offset."""
    ahead: timedelta = await connection.fetchval("UPDATE clock SET ahead = ahead + $1 RETURNING ahead", span)
    return ahead


async def reach(connection: Connection, ahead: timedelta) -> timedelta:
    """Set the clock so far ahead, as the owning role, but never back; returns the offset that holds now."""
    holds: timedelta = await connection.fetchval("UPDATE clock SET ahead = greatest(ahead, $1) RETURNING ahead", ahead)
    return holds


async def refuse_in_production(pool: Pool, environment: str) -> None:
    """Raise `RuntimeError` if the clock was moved where it must not be."""
    ahead = await pool.fetchval("SELECT ahead FROM clock")
    if environment == "production" and ahead != timedelta(0):
        raise RuntimeError(
            f"The business clock of this database is {ahead} ahead, which production refuses. Set clock.ahead to 0"
            " with the owning role, or start with ENVIRONMENT=development."
        )
