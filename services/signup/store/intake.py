"""Statements of the intake: every one takes arrays, so that a batch of sign-ups costs what one does.

Order of locks, the same in every transaction: intents by id, addresses by key, then the outbox's streams by person.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from uuid import UUID

from services.signup.domain.submission import Submission
from shared.db import Connection

# Takes the key of each intent. A rival that holds one uncommitted is waited for. Served by the primary key.
CLAIM_INTENTS = """
    INSERT INTO intents (intent_id, payload_hash, signup_id, created_at)
    SELECT intent_id, payload_hash, signup_id, $4
    FROM unnest($1::uuid[], $2::bytea[], $3::uuid[]) AS batch (intent_id, payload_hash, signup_id)
    ORDER BY intent_id ON CONFLICT (intent_id) DO NOTHING
    RETURNING intent_id
"""
# Served by the primary key.
GET_INTENTS = "SELECT intent_id, payload_hash, signup_id FROM intents WHERE intent_id = ANY($1::uuid[])"

# Takes each address that is new, and says whose each is; person_emails_email_key_uq decides who is first, and rivals
# wait for it. What a rival commits meanwhile is not in this statement's view of the table: such an address is missing.
CLAIM_EMAILS = """
    WITH claimed AS (
        INSERT INTO person_emails (email_key, person_id, email, added_at)
        SELECT email_key, person_id, email, $4
        FROM unnest($1::text[], $2::uuid[], $3::text[]) AS batch (email_key, person_id, email)
        ORDER BY email_key ON CONFLICT (email_key) DO NOTHING
        RETURNING email_key, person_id)
    SELECT email_key, person_id, false AS confirmed, true AS claimed FROM claimed
    UNION ALL
    SELECT email_key, coalesce(person_aliases.person_id, person_emails.person_id),
           people.confirmed_at IS NOT NULL, false
    FROM person_emails
    LEFT JOIN person_aliases ON person_aliases.alias_id = person_emails.person_id
    LEFT JOIN people ON people.id = coalesce(person_aliases.person_id, person_emails.person_id)
    WHERE email_key = ANY($1::text[])
"""
# Served by person_emails_email_key_uq; an address whose first sign-up is not stored yet has no row of people.
GET_OWNERS = """
    SELECT email_key, coalesce(person_aliases.person_id, person_emails.person_id) AS person_id,
           people.confirmed_at IS NOT NULL AS confirmed
    FROM person_emails
    LEFT JOIN person_aliases ON person_aliases.alias_id = person_emails.person_id
    LEFT JOIN people ON people.id = coalesce(person_aliases.person_id, person_emails.person_id)
    WHERE email_key = ANY($1::text[])
"""
# Everything that a batch of sign-ups leaves, in one statement: references are checked at its end, so the order of the
# parts does not matter. A row with `newcomer` is a person's first.
INSERT_SIGNUPS = """
    WITH batch AS MATERIALIZED (
        SELECT id, intent_id, person_id, form, role, legal_body, email, facts::jsonb AS facts, known, newcomer,
               utm_source, utm_medium, utm_campaign, referrer, ref, page, link_id, token_hash
        FROM unnest($1::uuid[], $2::uuid[], $3::uuid[], $4::text[], $5::text[], $6::text[], $7::text[], $8::text[],
                    $9::boolean[], $10::boolean[], $11::text[], $12::text[], $13::text[], $14::text[], $15::text[],
                    $16::text[], $17::uuid[], $18::bytea[])
             AS batch (id, intent_id, person_id, form, role, legal_body, email, facts, known, newcomer,
                       utm_source, utm_medium, utm_campaign, referrer, ref, page, link_id, token_hash)),
    new_people AS (
        INSERT INTO people (id, name, phone, state, zip, birth_year, office, tracks, language, spoken_languages,
                            time_zone, availability, answers, legal_body, signed_up_at)
        SELECT person_id, facts->>'name', facts->>'phone', facts->>'state', facts->>'zip',
               (facts->>'birth_year')::smallint, facts->>'office',
               ARRAY(SELECT jsonb_array_elements_text(facts->'tracks')), facts->>'language',
               ARRAY(SELECT jsonb_array_elements_text(facts->'spoken_languages')), facts->>'time_zone',
               facts->'availability', facts->'answers', legal_body, $21
        FROM batch WHERE newcomer),
    new_signups AS (
        INSERT INTO signups (id, intent_id, person_id, form, role, legal_body, email, facts, known, program_version,
                             program_hash, created_at)
        SELECT id, intent_id, person_id, form, role, legal_body, email, facts, known, $19, $20, $21 FROM batch),
    new_consents AS (
        INSERT INTO consents (person_id, signup_id, channel, granted, wording_id, wording_version, legal_body, reason,
                              page, given_at, program_version, program_hash)
        SELECT person_id, signup_id, channel, true, wording_id, wording_version, legal_body, 'form', page, $21, $19, $20
        FROM unnest($23::uuid[], $24::uuid[], $25::text[], $26::text[], $27::text[], $28::text[], $29::text[])
             AS consented (person_id, signup_id, channel, wording_id, wording_version, legal_body, page)),
    new_sources AS (
        INSERT INTO sources (signup_id, person_id, utm_source, utm_medium, utm_campaign, referrer, ref, page, at)
        SELECT id, person_id, utm_source, utm_medium, utm_campaign, referrer, ref, page, $21 FROM batch)
    INSERT INTO links (id, purpose, token_hash, person_id, signup_id, created_at, expires_at)
    SELECT link_id, 'confirm', token_hash, person_id, id, $21, $22 FROM batch
