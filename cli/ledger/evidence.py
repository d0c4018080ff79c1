"""What the checks read: all evidence of one run, laid side by side in one SQLite file.

Journals, topics and databases are streamed in; memory holds one line at a time, and a check is a handful of joins.
Times are seconds since 1970 (UTC, float with microseconds); ids are text; JSON stays text.
"""

import datetime as dt
import sqlite3
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from itertools import islice
from pathlib import Path
from typing import Any

from cli.ledger.errors import BadEvidence

Row = tuple[Any, ...]
CHUNK = 5000

# The journals' and the topics' tables; those of the databases are made from what is selected (see tables.py).
SCHEMA = """
    PRAGMA journal_mode = OFF;
    PRAGMA synchronous = OFF;
    PRAGMA temp_store = FILE;
    PRAGMA cache_size = -65536;
    CREATE TABLE intents (intent TEXT, form TEXT, email TEXT, consents TEXT, at REAL);
    CREATE TABLE answers (intent TEXT, outcome TEXT, status INTEGER, signup_id TEXT, at REAL);
    CREATE TABLE acts (act TEXT, who TEXT, person_id TEXT, outcome TEXT, detail TEXT, at REAL);
    CREATE TABLE moves (at REAL, ahead REAL);
    CREATE TABLE markers (marker TEXT);
    CREATE TABLE expected (kind TEXT, id TEXT, PRIMARY KEY (kind, id)) WITHOUT ROWID;
    CREATE TABLE mails (line INTEGER, at REAL, answer TEXT, stored INTEGER, message_id TEXT, message TEXT,
                        recipient TEXT, subject TEXT, text TEXT);
    CREATE TABLE texts (line INTEGER, at REAL, answer TEXT, stored INTEGER, reference TEXT, recipient TEXT, body TEXT);
    CREATE TABLE hooks (line INTEGER, at REAL, answer TEXT, path TEXT, webhook_id TEXT, timestamp TEXT, signature TEXT,
                        body TEXT);
    CREATE TABLE partitions (topic TEXT, partition INTEGER, low INTEGER, high INTEGER,
                             PRIMARY KEY (topic, partition)) WITHOUT ROWID;
    CREATE TABLE records (topic TEXT, partition INTEGER, offset INTEGER, at REAL, key TEXT, event_id TEXT, type TEXT,
                          source TEXT, time REAL, sequence INTEGER, headers TEXT, payload TEXT, digest TEXT,
                          first INTEGER, problem TEXT);
"""
INDEXES = """
    CREATE INDEX intents_idx ON intents (intent);
    CREATE INDEX answers_idx ON answers (intent, outcome);
    CREATE INDEX mails_idx ON mails (message);
    CREATE INDEX texts_idx ON texts (reference);
    CREATE INDEX texts_recipient_idx ON texts (recipient);
    CREATE INDEX hooks_idx ON hooks (webhook_id);
    CREATE INDEX records_idx ON records (topic, partition, offset);
    CREATE INDEX records_event_idx ON records (event_id);
    CREATE INDEX records_type_idx ON records (type, first);
    CREATE INDEX records_key_idx ON records (topic, key, sequence);
"""

# A move is between two lines of the journal, and ends by the clock of whoever was not moved yet.
SKEW = """
    SELECT coalesce(max(after - before), 0) FROM (
        SELECT at AS began, ahead AS before, lead(at) OVER moved AS ended, lead(ahead) OVER moved AS after
        FROM moves WINDOW moved AS (ORDER BY at, ahead))
    WHERE after > before AND ?1 BETWEEN began + before - 1 AND ended + before + 1
"""


@dataclass(slots=True)
class Evidence:
    """Everything of one run. `has` names the optional pieces that are there: `load`, `smtp`, `sms`, `webhook`,
    `markers`, `moves` and `outbox` of each watched service.

    `at_rest` tells that nothing is under way any more, so that what should have arrived must be there.
    """

    db: sqlite3.Connection
    at_rest: bool
    has: set[str] = field(default_factory=set)
    logs: list[Path] = field(default_factory=list)

    def rows(self, sql: str, *arguments: Any) -> Iterator[Row]:
        """Rows of a query, streamed."""
        yield from self.db.execute(sql, arguments)

    def count(self, sql: str, *arguments: Any) -> int:
        """The number that a query yields."""
        row = self.db.execute(sql, arguments).fetchone()
        return int(row[0] or 0)

    def insert(self, table: str, rows: Iterable[Sequence[Any]]) -> int:
        """Append rows, in chunks; how many."""
        stream, total = iter(rows), 0
        while chunk := list(islice(stream, CHUNK)):
            marks = ",".join("?" * len(chunk[0]))
            self.db.executemany(f"INSERT INTO {table} VALUES ({marks})", chunk)  # noqa: S608 (our own table names)
            total += len(chunk)
        return total

    def ahead(self, at: float) -> tuple[float, float] | None:
        """By how many seconds the business clock was ahead at a wall-clock time: least and most, which differ while
        it was being moved. None when the run did not write its moves down though the clock was moved.
        """
        before = self.db.execute("SELECT ahead FROM moves WHERE at <= ? ORDER BY at DESC LIMIT 1", (at,)).fetchone()
        after = self.db.execute("SELECT ahead FROM moves WHERE at > ? ORDER BY at LIMIT 1", (at,)).fetchone()
        known = [float(row[0]) for row in (before, after) if row is not None]
        if not known:
            held = self.db.execute("SELECT max(ahead) FROM clock").fetchone()
            return (0.0, 0.0) if not held[0] else None
        return min(known), max(known)

    def skew(self, at: float) -> float:
        """By how many seconds another service's clock may have been ahead of the one that said it is `at` (business
        time): by the span of a move that was under way, since one service's clock is moved after another's.
        """
        return float(self.db.execute(SKEW, (at,)).fetchone()[0])

    def kept_from_the_start(self, topic: str) -> bool:
        """Whether no record of the topic has been removed by retention."""
        return not self.count("SELECT count(*) FROM partitions WHERE topic = ? AND low > 0", topic)


def open_store(path: Path | str) -> sqlite3.Connection:
    """An empty store in a new file (or `:memory:`)."""
    db = sqlite3.connect(path, isolation_level=None)
    db.executescript(SCHEMA)
    return db


def seconds(text: str, where: str) -> float:
    """A time in ISO 8601 with its offset, as seconds since 1970; `BadEvidence` for anything else."""
    try:
        moment = dt.datetime.fromisoformat(text)
    except (TypeError, ValueError):
        raise BadEvidence(f"{where}: {text!r} is not a time in ISO 8601; the journal is not one of ours.") from None
    if moment.tzinfo is None:
        raise BadEvidence(f"{where}: the time {text!r} has no offset from UTC; the journal is not one of ours.")
    return moment.timestamp()


def iso(moment: float) -> str:
    """Seconds since 1970 as people read them."""
    return dt.datetime.fromtimestamp(moment, dt.UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")
