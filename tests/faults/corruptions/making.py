"""What a corruption is made with: a copy of the evidence, and its register."""

import datetime as dt
import json
import uuid
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import psycopg

Line = dict[str, Any]


@dataclass
class Copy:
    """A copy of the evidence. Databases are cloned when they are first written to; files when they are changed."""

    clone: Callable[[str], str]
    owner_dsns: dict[str, str]
    journals: Path
    topics: Path
    logs: Path
    cloned: list[str] = field(default_factory=list)

    def run(self, service: str, *statements: str) -> None:
        """Change a database, as its owner."""
        if service not in self.cloned:
            self.cloned.append(service)
            self.owner_dsns[service] = self.clone(service)
        with psycopg.connect(self.owner_dsns[service]) as connection:
            for statement in statements:
                done = connection.execute(statement.encode())
                assert done.rowcount != 0, f"nothing was changed by: {statement}"

    def rows(self, service: str, sql: str) -> list[tuple[Any, ...]]:
        """Rows of a database; ids as text."""
        with psycopg.connect(self.owner_dsns[service]) as connection:
            found = connection.execute(sql.encode()).fetchall()
        return [tuple(str(value) if isinstance(value, uuid.UUID) else value for value in row) for row in found]

    def one(self, service: str, sql: str) -> Any:
        """The first value of the first row; a run without any cannot show this corruption."""
        found = self.rows(service, sql)
        assert found, f"the clean run has no row for: {sql}"
        return found[0][0] if len(found[0]) == 1 else found[0]

    def lines(self, name: str) -> list[Line]:
        """A journal."""
        return [json.loads(line) for line in (self.journals / name).read_text().splitlines()]

    def write(self, name: str, lines: Iterable[Line]) -> None:
        """Replace a journal."""
        (self.journals / name).write_text("".join(json.dumps(line) + "\n" for line in lines))

    def records(self) -> list[Line]:
        """The archive of the topics."""
        return [json.loads(line) for line in self.topics.read_text().splitlines()]

    def write_records(self, lines: Iterable[Line]) -> None:
        """Replace the archive."""
        self.topics.write_text("".join(json.dumps(line) + "\n" for line in lines))

    def record(self, wanted: Callable[[Line], bool]) -> Line:
        """The first record that is wanted, from the archive as it is."""
        return next(line for line in self.records() if line["kind"] == "record" and wanted(line))

    def change_record(self, place: Line, change: Callable[[Line], Line | None]) -> None:
        """Replace a record, or take it away."""
        lines = []
        for line in self.records():
            changed = change(line) if place_of(line) == place_of(place) else line
            lines += [changed] if changed is not None else []
        self.write_records(lines)

    def free_place(self, topic: str, after: tuple[int, int] | None = None) -> tuple[int, int]:
        """A partition, and an offset in it that holds a transaction's marker, with a record behind it; `after` a
        record of that partition, or anywhere.
        """
        taken: dict[int, list[int]] = {}
        for line in self.records():
            if line["kind"] == "record" and line["topic"] == topic:
                taken.setdefault(line["partition"], []).append(line["offset"])
        for partition, offsets in sorted(taken.items()):
            least = 0 if after is None else after[1] + 1
            if after is not None and partition != after[0]:
                continue
            for offset in range(least, max(offsets)):
                if offset not in offsets:
                    return partition, offset
        raise AssertionError(f"{topic} has no place for another record after {after}")

    def add_record(self, line: Line) -> None:
        """Add a record in its place of the order."""
        lines = self.records()
        behind = (
            index
            for index, other in enumerate(lines)
            if other["kind"] == "record"
            and (other["topic"], other["partition"]) == (line["topic"], line["partition"])
            and other["offset"] > line["offset"]
        )
        index = next(behind, len(lines))
        self.write_records([*lines[:index], line, *lines[index:]])

    def append_properly(self, line: Line, service: str) -> None:
        """Add a record that the outbox has known: with its copy, counted in its stream."""
        payload = str(line["value"]).replace("'", "''")
        self.run(
            service,
            f"INSERT INTO ledger_outbox (topic, key, event_id, headers, payload) VALUES ('{line['topic']}',"
            f" '{line['key']}', '{header(line, 'ce_id')}', '', convert_to('{payload}', 'UTF8'))",
            f"UPDATE streams SET version = version + 1 WHERE topic = '{line['topic']}' AND key = '{line['key']}'",
        )
        self.add_record(line)


def place_of(line: Line) -> tuple[Any, ...]:
    """Where a record is."""
    return line["kind"], line["topic"], line["partition"], line.get("offset")


def header(line: Line, name: str) -> str:
    """A header's value."""
    return str(dict(line["headers"])[name])


def with_header(line: Line, name: str, value: str) -> Line:
    """The record with another value of a header, or one header more."""
    others = [pair for pair in line["headers"] if pair[0] != name]
    return {**line, "headers": [*others, [name, value]]}


def is_type(event_type: str) -> Callable[[Line], bool]:
    """Records of a type."""
    return lambda line: header(line, "ce_type") == event_type


def fresh() -> str:
    """An id that nothing has."""
    return str(uuid.uuid4())


def earlier(at: str, **span: float) -> str:
    """A journal's time, moved back."""
    return (dt.datetime.fromisoformat(at) - dt.timedelta(**span)).isoformat()


@dataclass(frozen=True)
class Corruption:
    """`check` must find it, and name what `make` returns; `also` may, for the reason given."""

    check: str
    make: Callable[[Copy], str]
    also: frozenset[str] = frozenset()
    why: str = ""

    @property
    def name(self) -> str:
        """As in the test's id."""
        return f"{self.check}-{self.make.__name__}"


CORRUPTIONS: list[Corruption] = []


def corruption(check: str, *also: str, why: str = "") -> Callable[[Callable[[Copy], str]], Callable[[Copy], str]]:
    """Register a corruption."""
    assert bool(also) == bool(why), "say why another check finds it too"

    def register(make: Callable[[Copy], str]) -> Callable[[Copy], str]:
        CORRUPTIONS.append(Corruption(check, make, frozenset(also), why))
        return make

    return register
