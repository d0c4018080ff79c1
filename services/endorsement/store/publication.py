"""The public feed, its gapless cursor, and the deliveries to webhook subscribers."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any
from uuid import UUID

from shared.db import Connection
from shared.errors import NotFound

# Locks the counter until commit: cursors become visible in order, and a rollback gives its number back.
TAKE_CURSOR = "UPDATE feed_counter SET last_cursor = last_cursor + 1 RETURNING last_cursor"
INSERT_ENTRY = """
    INSERT INTO feed_entries (cursor, event_id, endorsement_id, event, published_at) VALUES ($1, $2, $3, $4, $5)
"""
# Served by the primary key.
FIND_ENTRIES = "SELECT cursor, event FROM feed_entries WHERE cursor > $1 ORDER BY cursor LIMIT $2"
FIND_LATEST = "SELECT cursor, event, published_at FROM feed_entries ORDER BY cursor DESC LIMIT $1"
GET_COUNTER = "SELECT last_cursor, pruned_through FROM feed_counter"
# Served by feed_entries_published_at_idx; the counter remembers how far the feed was cut.
PRUNE = """
    WITH gone AS (DELETE FROM feed_entries WHERE published_at < $1 RETURNING cursor)
    UPDATE feed_counter SET pruned_through = greatest(pruned_through, (SELECT max(cursor) FROM gone))
    WHERE EXISTS (SELECT 1 FROM gone)
"""
# The number of the event that was just appended to its stream. Served by the primary key.
GET_SEQUENCE = "SELECT version FROM streams WHERE topic = $1 AND key = $2"

# Active subscribers get it; those that are disabled have it on record, and get it when they are enabled. Their rows are
# locked in share mode: whoever is being enabled or disabled meanwhile is judged by what came of that.
INSERT_DELIVERIES = """
    INSERT INTO webhook_deliveries (subscriber_id, webhook_id, endorsement_id, event_type, body, status, dead_reason,
        next_attempt_at, created_at)
    SELECT s.id, $1, $2, $3, $4, CASE s.status WHEN 'active' THEN 'pending' ELSE 'dead' END,
           CASE s.status WHEN 'active' THEN NULL ELSE 'disabled' END, $5, $5
    FROM webhook_subscribers s
    ORDER BY s.id FOR SHARE OF s
"""
INSERT_DELIVERY = """
    INSERT INTO webhook_deliveries (subscriber_id, webhook_id, event_type, body, status, next_attempt_at, created_at)
    VALUES ($1, $2, $3, $4, 'pending', $5, $5) RETURNING id
"""


@dataclass(frozen=True, slots=True)
class Subscriber:
    """A row of `webhook_subscribers` without its lease."""

    id: UUID
    url: str
    description: str
    status: str
    disabled_reason: str | None
    secret_version: int
    previous_until: datetime | None
    created_by: UUID
    created_at: datetime


@dataclass(frozen=True, slots=True)
class Claim:
    """A subscriber's next delivery, leased to one sender. `now` is the business time of the claim."""

    subscriber: Subscriber
    epoch: int
    delivery_id: int
    webhook_id: str
    body: str
    attempts: int
    now: datetime


