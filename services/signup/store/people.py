"""Statements about people: their facts, roles, consents, sign-ups and addresses."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any
from uuid import UUID

from shared.db import Connection

# Locks the person. Served by the primary key.
LOCK_PERSON = "SELECT * FROM people WHERE id = $1 FOR UPDATE"
GET_PERSON = "SELECT * FROM people WHERE id = $1"
# Resolves merges, leaves out erased people. Served by primary keys and person_emails_person_id_idx.
GET_CONTACTS = """
    SELECT asked.id AS asked_id, people.*, emails.email,
           coalesce(states.consents, '{}') AS consents
    FROM unnest($1::uuid[]) AS asked (id)
    LEFT JOIN person_aliases ON person_aliases.alias_id = asked.id
    JOIN people ON people.id = coalesce(person_aliases.person_id, asked.id)
    LEFT JOIN LATERAL (SELECT email FROM person_emails WHERE person_emails.person_id = people.id
                       ORDER BY verified_at NULLS LAST, added_at LIMIT 1) AS emails ON true
    LEFT JOIN LATERAL (SELECT jsonb_object_agg(channel, granted) AS consents FROM consent_states
                       WHERE consent_states.person_id = people.id
                         AND consent_states.legal_body = people.legal_body) AS states ON true
    WHERE NOT EXISTS (SELECT 1 FROM tombstones WHERE tombstones.person_id IN (asked.id, people.id))
"""
GET_PROFILES = """
    SELECT asked.id AS asked_id, people.*,
           ARRAY(SELECT role FROM roles WHERE roles.person_id = people.id ORDER BY since, role) AS roles
    FROM unnest($1::uuid[]) AS asked (id)
    LEFT JOIN person_aliases ON person_aliases.alias_id = asked.id
    JOIN people ON people.id = coalesce(person_aliases.person_id, asked.id)
    WHERE NOT EXISTS (SELECT 1 FROM tombstones WHERE tombstones.person_id IN (asked.id, people.id))
"""
# Served by person_emails_email_key_uq.
FIND_BY_EMAIL = """
    SELECT people.* FROM person_emails
    LEFT JOIN person_aliases ON person_aliases.alias_id = person_emails.person_id
    JOIN people ON people.id = coalesce(person_aliases.person_id, person_emails.person_id)
    WHERE email_key = $1
"""
INSERT_PERSON = """
    INSERT INTO people (id, name, language, spoken_languages, legal_body, signed_up_at)
    VALUES ($1, $2, $3, ARRAY[$3], $4, $5)
"""
# A concurrent writer of the same address is waited for; person_emails_email_key_uq decides.
INSERT_EMAIL = """
    INSERT INTO person_emails (email_key, person_id, email, added_at) VALUES ($1, $2, $3, $4)
    ON CONFLICT (email_key) DO NOTHING RETURNING email_key
"""
# The row of people is locked by the caller.
UPDATE_FACTS = """
    UPDATE people SET name = $2, phone = $3, state = $4, zip = $5, birth_year = $6, office = $7, tracks = $8,
           language = $9, spoken_languages = $10, time_zone = $11, availability = $12, answers = $13 WHERE id = $1
"""
MARK_CONFIRMED = """
    UPDATE people SET confirmed_at = $2, stage = CASE stage WHEN 'signed_up' THEN 'confirmed' ELSE stage END
    WHERE id = $1 AND confirmed_at IS NULL
"""
MARK_EMAILS_VERIFIED = "UPDATE person_emails SET verified_at = $2 WHERE person_id = $1 AND verified_at IS NULL"

# Served by the primary key.
LOCK_SIGNUP = "SELECT * FROM signups WHERE id = $1 FOR UPDATE"
MARK_SIGNUP_APPLIED = "UPDATE signups SET status = 'applied', applied_at = $2 WHERE id = $1"
# Served by signups_person_id_idx.
HAS_APPLIED = "SELECT EXISTS (SELECT 1 FROM signups WHERE person_id = ANY($1::uuid[]) AND status = 'applied')"
FIND_PENDING_SIGNUP = """
    SELECT id FROM signups WHERE person_id = $1 AND status = 'pending' ORDER BY created_at DESC LIMIT 1
"""
GET_SIGNUPS = """
    SELECT signups.id, form, role, status, created_at, applied_at, program_version, signups.email,
           utm_source, utm_medium, utm_campaign, referrer, ref, page, facts
    FROM signups JOIN sources ON sources.signup_id = signups.id
    WHERE signups.person_id = ANY($1::uuid[]) ORDER BY created_at, signups.id
