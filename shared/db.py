"""The connection pool, and which database errors mean "the same work may succeed later"."""

import asyncio
from collections.abc import Mapping
from contextvars import ContextVar
from dataclasses import fields
from typing import TYPE_CHECKING, Any, TypeAlias, TypeVar
from weakref import WeakSet

import asyncpg
import orjson

from shared.migrate import application_name

if TYPE_CHECKING:
    from _typeshed import DataclassInstance

R = TypeVar("R", bound="DataclassInstance")
Connection: TypeAlias = "asyncpg.Connection[Any] | asyncpg.pool.PoolConnectionProxy[Any]"

PATIENCE_SECONDS: ContextVar[float | None] = ContextVar("patience_seconds", default=None)
"""How long whoever works in this context waits for a connection; None: as long as it takes. Requests set it."""

TRANSIENT: tuple[type[BaseException], ...] = (
    asyncpg.PostgresConnectionError,
    asyncpg.CannotConnectNowError,
    asyncpg.TooManyConnectionsError,
    asyncpg.AdminShutdownError,
    asyncpg.CrashShutdownError,
    asyncpg.DeadlockDetectedError,
    asyncpg.SerializationError,
    asyncpg.LockNotAvailableError,
    asyncpg.QueryCanceledError,
    asyncpg.ReadOnlySQLTransactionError,
    # A migration changed a table under a prepared statement; the connection forgets it and prepares it anew.
    asyncpg.InvalidCachedStatementError,
    asyncpg.InterfaceError,
    asyncpg.InternalClientError,
    ConnectionError,
    asyncio.TimeoutError,
    TimeoutError,
    OSError,
)
"""Infrastructure faults: roll back, wait, do the same again. Everything else is the record's or the code's."""


def is_transient(error: BaseException) -> bool:
    """Whether the same work may succeed later."""
    return isinstance(error, TRANSIENT)


class DatabaseAway(ConnectionError):
    """The database does not answer at this moment; told at once instead of waiting for it."""


class Pool(asyncpg.Pool):  # type: ignore[misc]
    """A pool that waits as long as its context is patient, and not at all while `away` is set (`shared.pulse`)."""

    def __init__(self, *arguments: Any, **options: Any) -> None:
        super().__init__(*arguments, **options)
        self.away = False
        self.opened: WeakSet[asyncpg.Connection[Any]] = WeakSet()

    def acquire(self, *, timeout: float | None = None) -> Any:
        """A connection; `TimeoutError` or `DatabaseAway` when there is none in time."""
        if self.away:
            raise DatabaseAway("the database does not answer")
        return super().acquire(timeout=PATIENCE_SECONDS.get() if timeout is None else timeout)

    def abandon(self) -> None:
        """Break off every connection: what waits on one learns now that it will not be answered."""
        for connection in list(self.opened):
            if not connection.is_closed():
                connection.terminate()


async def create_pool(dsn: str, *, service: str, size: int) -> Pool:
    """A pool whose connections speak JSON as Python values and UTC as time zone.

    A statement may run 30 s and wait 10 s for a lock, so that a stuck peer turns into an error that is retried.
    """

    async def prepare(connection: Connection) -> None:
        for name in ("json", "jsonb"):
            await connection.set_type_codec(
                name, encoder=_encode_json, decoder=orjson.loads, schema="pg_catalog", format="text"
            )
        if isinstance(connection, asyncpg.Connection):
            pool.opened.add(connection)

    pool = Pool(
        dsn,
        connection_class=asyncpg.Connection,
        record_class=asyncpg.Record,
        max_queries=50_000,
        setup=None,
        reset=_nothing_to_reset,
        connect=None,
        loop=None,
        min_size=1,
        init_size=1,
        max_size=size,
        init=prepare,
        timeout=5,
        command_timeout=35,
        max_inactive_connection_lifetime=120,
        server_settings={
            "application_name": application_name(service),
            "timezone": "UTC",
            "statement_timeout": "30s",
            "lock_timeout": "10s",
            "idle_in_transaction_session_timeout": "60s",
        },
    )
    await pool
    return pool


def record_of(cls: type[R], row: Mapping[str, Any]) -> R:
    """A dataclass made of the columns that bear its fields' names.

    Other columns are left alone: a next version's migration may have added them while this version still runs.
    """
    return cls(**{field.name: row[field.name] for field in fields(cls)})


async def _nothing_to_reset(_connection: Connection) -> None:
    """A transaction that was left open has been rolled back; nothing else outlives a transaction here.

    Settings and advisory locks are taken for a transaction only. asyncpg's own reset is a round trip, which for a
    short transaction is a good part of all it does.
    """


def _encode_json(value: Any) -> str:
    return orjson.dumps(value, default=str).decode()