SUBSCRIBER_COLUMNS = (
    "id", "url", "description", "status", "disabled_reason", "secret_version", "previous_until", "created_by",
    "created_at",
)  # fmt: skip
INSERT_SUBSCRIBER = """
    INSERT INTO webhook_subscribers (id, url, description, status, created_by, created_at)
    VALUES ($1, $2, $3, 'active', $4, $5)
"""
GET_SUBSCRIBER = "SELECT * FROM webhook_subscribers WHERE id = $1"
LOCK_SUBSCRIBER = "SELECT * FROM webhook_subscribers WHERE id = $1 FOR UPDATE"
FIND_SUBSCRIBERS = "SELECT * FROM webhook_subscribers ORDER BY created_at, id"
MARK_ROTATED = """
    UPDATE webhook_subscribers SET secret_version = secret_version + 1, previous_until = $2 WHERE id = $1
"""
MARK_DISABLED = "UPDATE webhook_subscribers SET status = 'disabled', disabled_reason = $2 WHERE id = $1"
MARK_ENABLED = "UPDATE webhook_subscribers SET status = 'active', disabled_reason = NULL WHERE id = $1"
# Nothing is left half-way when a subscriber is disabled: what waited is on record and comes back when enabled.
KILL_PENDING = """
    UPDATE webhook_deliveries SET status = 'dead', dead_reason = 'disabled'
    WHERE subscriber_id = $1 AND status = 'pending'
"""
REVIVE_DISABLED = """
    UPDATE webhook_deliveries SET status = 'pending', dead_reason = NULL, attempts = 0, next_attempt_at = $2
    WHERE subscriber_id = $1 AND status = 'dead' AND dead_reason IN ('disabled', 'gone')
"""
# Leases subscribers whose oldest waiting delivery is due; rivals skip them. Served by webhook_deliveries_pending_idx.
# The lease is wall-clock time: moving the business clock must not give one delivery to two senders.
LEASE = """
    UPDATE webhook_subscribers s SET lease_until = clock_timestamp() + $2, lease_epoch = lease_epoch + 1
    WHERE s.id IN (
        SELECT s.id FROM webhook_subscribers s
        CROSS JOIN LATERAL (SELECT next_attempt_at FROM webhook_deliveries d
                            WHERE d.subscriber_id = s.id AND d.status = 'pending' ORDER BY d.id LIMIT 1) head
        WHERE s.status = 'active' AND s.lease_until <= clock_timestamp() AND head.next_attempt_at <= business_now()
        LIMIT $1 FOR UPDATE OF s SKIP LOCKED)
    RETURNING s.id, s.lease_epoch
"""
# A statement of its own, so that it sees what a rival finished before the lease was taken.
GET_HEADS = """
    SELECT s.*, d.id AS delivery_id, d.webhook_id, d.body, d.attempts, business_now() AS now
    FROM webhook_subscribers s
    CROSS JOIN LATERAL (SELECT * FROM webhook_deliveries d WHERE d.subscriber_id = s.id AND d.status = 'pending'
                        ORDER BY d.id LIMIT 1) d
    WHERE s.id = ANY($1::uuid[]) AND d.next_attempt_at <= business_now()
"""
# Fenced by the epoch: a sender that was given up for dead changes nothing.
RELEASE = """
    UPDATE webhook_subscribers SET lease_until = '-infinity' WHERE id = $1 AND lease_epoch = $2 RETURNING id
"""
INSERT_ATTEMPT = """
    INSERT INTO webhook_attempts (delivery_id, attempted_at, status_code, error, duration_ms)
    VALUES ($1, $2, $3, $4, $5)
"""
MARK_DELIVERED = """
    UPDATE webhook_deliveries SET status = 'delivered', delivered_at = $2, attempts = attempts + 1
    WHERE id = $1 AND status = 'pending'
"""
MARK_PUT_OFF = """
    UPDATE webhook_deliveries SET next_attempt_at = $2, attempts = attempts + 1 WHERE id = $1 AND status = 'pending'
"""
MARK_DEAD = """
    UPDATE webhook_deliveries SET status = 'dead', dead_reason = $2, attempts = attempts + 1
    WHERE id = $1 AND status = 'pending'
"""
# Served by webhook_deliveries_log_idx.
FIND_DELIVERIES = """
    SELECT d.id, d.webhook_id, d.event_type, d.status, d.dead_reason, d.attempts, d.next_attempt_at, d.created_at,
        d.delivered_at, a.status_code AS last_status_code, a.error AS last_error
    FROM webhook_deliveries d
    LEFT JOIN LATERAL (SELECT status_code, error FROM webhook_attempts a WHERE a.delivery_id = d.id
                       ORDER BY a.id DESC LIMIT 1) a ON true
    WHERE d.subscriber_id = $1 AND ($2::bigint IS NULL OR d.id < $2) ORDER BY d.id DESC LIMIT $3
"""
FIND_ATTEMPTS = """
    SELECT attempted_at, status_code, error, duration_ms FROM webhook_attempts WHERE delivery_id = $1 ORDER BY id
"""
REPLAY = """
    UPDATE webhook_deliveries SET status = 'pending', dead_reason = NULL, attempts = 0, next_attempt_at = $3
    WHERE id = $1 AND subscriber_id = $2 AND status <> 'pending' RETURNING id
"""


async def take_cursor(connection: Connection) -> int:
    """The next place in the feed; rival publishers wait until this transaction has ended."""
    return int(await connection.fetchval(TAKE_CURSOR))


async def insert_entry(
    connection: Connection, cursor: int, event_id: UUID, endorsement_id: UUID, event: str, now: datetime
) -> None:
    """Append to the feed."""
    await connection.execute(INSERT_ENTRY, cursor, event_id, endorsement_id, event, now)


async def find_entries(connection: Connection, cursor: int, limit: int) -> list[Mapping[str, Any]]:
    """Entries after a cursor, in order."""
    return list(await connection.fetch(FIND_ENTRIES, cursor, limit))


async def find_latest(connection: Connection, limit: int) -> list[Mapping[str, Any]]:
    """The latest entries, newest first."""
    return list(await connection.fetch(FIND_LATEST, limit))


async def get_counter(connection: Connection) -> tuple[int, int]:
    """The last cursor given, and the last one that retention has removed."""
    row = await connection.fetchrow(GET_COUNTER)
    assert row is not None
    return int(row["last_cursor"]), int(row["pruned_through"])


async def prune_feed(connection: Connection, before: datetime) -> None:
    """Remove entries from before that time."""
    await connection.execute(PRUNE, before)


async def get_sequence(connection: Connection, topic: str, key: str) -> int:
    """How many events the stream has."""
    return int(await connection.fetchval(GET_SEQUENCE, topic, key))


async def insert_deliveries(
    connection: Connection, webhook_id: str, endorsement_id: UUID, event_type: str, body: str, now: datetime
) -> None:
    """One delivery per subscriber, whether it is active or not; the feed's counter is locked, so ids follow cursors."""
    await connection.execute(INSERT_DELIVERIES, webhook_id, endorsement_id, event_type, body, now)


