"""The journals of the load client and of the sinks (their formats are in docs/ledger.md), read as a stream."""

import json
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

from cli.ledger.errors import BadEvidence
from cli.ledger.evidence import Evidence, Row, seconds

Line = dict[str, Any]
LOAD, EXPECTED = "load.jsonl", "expected.jsonl"


def read_lines(path: Path) -> Iterator[tuple[int, Line]]:
    """(number from 1, object) of each line; a torn last line is left out.

    Raises `BadEvidence` for a line in the middle that is no JSON object.
    """
    with path.open("rb") as file:
        for number, raw in enumerate(file, start=1):
            try:
                line = json.loads(raw)
            except ValueError:
                line = None
            if isinstance(line, dict):
                yield number, line
            elif raw.endswith(b"\n"):
                raise BadEvidence(f"{path}, line {number} is not a JSON object: restore the journal from the run.")


def _reader(path: Path, line: Line, number: int) -> Callable[[str], Any]:
    def read(name: str) -> Any:
        try:
            return line[name]
        except KeyError:
            raise BadEvidence(
                f"{path}, line {number} lacks {name!r}: the journal is not in the format of docs/ledger.md."
            ) from None

    return read


def load_journals(evidence: Evidence, directory: Path, tell: Callable[[str], None]) -> None:
    """Read what is there of the journals; the pieces found are added to `evidence.has`."""
    if not directory.is_dir():
        raise BadEvidence(f"There is no directory {directory}: give --journals the one that the run wrote to.")
    readers: dict[str, Callable[[Evidence, Path], int]] = {
        LOAD: _read_load,
        EXPECTED: _read_expected,
        "smtp.jsonl": _read_smtp,
        "sms.jsonl": _read_sms,
        "webhook.jsonl": _read_webhook,
    }
    found = [name for name in readers if (directory / name).exists()]
    if not set(found) - {EXPECTED}:
        raise BadEvidence(f"{directory} holds none of the journals: give --journals the directory the run wrote to.")
    for name in found:
        tell(f"{name}: {readers[name](evidence, directory / name):,} lines")
        evidence.has.add(name.removesuffix(".jsonl"))
    if evidence.count("SELECT count(*) FROM markers"):
        evidence.has.add("markers")
    if evidence.count("SELECT count(*) FROM moves"):
        evidence.has.add("moves")


def _read_load(evidence: Evidence, path: Path) -> int:
    def intents() -> Iterator[tuple[str, Row]]:
        for number, line in read_lines(path):
            read = _reader(path, line, number)
            at = seconds(read("at"), f"{path}, line {number}") if "at" in line else None
            match line.get("kind"):
                case "run":
                    for marker in read("markers"):
                        yield "markers", (str(marker),)
                case "intent":
                    payload = read("payload")
                    consents = payload.get("consents") if isinstance(payload, dict) else None
                    ticked = None
                    if isinstance(consents, list) and all(isinstance(c, dict) and "channel" in c for c in consents):
                        ticked = json.dumps(sorted({str(c["channel"]) for c in consents}))
                    yield "intents", (str(read("intent")).lower(), read("form"), read("email"), ticked, at)
                case "answer":
                    signup_id = read("signup_id")
                    yield (
                        "answers",
                        (
                            str(read("intent")).lower(),
                            read("outcome"),
                            read("status"),
                            str(signup_id).lower() if signup_id else None,
                            at,
                        ),
                    )
                case "act":
                    person_id, detail = line.get("person_id"), line.get("detail")
                    yield (
                        "acts",
                        (
                            read("act"),
                            str(read("who")).strip().lower(),
                            str(person_id).lower() if person_id else None,
                            read("outcome"),
                            json.dumps(detail) if isinstance(detail, dict) else None,
                            at,
                        ),
                    )
                case "clock":
                    yield "moves", (at, float(read("ahead_seconds")))
                case unknown:
                    raise BadEvidence(
                        f"{path}, line {number} is of kind {unknown!r}, which this ledger does not know: use the "
                        "ledger of the version that wrote it."
                    )

    return _spread(evidence, intents())


def _spread(evidence: Evidence, rows: Iterator[tuple[str, Row]]) -> int:
    waiting: dict[str, list[Row]] = {}
    total = 0
    for table, row in rows:
        total += 1
        pile = waiting.setdefault(table, [])
        pile.append(row)
        if len(pile) >= 2000:
            evidence.insert(table, pile)
            pile.clear()
    for table, pile in waiting.items():
        evidence.insert(table, pile)
    return total


def _read_expected(evidence: Evidence, path: Path) -> int:
    lines = 0
    for number, line in read_lines(path):
        read = _reader(path, line, number)
        evidence.db.execute("INSERT OR IGNORE INTO expected VALUES (?, ?)", (read("kind"), str(read("id"))))
        lines += 1
    return lines


def _read_smtp(evidence: Evidence, path: Path) -> int:
    def rows() -> Iterator[Row]:
        for number, line in read_lines(path):
            read = _reader(path, line, number)
            message_id = str(read("message_id"))
            for recipient in read("to"):
                yield (
                    number,
                    seconds(read("at"), f"{path}, line {number}"),
                    str(read("answer")),
                    int(bool(read("stored"))),
                    message_id,
                    message_id.strip("<>").partition("@")[0].lower(),
                    str(recipient).strip().lower(),
                    read("subject"),
                    read("text"),
                )

    return evidence.insert("mails", rows())


def _read_sms(evidence: Evidence, path: Path) -> int:
    def rows() -> Iterator[Row]:
        for number, line in read_lines(path):
            read = _reader(path, line, number)
            yield (
                number,
                seconds(read("at"), f"{path}, line {number}"),
                str(read("answer")),
                int(bool(read("stored"))),
                str(read("reference") or "").lower(),
                str(read("to")),
                read("body"),
            )

    return evidence.insert("texts", rows())


def _read_webhook(evidence: Evidence, path: Path) -> int:
    def rows() -> Iterator[Row]:
        for number, line in read_lines(path):
            read = _reader(path, line, number)
            yield (
                number,
                seconds(read("at"), f"{path}, line {number}"),
                str(read("answer")),
                str(read("path")),
                read("webhook_id"),
                str(read("timestamp")),
                str(read("signature")),
                str(read("body")),
            )

    return evidence.insert("hooks", rows())
