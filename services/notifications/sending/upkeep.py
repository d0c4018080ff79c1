"""What runs beside the lanes: taking over what a dead sender left, asking after unknown texts, purging, counting."""

import asyncio
from collections.abc import Sequence

from services.notifications import metrics
from services.notifications.domain import sending as rules
from services.notifications.sending.sms import SmsGateway
from services.notifications.store import messages, people
from services.notifications.store.messages import Settled
from shared.events import notifications as events
from shared.log import get_logger
from shared.work import Workshop

log = get_logger("notifications.upkeep")


class Upkeep:
    """`gateways` are the text providers that can be asked; none where no text can be sent, or none looked up."""

    def __init__(self, workshop: Workshop, gateways: Sequence[SmsGateway], body_days: int) -> None:
        self._workshop = workshop
        self._gateways = gateways
        self._body_days = body_days

    async def run_recovery(self) -> None:
        """Recover until cancelled, every second."""
        while True:
            await self.recover()
            await self.look_up()
            await asyncio.sleep(1)

    async def run_purge(self) -> None:
        """Purge and count until cancelled."""
        while True:
            while await self.purge():
                await asyncio.sleep(0.1)
            await self.gauge()
            await asyncio.sleep(10)

    async def recover(self) -> int:
        """Give expired claims back; call expired hand-overs unknown; queue again what its class allows."""
        async with self._workshop.begin() as work:
            connection = work.connection
            await connection.execute(messages.RELEASE_EXPIRED)
            lost = await connection.fetch(messages.LOCK_HANDING_EXPIRED)
            settled = []
            for row in lost:
                due_at = rules.when_unknown_is_due(
                    row["channel"], row["delivery"], row["hands"], work.now, can_look_up=bool(self._gateways)
                )
                settled.append(Settled(row["id"], row["tries"], "unknown", "sender_lost", due_at, None))
            if settled:
                log.warning("hand_overs_lost", messages=len(settled))
                await messages.mark_settled(connection, settled)
            await connection.execute(messages.REQUEUE_UNKNOWN)
            await connection.execute(people.FORGET_REPLIES)
        return len(lost)

    async def look_up(self) -> int:
        """Ask the text providers what became of unknown texts; what none of them got is queued again."""
        if not self._gateways:
            return 0
        rows = await self._workshop.pool.fetch(messages.TAKE_LOOKUPS)
        for row in rows:
            said = [await gateway.look_up(str(row["id"])) for gateway in self._gateways]
            found, provider_id = min(said, key=lambda one: ("taken", "no_answer", "absent").index(one[0]))
            if found == "no_answer":
                continue
            async with self._workshop.begin() as work:
                state, due_at = ("accepted", None) if found == "taken" else ("queued", work.now)
                done = await messages.mark_settled(
                    work.connection, [Settled(row["id"], row["tries"], state, "looked_up", due_at, provider_id)]
                )
                for message in done:
                    if state == "accepted":
                        work.emit(
                            events.MessageSent(
                                person_id=message["person_id"],
                                message_id=message["id"],
                                template=message["template"],
                                channel=message["channel"],
                            ),
                            correlation_id=message["correlation_id"],
                        )
        return len(rows)

    async def purge(self) -> bool:
        """Forget words older than the program keeps them; true when there may be more."""
        done: str = await self._workshop.pool.execute(messages.PURGE_BODIES, self._body_days)
        return int(done.rpartition(" ")[2]) == 2000

    async def gauge(self) -> None:
        """Set the gauges."""
        for row in await self._workshop.pool.fetch(messages.GAUGES):
            metrics.QUEUED.labels(row["delivery"]).set(row["queued"])
            metrics.UNKNOWN.labels(row["delivery"]).set(row["unknown"])
            metrics.OLDEST_SECONDS.labels(row["delivery"]).set(max(0.0, float(row["oldest"])))
