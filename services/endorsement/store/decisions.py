"""Decisions, approvals of announcements, endorsements and rescissions."""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import date, datetime
from typing import Any
from uuid import UUID

import asyncpg

from shared.db import Connection, record_of
from shared.errors import NotFound, Rejected
from shared.web.text import _


@dataclass(frozen=True, slots=True)
class Decision:
    """A row of `decisions`."""

    id: UUID
    application_id: UUID
    candidacy_id: UUID
    person_id: UUID
    outcome: str
    reason: str | None
    note: str
    decided_by: UUID
    decided_at: datetime
    embargo_until: datetime | None
    reapply_from: date | None
    scorecards: int
    legal_body: str
    program_version: str
    program_hash: str


@dataclass(frozen=True, slots=True)
class Endorsement:
    """A row of `endorsements`."""

    id: UUID
    decision_id: UUID
    candidacy_id: UUID
    person_id: UUID
    status: str
    ballot_name: str
    office: str
    office_label: str
    office_level: str
    state: str
    district: str | None
    election_date: date
    organization: str
    legal_body: str
    program_version: str
    announced_by: UUID
    announced_at: datetime
    rescinded_at: datetime | None


@dataclass(frozen=True, slots=True)
class Rescission:
    """A row of `rescissions`."""

    id: UUID
    endorsement_id: UUID
    reason: str
    note: str
    requested_by: UUID
    requested_at: datetime
    confirmed_by: UUID | None
    confirmed_at: datetime | None


# decisions_application_id_uq: one final decision per version of an application.
INSERT_DECISION = """
    INSERT INTO decisions (id, application_id, candidacy_id, person_id, outcome, reason, note, decided_by, decided_at,
        embargo_until, reapply_from, scorecards, legal_body, program_version, program_hash)
    VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12, $13, $14, $15)
"""
GET_DECISION = "SELECT * FROM decisions WHERE id = $1"
GET_DECISION_OF = "SELECT * FROM decisions WHERE application_id = $1"
# Endorsements decided and not announced, the first embargo to end first.
FIND_TO_ANNOUNCE = """
    SELECT d.id, d.application_id, d.candidacy_id, d.decided_by, d.decided_at, d.embargo_until, a.publish_consent,
        p.approved_by, c.office, c.state, c.district, c.ballot_name, c.election_date
    FROM decisions d JOIN applications a ON a.id = d.application_id JOIN candidacies c ON c.id = d.candidacy_id
    LEFT JOIN announcement_approvals p ON p.decision_id = d.id
    WHERE d.outcome = 'endorse' AND NOT EXISTS (SELECT 1 FROM endorsements e WHERE e.decision_id = d.id)
    ORDER BY d.embargo_until LIMIT $1
"""
FIND_DECISIONS = "SELECT * FROM decisions ORDER BY decided_at DESC LIMIT $1"
INSERT_APPROVAL = """
    INSERT INTO announcement_approvals (decision_id, approved_by, approved_at) VALUES ($1, $2, $3)
    ON CONFLICT DO NOTHING RETURNING decision_id
"""
GET_APPROVAL = "SELECT approved_by FROM announcement_approvals WHERE decision_id = $1"
# endorsements_decision_id_uq: one endorsement per decision.
INSERT_ENDORSEMENT = """
    INSERT INTO endorsements (id, decision_id, candidacy_id, person_id, status, ballot_name, office, office_label,
        office_level, state, district, election_date, organization, legal_body, program_version, announced_by,
        announced_at)
    VALUES ($1, $2, $3, $4, 'endorsed', $5, $6, $7, $8, $9, $10, $11, $12, $13, $14, $15, $16)
"""
GET_ENDORSEMENT = "SELECT * FROM endorsements WHERE id = $1"
GET_ENDORSEMENT_OF = "SELECT * FROM endorsements WHERE decision_id = $1"
MARK_RESCINDED = "UPDATE endorsements SET status = 'rescinded', rescinded_at = $2 WHERE id = $1"
# Served by endorsements_announced_at_idx; filters left out match all.
FIND_ENDORSEMENTS = """
    SELECT * FROM endorsements
    WHERE ($1::text IS NULL OR state = $1) AND ($2::text IS NULL OR office = $2)
      AND ($3::int IS NULL OR extract(year FROM election_date) = $3) AND ($4::text IS NULL OR status = $4)
      AND ($5::timestamptz IS NULL OR (announced_at, id) < ($5, $6::uuid))
    ORDER BY announced_at DESC, id DESC LIMIT $7
"""
# rescissions_endorsement_id_uq: an endorsement is rescinded at most once.
INSERT_RESCISSION = """
    INSERT INTO rescissions (id, endorsement_id, reason, note, requested_by, requested_at)
    VALUES ($1, $2, $3, $4, $5, $6)
"""
GET_RESCISSION_OF = "SELECT * FROM rescissions WHERE endorsement_id = $1"
MARK_CONFIRMED = "UPDATE rescissions SET confirmed_by = $2, confirmed_at = $3 WHERE id = $1"
DELETE_REQUEST = "DELETE FROM rescissions WHERE id = $1 AND confirmed_at IS NULL"
FIND_TO_CONFIRM = """
    SELECT r.id, r.endorsement_id, r.reason, r.requested_by, r.requested_at, e.ballot_name, e.office, e.state,
        e.district
    FROM rescissions r JOIN endorsements e ON e.id = r.endorsement_id
    WHERE r.confirmed_at IS NULL ORDER BY r.requested_at LIMIT $1
"""

ALREADY_DECIDED = Rejected("already_decided", _("This application is decided. A new version of it needs a new review."))
ALREADY_REQUESTED = Rejected(
    "already_requested", _("A rescission is on record for this endorsement. Open it; somebody else confirms it.")
)


