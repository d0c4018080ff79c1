"""The services' databases, read as their owners by another driver than theirs, in read-only transactions."""

from collections.abc import Iterator
from contextlib import contextmanager

import psycopg
from psycopg.rows import TupleRow

from cli.ledger.errors import BadEvidence

SERVICES = ("signup", "matching", "notifications", "endorsement")
CONNECT_SECONDS = 10


@contextmanager
def connect(service: str, dsn: str, *, read_only: bool = True) -> Iterator[psycopg.Connection[TupleRow]]:
    """A connection with one transaction; read-only, one snapshot holds for all that is read in it.

    Raises `BadEvidence` when the database does not answer or lacks a table.
    """
    try:
        with psycopg.connect(dsn, connect_timeout=CONNECT_SECONDS) as connection:
            if read_only:
                connection.isolation_level = psycopg.IsolationLevel.REPEATABLE_READ
                connection.read_only = True
            yield connection
    except psycopg.errors.UndefinedTable as error:
        raise BadEvidence(
            f"The database of {service} is not one that the ledger knows ({str(error).splitlines()[0]}): migrate it, "
            "or use the ledger of its version."
        ) from None
    except psycopg.OperationalError as error:
        first = str(error).strip().splitlines()[0] if str(error).strip() else type(error).__name__
        raise BadEvidence(
            f"The database of {service} does not answer ({first}): start it (`make status` shows what runs), or "
            "correct `postgres_owner` in the endpoints file."
        ) from None
