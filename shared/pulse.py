"""Whether the database answers: felt a few times a second on a connection of its own.

A server that is killed refuses at once; one that hangs, or whose network swallows packets, answers nothing at all,
and whoever asked would wait until a time-out of many seconds. The pulse tells the two apart from a slow statement,
so that a page can say so within two seconds while a long report is left alone.
"""

import asyncio
from contextlib import suppress
from typing import Any

import asyncpg

from shared.db import TRANSIENT, Pool
from shared.log import get_logger
from shared.migrate import application_name

log = get_logger("pulse")

BEAT_SECONDS = 0.25
# Counted in ticks of this process: while its own loop is stuck, the database is not to blame.
TICKS, TICK_SECONDS = 10, 0.1
STUCK_SECONDS = 5.0


class Pulse:
    """Sets `pool.away` while the database does not answer. `gone` is done from then on, a new one once it is back."""

    def __init__(self, pool: Pool, dsn: str, *, service: str) -> None:
        self._pool = pool
        self._dsn = dsn
        self._service = service
        self._connection: asyncpg.Connection[Any] | None = None
        self._away_since: float | None = None
        self._gone: asyncio.Future[None] | None = None

    @property
    def gone(self) -> "asyncio.Future[None]":
        """Done as soon as (and as long as) the database is away."""
        if self._gone is None:
            self._gone = asyncio.get_running_loop().create_future()
        return self._gone

    async def run(self) -> None:
        """Feel until cancelled."""
        try:
            while True:
                self._tell(away=not await self._answers())
                await asyncio.sleep(BEAT_SECONDS)
        finally:
            self._drop()
            self._tell(away=False)

    async def _answers(self) -> bool:
        beat = asyncio.create_task(self._beat())
        try:
            for _ in range(TICKS):
                done, _pending = await asyncio.wait({beat}, timeout=TICK_SECONDS)
                if done:
                    await beat
                    return True
        except asyncpg.TooManyConnectionsError:
            # It answers; who finds no connection is told so by the pool.
            return True
        except TRANSIENT:
            self._drop()
            return False
        finally:
            if not beat.done():
                self._drop()
                beat.cancel()
                with suppress(asyncio.CancelledError, Exception):
                    await beat
        return False

    async def _beat(self) -> None:
        if self._connection is None or self._connection.is_closed():
            self._connection = await asyncpg.connect(
                self._dsn,
                timeout=TICKS * TICK_SECONDS,
                server_settings={"application_name": application_name(self._service)},
            )
        await self._connection.fetchval("SELECT 1")

    def _drop(self) -> None:
        if self._connection is not None:
            self._connection.terminate()
            self._connection = None

    def _tell(self, *, away: bool) -> None:
        now = asyncio.get_running_loop().time()
        self._pool.away = away
        if not away:
            if self._away_since is not None:
                log.warning("database_back", away_seconds=round(now - self._away_since, 1))
                self._away_since, self._gone = None, None
            return
        if self._away_since is None:
            log.warning("database_away")
            self._away_since = now
            if not self.gone.done():
                self.gone.set_result(None)
        elif now - self._away_since > STUCK_SECONDS:
            # A connection that was swallowed in the outage would hold its statement long after the database is back.
            self._pool.abandon()
