"""The worker's lower ceiling: a FastStream subscriber as its tutorial writes it, with a commit for each event."""

from uuid import uuid4

import asyncpg
from faststream import AckPolicy
from faststream.kafka import KafkaBroker, KafkaMessage

from shared.events.signup import SignedUp

INSERT_SEEN = "INSERT INTO inbox_seen (event_day, event_id) VALUES (current_date, $1) ON CONFLICT DO NOTHING"
INSERT_MESSAGE = """
    INSERT INTO messages (id, event_id, event_type, person_id, template, channel, delivery, reference, state, due_at,
                          program_version, program_hash, created_at)
    VALUES ($1, $2, $3, $4, 'confirm_signup', 'email', 'link', $5, 'queued', now(), 'v', 'h', now())
"""


def subscriber(bootstrap: str, topic: str, pool: "asyncpg.Pool", done: list[int]) -> KafkaBroker:
    """A broker whose subscriber counts in `done`."""
    broker = KafkaBroker(bootstrap, logger=None)

    @broker.subscriber(
        topic, group_id=str(uuid4()), auto_offset_reset="earliest", isolation_level="read_committed",
        ack_policy=AckPolicy.NACK_ON_ERROR,
    )  # fmt: skip
    async def handle(event: SignedUp, message: KafkaMessage) -> None:
        event_id = message.headers["ce_id"]
        async with pool.acquire() as connection, connection.transaction():
            if await connection.execute(INSERT_SEEN, event_id) == "INSERT 0 1":
                await connection.execute(
                    INSERT_MESSAGE, uuid4(), event_id, event.type, event.person_id, str(event.signup_id)
                )
        done[0] += 1

    return broker
