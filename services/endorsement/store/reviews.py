"""Who advised whom, conflicts declared, scorecards, recusals, and the accounts of reviewers."""

from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import Any
from uuid import UUID

import asyncpg

from shared.db import Connection
from shared.errors import Rejected
from shared.web.text import _

# The newest event of an account wins, whatever the order of arrival.
UPSERT_ACCOUNTS = """
    INSERT INTO accounts (account_id, person_id, roles, outside, sequence) VALUES ($1, $2, $3, $4, $5)
    ON CONFLICT (account_id) DO UPDATE SET person_id = excluded.person_id, roles = excluded.roles,
        outside = excluded.outside, sequence = excluded.sequence
    WHERE accounts.sequence < excluded.sequence
"""
GET_ACCOUNT = "SELECT account_id, person_id, roles, outside FROM accounts WHERE account_id = $1"
INSERT_ADVISORIES = """
    INSERT INTO advisories (call_id, advisor_id, person_id, kind, known_at)
    SELECT *, $5::timestamptz FROM unnest($1::uuid[], $2::uuid[], $3::uuid[], $4::text[])
    ON CONFLICT (call_id) DO NOTHING
"""
# Every advisory that bears on the person, whichever of the person's ids it was under. Served by
# advisories_person_id_idx and person_aliases_person_id_idx.
FIND_ADVISORIES = """
    SELECT DISTINCT advisor_id, person_id, kind FROM advisories
    WHERE person_id = $1 OR person_id IN (SELECT alias_id FROM person_aliases WHERE person_id = $1)
"""
INSERT_DECLARATION = """
    INSERT INTO declarations (application_id, reviewer_id, has_conflict, note, declared_at) VALUES ($1, $2, $3, $4, $5)
"""
# Served by declarations_application_id_idx.
FIND_DECLARATIONS = """
    SELECT reviewer_id, has_conflict FROM declarations WHERE application_id = $1 ORDER BY id
"""
# scorecards_reviewer_uq: one scorecard per reviewer and application.
INSERT_SCORECARD = """
    INSERT INTO scorecards (id, application_id, reviewer_id, account_id, outside, scores, recommendation, comment,
        submitted_at)
    VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9)
"""
FIND_SCORECARDS = "SELECT * FROM scorecards WHERE application_id = $1 ORDER BY submitted_at, id"
# Voided once; the scores stay on record.
VOID_SCORECARDS = """
    UPDATE scorecards SET voided_at = $3, void_reason = $4
    WHERE application_id = $1 AND reviewer_id = ANY($2::uuid[]) AND voided_at IS NULL
"""
# Returns a row only the first time.
INSERT_RECUSAL = """
    INSERT INTO recusals (application_id, reviewer_id, reason, recused_at) VALUES ($1, $2, $3, $4)
    ON CONFLICT DO NOTHING RETURNING application_id
"""
FIND_RECUSALS = "SELECT reviewer_id, reason, recused_at FROM recusals WHERE application_id = $1 ORDER BY recused_at"
# Applications of locked candidacies on which somebody has declared or scored.
FIND_REVIEWED = """
    SELECT a.id, a.candidacy_id, a.person_id, r.reviewer_id FROM applications a
    JOIN (SELECT application_id, reviewer_id FROM scorecards
          UNION SELECT application_id, reviewer_id FROM declarations) r ON r.application_id = a.id
    WHERE a.candidacy_id = ANY($1::uuid[]) ORDER BY a.id, r.reviewer_id
"""
FIND_ALIASES_OF = """
    SELECT alias_id, person_id FROM person_aliases WHERE person_id = ANY($1::uuid[])
"""


async def upsert_account(
    connection: Connection, account_id: UUID, person_id: UUID, roles: Sequence[str], *, outside: bool, sequence: int
) -> None:
    """Note an account's roles, unless a later event already did."""
    await connection.execute(UPSERT_ACCOUNTS, account_id, person_id, list(roles), outside, sequence)


