"""The raw topics, read by another client than the services' (librdkafka), and the file that archives them.

A topic is read from its beginning to the end that it had at the start, committed records only, and its CloudEvents
headers are read here anew. The file holds the same as JSON lines: `partition` lines, then `record` lines; what is
not UTF-8 is `{"base64": …}`.
"""

import base64
import datetime as dt
import gzip
import hashlib
import json
import time
import uuid
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Any

from confluent_kafka import OFFSET_BEGINNING, Consumer, KafkaError, KafkaException, TopicPartition

from cli.ledger.errors import BadEvidence
from cli.ledger.evidence import Evidence, Row

TOPICS = (
    "signup.people",
    "matching.people",
    "matching.intro_calls",
    "matching.calls",
    "notifications.messages",
    "endorsement.candidacies",
    "endorsement.endorsements",
    "endorsement.state",
)
PUBLIC = ("endorsement.endorsements", "endorsement.state")
COMPACTED = ("endorsement.state",)
PATIENCE_SECONDS = 30.0


@dataclass(frozen=True, slots=True)
class Partition:
    """What is kept of a partition: offsets from `low` up to, not including, `high`."""

    topic: str
    partition: int
    low: int
    high: int


@dataclass(frozen=True, slots=True)
class RawRecord:
    """A record as the broker gave it; `at` is its timestamp in seconds since 1970."""

    topic: str
    partition: int
    offset: int
    at: float
    key: bytes | None
    headers: Sequence[tuple[str, bytes | None]]
    value: bytes | None


def read_kafka(bootstrap: str) -> Iterator[Partition | RawRecord]:
    """Every partition of our topics, then their records in the order of each partition."""
    errors: list[str] = []
    consumer = Consumer(
        {
            "bootstrap.servers": bootstrap,
            "group.id": "hustings-ledger",
            "enable.auto.commit": False,
            "isolation.level": "read_committed",
            "enable.partition.eof": True,
            "auto.offset.reset": "error",
            "fetch.wait.max.ms": 50,
            "error_cb": lambda error: errors.append(error.str()),
            "log_level": 0,
        }
    )
    try:
        try:
            known = consumer.list_topics(timeout=10).topics
            partitions = [
                Partition(name, number, *consumer.get_watermark_offsets(TopicPartition(name, number), timeout=10))
                for name in TOPICS
                if name in known
                for number in known[name].partitions
            ]
        except KafkaException as error:
            raise BadEvidence(
                f"Kafka at {bootstrap} does not answer ({error.args[0].str()}): start it (`make status` shows what "
                "runs), or give --topics a file that --archive wrote."
            ) from None
        if missing := sorted(set(TOPICS) - set(known)):
            raise BadEvidence(f"Kafka at {bootstrap} lacks {', '.join(missing)}: is it the cluster of this system?")
        yield from partitions
        wanted = {(p.topic, p.partition): p.high for p in partitions if p.high > p.low}
        consumer.assign([TopicPartition(topic, number, OFFSET_BEGINNING) for topic, number in wanted])
        deadline = time.monotonic() + PATIENCE_SECONDS
        while wanted:
            messages = consumer.consume(num_messages=1000, timeout=0.2)
            if messages:
                deadline = time.monotonic() + PATIENCE_SECONDS
            elif time.monotonic() > deadline:
                raise BadEvidence(
                    f"Kafka at {bootstrap} gave nothing for {PATIENCE_SECONDS:.0f} s though {len(wanted)} partitions "
                    f"are not at their end ({', '.join(errors[-1:]) or 'no error'}): look at its log, then run again."
                )
            for message in messages:
                place = (str(message.topic()), int(message.partition() or 0))
                fault = message.error()
                if fault is not None:
                    if fault.code() != KafkaError._PARTITION_EOF:  # noqa: SLF001 (librdkafka's own name for it)
                        raise BadEvidence(f"Kafka could not be read ({fault.str()}): look at its log, then run again.")
                    # Offsets of transaction markers are skipped: the end is told, not counted.
                    wanted.pop(place, None)
                elif place in wanted and int(message.offset() or 0) < wanted[place]:
                    yield RawRecord(
                        place[0],
                        place[1],
                        int(message.offset() or 0),
                        message.timestamp()[1] / 1000,
                        _bytes(message.key()),
                        _headers(message.headers()),
                        _bytes(message.value()),
                    )
                else:
                    wanted.pop(place, None)
    finally:
        consumer.close()


def _headers(given: Any) -> list[tuple[str, bytes | None]]:
    return [(name, _bytes(value)) for name, value in given or ()]


def _bytes(value: str | bytes | None) -> bytes | None:
    return value.encode() if isinstance(value, str) else value


def _open(path: Path, mode: str) -> IO[str]:
    if path.suffix == ".gz":
        return gzip.open(path, mode + "t", encoding="utf-8", compresslevel=1)  # type: ignore[return-value]
    return path.open(mode, encoding="utf-8")


