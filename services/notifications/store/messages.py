"""Messages: planned, claimed, handed over, settled."""

import datetime as dt
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple, TypeAlias
from uuid import UUID

from services.notifications.domain.sending import Channel, Delivery
from shared.db import Connection, Pool

Row: TypeAlias = Mapping[str, Any]
Database: TypeAlias = "Connection | Pool"
_AFTER_ALL = UUID(int=2**128 - 1)

# What the event caused is there once, however often the event comes: messages_once_uq. What many messages of a batch
# share is sent once, and picked by its number.
INSERT_MESSAGES = """
    INSERT INTO messages (id, event_id, person_id, reference, expires_at, correlation_id,
                          event_type, template, channel, delivery, state, reason, due_at,
                          program_version, program_hash, created_at)
    SELECT id, event_id, person_id, reference, expires_at, correlation_id,
           ($8::text[])[manner], ($9::text[])[manner], ($10::text[])[manner], ($11::text[])[manner],
           ($12::text[])[manner], ($13::text[])[manner], ($14::timestamptz[])[manner], $15, $16, $17
    FROM unnest($1::uuid[], $2::uuid[], $3::uuid[], $4::text[], $5::timestamptz[], $6::text[], $7::int[])
         AS new (id, event_id, person_id, reference, expires_at, correlation_id, manner)
    ON CONFLICT ON CONSTRAINT messages_once_uq DO NOTHING
"""

# Locks what it takes; rival senders skip it. Served by messages_due_idx. The lease runs by the wall clock.
CLAIM = """
    UPDATE messages SET state = 'claimed', claimed_by = $1, reason = NULL,
           lease_until = clock_timestamp() + make_interval(secs => $2)
    WHERE id IN (SELECT id FROM messages
                 WHERE channel = $3 AND delivery = ANY($4::text[]) AND state IN ('queued', 'deferred')
                   AND due_at <= business_now()
                 ORDER BY due_at, id LIMIT $5 FOR UPDATE SKIP LOCKED)
    RETURNING id, event_id, event_type, person_id, template, channel, delivery, reference, expires_at, tries, hands,
              correlation_id
"""

# Locks those that are still this sender's, in one order. Served by the primary key.
LOCK_CLAIMED = """
    SELECT id FROM messages
    WHERE id = ANY($1::uuid[]) AND state = 'claimed' AND claimed_by = $2 AND lease_until > clock_timestamp()
    ORDER BY id FOR UPDATE
"""

MARK_HANDING = """
    UPDATE messages SET state = 'handing', reason = NULL, tries = tries + 1, hands = hands + 1,
           subject = new.subject, body = new.body, language = new.language, contact_hash = new.contact_hash,
           segments = new.segments, legal_body = new.legal_body, handed_at = $9,
           lease_until = clock_timestamp() + make_interval(secs => $8)
    FROM unnest($1::uuid[], $2::text[], $3::text[], $4::text[], $5::bytea[], $6::int[], $7::text[])
         AS new (id, subject, body, language, contact_hash, segments, legal_body)
    WHERE messages.id = new.id
"""

# Before a hand-over: dropped, deferred or back in the queue. Only while still this sender's.
MARK_UNSENT = """
    UPDATE messages SET state = new.state, reason = new.reason, due_at = new.due_at, claimed_by = NULL,
           lease_until = NULL, tries = tries + new.tried
    FROM unnest($1::uuid[], $2::text[], $3::text[], $4::timestamptz[], $5::int[])
         AS new (id, state, reason, due_at, tried)
    WHERE messages.id = new.id AND messages.state = 'claimed' AND messages.claimed_by = $6
    RETURNING messages.id, person_id, template, channel, messages.state, messages.reason, correlation_id
"""

# After a hand-over. A late answer still settles what recovery called unknown, but never a later hand-over: each has
# its number among the tries, which never goes back.
MARK_SETTLED = """
    UPDATE messages SET state = new.state, reason = new.reason, due_at = new.due_at, provider_id = new.provider_id,
           hands = messages.hands - (new.state = 'queued')::int, claimed_by = NULL, lease_until = NULL
    FROM unnest($1::uuid[], $2::int[], $3::text[], $4::text[], $5::timestamptz[], $6::text[])
         AS new (id, tries, state, reason, due_at, provider_id)
    WHERE messages.id = new.id AND messages.tries = new.tries AND messages.state IN ('handing', 'unknown')
    RETURNING messages.id, person_id, template, channel, messages.state, messages.reason, correlation_id,
              contact_hash, delivery
"""