"""

INSERT_ROLES = """
    INSERT INTO roles (person_id, role, signup_id, since) SELECT $1, role, $3, $4 FROM unnest($2::text[]) AS role
    ON CONFLICT DO NOTHING RETURNING role
"""
GET_ROLES = "SELECT role FROM roles WHERE person_id = ANY($1::uuid[]) ORDER BY since, role"

INSERT_CONSENT = """
    INSERT INTO consents (person_id, channel, granted, wording_id, wording_version, legal_body, reason, page, given_at,
                          program_version, program_hash)
    VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11)
    RETURNING id, channel, granted, wording_version, legal_body, reason
"""
# Served by consents_signup_id_idx.
GET_SIGNUP_CONSENTS = """
    SELECT id, channel, granted, wording_version, legal_body, reason FROM consents WHERE signup_id = $1 ORDER BY id
"""
# Returns a row only where something changed: the person's row is locked by the caller.
SET_CONSENT = """
    INSERT INTO consent_states (person_id, channel, legal_body, granted, consent_id, changed_at)
    VALUES ($1, $2, $3, $4, $5, $6)
    ON CONFLICT (person_id, channel, legal_body) DO UPDATE
        SET granted = excluded.granted, consent_id = excluded.consent_id, changed_at = excluded.changed_at
        WHERE consent_states.granted <> excluded.granted
    RETURNING channel
"""
GET_CONSENT_STATES = """
    SELECT consent_states.channel, consent_states.legal_body, consent_states.granted, wording_id, wording_version,
           consents.reason, consents.page, changed_at
    FROM consent_states JOIN consents ON consents.id = consent_id
    WHERE consent_states.person_id = $1 ORDER BY channel, legal_body
"""
GET_CONSENTS = """
    SELECT channel, granted, wording_id, wording_version, legal_body, reason, page, given_at, program_version
    FROM consents WHERE person_id = ANY($1::uuid[]) ORDER BY id
"""
GET_EMAILS = (
    "SELECT email, added_at, verified_at FROM person_emails WHERE person_id = ANY($1::uuid[]) ORDER BY added_at"
)
# Served by person_aliases_person_id_idx.
GET_IDS = "SELECT alias_id FROM person_aliases WHERE person_id = $1 ORDER BY alias_id"

Row = Mapping[str, Any]
FACTS = (
    "name", "phone", "state", "zip", "birth_year", "office", "tracks", "language", "spoken_languages", "time_zone",
    "availability", "answers",
)  # fmt: skip
"""Columns of people that a person may change, in the order of UPDATE_FACTS."""


@dataclass(frozen=True, slots=True)
class ConsentRow:
    """A grant or withdrawal as it was recorded."""

    id: int
    channel: str
    granted: bool
    wording_version: str
    legal_body: str
    reason: str


async def lock_person(connection: Connection, person_id: UUID) -> Row | None:
    """The person's row, locked."""
    row: Row | None = await connection.fetchrow(LOCK_PERSON, person_id)
    return row


async def get_person(connection: Connection, person_id: UUID) -> Row | None:
    """The person's row."""
    row: Row | None = await connection.fetchrow(GET_PERSON, person_id)
    return row


async def get_contacts(connection: Connection, person_ids: Sequence[UUID]) -> Sequence[Row]:
    """One row for each id that has a person, with `asked_id`, `email` and `consents` by channel."""
    rows: Sequence[Row] = await connection.fetch(GET_CONTACTS, person_ids)
    return rows


async def get_profiles(connection: Connection, person_ids: Sequence[UUID]) -> Sequence[Row]:
    """One row for each id that has a person, with `asked_id` and `roles`."""
    rows: Sequence[Row] = await connection.fetch(GET_PROFILES, person_ids)
    return rows


async def find_by_email(connection: Connection, email_key: str) -> Row | None:
    """The person an address belongs to, merges resolved."""
    row: Row | None = await connection.fetchrow(FIND_BY_EMAIL, email_key)
    return row


async def insert_person(
    connection: Connection, person_id: UUID, *, name: str, language: str, legal_body: str, now: datetime
) -> None:
    """Write a person who did not come through a form."""
    await connection.execute(INSERT_PERSON, person_id, name, language, legal_body, now)


async def insert_email(connection: Connection, person_id: UUID, *, email_key: str, email: str, now: datetime) -> bool:
    """Give a person an address; False when it is somebody's already."""
    return await connection.fetchval(INSERT_EMAIL, email_key, person_id, email, now) is not None


