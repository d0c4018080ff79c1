"""The relay's ceiling: one idempotent aiokafka producer, the same bytes from memory, every acknowledgement awaited."""

import asyncio
from collections.abc import Sequence

from aiokafka import AIOKafkaProducer

from shared.relay import MAX_BATCH_BYTES

Message = tuple[str, bytes, bytes, list[tuple[str, bytes]]]
"""Topic, key, value, headers."""


def producer(bootstrap: str) -> AIOKafkaProducer:
    """With the relay's own settings, as far as they bear on speed."""
    return AIOKafkaProducer(
        bootstrap_servers=bootstrap,
        enable_idempotence=True,
        acks="all",
        compression_type="lz4",
        linger_ms=5,
        max_batch_size=MAX_BATCH_BYTES,
    )


async def send(producer: AIOKafkaProducer, messages: Sequence[Message]) -> None:
    """Send them all."""
    acknowledgements = [
        await producer.send(topic, key=key, value=value, headers=headers) for topic, key, value, headers in messages
    ]
    await asyncio.gather(*acknowledgements)