"""
# Bounded, so that the first run after a long pause holds no lock for long. Served by intents_created_at_idx.
PRUNE_INTENTS = """
    DELETE FROM intents WHERE intent_id IN (
        SELECT intent_id FROM intents WHERE created_at < business_now() - $1::interval ORDER BY created_at LIMIT 5000)
"""


@dataclass(frozen=True, slots=True)
class Known:
    """What is kept under an intent id."""

    payload_hash: bytes
    signup_id: UUID


@dataclass(frozen=True, slots=True)
class Owner:
    """Whose an address is; `confirmed` once a mailed link proved it."""

    person_id: UUID
    confirmed: bool


@dataclass(frozen=True, slots=True)
class Row:
    """One sign-up to be written, with the ids drawn for it."""

    submission: Submission
    signup_id: UUID
    person_id: UUID
    link_id: UUID
    link_hash: bytes
    known: bool
    newcomer: bool
    """The person's first row, which makes the person."""
    facts: str
    """The submission's facts as JSON text."""


async def claim_intents(
    connection: Connection, intents: Sequence[tuple[UUID, bytes, UUID]], now: datetime
) -> frozenset[UUID]:
    """Take keys as (intent, payload hash, sign-up); returns those that were free."""
    ids, hashes, signups = ([row[column] for row in intents] for column in range(3))
    rows = await connection.fetch(CLAIM_INTENTS, ids, hashes, signups, now)
    return frozenset(row["intent_id"] for row in rows)


async def get_intents(connection: Connection, intent_ids: Sequence[UUID]) -> dict[UUID, Known]:
    """What is kept under these keys."""
    rows = await connection.fetch(GET_INTENTS, intent_ids)
    return {row["intent_id"]: Known(row["payload_hash"], row["signup_id"]) for row in rows}


async def claim_emails(
    connection: Connection, emails: Sequence[tuple[str, UUID, str]], now: datetime
) -> tuple[frozenset[str], dict[str, Owner]]:
    """Take addresses as (key, id of a person to be, as typed); returns the keys that were free, and whose each is,
    merged people resolved.
    """
    keys, people, typed = ([row[column] for row in emails] for column in range(3))
    rows = await connection.fetch(CLAIM_EMAILS, keys, people, typed, now)
    owners = {row["email_key"]: Owner(row["person_id"], row["confirmed"]) for row in rows}
    if missing := [key for key in keys if key not in owners]:
        # A rival took them while we waited.
        late = await connection.fetch(GET_OWNERS, missing)
        owners |= {row["email_key"]: Owner(row["person_id"], row["confirmed"]) for row in late}
    return frozenset(row["email_key"] for row in rows if row["claimed"]), owners


async def insert_signups(
    connection: Connection, rows: Sequence[Row], *, version: str, content_hash: str, now: datetime, lasts: timedelta
) -> None:
    """Write the sign-ups with their newcomers, consents, sources and confirmation links."""
    signups, people = [row.signup_id for row in rows], [row.person_id for row in rows]
    sent = [row.submission for row in rows]
    grants = [
        (row.person_id, row.signup_id, g.channel, g.wording_id, g.wording_version, g.legal_body,
         row.submission.source.page)
        for row in rows for g in row.submission.grants
    ]  # fmt: skip
    await connection.execute(
        INSERT_SIGNUPS,
        signups,
        [one.intent_id for one in sent],
        people,
        [one.form for one in sent],
        [one.role for one in sent],
        [one.legal_body for one in sent],
        [one.email.typed for one in sent],
        [row.facts for row in rows],
        [row.known for row in rows],
        [row.newcomer for row in rows],
        [one.source.utm_source for one in sent],
        [one.source.utm_medium for one in sent],
        [one.source.utm_campaign for one in sent],
        [one.source.referrer for one in sent],
        [one.source.ref for one in sent],
        [one.source.page for one in sent],
        [row.link_id for row in rows],
        [row.link_hash for row in rows],
        version,
        content_hash,
        now,
        now + lasts,
        *([grant[column] for grant in grants] for column in range(7)),
    )


async def prune_intents(connection: Connection, keep: timedelta) -> int:
    """Forget keys older than `keep`; returns how many, at most 5,000."""
    status: str = await connection.execute(PRUNE_INTENTS, keep)
    return int(status.rpartition(" ")[2])
