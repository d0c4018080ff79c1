"""Whatever the described interfaces are sent, no service fails: requests that fit each document, and others."""

from collections.abc import AsyncIterator
from typing import Any

import httpx
import pytest
import requests
import schemathesis
from hypothesis import HealthCheck, Phase, given, settings
from hypothesis.errors import Unsatisfiable
from schemathesis import GenerationMode

from shared.service import Service
from shared.web.sessions import Principal
from tests.component.test_bad_bodies import DEFINITIONS, SOMEBODY
from tests.conftest import DatabaseFactory
from tests.harness import internal_token, make_settings, running, session_token

EXAMPLES = 3
"""Requests per operation, kind and caller; generated from a fixed seed."""
CALLERS: tuple[Principal | None, ...] = (SOMEBODY, None)
# An answer may say that something it needs is away: tests run without the neighbours.
AWAY = 503


@pytest.fixture(params=sorted(DEFINITIONS))
async def service(request: pytest.FixtureRequest, databases: DatabaseFactory) -> AsyncIterator[Service]:
    """Each service in turn."""
    definition, kind, changes = DEFINITIONS[request.param]
    made = make_settings(kind, await databases(request.param), **changes)
    async with running(definition, made) as started:
        yield started


def generated(operation: Any, mode: GenerationMode) -> list[Any]:
    """Requests to one operation: the same at every run."""
    found: list[Any] = []

    @settings(
        max_examples=EXAMPLES,
        derandomize=True,
        database=None,
        deadline=None,
        phases=[Phase.generate],
        suppress_health_check=list(HealthCheck),
    )
    @given(case=operation.as_strategy(generation_mode=mode))
    def draw(case: Any) -> None:
        found.append(case)

    try:
        draw()
    except Unsatisfiable:
        return []  # nothing that this operation takes can be wrong
    return found


def as_request(case: Any, credential: str | None) -> httpx.Request | None:
    """The request on the wire; None for one that no client could send."""
    parts = case.as_transport_kwargs(base_url="http://service.test")
    wanted = ("method", "url", "headers", "params", "cookies", "json", "data", "files")
    parts = {name: value for name, value in parts.items() if name in wanted}
    try:
        wire: Any = requests.Request(**parts).prepare()
        headers = {name: value for name, value in wire.headers.items() if name.lower() != "content-length"}
        if credential is not None:
            headers["Authorization"] = f"Bearer {credential}"
        body = wire.body or b""
        content = body.encode() if isinstance(body, str) else body
        return httpx.Request(str(wire.method), str(wire.url), headers=headers, content=content)
    except (ValueError, UnicodeError, requests.RequestException, httpx.InvalidURL):
        return None


async def test_no_generated_request_makes_a_service_fail(service: Service) -> None:
    document = service.web_app.openapi()
    schema = schemathesis.openapi.from_dict(document)
    failed, sent, operations = [], 0, set()
    transport = httpx.ASGITransport(app=service.web_app, raise_app_exceptions=False)
    async with httpx.AsyncClient(transport=transport) as client:
        each: Any
        for each in schema.get_all_operations():
            operation = each.ok()
            internal = operation.path.startswith("/internal/")
            credentials = (
                [internal_token("matching")]
                if internal
                else [session_token(caller) if caller else None for caller in CALLERS]
            )
            for mode in (GenerationMode.POSITIVE, GenerationMode.NEGATIVE):
                for case in generated(operation, mode):
                    for credential in credentials:
                        request = as_request(case, credential)
                        if request is None:
                            continue
                        answer = await client.send(request)
                        sent += 1
                        operations.add((operation.method, operation.path))
                        if answer.status_code >= 500 and answer.status_code != AWAY:
                            failed.append((answer.status_code, request.method, str(request.url), request.content[:300]))
    assert failed == []
    described = {
        (method, path) for path, item in document["paths"].items() for method in item if method != "parameters"
    }
    assert operations == described
    assert sent >= EXAMPLES * len(operations)