# Served by messages_lease_idx.
RELEASE_EXPIRED = """
    UPDATE messages SET state = 'queued', claimed_by = NULL, lease_until = NULL
    WHERE state = 'claimed' AND lease_until <= clock_timestamp()
"""
LOCK_HANDING_EXPIRED = """
    SELECT id, channel, delivery, hands, tries FROM messages
    WHERE state = 'handing' AND lease_until <= clock_timestamp()
    ORDER BY lease_until LIMIT 1000 FOR UPDATE SKIP LOCKED
"""
# What is due among the unknown: an e-mail of class link or transactional, once. Served by messages_unknown_idx.
REQUEUE_UNKNOWN = """
    UPDATE messages SET state = 'queued', reason = 'resend', due_at = business_now()
    WHERE id IN (SELECT id FROM messages WHERE state = 'unknown' AND due_at <= business_now() AND channel = 'email'
                   AND delivery <> 'bulk' AND hands = 1
                 ORDER BY due_at LIMIT 1000 FOR UPDATE SKIP LOCKED)
"""
# Texts whose fate the provider is asked for; the next question waits five minutes. Served by messages_unknown_idx.
TAKE_LOOKUPS = """
    UPDATE messages SET due_at = business_now() + interval '5 minutes'
    WHERE id IN (SELECT id FROM messages WHERE state = 'unknown' AND due_at <= business_now() AND channel = 'sms'
                 ORDER BY due_at LIMIT 50 FOR UPDATE SKIP LOCKED)
    RETURNING id, tries
"""
PURGE_BODIES = """
    UPDATE messages SET body = NULL, subject = NULL
    WHERE id IN (SELECT id FROM messages WHERE body IS NOT NULL
                   AND handed_at < business_now() - make_interval(days => $1) LIMIT 2000 FOR UPDATE SKIP LOCKED)
"""
# Served by messages_person_idx.
GET_TEXTED = """
    SELECT DISTINCT person_id FROM messages
    WHERE person_id = ANY($1::uuid[]) AND channel = 'sms' AND state IN ('handing', 'accepted', 'unknown')
"""
LOCK_MESSAGE = "SELECT * FROM messages WHERE id = $1 FOR UPDATE"
GET_MESSAGE = "SELECT * FROM messages WHERE id = $1"
GET_STEPS = "SELECT state, reason, at FROM message_steps WHERE message_id = $1 ORDER BY id"
MARK_BY_OPERATOR = """
    UPDATE messages SET state = $2, reason = $3, due_at = $4, hands = CASE WHEN $2 = 'queued' THEN 0 ELSE hands END
    WHERE id = $1
"""
# A report of the relay host. Of a mail that is unknown, or queued again because it was, it is the word that was
# awaited; a bounce takes back what the host had accepted at first.
MARK_BY_RECEIPT = """
    UPDATE messages SET state = $2, reason = $3, due_at = NULL
    WHERE id = $1 AND (state = 'unknown' OR (state = 'queued' AND reason = 'resend')
                       OR (state = 'accepted' AND $2 = 'rejected'))
    RETURNING state
"""
# Newest first, by the time in the id; the id given is the last of the page before. Each is served by an index that
# has its order: the primary key, messages_state_idx, messages_template_idx, messages_person_idx.
FIND_NEWEST = """
    SELECT id, person_id, template, channel, delivery, state, reason, due_at, created_at, handed_at, tries
    FROM messages WHERE id < $1 ORDER BY id DESC LIMIT $2
"""
FIND_BY_STATE = """
    SELECT id, person_id, template, channel, delivery, state, reason, due_at, created_at, handed_at, tries
    FROM messages WHERE state = $3 AND ($4::text IS NULL OR template = $4) AND id < $1
    ORDER BY state DESC, id DESC LIMIT $2
"""
FIND_BY_TEMPLATE = """
    SELECT id, person_id, template, channel, delivery, state, reason, due_at, created_at, handed_at, tries
    FROM messages WHERE template = $3 AND ($4::text IS NULL OR state = $4) AND id < $1
    ORDER BY template DESC, id DESC LIMIT $2
"""
FIND_OF_PERSON = """
    SELECT id, person_id, template, channel, delivery, state, reason, due_at, created_at, handed_at, tries
    FROM messages
    WHERE person_id = $3 AND ($4::text IS NULL OR state = $4) AND ($5::text IS NULL OR template = $5) AND id < $1
    ORDER BY id DESC LIMIT $2
"""
# The longest unknown first, with when they are acted on by themselves. Served by messages_unknown_idx.
FIND_UNKNOWN = """
    SELECT id, delivery, template, channel, reason, handed_at AS since, due_at, person_id, hands
    FROM messages WHERE state = 'unknown' ORDER BY due_at DESC NULLS FIRST, id LIMIT $1
"""
# Bounded and in the order of an index, so that the planner never reads the whole table for a rare state: an outage
# must not be made worse by counting what it piled up. Served by messages_state_idx.
COUNT_STATES = """
    SELECT state, (SELECT count(*) FROM (SELECT 1 FROM messages WHERE messages.state = states.state
                                         ORDER BY messages.state, id LIMIT 10000) b) AS n
    FROM unnest(ARRAY['queued','deferred','claimed','handing','unknown','accepted','rejected','dropped'])
         AS states (state)
"""
# Served by messages_due_idx, which has each channel and class in the order of due_at, and by messages_unknown_idx.
GAUGES = """
    SELECT d.delivery, sum(queue.queued)::int AS queued, max(queue.oldest) AS oldest,
           coalesce(max(lost.n), 0) AS unknown
    FROM unnest(ARRAY['link', 'transactional', 'bulk']) AS d (delivery)
    CROSS JOIN unnest(ARRAY['email', 'sms']) AS c (channel)
    CROSS JOIN LATERAL (
        SELECT count(*) AS queued, coalesce(extract(epoch FROM business_now() - min(due_at)), 0) AS oldest
        FROM (SELECT due_at FROM messages m WHERE m.channel = c.channel AND m.delivery = d.delivery
                AND state IN ('queued', 'deferred') ORDER BY due_at LIMIT 10000) AS bounded) AS queue
    LEFT JOIN (SELECT delivery, count(*) AS n
               FROM (SELECT delivery FROM messages WHERE state = 'unknown' ORDER BY due_at LIMIT 10000) AS bounded
               GROUP BY delivery) AS lost USING (delivery)
    GROUP BY d.delivery
"""
# The last day's bulk mail and what came of it. Served by messages_recent_bulk_idx.
COUNT_RECENT_BULK = """
    SELECT count(*) AS sent,
           count(*) FILTER (WHERE state = 'rejected' AND reason = 'bounced') AS bounced,
           count(*) FILTER (WHERE EXISTS (SELECT 1 FROM suppressions
                                          WHERE suppressions.contact_hash = recent.contact_hash
                                            AND suppressions.reason = 'complaint'
                                            AND suppressions.since >= recent.handed_at)) AS complained
    FROM (SELECT state, reason, contact_hash, handed_at FROM messages
          WHERE channel = 'email' AND delivery = 'bulk' AND state IN ('accepted', 'rejected')
            AND handed_at > business_now() - interval '1 day'
          ORDER BY handed_at DESC LIMIT 2000) AS recent
"""


