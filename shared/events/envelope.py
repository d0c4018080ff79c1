"""CloudEvents 1.0 in Kafka's binary mode: attributes as `ce_` headers, the event's JSON as the value.

`ce_sequence` counts the events of one key on one topic from 1, zero-padded so that it sorts as the string it is.
`ce_causationid` names the event that a handler was acting on; `correlation_id` is one for a whole chain.
Source: CloudEvents 1.0 and its Kafka protocol binding, sequence and partitioning extensions.
"""

import datetime as dt
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any
from uuid import UUID

import orjson
import uuid_utils.compat
from pydantic import ValidationError

from shared.errors import Unprocessable
from shared.events.base import Event

CONTENT_TYPE = "application/json"
SEQUENCE_DIGITS = 20
EARLIEST_YEAR, LATEST_YEAR = 1970, 9000


def new_id() -> UUID:
    """A time-ordered id (UUID version 7)."""
    return uuid_utils.compat.uuid7()


@dataclass(frozen=True, slots=True)
class Received:
    """One decoded record: the event and where and how it came."""

    event: Event
    id: UUID
    time: dt.datetime
    sequence: int
    key: str
    correlation_id: str | None
    topic: str
    partition: int
    offset: int


@dataclass(frozen=True, slots=True)
class Unknown:
    """A well-formed record of a type that this version doesn't know: counted and passed over."""

    type: str


def headers_of(
    event: Event,
    *,
    event_id: UUID,
    source: str,
    time: dt.datetime,
    sequence: int,
    correlation_id: str | None,
    causation_id: UUID | None = None,
    traceparent: str | None = None,
) -> list[tuple[str, str]]:
    """The record's headers, in a fixed order; optional ones are left out rather than null."""
    subject = getattr(event, "person_id", None) if event.topic.key == "person_id" else event.key
    headers = [
        ("ce_specversion", "1.0"),
        ("content-type", CONTENT_TYPE),
        ("ce_id", str(event_id)),
        ("ce_source", f"/hustings/{source}"),
        ("ce_type", event.type),
        ("ce_subject", str(subject)),
        ("ce_time", time.astimezone(dt.UTC).isoformat().replace("+00:00", "Z")),
        ("ce_partitionkey", event.key),
        ("ce_sequence", f"{sequence:0{SEQUENCE_DIGITS}d}"),
        ("ce_dataschema", f"/schemas/{event.type}.json"),
    ]
    if correlation_id:
        headers.append(("correlation_id", correlation_id))
    if causation_id:
        headers.append(("ce_causationid", str(causation_id)))
    if traceparent:
        headers.append(("traceparent", traceparent))
    return headers


def payload_of(event: Event) -> bytes:
    """The event as JSON bytes."""
    return event.model_dump_json().encode()


def raw_headers_as_json(headers: Sequence[tuple[str, bytes | None]]) -> str:
    """Any headers, broken ones too, as JSON that keeps every byte (undecodable ones as backslash escapes)."""
    pairs = [
        [_without_nul(name), None if value is None else _without_nul(value.decode("utf-8", errors="backslashreplace"))]
        for name, value in headers
    ]
    return orjson.dumps(pairs).decode()


def _without_nul(text: str) -> str:
    """PostgreSQL's text holds every character but this one."""
    return text.replace("\x00", "\\x00")


def decode(
    *,
    topic: str,
    partition: int,
    offset: int,
    key: bytes | None,
    headers: Sequence[tuple[str, bytes | None]],
    value: bytes | None,
    registry: Mapping[str, type[Event]] | None = None,
) -> Received | Unknown:
    """Decode one record.

    Raises `Unprocessable`, with a reason that holds none of the record's values, for anything that is not a
    CloudEvent of ours: missing or non-text headers, a value that is not the schema's.
    """
    known = Event.registry if registry is None else registry
    try:
        attributes = {name: raw.decode() for name, raw in headers if raw is not None}
    except UnicodeDecodeError:
        attributes = _those_in_utf8(headers)
    event_type = attributes.get("ce_type")
    if not event_type:
        raise Unprocessable("header ce_type is missing")
    cls = known.get(event_type)
    if cls is None:
        return Unknown(event_type)
    try:
        event_id = UUID(attributes["ce_id"])
        time = dt.datetime.fromisoformat(attributes["ce_time"])
        sequence = int(attributes["ce_sequence"])
    except KeyError as missing:
        raise Unprocessable(f"header {missing.args[0]} is missing") from None
    except ValueError:
        raise Unprocessable("one of the headers ce_id, ce_time, ce_sequence is malformed") from None
    if time.tzinfo is None:
        raise Unprocessable("header ce_time has no offset from UTC")
    if not EARLIEST_YEAR <= time.year <= LATEST_YEAR:
        raise Unprocessable("header ce_time is out of range")
    try:
        event = cls.model_validate_json(value or b"")
    except ValidationError as invalid:
        fields = sorted({".".join(str(part) for part in error["loc"]) or "value" for error in invalid.errors()})
        raise Unprocessable(f"value does not fit {event_type}: {', '.join(fields)}") from None
    event_key = event.key
    if key is None or key.decode("utf-8", errors="replace") != event_key:
        raise Unprocessable("the record's key is not the event's key")
    return Received(
        event=event,
        id=event_id,
        time=time,
        sequence=sequence,
        key=event_key,
        correlation_id=_printable(attributes.get("correlation_id")),
        topic=topic,
        partition=partition,
        offset=offset,
    )


def _those_in_utf8(headers: Sequence[tuple[str, bytes | None]]) -> dict[str, str]:
    """The headers that are text; raises `Unprocessable` if one of ours is none."""
    attributes: dict[str, str] = {}
    for name, raw in headers:
        try:
            if raw is not None:
                attributes[name] = raw.decode()
        except UnicodeDecodeError:
            if name.startswith("ce_") or name == "correlation_id":
                raise Unprocessable(f"header {name} is not UTF-8") from None
    return attributes


def _printable(correlation_id: str | None) -> str | None:
    """The correlation id, unless it is nothing that we would have written: it goes into text columns and logs."""
    return correlation_id if correlation_id and correlation_id.isprintable() and len(correlation_id) <= 128 else None


def json_schema(cls: type[Event]) -> dict[str, Any]:
    """The JSON Schema of an event's value, without its docstring: better words are no other schema."""
    schema = cls.model_json_schema(mode="serialization")
    schema.pop("description", None)
    return {"$schema": "https://json-schema.org/draft/2020-12/schema", "$id": f"/schemas/{cls.type}.json", **schema}