async def update_facts(connection: Connection, person_id: UUID, facts: Mapping[str, Any]) -> None:
    """Replace a locked person's facts; every name of FACTS must be there."""
    await connection.execute(UPDATE_FACTS, person_id, *(facts[name] for name in FACTS))


async def mark_confirmed(connection: Connection, person_id: UUID, now: datetime) -> None:
    """Note that a mailed link was used, and so that the person's addresses are theirs."""
    await connection.execute(MARK_CONFIRMED, person_id, now)
    await connection.execute(MARK_EMAILS_VERIFIED, person_id, now)


async def lock_signup(connection: Connection, signup_id: UUID) -> Row | None:
    """The sign-up's row, locked."""
    row: Row | None = await connection.fetchrow(LOCK_SIGNUP, signup_id)
    return row


async def mark_signup_applied(connection: Connection, signup_id: UUID, now: datetime) -> None:
    """Note that a sign-up holds."""
    await connection.execute(MARK_SIGNUP_APPLIED, signup_id, now)


async def has_applied(connection: Connection, person_ids: Sequence[UUID]) -> bool:
    """Whether any sign-up of the person holds."""
    return bool(await connection.fetchval(HAS_APPLIED, person_ids))


async def find_pending_signup(connection: Connection, person_id: UUID) -> UUID | None:
    """The newest sign-up that waits for its link."""
    found: UUID | None = await connection.fetchval(FIND_PENDING_SIGNUP, person_id)
    return found


async def get_signups(connection: Connection, person_ids: Sequence[UUID]) -> Sequence[Row]:
    """A person's sign-ups with their sources, oldest first."""
    rows: Sequence[Row] = await connection.fetch(GET_SIGNUPS, person_ids)
    return rows


async def insert_roles(
    connection: Connection, person_id: UUID, roles: Sequence[str], signup_id: UUID | None, now: datetime
) -> list[str]:
    """Add roles; returns those that are new."""
    rows = await connection.fetch(INSERT_ROLES, person_id, roles, signup_id, now)
    return [row["role"] for row in rows]


async def get_roles(connection: Connection, person_ids: Sequence[UUID]) -> list[str]:
    """The roles of a person."""
    return list(dict.fromkeys(row["role"] for row in await connection.fetch(GET_ROLES, person_ids)))


async def insert_consent(
    connection: Connection,
    person_id: UUID,
    *,
    channel: str,
    granted: bool,
    wording_id: str,
    wording_version: str,
    legal_body: str,
    reason: str,
    page: str | None,
    now: datetime,
    program_version: str,
    program_hash: str,
) -> ConsentRow:
    """Record a grant or withdrawal outside a form."""
    row = await connection.fetchrow(
        INSERT_CONSENT, person_id, channel, granted, wording_id, wording_version, legal_body, reason, page, now,
        program_version, program_hash,
    )  # fmt: skip
    assert row is not None
    return ConsentRow(**row)


async def get_signup_consents(connection: Connection, signup_id: UUID) -> list[ConsentRow]:
    """What a sign-up's form recorded."""
    return [ConsentRow(**row) for row in await connection.fetch(GET_SIGNUP_CONSENTS, signup_id)]


async def set_consent(connection: Connection, person_id: UUID, consent: ConsentRow, now: datetime) -> bool:
    """Let a record hold; whether that changed anything."""
    changed = await connection.fetchval(
        SET_CONSENT, person_id, consent.channel, consent.legal_body, consent.granted, consent.id, now
    )
    return changed is not None


async def get_consent_states(connection: Connection, person_id: UUID) -> Sequence[Row]:
    """What holds now, per channel and legal body, with the wording that it rests on."""
    rows: Sequence[Row] = await connection.fetch(GET_CONSENT_STATES, person_id)
    return rows


async def get_consents(connection: Connection, person_ids: Sequence[UUID]) -> Sequence[Row]:
    """Every grant and withdrawal, oldest first."""
    rows: Sequence[Row] = await connection.fetch(GET_CONSENTS, person_ids)
    return rows


async def get_emails(connection: Connection, person_ids: Sequence[UUID]) -> Sequence[Row]:
    """A person's addresses, oldest first."""
    rows: Sequence[Row] = await connection.fetch(GET_EMAILS, person_ids)
    return rows


async def get_ids(connection: Connection, person_id: UUID) -> list[UUID]:
    """The person's id and those merged into it."""
    return [person_id, *(row["alias_id"] for row in await connection.fetch(GET_IDS, person_id))]