async def insert_delivery(
    connection: Connection, subscriber_id: UUID, webhook_id: str, event_type: str, body: str, now: datetime
) -> int:
    """One delivery to one subscriber; returns its id."""
    return int(await connection.fetchval(INSERT_DELIVERY, subscriber_id, webhook_id, event_type, body, now))


def _subscriber(row: Mapping[str, Any]) -> Subscriber:
    return Subscriber(**{name: row[name] for name in SUBSCRIBER_COLUMNS})


async def insert_subscriber(
    connection: Connection, subscriber_id: UUID, url: str, description: str, created_by: UUID, now: datetime
) -> None:
    """An active subscriber that gets what is published from now on."""
    await connection.execute(INSERT_SUBSCRIBER, subscriber_id, url, description, created_by, now)


async def get_subscriber(connection: Connection, subscriber_id: UUID) -> Subscriber:
    """Raises `NotFound`."""
    row = await connection.fetchrow(GET_SUBSCRIBER, subscriber_id)
    if row is None:
        raise NotFound
    return _subscriber(row)


async def lock_subscriber(connection: Connection, subscriber_id: UUID) -> Subscriber:
    """The row, locked; raises `NotFound`."""
    row = await connection.fetchrow(LOCK_SUBSCRIBER, subscriber_id)
    if row is None:
        raise NotFound
    return _subscriber(row)


async def find_subscribers(connection: Connection) -> list[Subscriber]:
    """All of them, the oldest first."""
    return [_subscriber(row) for row in await connection.fetch(FIND_SUBSCRIBERS)]


async def mark_rotated(connection: Connection, subscriber_id: UUID, previous_until: datetime) -> None:
    """The next secret; the former one signs too until then."""
    await connection.execute(MARK_ROTATED, subscriber_id, previous_until)


async def mark_disabled(connection: Connection, subscriber_id: UUID, reason: str) -> None:
    """Send nothing more; what waited is dead, and comes back when the subscriber is enabled."""
    await connection.execute(MARK_DISABLED, subscriber_id, reason)
    await connection.execute(KILL_PENDING, subscriber_id)


async def mark_enabled(connection: Connection, subscriber_id: UUID, now: datetime) -> None:
    """Send again, beginning with what was missed."""
    await connection.execute(MARK_ENABLED, subscriber_id)
    await connection.execute(REVIVE_DISABLED, subscriber_id, now)


async def claim_deliveries(connection: Connection, limit: int, lease_seconds: float) -> list[Claim]:
    """The next due delivery of up to `limit` subscribers, in a transaction that commits before anything is sent."""
    leased = await connection.fetch(LEASE, limit, timedelta(seconds=lease_seconds))
    rows = await connection.fetch(GET_HEADS, [row["id"] for row in leased])
    claimed = {row["id"] for row in rows}
    for row in leased:
        if row["id"] not in claimed:
            await connection.execute(RELEASE, row["id"], row["lease_epoch"])
    return [
        Claim(
            _subscriber(row),
            row["lease_epoch"],
            row["delivery_id"],
            row["webhook_id"],
            row["body"],
            row["attempts"],
            row["now"],
        )
        for row in rows
    ]


async def release(connection: Connection, subscriber_id: UUID, epoch: int) -> bool:
    """Give the lease back; false when it had run out and another sender has it."""
    return await connection.fetchval(RELEASE, subscriber_id, epoch) is not None


async def insert_attempt(
    connection: Connection, delivery_id: int, at: datetime, status_code: int | None, error: str | None, duration_ms: int
) -> None:
    """A line of the delivery log."""
    await connection.execute(INSERT_ATTEMPT, delivery_id, at, status_code, error, duration_ms)


async def mark_delivered(connection: Connection, delivery_id: int, now: datetime) -> None:
    """A receiver said 2xx."""
    await connection.execute(MARK_DELIVERED, delivery_id, now)


async def mark_put_off(connection: Connection, delivery_id: int, next_attempt_at: datetime) -> None:
    """Try again later."""
    await connection.execute(MARK_PUT_OFF, delivery_id, next_attempt_at)


async def mark_dead(connection: Connection, delivery_id: int, reason: str) -> None:
    """No further tries, until somebody replays it."""
    await connection.execute(MARK_DEAD, delivery_id, reason)


async def find_deliveries(
    connection: Connection, subscriber_id: UUID, *, before: int | None = None, limit: int = 50
) -> list[Mapping[str, Any]]:
    """The delivery log, newest first, with the outcome of the last try."""
    return list(await connection.fetch(FIND_DELIVERIES, subscriber_id, before, limit))


async def find_attempts(connection: Connection, delivery_id: int) -> list[Mapping[str, Any]]:
    """Every try of a delivery."""
    return list(await connection.fetch(FIND_ATTEMPTS, delivery_id))


async def replay(connection: Connection, subscriber_id: UUID, delivery_ids: Sequence[int], now: datetime) -> int:
    """Send these again, under the same webhook ids; returns how many."""
    count = 0
    for delivery_id in delivery_ids:
        count += await connection.fetchval(REPLAY, delivery_id, subscriber_id, now) is not None
    return count
