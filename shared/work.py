"""One unit of work: an open transaction, the business time its rules read, and the events it will append."""

from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, contextmanager
from dataclasses import dataclass, field
from datetime import datetime
from typing import TYPE_CHECKING
from uuid import UUID

from shared import outbox
from shared.db import Connection, Pool
from shared.events import Event
from shared.events.envelope import Received

if TYPE_CHECKING:
    from shared.program import Program


@dataclass(slots=True)
class Work:
    """What handlers, actions and timers may use.

    `now` is the business time (UTC), read once per transaction. Events given to `emit` are appended when the
    transaction ends, in one go, so that locks on streams are taken late and in one order.
    """

    connection: Connection
    now: datetime
    program: "Program"
    source: str
    correlation_id: str | None = None
    causation_id: UUID | None = None
    outgoing: list[outbox.Outgoing] = field(default_factory=list)

    def emit(self, *events: Event, cause: Received | None = None, correlation_id: str | None = None) -> None:
        """Append these events with this transaction's commit; lost, like everything else, with its rollback.

        A handler that acts on several events at once names the one that each is a consequence of as `cause`; what
        goes on with a stored piece of work gives the `correlation_id` that was stored with it.
        """
        correlation_id = cause.correlation_id if cause else correlation_id or self.correlation_id
        causation_id = cause.id if cause else self.causation_id
        self.outgoing.extend(outbox.Outgoing(event, self.now, correlation_id, causation_id) for event in events)

    @contextmanager
    def because_of(self, cause: Received) -> Iterator[None]:
        """What the block emits and schedules is a consequence of `cause`: for handlers that take events one by one."""
        before = self.correlation_id, self.causation_id
        self.correlation_id, self.causation_id = cause.correlation_id, cause.id
        try:
            yield
        finally:
            self.correlation_id, self.causation_id = before

    async def flush(self) -> None:
        """Append what was emitted; the last statement of a transaction."""
        outgoing, self.outgoing = self.outgoing, []
        await outbox.append(self.connection, self.source, outgoing)

    @asynccontextmanager
    async def savepoint(self) -> AsyncIterator[None]:
        """A part that may fail alone: its rows and its events are undone, the rest stays."""
        before = list(self.outgoing)
        try:
            async with self.connection.transaction():
                yield
        except BaseException:
            self.outgoing = before
            raise


@dataclass(frozen=True, slots=True)
class Workshop:
    """Begins units of work; one per process."""

    pool: Pool
    program: "Program"
    source: str

    @asynccontextmanager
    async def begin(self, correlation_id: str | None = None) -> AsyncIterator[Work]:
        """A transaction that commits, with its events, when the block ends without an error."""
        async with self.pool.acquire() as connection, connection.transaction():
            now = await connection.fetchval("SELECT business_now()")
            work = Work(connection, now, self.program, self.source, correlation_id)
            yield work
            await work.flush()