def archive(path: Path, found: Iterable[Partition | RawRecord]) -> Iterator[Partition | RawRecord]:
    """Pass everything on, and write it to a file meanwhile (compressed when its name ends in .gz)."""
    with _open(path, "w") as file:
        for one in found:
            file.write(json.dumps(to_line(one), ensure_ascii=False) + "\n")
            yield one


def to_line(one: Partition | RawRecord) -> dict[str, Any]:
    """The line of the file."""
    if isinstance(one, Partition):
        return {"kind": "partition", "topic": one.topic, "partition": one.partition, "low": one.low, "high": one.high}
    return {
        "kind": "record",
        "topic": one.topic,
        "partition": one.partition,
        "offset": one.offset,
        "at": one.at,
        "key": _text(one.key),
        "headers": [[name, _text(value)] for name, value in one.headers],
        "value": _text(one.value),
    }


def _text(value: bytes | None) -> Any:
    if value is None:
        return None
    try:
        return value.decode("utf-8")
    except UnicodeDecodeError:
        return {"base64": base64.b64encode(value).decode()}


def _raw(value: Any) -> bytes | None:
    if value is None:
        return None
    return base64.b64decode(value["base64"]) if isinstance(value, dict) else str(value).encode()


def read_file(path: Path) -> Iterator[Partition | RawRecord]:
    """What `archive` wrote."""
    try:
        with _open(path, "r") as file:
            for number, text in enumerate(file, start=1):
                try:
                    yield _from_line(json.loads(text))
                except (ValueError, KeyError, TypeError):
                    raise BadEvidence(
                        f"{path}, line {number} is not a line of an archive: make it anew with --archive."
                    ) from None
    except FileNotFoundError:
        raise BadEvidence(f"There is no file {path}: give --topics one that --archive wrote.") from None
    except (OSError, EOFError, UnicodeDecodeError) as error:
        raise BadEvidence(f"{path} cannot be read ({error}): make it anew with --archive.") from None


def _from_line(line: dict[str, Any]) -> Partition | RawRecord:
    if line["kind"] == "partition":
        return Partition(line["topic"], line["partition"], line["low"], line["high"])
    return RawRecord(
        line["topic"],
        line["partition"],
        line["offset"],
        line["at"],
        _raw(line["key"]),
        [(name, _raw(value)) for name, value in line["headers"]],
        _raw(line["value"]),
    )


def load_topics(
    evidence: Evidence, found: Iterable[Partition | RawRecord], tell: Callable[[str], None], every: int = 100_000
) -> None:
    """Read partitions and records into the store, marking each event id's first occurrence."""
    seen: set[bytes] = set()
    records = 0

    def rows() -> Iterator[Row]:
        nonlocal records
        for one in found:
            if isinstance(one, Partition):
                evidence.insert("partitions", [(one.topic, one.partition, one.low, one.high)])
                continue
            records += 1
            if records % every == 0:
                tell(f"topics: {records:,} records so far")
            yield _row(one, seen)

    evidence.insert("records", rows())
    tell(f"topics: {records:,} records")


def _row(record: RawRecord, seen: set[bytes]) -> Row:
    attributes: dict[str, str] = {}
    problem: str | None = None
    for name, value in record.headers:
        try:
            attributes[name] = (value or b"").decode("utf-8")
        except UnicodeDecodeError:
            problem = f"header {name} is not UTF-8"
    event_id: str | None = None
    time: float | None = None
    sequence: int | None = None
    identity: uuid.UUID | None = None
    try:
        identity = uuid.UUID(attributes["ce_id"])
        event_id = str(identity)
        time = dt.datetime.fromisoformat(attributes["ce_time"]).timestamp()
        sequence = int(attributes["ce_sequence"])
    except (KeyError, ValueError) as error:
        problem = problem or f"no CloudEvent of ours ({error})"
    if attributes.get("ce_specversion") != "1.0" or not attributes.get("ce_type"):
        problem = problem or "no CloudEvent of ours (ce_specversion or ce_type)"
    payload = (record.value or b"").decode("utf-8", errors="replace")
    try:
        is_object = isinstance(json.loads(payload), dict)
    except ValueError:
        is_object = False
    if not is_object:
        problem = problem or "the value is no JSON object"
    first = 0
    if problem is None and identity is not None:
        first = int(identity.bytes not in seen)
        seen.add(identity.bytes)
    return (
        record.topic,
        record.partition,
        record.offset,
        record.at,
        None if record.key is None else record.key.decode("utf-8", errors="replace"),
        event_id,
        attributes.get("ce_type"),
        attributes.get("ce_source"),
        time,
        sequence,
        "\n".join(
            f"{name}: {(value or b'').decode('utf-8', errors='backslashreplace')}" for name, value in record.headers
        ),
        payload,
        digest(record.key, record.value),
        first,
        problem,
    )


def digest(key: bytes | None, value: bytes | None) -> str:
    """What tells two records of one event apart: key and value."""
    return hashlib.sha256((key or b"") + b"\x00" + (value or b"")).hexdigest()
