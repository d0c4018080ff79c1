"""Writes down the contract of `shared.events`: `python -m deploy.contract` (`make contract`).

    docs/contract/asyncapi.json    AsyncAPI 3: topics, messages, headers, payload schemas
    docs/contract/events.md        the catalogue for people
    shared/events/archive/<type>/  every version of a type's JSON Schema, each with a sample, in order

An archived file is never changed: a schema that differs from its newest archived version becomes the next one.
`tests/contract` holds that today's readers parse every archived sample and archived schemas accept today's events.
"""

import datetime as dt
import json
import re
import types
import typing
from pathlib import Path
from typing import Any, Literal
from uuid import NAMESPACE_URL, UUID, uuid5

from pydantic.fields import FieldInfo

from shared.events import ALL_TOPICS, Event, Topic
from shared.events.envelope import headers_of, json_schema
from shared.settings import SERVICES

ROOT = Path(__file__).parent.parent
ARCHIVE = ROOT / "shared" / "events" / "archive"
DOCUMENTS = ROOT / "docs" / "contract"
SAMPLE_TIME = dt.datetime(2026, 11, 3, 18, 30, tzinfo=dt.UTC)
_EXAMPLES = {
    "state": "OH",
    "time_zone": "America/New_York",
    "language": "es",
    "call_language": "es",
    "ballot_name": "Renée O’Neil-García",
    "office": "school_board",
    "office_label": "School board",
    "office_level": "local",
    "district": "7",
    "organization": "An organization",
    "program_version": "2025.1",
    "rule_version": "2025.1",
    "wording_version": "2025.1",
}


def events_of(topic: Topic) -> list[type[Event]]:
    """The event types of a topic, in the order they are declared."""
    return [cls for cls in Event.registry.values() if cls.topic == topic]


def sample(cls: type[Event]) -> Event:
    """A plausible event of this type, the same at every call."""
    values = {name: _value(cls.type, name, field) for name, field in cls.model_fields.items()}
    return cls.model_validate(values)


def _value(event_type: str, name: str, field: FieldInfo) -> Any:
    return _of_type(event_type, name, field.annotation)


def _of_type(event_type: str, name: str, annotation: Any) -> Any:
    origin = typing.get_origin(annotation)
    arguments = typing.get_args(annotation)
    if origin is Literal:
        return arguments[0]
    if origin in (typing.Union, types.UnionType):
        return _of_type(event_type, name, next(a for a in arguments if a is not type(None)))
    if origin is tuple:
        return (_of_type(event_type, name, arguments[0]),)
    if origin is typing.Annotated:
        return _of_type(event_type, name, arguments[0])
    examples: dict[Any, Any] = {
        UUID: uuid5(NAMESPACE_URL, f"{event_type}/{name}"),
        bool: True,
        int: 3,
        dt.date: SAMPLE_TIME.date(),
        dt.datetime: SAMPLE_TIME,
        str: _EXAMPLES.get(name, name),
    }
    return examples[annotation if annotation in examples else dt.datetime]


def readers(cls: type[Event]) -> frozenset[str]:
    """Who reads an event, by the sentence of its docstring."""
    sentences = re.findall(r"[Rr]ead by ([^.]*)\.", " ".join((cls.__doc__ or "").split()))
    text = re.sub(r"\([^)]*\)", "", " ".join(sentences))
    return frozenset(name for name in (*SERVICES, "downstream") if re.search(rf"\b{name}\b", text))


