"""`hustings records redrive`, `large` and `shorten`, as typed; what they change is in the kernel's tests."""

import asyncio
import json
from pathlib import Path
from uuid import uuid4

import pytest
from typer.testing import CliRunner

from cli.records import app
from shared.outbox import shard_of
from shared.settings import SERVICES
from tests.conftest import DatabaseFactory
from tests.harness import Database


@pytest.fixture
async def database(databases: DatabaseFactory, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Database:
    """The database of matching, which the command line finds by its endpoints file."""
    made = await databases("matching")
    endpoints = {
        **dict.fromkeys((*SERVICES, "mailbox"), "http://127.0.0.1:1"),
        "kafka": "127.0.0.1:1",
        "postgres": dict.fromkeys(SERVICES, made.dsn),
        "postgres_owner": dict.fromkeys(SERVICES, made.owner_dsn),
    }
    (tmp_path / "endpoints.json").write_text(json.dumps(endpoints))
    monkeypatch.setenv("HUSTINGS_ENDPOINTS", str(tmp_path / "endpoints.json"))
    monkeypatch.setenv("COLUMNS", "200")
    return made


async def typed(*arguments: str) -> tuple[int, str]:
    """Exit code, and what was said."""
    done = await asyncio.to_thread(CliRunner().invoke, app, arguments)
    return done.exit_code, done.output.strip()


async def test_large_lists_what_no_broker_takes_and_none_of_its_words(database: Database) -> None:
    assert await typed("large", "matching") == (0, "The outbox of matching holds nothing that is too large.")
    small, large = uuid4(), uuid4()
    for event, size in ((small, 900_000), (large, 1_000_000)):
        await database.execute(
            "INSERT INTO outbox (shard, topic, key, event_id, headers, payload)"
            " VALUES ($1, 'matching.calls', 'a-key', $2, '[]', convert_to(to_json(repeat('w', $3))::text, 'UTF8'))",
            shard_of("a-key"), event, size,
        )  # fmt: skip
    code, said = await typed("large", "matching")
    assert (code, str(large) in said, str(small) in said, "www" in said) == (0, True, False, False)
    assert "1000002" in said


@pytest.mark.parametrize(
    ("arguments", "sentence"),
    [
        (("--reason", "Too large"), "waits there; `hustings records large` lists"),
        (("--reason", "no"), "Give the reason in one line of 3 to 300 characters."),
        (("--reason", "two\nlines"), "Give the reason in one line of 3 to 300 characters."),
        (("--reason", "Too large", "--to", "63"), "greater than or equal to 64"),
    ],
)
async def test_shorten_says_what_to_do_otherwise(database: Database, arguments: tuple[str, ...], sentence: str) -> None:
    code, said = await typed("shorten", "matching", str(uuid4()), *arguments)
    assert (code != 0, sentence in said) == (True, True), said


async def test_redrive_says_how_much_it_took_and_what_it_did_not_find(database: Database) -> None:
    assert await typed("redrive", "matching") == (0, "matching has nothing parked or dead.")
    parked, other = uuid4(), uuid4()
    for event in (parked, other):
        await database.execute(
            "INSERT INTO parked (topic, key, event_id, event_type, partition, record_offset, headers, status, attempts,"
            " error, retry_at) VALUES ('signup.people', $1, $2, 'x', 0, 1, '[]', 'dead', 9, 'ValueError', 'infinity')",
            str(event), event,
        )  # fmt: skip
    code, said = await typed("redrive", "matching", "--event", str(uuid4()))
    assert (code, "has nothing parked or dead of" in said) == (1, True), said
    code, said = await typed("redrive", "matching", "--event", "abc")
    assert (code, "Input should be a valid UUID" in said) == (2, True), said
    code, said = await typed("redrive", "matching", "--event", str(parked))
    assert (code, "tries 1 records and 0 timers again now" in said) == (0, True), said
    rows = await database.fetch("SELECT event_id, status, attempts FROM parked ORDER BY status")
    assert rows == [(other, "dead", 9), (parked, "parked", 0)]
