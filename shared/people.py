"""Person ids that were merged or erased, as every service sees them."""

from collections.abc import Iterable
from uuid import UUID

from shared.db import Connection

# Served by the primary key.
GET_ALIASES = "SELECT alias_id, person_id FROM person_aliases WHERE alias_id = ANY($1::uuid[])"

# Served by the primary key.
GET_TOMBSTONES = "SELECT person_id FROM tombstones WHERE person_id = ANY($1::uuid[])"


async def resolve(connection: Connection, person_ids: Iterable[UUID]) -> dict[UUID, UUID]:
    """Each given id with the id that it goes by today (itself, if never merged). Aliases are one step deep."""
    ids = set(person_ids)
    merged = {row["alias_id"]: row["person_id"] for row in await connection.fetch(GET_ALIASES, list(ids))}
    return {person_id: merged.get(person_id, person_id) for person_id in ids}


async def erased(connection: Connection, person_ids: Iterable[UUID]) -> frozenset[UUID]:
    """Which of these people were erased."""
    return frozenset(row["person_id"] for row in await connection.fetch(GET_TOMBSTONES, list(set(person_ids))))