class Manner(NamedTuple):
    """What new messages of one kind have in common; `state` is `queued`, or `dropped` with a reason."""

    event_type: str
    template: str
    channel: Channel
    delivery: Delivery
    state: str
    reason: str | None
    due_at: dt.datetime | None


class NewMessage(NamedTuple):
    """A message to insert."""

    id: UUID
    event_id: UUID
    person_id: UUID
    reference: str
    expires_at: dt.datetime | None
    correlation_id: str | None
    manner: Manner


@dataclass(frozen=True, slots=True)
class Claimed:
    """A message in this sender's hands. `tries` and `hands` are those before this hand-over."""

    id: UUID
    event_id: UUID
    event_type: str
    person_id: UUID
    template: str
    channel: Channel
    delivery: Delivery
    reference: str
    expires_at: dt.datetime | None
    tries: int
    hands: int
    correlation_id: str | None


@dataclass(frozen=True, slots=True)
class Handing:
    """What is written down of a message before it is handed over."""

    id: UUID
    subject: str | None
    body: str
    language: str
    contact_hash: bytes
    segments: int | None
    legal_body: str


@dataclass(frozen=True, slots=True)
class Unsent:
    """Where a claimed message goes that is not handed over; `tried` adds to its tries."""

    id: UUID
    state: str
    reason: str | None
    due_at: dt.datetime | None
    tried: int = 0


