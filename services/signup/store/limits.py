"""Token buckets in `rate_buckets`, by the wall clock: an attack does not wait for the business clock."""

from collections.abc import Mapping
from dataclasses import dataclass

from shared.db import Connection

# Locks the buckets in one order, creating those that are missing, and returns them refilled. The commit of this
# transaction, and of no other, waits for no disk: a crash of the server may give a sender some tokens back.
REFILL = """
    WITH hasty AS MATERIALIZED (SELECT set_config('synchronous_commit', 'off', true))
    INSERT INTO rate_buckets (bucket, tokens, refilled_at)
    SELECT bucket, burst, clock_timestamp() FROM unnest($1::text[], $2::float8[], $3::float8[])
           AS batch (bucket, burst, per_second), hasty ORDER BY bucket
    ON CONFLICT (bucket) DO UPDATE SET
        tokens = least(excluded.tokens, rate_buckets.tokens + greatest(0, extract(epoch FROM
            excluded.refilled_at - rate_buckets.refilled_at))
            * (SELECT per_second FROM unnest($1::text[], $3::float8[]) AS rate (bucket, per_second)
               WHERE rate.bucket = excluded.bucket)),
        refilled_at = greatest(excluded.refilled_at, rate_buckets.refilled_at)
    RETURNING bucket, tokens
"""
# Rows are locked by REFILL.
SPEND = """
    UPDATE rate_buckets SET tokens = rate_buckets.tokens - spent.tokens
    FROM unnest($1::text[], $2::float8[]) AS spent (bucket, tokens) WHERE rate_buckets.bucket = spent.bucket
"""
# A bucket this old is full again. Served by rate_buckets_refilled_at_idx.
PRUNE_BUCKETS = "DELETE FROM rate_buckets WHERE refilled_at < clock_timestamp() - interval '2 days'"


@dataclass(frozen=True, slots=True)
class Limit:
    """How much a bucket holds, and how fast it fills."""

    burst: float
    per_second: float


async def refill(connection: Connection, limits: Mapping[str, Limit]) -> dict[str, float]:
    """The tokens in each bucket now; the buckets stay locked until the transaction ends."""
    buckets = sorted(limits)
    rows = await connection.fetch(
        REFILL, buckets, [limits[b].burst for b in buckets], [limits[b].per_second for b in buckets]
    )
    return {row["bucket"]: row["tokens"] for row in rows}


async def spend(connection: Connection, spent: Mapping[str, int]) -> None:
    """Take tokens out of buckets that `refill` locked."""
    buckets = sorted(spent)
    await connection.execute(SPEND, buckets, [float(spent[b]) for b in buckets])


async def prune_buckets(connection: Connection) -> None:
    """Forget buckets that are full again."""
    await connection.execute(PRUNE_BUCKETS)
