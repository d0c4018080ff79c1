"""Applications, their consents to publish, and the verdicts on them."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import date, datetime
from typing import Any
from uuid import UUID

from shared.db import Connection, Pool, record_of
from shared.errors import NotFound


@dataclass(frozen=True, slots=True)
class Application:
    """A row of `applications`."""

    id: UUID
    candidacy_id: UUID
    person_id: UUID
    application_class: str
    version: int
    status: str
    answers: dict[str, Any]
    birth_year: int | None
    birth_date: date | None
    publish_consent: bool
    legal_body: str
    program_version: str
    program_hash: str
    created_at: datetime
    saved_at: datetime
    submitted_at: datetime | None
    answer_by: date | None


# The candidacy is locked, so the next version is free.
INSERT = """
    INSERT INTO applications (id, candidacy_id, person_id, application_class, version, status, answers, legal_body,
        program_version, program_hash, created_at, saved_at)
    SELECT $1, $2, $3, $4, coalesce(max(version), 0) + 1, 'draft', '{}', $5, $6, $7, $8, $8
    FROM applications WHERE candidacy_id = $2
"""
GET = "SELECT * FROM applications WHERE id = $1"
# Served by applications_version_uq, newest first.
FIND_OF_CANDIDACY = "SELECT * FROM applications WHERE candidacy_id = $1 ORDER BY version DESC"
# Served by applications_queue_idx, oldest first.
FIND_QUEUE = """
    SELECT a.id, a.person_id, a.status, a.version, a.application_class, a.submitted_at, a.answer_by, c.office, c.state,
        c.district, c.ballot_name, c.election_date,
        (SELECT count(*) FROM scorecards s WHERE s.application_id = a.id AND s.voided_at IS NULL) AS scorecards
    FROM applications a JOIN candidacies c ON c.id = a.candidacy_id
    WHERE a.status IN ('undetermined', 'in_review') ORDER BY a.submitted_at LIMIT $1
"""
SAVE = """
    UPDATE applications SET answers = $2, application_class = $3, birth_year = $4, birth_date = $5,
        publish_consent = $6, saved_at = $7 WHERE id = $1
"""
MARK_SUBMITTED = """
    UPDATE applications SET status = $2, submitted_at = $3, answer_by = $4, legal_body = $5, program_version = $6,
        program_hash = $7 WHERE id = $1
"""
MARK_STATUS = "UPDATE applications SET status = $2 WHERE id = $1"
MARK_FACTS = """
    UPDATE applications SET birth_year = coalesce($2, birth_year), birth_date = coalesce($3, birth_date) WHERE id = $1
"""
MARK_CONSENT = "UPDATE applications SET publish_consent = $2 WHERE id = $1"
INSERT_CONSENT = """
    INSERT INTO publish_consents (application_id, person_id, granted, wording_version, legal_body, program_version,
        given_at)
    VALUES ($1, $2, $3, $4, $5, $6, $7)
"""
INSERT_VERDICT = """
    INSERT INTO eligibility_verdicts (application_id, outcome, rule_version, verdict, sources, program_hash,
        evaluated_at)
    VALUES ($1, $2, $3, $4, $5, $6, $7)
"""
# Served by eligibility_verdicts_application_id_idx.
GET_VERDICT = """
    SELECT verdict FROM eligibility_verdicts WHERE application_id = $1 ORDER BY id DESC LIMIT 1
"""
# The latest verdict of each submitted application, newest application first.
FIND_VERDICTS = """
    SELECT a.id, a.candidacy_id, a.status, a.submitted_at, v.verdict FROM applications a
    CROSS JOIN LATERAL (SELECT verdict FROM eligibility_verdicts v WHERE v.application_id = a.id
                        ORDER BY id DESC LIMIT 1) v
    WHERE a.submitted_at IS NOT NULL ORDER BY a.submitted_at DESC LIMIT $1
"""
# Stages that this service has seen the person reach, whichever of the person's ids it was under.
GET_STAGES = """
    WITH ids AS (SELECT $1::uuid AS id UNION SELECT alias_id FROM person_aliases WHERE person_id = $1)
    SELECT EXISTS (SELECT 1 FROM advisories JOIN ids ON person_id = ids.id WHERE kind = 'one_on_one') AS one_on_one,
           EXISTS (SELECT 1 FROM intro_attendances JOIN ids ON person_id = ids.id) AS intro_call
