"""The delivery loop: claim in one transaction, send outside any, settle in another.

A subscriber's deliveries go one after another, oldest first; subscribers do not wait for each other. A sender that
dies leaves its lease to run out, and the delivery goes again under the same webhook id. A settlement is fenced by
the lease's epoch, so that a sender given up for dead changes nothing.
"""

import asyncio
from datetime import timedelta

from services.endorsement.delivery.sender import Outcome, Sender
from services.endorsement.domain.deliveries import next_attempt
from services.endorsement.store import publication as store
from services.endorsement.store.publication import Claim
from shared.log import get_logger
from shared.work import Workshop

log = get_logger("endorsement.webhooks")

IDLE_SECONDS = 0.25
LEASE_MARGIN_SECONDS = 20.0
PRUNE_SECONDS = 3600.0


class Courier:
    """Delivers what waits; `run` until cancelled, `deliver_due` one round."""

    def __init__(self, workshop: Workshop, sender: Sender, *, timeout_seconds: float, concurrency: int) -> None:
        self._workshop = workshop
        self._sender = sender
        self._lease_seconds = timeout_seconds + LEASE_MARGIN_SECONDS
        self._concurrency = concurrency

    async def run(self) -> None:
        """Keep up to `concurrency` subscribers served."""
        running: set[asyncio.Task[None]] = set()
        try:
            while True:
                free = self._concurrency - len(running)
                claims = await self._claim(free) if free else []
                running |= {asyncio.create_task(self._deliver(claim)) for claim in claims}
                if running and not claims:
                    done, running = await asyncio.wait(
                        running, timeout=IDLE_SECONDS, return_when=asyncio.FIRST_COMPLETED
                    )
                else:
                    done = {task for task in running if task.done()}
                    running -= done
                    await asyncio.sleep(0 if claims else IDLE_SECONDS)
                for task in done:
                    task.result()
        finally:
            for task in running:
                task.cancel()
            await asyncio.gather(*running, return_exceptions=True)

    async def deliver_due(self) -> int:
        """Send the next delivery of every subscriber that has one due; returns how many were tried."""
        claims = await self._claim(self._concurrency)
        await asyncio.gather(*(self._deliver(claim) for claim in claims))
        return len(claims)

    async def _claim(self, limit: int) -> list[Claim]:
        async with self._workshop.begin() as work:
            return await store.claim_deliveries(work.connection, limit, self._lease_seconds)

    async def _deliver(self, claim: Claim) -> None:
        outcome = await self._sender.send(claim)
        await self._settle(claim, outcome)

    async def _settle(self, claim: Claim, outcome: Outcome) -> None:
        async with self._workshop.begin() as work:
            connection = work.connection
            if not await store.release(connection, claim.subscriber.id, claim.epoch):
                log.warning("delivery_lease_lost", delivery=claim.delivery_id)
                return
            await store.insert_attempt(
                connection, claim.delivery_id, work.now, outcome.status_code, outcome.error, outcome.duration_ms
            )
            if outcome.succeeded:
                await store.mark_delivered(connection, claim.delivery_id, work.now)
                return
            log.info(
                "delivery_failed",
                subscriber=str(claim.subscriber.id),
                delivery=claim.delivery_id,
                status=outcome.status_code,
                error=outcome.error,
            )
            if outcome.status_code == 410:
                await store.mark_dead(connection, claim.delivery_id, "gone")
                await store.mark_disabled(connection, claim.subscriber.id, "gone")
                return
            again = next_attempt(claim.attempts + 1, work.now, outcome.retry_after)
            if again is None:
                await store.mark_dead(connection, claim.delivery_id, "exhausted")
            else:
                await store.mark_put_off(connection, claim.delivery_id, again)


class Pruner:
    """Cuts the feed at its retention, once an hour."""

    def __init__(self, workshop: Workshop, retention_days: int) -> None:
        self._workshop = workshop
        self._retention = timedelta(days=retention_days)

    async def run(self) -> None:
        """Prune until cancelled."""
        while True:
            await self.prune()
            await asyncio.sleep(PRUNE_SECONDS)

    async def prune(self) -> None:
        """Remove what is older than the retention."""
        async with self._workshop.begin() as work:
            await store.prune_feed(work.connection, work.now - self._retention)