async def get_account(connection: Connection, account_id: UUID) -> Mapping[str, Any] | None:
    """What signup told of the account, None before it told anything."""
    row: Mapping[str, Any] | None = await connection.fetchrow(GET_ACCOUNT, account_id)
    return row


async def insert_advisories(
    connection: Connection, rows: Sequence[tuple[UUID, UUID, UUID, str]], now: datetime
) -> None:
    """Rows of call, advisor, person, kind; known calls are left as they are."""
    await connection.execute(INSERT_ADVISORIES, *(list(column) for column in zip(*rows, strict=True)), now)


async def find_advisories(connection: Connection, person_id: UUID) -> list[Mapping[str, Any]]:
    """Who advised the person; `person_id` is the resolved one."""
    return list(await connection.fetch(FIND_ADVISORIES, person_id))


async def insert_declaration(
    connection: Connection, application_id: UUID, reviewer_id: UUID, note: str, now: datetime, *, has_conflict: bool
) -> None:
    """Append what a reviewer says of conflicts."""
    await connection.execute(INSERT_DECLARATION, application_id, reviewer_id, has_conflict, note, now)


async def find_declarations(connection: Connection, application_id: UUID) -> list[Mapping[str, Any]]:
    """In the order they were made."""
    return list(await connection.fetch(FIND_DECLARATIONS, application_id))


async def insert_scorecard(
    connection: Connection,
    scorecard_id: UUID,
    application_id: UUID,
    reviewer_id: UUID,
    account_id: UUID | None,
    *,
    outside: bool,
    scores: Mapping[str, int],
    recommendation: str,
    comment: str,
    now: datetime,
) -> None:
    """Raises `Rejected` (already_scored) by scorecards_reviewer_uq."""
    try:
        async with connection.transaction():
            await connection.execute(
                INSERT_SCORECARD,
                scorecard_id,
                application_id,
                reviewer_id,
                account_id,
                outside,
                dict(scores),
                recommendation,
                comment,
                now,
            )
    except asyncpg.UniqueViolationError as violation:
        if violation.constraint_name != "scorecards_reviewer_uq":
            raise
        raise ALREADY_SCORED from None


ALREADY_SCORED = Rejected(
    "already_scored", _("You have scored this application. A scorecard stays as it was handed in.")
)


async def find_scorecards(connection: Connection, application_id: UUID) -> list[Mapping[str, Any]]:
    """All of them, voided ones too, oldest first."""
    return list(await connection.fetch(FIND_SCORECARDS, application_id))


async def void_scorecards(
    connection: Connection, application_id: UUID, reviewer_ids: Sequence[UUID], reason: str, now: datetime
) -> None:
    """Void what these reviewers scored."""
    await connection.execute(VOID_SCORECARDS, application_id, list(reviewer_ids), now, reason)


async def insert_recusal(
    connection: Connection, application_id: UUID, reviewer_id: UUID, reason: str, now: datetime
) -> bool:
    """True the first time for this reviewer and application."""
    return await connection.fetchval(INSERT_RECUSAL, application_id, reviewer_id, reason, now) is not None


async def find_recusals(connection: Connection, application_id: UUID) -> list[Mapping[str, Any]]:
    """Who is recused, and why."""
    return list(await connection.fetch(FIND_RECUSALS, application_id))


async def find_reviewed(connection: Connection, candidacy_ids: Sequence[UUID]) -> list[Mapping[str, Any]]:
    """Pairs of application and reviewer that have come into touch."""
    return list(await connection.fetch(FIND_REVIEWED, list(candidacy_ids)))


async def find_ids_of(connection: Connection, person_ids: Sequence[UUID]) -> dict[UUID, list[UUID]]:
    """For each resolved person: every id they go or went by."""
    ids: dict[UUID, list[UUID]] = {person_id: [person_id] for person_id in person_ids}
    for row in await connection.fetch(FIND_ALIASES_OF, list(ids)):
        ids[row["person_id"]].append(row["alias_id"])
    return ids
