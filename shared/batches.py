"""Outbox rows packed into Kafka batches by partition: one acknowledgement a batch instead of one a record.

A record goes where every Kafka client's default partitioner puts its key, as the producer's own `send` would. What
`send` would refuse as too large is told apart here, before anything is sent.
"""

from collections import defaultdict
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import orjson
from aiokafka.partitioner import DefaultPartitioner
from aiokafka.producer.message_accumulator import BatchBuilder

MAX_REQUEST_BYTES = 1_000_000
# The producer's own.
PARTITIONER = DefaultPartitioner()


@dataclass(slots=True)
class Batch:
    """Records of one partition, in the order of their rows."""

    topic: str
    partition: int
    builder: BatchBuilder
    rows: list[Any] = field(default_factory=list)


class Packing:
    """Rows of an outbox (shard, id, topic, key, headers, payload) on their way into batches.

    `partitions` counts those of each topic; `create_batch` is the producer's. Records of the keys in `alone` get a
    batch each; rows whose ids are in `refused` are too large, as those are which no request holds. Of a key with such
    a record, that row is in `too_large`, and all that follow it are left out.
    """

    def __init__(
        self,
        partitions: Mapping[str, int],
        create_batch: Callable[[], BatchBuilder],
        *,
        alone: Collection[str] = (),
        refused: Collection[int] = (),
    ) -> None:
        self._partitions = partitions
        self._create_batch = create_batch
        self._alone = alone
        self._refused = refused
        self._queues: dict[tuple[str, int], list[Batch]] = defaultdict(list)
        self.too_large: dict[str, Any] = {}

    def add(self, rows: Sequence[Any]) -> None:
        """Append the rows to their partitions' batches."""
        for row in rows:
            _, row_id, topic, key, headers, payload = row
            if key in self.too_large:
                continue
            if row_id in self._refused:
                self.too_large[key] = row
                continue
            raw_key = key.encode()
            pairs = [(name, value.encode()) for name, value in orjson.loads(headers)]
            partition = PARTITIONER(raw_key, range(self._partitions[topic]), [])
            queue = self._queues[topic, partition]
            alone = key in self._alone
            # A batch that is full, or closed, takes none.
            if alone or not queue or not queue[-1].builder.append(
                timestamp=None, key=raw_key, value=payload, headers=pairs
            ):  # fmt: skip
                builder = self._create_batch()
                # The first record always goes in, whatever its size.
                builder.append(timestamp=None, key=raw_key, value=payload, headers=pairs)
                if builder.size() > MAX_REQUEST_BYTES:
                    self.too_large[key] = row
                    continue
                if alone:
                    builder.close()
                queue.append(Batch(topic, partition, builder))
            queue[-1].rows.append(row)

    def batches(self) -> list[Batch]:
        """All batches, closed, the first of each partition before the second of any: so requests are full."""
        for queue in self._queues.values():
            for batch in queue:
                batch.builder.close()
        depth = max(map(len, self._queues.values()), default=0)
        return [queue[n] for n in range(depth) for queue in self._queues.values() if n < len(queue)]
