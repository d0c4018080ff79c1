"""Token buckets in `rate_buckets`, by the wall clock: an attack does not wait for the business clock."""

from collections.abc import Mapping
from dataclasses import dataclass

from shared.db import Connection, Pool

# Locks the buckets in one order, creating those that are missing, refills them and takes what is wanted, even more than
# there is. The commit of this statement, and of no other, waits for no disk: a crash of the server may give a sender
# some tokens back.
TAKE = """
    WITH hasty AS MATERIALIZED (SELECT set_config('synchronous_commit', 'off', true)),
    batch AS MATERIALIZED (
        SELECT bucket, burst, per_second, wanted
        FROM unnest($1::text[], $2::float8[], $3::float8[], $4::float8[]) AS batch (bucket, burst, per_second, wanted))
    INSERT INTO rate_buckets (bucket, tokens, refilled_at)
    SELECT bucket, burst - wanted, clock_timestamp() FROM batch, hasty ORDER BY bucket
    ON CONFLICT (bucket) DO UPDATE SET
        tokens = (SELECT least(batch.burst, rate_buckets.tokens + greatest(0, extract(epoch FROM
                             excluded.refilled_at - rate_buckets.refilled_at)) * batch.per_second) - batch.wanted
                  FROM batch WHERE batch.bucket = excluded.bucket),
        refilled_at = greatest(excluded.refilled_at, rate_buckets.refilled_at)
    RETURNING bucket, tokens
"""
# Locks in the same order.
GIVE_BACK = """
    UPDATE rate_buckets SET tokens = rate_buckets.tokens + spare.tokens
    FROM (SELECT bucket, spare.tokens FROM unnest($1::text[], $2::float8[]) AS spare (bucket, tokens)
          JOIN rate_buckets USING (bucket) ORDER BY bucket FOR UPDATE OF rate_buckets) AS spare
    WHERE rate_buckets.bucket = spare.bucket
"""
# A bucket this old is full again. Served by rate_buckets_refilled_at_idx.
PRUNE_BUCKETS = "DELETE FROM rate_buckets WHERE refilled_at < clock_timestamp() - interval '2 days'"


@dataclass(frozen=True, slots=True)
class Limit:
    """How much a bucket holds, and how fast it fills."""

    burst: float
    per_second: float


async def take(pool: Pool, limits: Mapping[str, Limit], wanted: Mapping[str, int]) -> dict[str, float]:
    """Take this many tokens out of each bucket; returns what was in them, refilled, before."""
    buckets = sorted(limits)
    rows = await pool.fetch(
        TAKE,
        buckets,
        [limits[b].burst for b in buckets],
        [limits[b].per_second for b in buckets],
        [float(wanted[b]) for b in buckets],
    )
    return {row["bucket"]: row["tokens"] + wanted[row["bucket"]] for row in rows}


async def give_back(pool: Pool, spare: Mapping[str, int]) -> None:
    """Put tokens back that were taken for what is refused."""
    buckets = sorted(spare)
    await pool.execute(GIVE_BACK, buckets, [float(spare[b]) for b in buckets])


async def prune_buckets(connection: Connection) -> None:
    """Forget buckets that are full again."""
    await connection.execute(PRUNE_BUCKETS)