"""
# One row per person however often they took part.
INSERT_ATTENDANCES = """
    INSERT INTO intro_attendances (person_id, known_at) SELECT DISTINCT unnest($1::uuid[]), $2::timestamptz
    ON CONFLICT DO NOTHING
"""


async def insert_draft(
    connection: Connection,
    application_id: UUID,
    candidacy_id: UUID,
    person_id: UUID,
    application_class: str,
    *,
    legal_body: str,
    program: tuple[str, str],
    now: datetime,
) -> None:
    """An empty draft, the candidacy's next version. The candidacy must be locked."""
    await connection.execute(
        INSERT, application_id, candidacy_id, person_id, application_class, legal_body, *program, now
    )  # fmt: skip


async def get_application(connection: Connection, application_id: UUID) -> Application:
    """Raises `NotFound`."""
    row = await connection.fetchrow(GET, application_id)
    if row is None:
        raise NotFound
    return record_of(Application, row)


async def find_applications(connection: Connection, candidacy_id: UUID) -> list[Application]:
    """All versions, newest first."""
    return [record_of(Application, row) for row in await connection.fetch(FIND_OF_CANDIDACY, candidacy_id)]


async def find_queue(connection: Connection, limit: int = 200) -> list[Mapping[str, Any]]:
    """Applications that wait for a fact or for a decision, with their race and the number of scorecards."""
    return list(await connection.fetch(FIND_QUEUE, limit))


async def save_draft(
    connection: Connection,
    application_id: UUID,
    answers: Mapping[str, Any],
    application_class: str,
    *,
    birth_year: int | None,
    birth_date: date | None,
    publish_consent: bool,
    now: datetime,
) -> None:
    """Overwrite a draft with what was typed."""
    await connection.execute(
        SAVE, application_id, dict(answers), application_class, birth_year, birth_date, publish_consent, now
    )


async def mark_submitted(
    connection: Connection,
    application_id: UUID,
    status: str,
    *,
    answer_by: date,
    legal_body: str,
    program: tuple[str, str],
    now: datetime,
) -> None:
    """Fix the application under the program of this moment."""
    await connection.execute(MARK_SUBMITTED, application_id, status, now, answer_by, legal_body, *program)


async def mark_application(connection: Connection, application_id: UUID, status: str) -> None:
    """Move an application on."""
    await connection.execute(MARK_STATUS, application_id, status)


async def mark_facts(
    connection: Connection, application_id: UUID, birth_year: int | None, birth_date: date | None
) -> None:
    """Note a fact that was missing; None leaves what is there."""
    await connection.execute(MARK_FACTS, application_id, birth_year, birth_date)


async def record_publish_consent(
    connection: Connection, application: Application, *, granted: bool, wording_version: str, now: datetime
) -> None:
    """Write the consent's record and the application's current answer."""
    await connection.execute(
        INSERT_CONSENT,
        application.id,
        application.person_id,
        granted,
        wording_version,
        application.legal_body,
        application.program_version,
        now,
    )
    await connection.execute(MARK_CONSENT, application.id, granted)


async def insert_verdict(
    connection: Connection,
    application_id: UUID,
    verdict: Mapping[str, Any],
    sources: Mapping[str, str],
    program_hash: str,
    now: datetime,
) -> None:
    """Append a verdict with its inputs and where each came from."""
    await connection.execute(
        INSERT_VERDICT,
        application_id,
        verdict["outcome"],
        verdict["rule_version"],
        dict(verdict),
        dict(sources),
        program_hash,
        now,
    )


async def get_verdict(connection: Connection, application_id: UUID) -> dict[str, Any] | None:
    """The latest verdict, None before submission."""
    verdict: dict[str, Any] | None = await connection.fetchval(GET_VERDICT, application_id)
    return verdict


async def find_verdicts(connection: Connection, limit: int = 5000) -> list[Mapping[str, Any]]:
    """Submitted applications with their latest verdicts."""
    return list(await connection.fetch(FIND_VERDICTS, limit))


async def get_stages(connection: "Connection | Pool", person_id: UUID) -> frozenset[str]:
    """Stages reached, as far as this service knows of them by events; `person_id` is the resolved one."""
    row = await connection.fetchrow(GET_STAGES, person_id)
    assert row is not None
    return frozenset(name for name in ("one_on_one", "intro_call") if row[name])


async def insert_attendances(connection: Connection, person_ids: Sequence[UUID], now: datetime) -> None:
    """Note who took part in a group call."""
    await connection.execute(INSERT_ATTENDANCES, list(person_ids), now)
