"""What every service answers to a body that is no body: a clear refusal, and nothing is stored."""

from collections.abc import AsyncIterator
from typing import Any
from uuid import uuid4

import pytest

from services.endorsement.app import SERVICE as ENDORSEMENT
from services.endorsement.settings import Settings as EndorsementSettings
from services.matching.app import SERVICE as MATCHING
from services.matching.settings import Settings as MatchingSettings
from services.notifications.app import SERVICE as NOTIFICATIONS
from services.notifications.settings import Settings as NotificationsSettings
from services.signup.app import SERVICE as SIGNUP
from services.signup.settings import Settings as SignupSettings
from shared.service import Definition, Service
from shared.web.sessions import Principal
from tests.component.endorsement.scenes import candidacy_body
from tests.component.matching.test_availability import HOURS
from tests.component.signup.conftest import a_signup, confirmed_person, post
from tests.conftest import DatabaseFactory
from tests.harness import client_of, make_settings, outbox_events, running

SOMEBODY = Principal(uuid4(), frozenset({"staff", "admin"}), uuid4())
NOWHERE = dict.fromkeys(("signup", "matching", "endorsement"), "http://127.0.0.1:1")
DEFINITIONS: dict[str, tuple[Definition, Any, dict[str, Any]]] = {
    "signup": (SIGNUP, SignupSettings, {"form_min_seconds": 0}),
    "matching": (MATCHING, MatchingSettings, {}),
    "notifications": (
        NOTIFICATIONS,
        NotificationsSettings,
        {"internal_urls": NOWHERE, "smtp_host": "127.0.0.1", "smtp_port": 1, "smtp_security": "none"},
    ),
    "endorsement": (ENDORSEMENT, EndorsementSettings, {"internal_urls": NOWHERE}),
}
ROUTES = {
    "signup": ("POST", "/v1/signups"),
    "matching": ("PUT", "/v1/availability"),
    "notifications": ("PUT", "/v1/messages/preferences"),
    "endorsement": ("POST", "/v1/candidacies"),
}
JSON = "application/json"
BODIES: dict[str, tuple[bytes, str, set[int]]] = {
    "malformed JSON": (b'{"name": ', JSON, {400, 422}),
    "an array": (b"[]", JSON, {400, 422}),
    "nothing": (b"", JSON, {400, 422}),
    "invalid UTF-8": (b'{"name": "\xff\xfe"}', JSON, {400, 422}),
    "a lone surrogate": (b'{"name": "\\ud800"}', JSON, {400, 422}),
    "a huge number": (b'{"birth_year": ' + b"9" * 5000 + b"}", JSON, {400, 422}),
    "a number past every range": (b'{"birth_year": 1e999999, "weekly_cap": 1e999999}', JSON, {400, 422}),
    "deep nesting": (b"[" * 15_000 + b"]" * 15_000, JSON, {400, 422}),
    "5 MB": (b'{"name": "' + b"x" * 5_000_000 + b'"}', JSON, {413}),
    "XML": (b"<name>Ana</name>", "application/xml", {415, 422}),
    "no type": (b'{"name": "Ana"}', "", {415, 422}),
}


@pytest.fixture(params=sorted(DEFINITIONS))
async def service(request: pytest.FixtureRequest, databases: DatabaseFactory) -> AsyncIterator[Service]:
    """Each service in turn."""
    definition, settings, changes = DEFINITIONS[request.param]
    async with running(definition, make_settings(settings, await databases(request.param), **changes)) as started:
        yield started


async def test_body_that_is_none_is_refused_and_stores_nothing(service: Service) -> None:
    method, path = ROUTES[service.definition.name]
    found, expected = {}, {}
    async with client_of(service, SOMEBODY) as client:
        for name, (content, kind, statuses) in BODIES.items():
            headers = {"Idempotency-Key": str(uuid4()), **({"Content-Type": kind} if kind else {})}
            answer = await client.request(method, path, content=content, headers=headers)
            problem = answer.json()
            clear = bool(problem["code"]) and len(problem["detail"].split()) > 3
            found[name] = (answer.status_code in statuses, answer.headers["content-type"], clear)
            expected[name] = (True, "application/problem+json", True)
    assert found == expected
    assert await outbox_events(service) == []


async def test_unknown_fields_are_refused_by_name(service: Service) -> None:
    bodies: dict[str, Any] = {
        "signup": a_signup(),
        "matching": dict(HOURS),
        "notifications": {"email": True},
        "endorsement": await candidacy_body(service) if service.definition.name == "endorsement" else {},
    }
    method, path = ROUTES[service.definition.name]
    async with client_of(service, SOMEBODY) as client:
        answer = await client.request(
            method,
            path,
            json={**bodies[service.definition.name], "colour": "red"},
            headers={"Idempotency-Key": str(uuid4())},
        )
    assert answer.status_code == 422, answer.text
    assert "colour" in [error["field"] for error in answer.json()["errors"]]
    assert await outbox_events(service) == []


HOSTILE = (
    "Robert'); DROP TABLE people;--",
    "<script>alert(1)</script> Ana",
    "{{ 7 * 7 }} {% raw %} ${7*7} Ana",
    '=HYPERLINK("https://evil.example","Ana")',
    "%(name)s %s {name} Ana",
    "Ana ' OR '1'='1",
    "../../etc/passwd Ana",
    "Ana 🎉👩‍👩‍👧",
    "李小龍",
    "محمد علی\u200cزاده",
    "x" * 200,
)


@pytest.mark.parametrize("name", HOSTILE, ids=range(len(HOSTILE)))
async def test_hostile_name_is_a_name_everywhere(
    databases: DatabaseFactory, name: str, capsys: pytest.CaptureFixture[str]
) -> None:
    definition, settings, changes = DEFINITIONS["signup"]
    async with running(definition, make_settings(settings, await databases("signup"), **changes)) as service:
        async with client_of(service) as client:
            person_id = await confirmed_person(service, client, name=name)
        async with client_of(service, Principal(person_id)) as client:
            assert (await client.get("/v1/me")).json()["name"] == name
            page = (await client.get("/me", headers={"Accept": "text/html"})).text
        async with client_of(service, SOMEBODY) as client:
            listed = (await client.get("/people", headers={"Accept": "text/html"})).text
        for shown in (page, listed):
            assert "<script>alert" not in shown
            assert " 49 " not in shown
        assert await service.context.pool.fetch("SELECT name FROM people") == [(name,)]
        assert name not in capsys.readouterr().out


@pytest.mark.parametrize(
    "name", ["Ana\x00Ortiz", "Ana\r\nBcc: all@example.org", "Ana\x1b[31m", "Ana\u202eOrtiz", "Ana\ufeff", "\x7fAna"]
)
async def test_name_with_unseen_characters_is_refused_with_the_remedy(databases: DatabaseFactory, name: str) -> None:
    definition, settings, changes = DEFINITIONS["signup"]
    async with running(definition, make_settings(settings, await databases("signup"), **changes)) as service:
        async with client_of(service) as client:
            answer = await post(client, name=name)
        assert (answer.status_code, answer.json()["errors"]) == (
            422,
            [
                {
                    "field": "name",
                    "detail": "Remove the characters that can't be seen, such as tabs or line breaks",
                }
            ],
        )
        assert await outbox_events(service) == []
