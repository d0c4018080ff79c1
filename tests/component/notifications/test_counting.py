"""What pages and gauges read does not grow with what an outage piles up.

GOV.UK Notify once went down at seven times its usual volume because rows were counted on every request.
"""

from collections.abc import AsyncIterator
from typing import Any
from uuid import UUID, uuid4

import asyncpg
import orjson
import pytest

from services.notifications.store import messages, people
from shared import service
from tests.conftest import DatabaseFactory
from tests.harness import Database

USUAL, TIMES = 12_000, 7
LAST = UUID(int=2**128 - 1)
STATEMENTS: dict[str, tuple[str, tuple[Any, ...]]] = {
    "numbers of the states": (messages.COUNT_STATES, ()),
    "gauges of the queue": (messages.GAUGES, ()),
    "pause of bulk": (messages.COUNT_RECENT_BULK, ()),
    "gauges of the backbone": (service.GAUGES, ()),
    "newest": (messages.FIND_NEWEST, (LAST, 51)),
    "a rare state": (messages.FIND_BY_STATE, (LAST, 51, "unknown", None)),
    "a rare state of a template": (messages.FIND_BY_STATE, (LAST, 51, "rejected", "sign_in")),
    "a rare template": (messages.FIND_BY_TEMPLATE, (LAST, 51, "decision_declined", None)),
    "a rare template in a common state": (messages.FIND_BY_TEMPLATE, (LAST, 51, "decision_declined", "accepted")),
    "a person": (messages.FIND_OF_PERSON, (LAST, 51, uuid4(), None, None)),
    "the unknown": (messages.FIND_UNKNOWN, (200,)),
}
# By an earlier outage: n accepted, n queued, some unknown; n timers, n parked records, n outbox rows.
PILE = (
    """INSERT INTO messages (id, event_id, event_type, person_id, template, channel, delivery, reference, state, due_at,
                              program_version, program_hash, created_at, handed_at, reason)
       SELECT gen_random_uuid(), gen_random_uuid(), 'signup.person_confirmed.v1', gen_random_uuid(),
              CASE WHEN n % 4000 = 0 THEN 'decision_declined' ELSE 'intro_invitation' END, 'email', 'bulk', 'r',
              CASE WHEN n % 6000 = 0 THEN 'unknown' WHEN n % 5000 = 0 THEN 'rejected' WHEN n % 2 = 0 THEN 'accepted'
                   ELSE 'queued' END,
              now(), '1', '1', now(), now() - interval '1 minute' * n / 4, NULL
       FROM generate_series(1, 2 * $1::int) AS n""",
    """INSERT INTO timers (kind, dedupe_key, owner_key, due_at, payload)
       SELECT 'k', gen_random_uuid()::text, n::text, now(), '{}' FROM generate_series(1, $1::int) AS n""",
    """INSERT INTO parked (topic, key, event_id, event_type, partition, record_offset, headers, value, error, retry_at,
                            attempts)
       SELECT 't', n::text, gen_random_uuid(), 'e', 0, n, '[]', '', 'E', now(), 1
       FROM generate_series(1, $1::int) AS n""",
    """INSERT INTO outbox (shard, topic, key, event_id, headers, payload)
       SELECT 0, 't', n::text, gen_random_uuid(), '[]', '' FROM generate_series(1, $1::int) AS n""",
)


class Volume:
    """A database with so and so much in it."""

    def __init__(self, connection: Any) -> None:
        self.connection = connection

    async def pile(self, rows: int) -> None:
        """Add to what is there."""
        await self.connection.execute("ALTER TABLE messages DISABLE TRIGGER USER")
        for statement in PILE:
            await self.connection.execute(statement, rows)
        await self.connection.execute("VACUUM ANALYZE")

    async def blocks(self, sql: str, arguments: tuple[Any, ...]) -> int:
        """Blocks of 8 KiB that a statement reads."""
        explained = await self.connection.fetchval(f"EXPLAIN (ANALYZE, BUFFERS, FORMAT JSON) {sql}", *arguments)
        plan = orjson.loads(explained)[0]["Plan"]
        return int(plan["Shared Hit Blocks"] + plan["Shared Read Blocks"])


@pytest.fixture
async def volume(databases: DatabaseFactory) -> AsyncIterator[Volume]:
    database: Database = await databases("notifications")
    connection = await asyncpg.connect(database.owner_dsn)
    yield Volume(connection)
    await connection.close()


async def test_seven_times_the_volume_is_read_no_further(volume: Volume) -> None:
    await volume.pile(USUAL)
    before = {name: await volume.blocks(*statement) for name, statement in STATEMENTS.items()}
    await volume.pile(USUAL * (TIMES - 1))
    after = {name: await volume.blocks(*statement) for name, statement in STATEMENTS.items()}
    # A tree of an index may have become one level deeper.
    grown = {name: (before[name], after[name]) for name in before if after[name] > 1.5 * before[name] + 40}
    assert grown == {}


def test_every_statement_that_counts_is_in_the_table() -> None:
    held = {statement for statement, _arguments in STATEMENTS.values()}
    counting = {
        name
        for module in (messages, people, service)
        for name, value in vars(module).items()
        if name.isupper() and isinstance(value, str) and "count(" in value and value not in held
    }
    assert counting == set()
