"""Which errors mean "later", and what a log may tell of any error."""

import sys
from typing import Any

import asyncpg
import pytest

from shared.db import is_transient
from shared.errors import TryAgain
from shared.log import describe


@pytest.mark.parametrize(
    "error",
    [
        asyncpg.ConnectionDoesNotExistError("gone"),
        asyncpg.DeadlockDetectedError("deadlock"),
        asyncpg.InterfaceError("connection is closed"),
        asyncpg.TooManyConnectionsError("full"),
        TimeoutError(),
        ConnectionResetError(),
    ],
)
def test_infrastructure_faults_are_transient(error: Exception) -> None:
    assert is_transient(error)


@pytest.mark.parametrize(
    "error",
    [
        asyncpg.DataError("text for a number"),
        asyncpg.UniqueViolationError("twice"),
        asyncpg.UndefinedTableError("none"),
        ValueError(),
        TryAgain("later"),
    ],
)
def test_faults_of_a_record_or_the_code_are_not(error: Exception) -> None:
    assert not is_transient(error)


def exc_info(error: BaseException, cause: BaseException | None = None) -> Any:
    """As logging has it."""
    try:
        secret = "person@example.org"
        raise error from cause if secret else None
    except type(error):
        return sys.exc_info()


def test_log_tells_types_and_places_but_no_values() -> None:
    violated = asyncpg.UniqueViolationError(
        "duplicate key",
    )
    violated.sqlstate, violated.constraint_name = "23505", "people_email_uq"
    told = describe(exc_info(ValueError("person@example.org"), violated))
    assert [one["type"] for one in told] == ["builtins.ValueError", "asyncpg.exceptions.UniqueViolationError"]
    assert (told[1]["sqlstate"], told[1]["constraint_name"]) == ("23505", "people_email_uq")
    assert told[0]["frames"][-1].endswith("in exc_info")
    assert "person@example.org" not in repr(told)


def test_log_keeps_the_message_of_our_own_errors() -> None:
    assert describe(exc_info(TryAgain("match 7 is not there yet")))[0]["message"] == "match 7 is not there yet"
