"""Weekly hours, days away, caps."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import date, datetime
from uuid import UUID

from services.matching.domain.availability import Window
from shared.db import Connection, Pool

# Locks the person's row until commit, which makes the replacement of their windows one step.
UPSERT = """
    INSERT INTO availability (person_id, time_zone, weekly_cap, paused, own, updated_at)
    VALUES ($1, $2, $3, $4, $5, $6)
    ON CONFLICT (person_id) DO UPDATE SET time_zone = excluded.time_zone, weekly_cap = excluded.weekly_cap,
        paused = excluded.paused, own = excluded.own, updated_at = excluded.updated_at
    WHERE excluded.own OR NOT availability.own
    RETURNING person_id
"""
DELETE_WINDOWS = "DELETE FROM availability_windows WHERE person_id = $1"
DELETE_EXCEPTIONS = "DELETE FROM availability_exceptions WHERE person_id = $1"
INSERT_WINDOWS = """
    INSERT INTO availability_windows (person_id, dow, starts, ends)
    SELECT $1, * FROM unnest($2::smallint[], $3::time[], $4::time[]) ON CONFLICT DO NOTHING
"""
INSERT_EXCEPTIONS = "INSERT INTO availability_exceptions (person_id, away_on) SELECT $1, unnest($2::date[])"
# Served by the primary keys.
GET_MANY = "SELECT * FROM availability WHERE person_id = ANY($1::uuid[])"
GET_WINDOWS = "SELECT * FROM availability_windows WHERE person_id = ANY($1::uuid[]) ORDER BY person_id, dow, starts"
GET_EXCEPTIONS = "SELECT * FROM availability_exceptions WHERE person_id = ANY($1::uuid[]) ORDER BY person_id, away_on"
# A cap that was lowered below what is booked stops further calls and undoes none.
SET_WEEK_CAPS = "UPDATE volunteer_weeks SET cap = greatest($2, used) WHERE volunteer_id = $1"


@dataclass(frozen=True, slots=True)
class Availability:
    """A person's stated hours. `weekly_cap` None is the program's default; `away` are local dates."""

    person_id: UUID
    time_zone: str
    windows: tuple[Window, ...]
    away: tuple[date, ...] = ()
    weekly_cap: int | None = None
    paused: bool = False
    own: bool = True
    updated_at: datetime | None = None


async def upsert(connection: Connection, stated: Availability, now: datetime) -> bool:
    """Store the hours; false when they come from a profile and the person has stated their own since."""
    row = await connection.fetchval(
        UPSERT, stated.person_id, stated.time_zone, stated.weekly_cap, stated.paused, stated.own, now
    )
    if row is None:
        return False
    await connection.execute(DELETE_WINDOWS, stated.person_id)
    await connection.execute(DELETE_EXCEPTIONS, stated.person_id)
    await connection.execute(
        INSERT_WINDOWS,
        stated.person_id,
        [window.dow for window in stated.windows],
        [window.start for window in stated.windows],
        [window.end for window in stated.windows],
    )
    await connection.execute(INSERT_EXCEPTIONS, stated.person_id, sorted(set(stated.away)))
    return True


async def set_week_caps(connection: Connection, volunteer_id: UUID, cap: int) -> None:
    """Bring the volunteer's counter rows to a new cap."""
    await connection.execute(SET_WEEK_CAPS, volunteer_id, cap)


async def get_many(connection: Connection | Pool, person_ids: Sequence[UUID]) -> dict[UUID, Availability]:
    """Stated hours by person, of those who stated any (their windows may be none)."""
    ids = list(person_ids)
    windows: dict[UUID, list[Window]] = defaultdict(list)
    for row in await connection.fetch(GET_WINDOWS, ids):
        windows[row["person_id"]].append(Window(row["dow"], row["starts"], row["ends"]))
    away: dict[UUID, list[date]] = defaultdict(list)
    for row in await connection.fetch(GET_EXCEPTIONS, ids):
        away[row["person_id"]].append(row["away_on"])
    return {
        row["person_id"]: Availability(
            person_id=row["person_id"],
            time_zone=row["time_zone"],
            windows=tuple(windows[row["person_id"]]),
            away=tuple(away[row["person_id"]]),
            weekly_cap=row["weekly_cap"],
            paused=row["paused"],
            own=row["own"],
            updated_at=row["updated_at"],
        )
        for row in await connection.fetch(GET_MANY, ids)
    }