async def insert_decision(connection: Connection, decision: Decision) -> None:
    """Raises `Rejected` (already_decided) by decisions_application_id_uq."""
    try:
        async with connection.transaction():
            await connection.execute(
                INSERT_DECISION,
                decision.id,
                decision.application_id,
                decision.candidacy_id,
                decision.person_id,
                decision.outcome,
                decision.reason,
                decision.note,
                decision.decided_by,
                decision.decided_at,
                decision.embargo_until,
                decision.reapply_from,
                decision.scorecards,
                decision.legal_body,
                decision.program_version,
                decision.program_hash,
            )
    except asyncpg.UniqueViolationError as violation:
        if violation.constraint_name != "decisions_application_id_uq":
            raise
        raise ALREADY_DECIDED from None


async def get_decision(connection: Connection, decision_id: UUID) -> Decision:
    """Raises `NotFound`."""
    row = await connection.fetchrow(GET_DECISION, decision_id)
    if row is None:
        raise NotFound
    return record_of(Decision, row)


async def get_decision_of(connection: Connection, application_id: UUID) -> Decision | None:
    """The decision on an application, None while there is none."""
    row = await connection.fetchrow(GET_DECISION_OF, application_id)
    return None if row is None else record_of(Decision, row)


async def find_decisions(connection: Connection, limit: int = 200) -> list[Decision]:
    """The latest first."""
    return [record_of(Decision, row) for row in await connection.fetch(FIND_DECISIONS, limit)]


async def find_to_announce(connection: Connection, limit: int = 200) -> list[Mapping[str, Any]]:
    """Decided endorsements that nobody has announced."""
    return list(await connection.fetch(FIND_TO_ANNOUNCE, limit))


async def insert_approval(connection: Connection, decision_id: UUID, approved_by: UUID, now: datetime) -> bool:
    """False when it was approved before."""
    return await connection.fetchval(INSERT_APPROVAL, decision_id, approved_by, now) is not None


async def get_approval(connection: Connection, decision_id: UUID) -> UUID | None:
    """Who approved the announcement in advance."""
    approved_by: UUID | None = await connection.fetchval(GET_APPROVAL, decision_id)
    return approved_by


async def insert_endorsement(connection: Connection, endorsement: Endorsement) -> None:
    """A row that endorsements_decision_id_uq keeps single; the candidacy is locked, so a rival has looked before."""
    await connection.execute(
        INSERT_ENDORSEMENT,
        endorsement.id,
        endorsement.decision_id,
        endorsement.candidacy_id,
        endorsement.person_id,
        endorsement.ballot_name,
        endorsement.office,
        endorsement.office_label,
        endorsement.office_level,
        endorsement.state,
        endorsement.district,
        endorsement.election_date,
        endorsement.organization,
        endorsement.legal_body,
        endorsement.program_version,
        endorsement.announced_by,
        endorsement.announced_at,
    )


async def get_endorsement(connection: Connection, endorsement_id: UUID) -> Endorsement:
    """Raises `NotFound`."""
    row = await connection.fetchrow(GET_ENDORSEMENT, endorsement_id)
    if row is None:
        raise NotFound
    return record_of(Endorsement, row)


async def get_endorsement_of(connection: Connection, decision_id: UUID) -> Endorsement | None:
    """The announced endorsement of a decision."""
    row = await connection.fetchrow(GET_ENDORSEMENT_OF, decision_id)
    return None if row is None else record_of(Endorsement, row)


async def mark_rescinded(connection: Connection, endorsement_id: UUID, now: datetime) -> None:
    """Take the endorsement back."""
    await connection.execute(MARK_RESCINDED, endorsement_id, now)


async def find_endorsements(
    connection: Connection,
    *,
    state: str | None = None,
    office: str | None = None,
    year: int | None = None,
    status: str | None = None,
    before: tuple[datetime, UUID] | None = None,
    limit: int = 50,
) -> list[Endorsement]:
    """Announced endorsements, the newest first, after the place `before`."""
    moment, last_id = before or (None, None)
    rows = await connection.fetch(FIND_ENDORSEMENTS, state, office, year, status, moment, last_id, limit)
    return [record_of(Endorsement, row) for row in rows]


async def insert_rescission(connection: Connection, rescission: Rescission) -> None:
    """Raises `Rejected` (already_requested) by rescissions_endorsement_id_uq."""
    try:
        async with connection.transaction():
            await connection.execute(
                INSERT_RESCISSION,
                rescission.id,
                rescission.endorsement_id,
                rescission.reason,
                rescission.note,
                rescission.requested_by,
                rescission.requested_at,
            )
    except asyncpg.UniqueViolationError as violation:
        if violation.constraint_name != "rescissions_endorsement_id_uq":
            raise
        raise ALREADY_REQUESTED from None


async def get_rescission_of(connection: Connection, endorsement_id: UUID) -> Rescission | None:
    """The request to rescind, confirmed or not."""
    row = await connection.fetchrow(GET_RESCISSION_OF, endorsement_id)
    return None if row is None else record_of(Rescission, row)


async def mark_rescission(connection: Connection, rescission_id: UUID, confirmed_by: UUID, now: datetime) -> None:
    """The second person's word."""
    await connection.execute(MARK_CONFIRMED, rescission_id, confirmed_by, now)


async def delete_request(connection: Connection, rescission_id: UUID) -> None:
    """Take back a request that nobody has confirmed; the audit log keeps that it was made."""
    await connection.execute(DELETE_REQUEST, rescission_id)


async def find_to_confirm(connection: Connection, limit: int = 100) -> list[Mapping[str, Any]]:
    """Requests to rescind that wait for a second person."""
    return list(await connection.fetch(FIND_TO_CONFIRM, limit))
