"""The event contract: documents are current, and versions stay readable in both directions."""

import json
from collections.abc import Mapping
from importlib import import_module

import pytest
from jsonschema import Draft202012Validator

from deploy.contract import SAMPLE_TIME, archived, documents, readers, sample
from shared.events import ALL_TOPICS, Event
from shared.events.envelope import Received, decode, headers_of, json_schema, new_id, payload_of
from shared.inbox import Routes
from shared.settings import SERVICES

TYPES = [cls for cls in Event.registry.values() if not cls.type.startswith("test.")]


def test_documents_are_current() -> None:
    stale = [path.name for path, text in documents().items() if not path.exists() or path.read_text("utf-8") != text]
    assert stale == [], "run `make contract` and commit what it writes"


@pytest.mark.parametrize("cls", TYPES, ids=lambda cls: cls.type)
def test_newest_archived_schema_is_todays(cls: type[Event]) -> None:
    versions = archived(cls)
    assert versions, "run `make contract` and commit what it writes"
    assert json.loads(versions[-1][0].read_text("utf-8")) == json_schema(cls)


@pytest.mark.parametrize("cls", TYPES, ids=lambda cls: cls.type)
def test_every_archived_sample_is_read_today(cls: type[Event]) -> None:
    for _, path in archived(cls):
        stored = json.loads(path.read_text("utf-8"))
        read = cls.model_validate(stored).model_dump(mode="json")
        assert {name: read[name] for name in stored} == stored


@pytest.mark.parametrize("cls", TYPES, ids=lambda cls: cls.type)
def test_every_archived_schema_accepts_todays_event(cls: type[Event]) -> None:
    today = sample(cls).model_dump(mode="json")
    for path, _ in archived(cls):
        errors = [
            error.message for error in Draft202012Validator(json.loads(path.read_text("utf-8"))).iter_errors(today)
        ]
        assert errors == []


@pytest.mark.parametrize("cls", TYPES, ids=lambda cls: cls.type)
def test_envelope_round_trips(cls: type[Event]) -> None:
    event, event_id = sample(cls), new_id()
    headers = headers_of(
        event, event_id=event_id, source="test", time=SAMPLE_TIME, sequence=7, correlation_id="a-correlation"
    )
    decoded = decode(
        topic=cls.topic.name,
        partition=2,
        offset=40,
        key=event.key.encode(),
        headers=[(name, value.encode()) for name, value in headers],
        value=payload_of(event),
    )
    assert decoded == Received(
        event=event,
        id=event_id,
        time=SAMPLE_TIME,
        sequence=7,
        key=event.key,
        correlation_id="a-correlation",
        topic=cls.topic.name,
        partition=2,
        offset=40,
    )


def test_every_event_is_on_a_known_topic_of_its_own_service() -> None:
    assert {cls.type: cls.topic in ALL_TOPICS for cls in TYPES} == dict.fromkeys((cls.type for cls in TYPES), True)
    assert {cls.type.partition(".")[0] for cls in TYPES} == set(SERVICES)
    assert [cls.type for cls in TYPES if cls.topic.name.partition(".")[0] != cls.type.partition(".")[0]] == []


def test_readers_are_those_of_the_routing_tables() -> None:
    routed: dict[str, set[str]] = {cls.__name__: set() for cls in TYPES}
    for service in SERVICES:
        routes: Routes = import_module(f"services.{service}.handlers").ROUTES
        assert isinstance(routes, Mapping)
        for cls in routes:
            routed[cls.__name__].add(service)
    documented = {cls.__name__: set(readers(cls)) - {"downstream"} for cls in TYPES}
    assert documented == routed


def test_event_that_nobody_reads_says_so() -> None:
    unread = {cls.__name__ for cls in TYPES if not readers(cls)}
    assert {cls.__name__ for cls in TYPES if "No service reads it" in (cls.__doc__ or "")} == unread


def test_internal_events_carry_no_free_text() -> None:
    """Strings on internal topics are codes, enumerations or from a short list of coarse facts."""
    allowed = {"state", "time_zone", "program_version", "wording_version", "rule_version"}
    loose = []
    for cls in TYPES:
        if cls.topic.public:
            continue
        properties = json_schema(cls)["properties"]
        for name, spec in properties.items():
            options = [spec, *spec.get("anyOf", []), spec.get("items", {})]
            for option in options:
                plain = option.get("type") == "string" and not {"format", "pattern", "const", "enum"} & set(option)
                if plain and name not in allowed:
                    loose.append(f"{cls.__name__}.{name}")
    assert loose == []
