"""The connection pool, and which database errors mean "the same work may succeed later"."""

import asyncio
from typing import Any, TypeAlias

import asyncpg
import orjson

Connection: TypeAlias = "asyncpg.Connection[Any] | asyncpg.pool.PoolConnectionProxy[Any]"
Pool: TypeAlias = "asyncpg.Pool[Any]"

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


async def create_pool(dsn: str, *, service: str, size: int) -> Pool:
    """A pool whose connections speak JSON as Python values and UTC as time zone.

    A statement may run 30 s and wait 10 s for a lock, so that a stuck peer turns into an error that is retried.
    """

    async def prepare(connection: Connection) -> None:
        for name in ("json", "jsonb"):
            await connection.set_type_codec(
                name, encoder=_encode_json, decoder=orjson.loads, schema="pg_catalog", format="text"
            )

    pool = await asyncpg.create_pool(
        dsn,
        min_size=1,
        max_size=size,
        init=prepare,
        timeout=5,
        command_timeout=60,
        max_inactive_connection_lifetime=120,
        server_settings={
            "application_name": f"hustings-{service}",
            "timezone": "UTC",
            "statement_timeout": "30s",
            "lock_timeout": "10s",
            "idle_in_transaction_session_timeout": "60s",
        },
    )
    assert pool is not None
    return pool


def _encode_json(value: Any) -> str:
    return orjson.dumps(value, default=str).decode()