def asyncapi() -> dict[str, Any]:
    """The AsyncAPI 3 document."""
    channels, messages, operations = {}, {}, {}
    for topic in ALL_TOPICS:
        name = topic.name
        channels[name] = {
            "address": name,
            "description": _audience(topic),
            "messages": {cls.__name__: {"$ref": f"#/components/messages/{cls.__name__}"} for cls in events_of(topic)},
            "bindings": {"kafka": {"topicConfiguration": {"cleanup.policy": [topic.config["cleanup.policy"]]}}},
        }
        operations[f"send.{name}"] = {"action": "send", "channel": {"$ref": f"#/channels/{name}"}}
        for cls in events_of(topic):
            example = sample(cls)
            headers = headers_of(
                example,
                event_id=uuid5(NAMESPACE_URL, cls.type),
                source=cls.type.partition(".")[0],
                time=SAMPLE_TIME,
                sequence=1,
                correlation_id="0192f7a0-0000-7000-8000-000000000000",
            )
            messages[cls.__name__] = {
                "name": cls.type,
                "title": cls.__name__,
                "summary": _first_line(cls),
                "description": " ".join((cls.__doc__ or "").split()),
                "contentType": "application/json",
                "headers": {
                    "type": "object",
                    "properties": {key: {"type": "string", "examples": [value]} for key, value in headers},
                },
                "payload": {
                    "schemaFormat": "application/schema+json;version=draft-2020-12",
                    "schema": json_schema(cls),
                },
                "bindings": {"kafka": {"key": {"type": "string", "description": topic.key}}},
                "examples": [{"payload": example.model_dump(mode="json")}],
            }
    return {
        "asyncapi": "3.0.0",
        "info": {
            "title": "Hustings events",
            "version": "1",
            "description": "CloudEvents 1.0 in Kafka's binary mode. Topics marked public may be read by anyone.",
        },
        "defaultContentType": "application/json",
        "channels": channels,
        "operations": operations,
        "components": {"messages": messages},
    }


def catalogue() -> str:
    """The event catalogue in Markdown."""
    lines = [
        "# Events",
        "",
        "Written by `make contract` from `shared/events`; the envelope is CloudEvents 1.0, binary mode.",
    ]
    for topic in ALL_TOPICS:
        lines += ["", f"## `{topic.name}`", "", f"Key: `{topic.key}`. {_audience(topic)}", ""]
        lines += ["| event | type | meaning | readers | personal data |", "| --- | --- | --- | --- | --- |"]
        lines += [
            f"| {cls.__name__} | `{cls.type}` | {_first_line(cls)} | {', '.join(sorted(readers(cls))) or '–'}"
            f" | {cls.personal_data} |"
            for cls in events_of(topic)
        ]
    return "\n".join(lines) + "\n"


def _audience(topic: Topic) -> str:
    kept = (
        "Compacted: the last record of a key is its state." if topic.compacted else f"Kept {topic.retention_days} days."
    )
    return f"{'Public.' if topic.public else 'Internal.'} {kept}"


def _first_line(cls: type[Event]) -> str:
    return (cls.__doc__ or "").strip().partition("\n\n")[0].replace("\n    ", " ")


def archived(cls: type[Event]) -> list[tuple[Path, Path]]:
    """The archived versions of a type, oldest first: schema and sample."""
    schemas = sorted((ARCHIVE / cls.type).glob("*.schema.json"))
    return [(path, path.with_name(path.name.replace(".schema.", ".sample."))) for path in schemas]


def archive(cls: type[Event]) -> bool:
    """Archive today's schema if it differs from the newest archived one; whether it did."""
    schema = _dump(json_schema(cls))
    versions = archived(cls)
    if versions and versions[-1][0].read_text(encoding="utf-8") == schema:
        return False
    folder = ARCHIVE / cls.type
    folder.mkdir(parents=True, exist_ok=True)
    number = f"{len(versions) + 1:04d}"
    (folder / f"{number}.schema.json").write_text(schema, encoding="utf-8")
    (folder / f"{number}.sample.json").write_text(_dump(sample(cls).model_dump(mode="json")), encoding="utf-8")
    return True


def documents() -> dict[Path, str]:
    """Every generated document with its text."""
    return {DOCUMENTS / "asyncapi.json": _dump(asyncapi()), DOCUMENTS / "events.md": catalogue()}


def _dump(value: Any) -> str:
    return json.dumps(value, indent=1, ensure_ascii=False, sort_keys=False) + "\n"


def main() -> None:
    """Write the documents and archive what is new."""
    DOCUMENTS.mkdir(parents=True, exist_ok=True)
    for path, text in documents().items():
        path.write_text(text, encoding="utf-8")
        print(path.relative_to(ROOT))
    for cls in Event.registry.values():
        if archive(cls):
            print(f"archived a new version of {cls.type}")


if __name__ == "__main__":
    main()