@dataclass(frozen=True, slots=True)
class Settled:
    """What came of the hand-over that was try number `tries`."""

    id: UUID
    tries: int
    state: str
    reason: str | None
    due_at: dt.datetime | None
    provider_id: str | None


async def insert_messages(
    connection: Connection, new: Sequence[NewMessage], program_version: str, program_hash: str, now: dt.datetime
) -> None:
    """Insert those that are not there yet."""
    if not new:
        return
    *columns, manners = zip(*new, strict=True)
    # PostgreSQL counts from 1.
    numbers = {manner: number for number, manner in enumerate(dict.fromkeys(manners), 1)}
    await connection.execute(
        INSERT_MESSAGES,
        *columns,
        [numbers[manner] for manner in manners],
        *zip(*numbers, strict=True),
        program_version,
        program_hash,
        now,
    )


async def claim(
    pool: Pool, sender: str, channel: str, deliveries: Sequence[str], limit: int, lease_seconds: float
) -> list[Claimed]:
    """Take what is due, the longest due first."""
    rows = await pool.fetch(CLAIM, sender, lease_seconds, channel, list(deliveries), limit)
    return [Claimed(**dict(row)) for row in rows]


async def lock_claimed(connection: Connection, ids: Sequence[UUID], sender: str) -> frozenset[UUID]:
    """Lock those that are still the sender's."""
    return frozenset(row["id"] for row in await connection.fetch(LOCK_CLAIMED, list(ids), sender))


async def mark_handing(
    connection: Connection, handing: Sequence[Handing], now: dt.datetime, lease_seconds: float
) -> None:
    """From here on a crash leaves them unknown."""
    names = ("id", "subject", "body", "language", "contact_hash", "segments", "legal_body")
    columns = [[getattr(message, name) for message in handing] for name in names]
    await connection.execute(MARK_HANDING, *columns, lease_seconds, now)


async def mark_unsent(connection: Connection, unsent: Sequence[Unsent], sender: str) -> list[Row]:
    """Let go of claimed messages; returns the rows that were the sender's."""
    names = ("id", "state", "reason", "due_at", "tried")
    columns = [[getattr(message, name) for message in unsent] for name in names]
    return list(await connection.fetch(MARK_UNSENT, *columns, sender))


async def mark_settled(connection: Connection, settled: Sequence[Settled]) -> list[Row]:
    """Write down what came of hand-overs; returns the rows that it changed."""
    names = ("id", "tries", "state", "reason", "due_at", "provider_id")
    columns = [[getattr(message, name) for message in settled] for name in names]
    return list(await connection.fetch(MARK_SETTLED, *columns))


async def get_message(connection: Database, message_id: UUID) -> Row | None:
    """The whole row."""
    row: Row | None = await connection.fetchrow(GET_MESSAGE, message_id)
    return row


async def find_messages(
    connection: Database, *, state: str | None, template: str | None, person_id: UUID | None,
    before: UUID | None, limit: int,
) -> list[Row]:  # fmt: skip
    """A page of the log."""
    below = before or _AFTER_ALL
    if person_id is not None:
        rows = await connection.fetch(FIND_OF_PERSON, below, limit, person_id, state, template)
    elif state is not None and (template is None or state != "accepted"):
        rows = await connection.fetch(FIND_BY_STATE, below, limit, state, template)
    elif template is not None:
        rows = await connection.fetch(FIND_BY_TEMPLATE, below, limit, template, state)
    else:
        rows = await connection.fetch(FIND_NEWEST, below, limit)
    return list(rows)


async def find_unknown(connection: Database, limit: int) -> list[Row]:
    """Messages whose hand-over ended unknown."""
    return list(await connection.fetch(FIND_UNKNOWN, limit))
