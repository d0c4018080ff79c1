"""Candidacies and the evidence of their filing."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import date, datetime
from typing import Any
from uuid import UUID

import asyncpg

from services.endorsement.domain.candidacy import Declared
from shared.db import Connection, record_of
from shared.errors import NotFound, Rejected
from shared.web.text import _


@dataclass(frozen=True, slots=True)
class Candidacy:
    """A row of `candidacies`."""

    id: UUID
    person_id: UUID
    office: str
    office_level: str
    state: str
    district: str | None
    election_date: date
    term: str
    ballot_name: str
    official_link: str
    filed_on: date
    language: str
    status: str
    return_reason: str | None
    return_note: str | None
    verified_by: UUID | None
    verified_at: datetime | None
    program_version: str
    program_hash: str
    declared_at: datetime
    changed_at: datetime


# candidacies_active_uq refuses a second active candidacy for the same race.
INSERT = """
    INSERT INTO candidacies (id, person_id, office, office_level, state, district, election_date, term, ballot_name,
        official_link, filed_on, language, status, program_version, program_hash, declared_at, changed_at)
    VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12, 'declared', $13, $14, $15, $15)
"""
UPDATE = """
    UPDATE candidacies SET office = $2, office_level = $3, state = $4, district = $5, election_date = $6, term = $7,
        ballot_name = $8, official_link = $9, filed_on = $10, status = 'declared', changed_at = $11
    WHERE id = $1
"""
GET = "SELECT * FROM candidacies WHERE id = $1"
# Locks the aggregate.
LOCK = "SELECT * FROM candidacies WHERE id = $1 FOR UPDATE"
# Locks the aggregate unless somebody else has it.
LOCK_IF_FREE = "SELECT * FROM candidacies WHERE id = $1 FOR UPDATE SKIP LOCKED"
# Locks the candidacies of these people in the order of ids, so that rival handlers queue up.
LOCK_OF = "SELECT id FROM candidacies WHERE person_id = ANY($1::uuid[]) ORDER BY id FOR UPDATE"
# All ids of one person, merged ones too. Served by candidacies_active_uq and person_aliases_person_id_idx.
FIND_OF_PERSON = """
    SELECT * FROM candidacies
    WHERE person_id = $1 OR person_id IN (SELECT alias_id FROM person_aliases WHERE person_id = $1)
    ORDER BY declared_at DESC
"""
# Served by candidacies_status_idx, oldest first.
FIND_TO_VERIFY = "SELECT * FROM candidacies WHERE status = 'declared' ORDER BY changed_at LIMIT $1"
MARK_CONFIRMED = """
    UPDATE candidacies SET status = 'confirmed', verified_by = $2, verified_at = $3, return_reason = NULL,
        return_note = NULL, changed_at = $3 WHERE id = $1
"""
MARK_RETURNED = """
    UPDATE candidacies SET status = 'returned', return_reason = $2, return_note = $3, changed_at = $4 WHERE id = $1
"""
MARK_WITHDRAWN = "UPDATE candidacies SET status = 'withdrawn', changed_at = $2 WHERE id = $1"

ALREADY_DECLARED = Rejected(
    "already_declared",
    _("You have told us of this candidacy before. Open it in the list instead of adding it again."),
)


async def insert_candidacy(
    connection: Connection,
    candidacy_id: UUID,
    person_id: UUID,
    declared: Declared,
    *,
    language: str,
    program: tuple[str, str],
    now: datetime,
) -> None:
    """Raises `Rejected` (already_declared) by candidacies_active_uq. `program` is version and content hash."""
    try:
        async with connection.transaction():
            await connection.execute(
                INSERT, candidacy_id, person_id, *_values(declared), language, *program, now
            )  # fmt: skip
    except asyncpg.UniqueViolationError as violation:
        raise _named(violation) from None


async def update_candidacy(connection: Connection, candidacy_id: UUID, declared: Declared, now: datetime) -> None:
    """Write an edited declaration; it waits for verification again."""
    try:
        async with connection.transaction():
            await connection.execute(UPDATE, candidacy_id, *_values(declared), now)
    except asyncpg.UniqueViolationError as violation:
        raise _named(violation) from None


def _named(violation: asyncpg.UniqueViolationError) -> Exception:
    return ALREADY_DECLARED if violation.constraint_name == "candidacies_active_uq" else violation


def _values(declared: Declared) -> Sequence[object]:
    return (
        declared.office,
        declared.office_level,
        declared.state,
        declared.district,
        declared.election_date,
        declared.term,
        declared.ballot_name,
        declared.official_link,
        declared.filed_on,
    )


async def get_candidacy(connection: Connection, candidacy_id: UUID) -> Candidacy:
    """Raises `NotFound`."""
    return _one(await connection.fetchrow(GET, candidacy_id))


async def lock_candidacy(connection: Connection, candidacy_id: UUID) -> Candidacy:
    """The row, locked until the transaction ends; raises `NotFound`."""
    return _one(await connection.fetchrow(LOCK, candidacy_id))


async def lock_candidacy_if_free(connection: Connection, candidacy_id: UUID) -> bool:
    """Whether the row could be locked at once: for whoever already holds locks of another candidacy."""
    return await connection.fetchrow(LOCK_IF_FREE, candidacy_id) is not None


def _one(row: Mapping[str, Any] | None) -> Candidacy:
    if row is None:
        raise NotFound
    return record_of(Candidacy, row)


async def lock_candidacies_of(connection: Connection, person_ids: Sequence[UUID]) -> list[UUID]:
    """Lock every candidacy of these person ids; returns the candidacies' ids."""
    return [row["id"] for row in await connection.fetch(LOCK_OF, list(person_ids))]


async def find_candidacies(connection: Connection, person_id: UUID) -> list[Candidacy]:
    """The person's own, newest first; `person_id` is the resolved one."""
    return [record_of(Candidacy, row) for row in await connection.fetch(FIND_OF_PERSON, person_id)]


async def find_to_verify(connection: Connection, limit: int = 100) -> list[Candidacy]:
    """Filings that wait for somebody to check them, oldest first."""
    return [record_of(Candidacy, row) for row in await connection.fetch(FIND_TO_VERIFY, limit)]


async def mark_confirmed(connection: Connection, candidacy_id: UUID, verified_by: UUID, now: datetime) -> None:
    """The filing was found on the official list."""
    await connection.execute(MARK_CONFIRMED, candidacy_id, verified_by, now)


async def mark_returned(connection: Connection, candidacy_id: UUID, reason: str, note: str, now: datetime) -> None:
    """The filing could not be verified; the candidate corrects it."""
    await connection.execute(MARK_RETURNED, candidacy_id, reason, note, now)


async def mark_withdrawn(connection: Connection, candidacy_id: UUID, now: datetime) -> None:
    """The candidate took the declaration back."""
    await connection.execute(MARK_WITHDRAWN, candidacy_id, now)
