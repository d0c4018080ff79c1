"""What holds for every request: limits, headers, correlation, sessions, scopes, and errors as answers."""

import datetime as dt
import io
import json
import logging
from collections.abc import AsyncIterator, Iterator
from types import SimpleNamespace
from typing import Any

import httpx
import pytest
import structlog
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from fastapi import Request

from shared import log
from shared.service import Service
from shared.web.app import client_address
from shared.web.sessions import COOKIE, SESSION_MINUTES, Principal, issue
from tests.component.kernel.tinyservice.app import PERSON, SERVICE, Settings
from tests.conftest import DatabaseFactory
from tests.harness import Databases, client_of, internal_client, make_settings, running, session_token

ORIGIN = "http://tiny.test"
HTML = {"Accept": "text/html"}
SOMEBODY = Principal(PERSON)
STAFF = Principal(PERSON, roles=frozenset({"staff"}))


@pytest.fixture(scope="module")
async def tiny(template_databases: Databases) -> AsyncIterator[Service]:
    """The tiny service, driven by the tests of this module."""
    async with (
        template_databases.clone("notifications") as database,
        running(SERVICE, make_settings(Settings, database, tiny_url=ORIGIN)) as service,
    ):
        yield service


@pytest.fixture
def logged(monkeypatch: pytest.MonkeyPatch) -> Iterator[io.StringIO]:
    """What the production log configuration writes."""
    root, before = logging.getLogger(), list(logging.getLogger().handlers)
    level = root.level
    config = structlog.get_config()
    stream = io.StringIO()
    log.configure("tiny", stream=stream)
    structlog.configure(cache_logger_on_first_use=False)
    yield stream
    root.handlers[:] = before
    root.setLevel(level)
    structlog.configure(**config)


def shape(answer: httpx.Response) -> tuple[int, str, str]:
    """Status, media type and code of a problem."""
    return answer.status_code, answer.headers["content-type"], answer.json()["code"]


PROBLEM = "application/problem+json"


async def chunks(*parts: bytes) -> AsyncIterator[bytes]:
    """A body without a Content-Length."""
    for part in parts:
        yield part


@pytest.mark.parametrize("path", ["/v1/name", "/v1/large", "/form"])
async def test_body_over_the_limit_is_refused(tiny: Service, path: str) -> None:
    limit = 64 * 1024 if path == "/v1/large" else 32 * 1024
    form = {"Content-Type": "application/x-www-form-urlencoded"} if path == "/form" else {}
    async with client_of(tiny) as client:
        by_length = await client.post(path, content=b"x" * (limit + 1), headers=form)
        by_stream = await client.post(path, content=chunks(*[b"y" * 1024] * (limit // 1024 + 1)), headers=form)
        fits = await client.post("/v1/large", content=chunks(b"y" * 64 * 1024))
    for answer in (by_length, by_stream):
        assert answer.status_code == 413
        assert answer.headers["connection"] == "close"
        text = f"more than {limit // 1024} KiB"
        if path == "/form":
            assert answer.headers["content-type"] == "text/html; charset=utf-8"
            assert text in answer.text
        else:
            assert shape(answer) == (413, PROBLEM, "too_large")
            assert text in answer.json()["detail"]
    assert (fits.status_code, fits.json()) == (200, {"length": 64 * 1024})


@pytest.mark.parametrize("length", [b"many", b"-1", b"\xb2"])
async def test_malformed_content_length_is_refused(tiny: Service, length: bytes) -> None:
    sent: list[Any] = []
    scope = {
        "type": "http", "method": "POST", "path": "/v1/name", "raw_path": b"/v1/name", "query_string": b"",
        "headers": [(b"content-length", length)], "scheme": "http", "server": ("tiny.test", 80), "root_path": "",
        "http_version": "1.1", "client": ("127.0.0.1", 1), "asgi": {"version": "3.0"},
    }  # fmt: skip

    async def receive() -> Any:
        return {"type": "http.request", "body": b"", "more_body": False}

    async def send(message: Any) -> None:
        sent.append(message)

    await tiny.web_app(scope, receive, send)
    assert sent[0]["status"] == 400


async def test_correlation_id_passes_or_is_made(tiny: Service) -> None:
    async with client_of(tiny) as client:
        given = await client.get("/v1/nothing", headers={"X-Correlation-Id": "chain-0123456789"})
        made = [await client.get("/v1/nothing") for _ in range(2)]
        odd = await client.get("/v1/nothing", headers={"X-Correlation-Id": "a b\tc"})
    assert given.headers["x-correlation-id"] == given.json()["correlation_id"] == "chain-0123456789"
    ids = {answer.headers["x-correlation-id"] for answer in [*made, odd]}
    assert len(ids) == 3
    assert {len(correlation_id) for correlation_id in ids} == {36}


@pytest.mark.parametrize(
    ("path", "status"),
    [
        ("/livez", 200),
        ("/v1/whoami", 401),
        ("/nowhere", 404),
        ("/v1/refused", 409),
        ("/v1/boom/x", 500),
        ("/boom/x", 500),
        ("/v1/away", 503),
        ("/metrics", 200),
    ],
)
async def test_security_headers_are_on_every_answer(tiny: Service, path: str, status: int) -> None:
    async with client_of(tiny) as client:
        answer = await client.get(path, headers=HTML)
    assert answer.status_code == status
    names = (
        "x-content-type-options",
        "referrer-policy",
        "x-frame-options",
        "cross-origin-opener-policy",
        "permissions-policy",
        "x-correlation-id",
    )
    assert [name for name in names if name not in answer.headers] == []
    policy = answer.headers["content-security-policy"]
    assert policy.startswith("default-src 'none'; script-src 'self'; style-src 'self';")
    assert policy.endswith("frame-ancestors 'none'")
    # Over plain HTTP, as on a development stack, it would lock the host out.
    assert "strict-transport-security" not in answer.headers


async def test_https_answers_ask_for_https_only(databases: DatabaseFactory) -> None:
    settings = make_settings(Settings, await databases("notifications"), tiny_url="https://tiny.test")
    async with running(SERVICE, settings) as service, client_of(service) as client:
        answer = await client.get("/nowhere")
    assert answer.headers["strict-transport-security"] == "max-age=63072000; includeSubDomains"


async def test_only_embeddable_paths_may_be_framed(tiny: Service) -> None:
    async with client_of(tiny) as client:
        answer = await client.get("/framed/form")
    assert "x-frame-options" not in answer.headers
    assert answer.headers["content-security-policy"].endswith("frame-ancestors *")


def foreign_token() -> str:
    """Signed by somebody else's key."""
    key = Ed25519PrivateKey.generate().private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    )
    return issue(SOMEBODY, key.decode(), now=dt.datetime.now(dt.UTC))


def altered_token() -> str:
    """A good signature under another payload."""
    header, payload, _ = session_token(STAFF).split(".")
    return f"{header}.{payload}.{session_token(SOMEBODY).split('.')[2]}"


def unsigned_token() -> str:
    """The algorithm `none`."""
    return "eyJhbGciOiJub25lIn0." + session_token(STAFF).split(".")[1] + "."


def expired_token() -> str:
    """A minute too old."""
    return session_token(SOMEBODY, now=dt.datetime.now(dt.UTC) - dt.timedelta(minutes=SESSION_MINUTES + 1))


@pytest.mark.parametrize("make", [foreign_token, altered_token, unsigned_token, expired_token, str])
async def test_session_that_is_not_ours_opens_nothing(tiny: Service, make: Any) -> None:
    token = make() or "nonsense"
    async with client_of(tiny) as client:
        by_bearer = await client.get("/v1/whoami", headers={"Authorization": f"Bearer {token}"})
        by_cookie = await client.get("/v1/whoami", headers={"Cookie": f"{COOKIE}={token}"})
        good = await client.get("/v1/whoami", headers={"Cookie": f"{COOKIE}={session_token(SOMEBODY)}"})
    assert shape(by_bearer) == shape(by_cookie) == (401, PROBLEM, "http_401")
    assert by_bearer.headers["www-authenticate"] == "Bearer"
    assert good.json() == {"person_id": str(PERSON)}


@pytest.mark.parametrize(
    ("headers", "status"),
    [
        ({}, 403),
        ({"Origin": "https://evil.example"}, 403),
        ({"Origin": "null"}, 403),
        ({"Origin": "https://tiny.test"}, 403),
        ({"Origin": f"{ORIGIN}.evil.example"}, 403),
        ({"Authorization": "Basic cHJveHk6cHJveHk="}, 403),
        ({"Origin": ORIGIN}, 200),
        ({"Origin": ORIGIN, "Authorization": "Basic cHJveHk6cHJveHk="}, 200),
    ],
)
async def test_cookie_post_needs_the_services_own_origin(tiny: Service, headers: dict[str, str], status: int) -> None:
    cookie = {"Cookie": f"{COOKIE}={session_token(SOMEBODY)}"}
    async with client_of(tiny) as client:
        answer = await client.post("/form", data={"name": "Ann"}, headers={**cookie, **headers})
    assert answer.status_code == status


async def test_bearer_and_anonymous_posts_need_no_origin(tiny: Service) -> None:
    async with client_of(tiny, SOMEBODY) as client:
        assert (await client.post("/v1/name", json={"name": "Ann"})).json() == {"length": 3}
    async with client_of(tiny) as client:
        assert (await client.post("/form", data={"name": "Ann"})).json() == {"length": 3}


async def test_roles_are_required(tiny: Service) -> None:
    roles = [frozenset[str](), frozenset({"reviewer"}), frozenset({"staff"}), frozenset({"admin"})]
    found = []
    for held in roles:
        async with client_of(tiny, Principal(PERSON, roles=held)) as client:
            found.append((await client.get("/v1/staff")).status_code)
    assert found == [403, 403, 200, 200]
    async with client_of(tiny, SOMEBODY) as client:
        assert shape(await client.get("/v1/staff")) == (403, PROBLEM, "forbidden")
        page = await client.get("/staff", headers=HTML)
    assert (page.status_code, page.headers["content-type"]) == (403, "text/html; charset=utf-8")


async def test_browser_is_sent_to_sign_in_and_a_program_is_told(tiny: Service) -> None:
    async with client_of(tiny) as client:
        browser = await client.get("/private?a=1&b=2", headers=HTML)
        program = await client.get("/private", headers={"Accept": "application/json"})
        # JSON paths never redirect, whatever the reader accepts.
        path = await client.get("/v1/staff", headers=HTML)
    assert browser.status_code == 303
    assert browser.headers["location"] == (
        "http://signup.test/account/refresh?next=http%3A%2F%2Ftiny.test%2Fprivate%3Fa%3D1%26b%3D2"
    )
    assert (program.status_code, path.status_code) == (401, 401)


async def test_form_that_outlives_its_session_is_kept_while_its_sender_signs_in(tiny: Service) -> None:
    typed = {"note": "two hours' work", "more": "c"}
    async with client_of(tiny) as client:
        kept = await client.post("/private?a=1", data=typed, headers={**HTML, "Origin": ORIGIN})
        foreign = await client.post("/private?a=1", data=typed, headers={**HTML, "Origin": "http://evil.example"})
        signed_in = await client.post("/private?a=1", data=typed, headers={**HTML, "Origin": ORIGIN,
                                      "Cookie": f"{COOKIE}={session_token(SOMEBODY)}"})  # fmt: skip
    assert (kept.status_code, kept.headers["content-type"]) == (401, "text/html; charset=utf-8")
    assert "Your session has ended, so nothing was saved yet." in kept.text
    assert '<form method="post" action="/private?a=1">' in kept.text
    assert '<input type="hidden" name="note" value="two hours&#39; work">' in kept.text
    assert 'href="http://signup.test/account/refresh" target="_blank"' in kept.text
    # Another site's form is not offered for sending: that would be its author's wish, with the reader's session.
    assert (foreign.status_code, "two hours" in foreign.text) == (303, False)
    assert (signed_in.status_code, signed_in.json()) == (200, typed)


@pytest.mark.parametrize("query", ["", "?lang=es&utm_source=flyer"])
async def test_bare_address_leads_to_the_front_page_with_what_came_with_it(tiny: Service, query: str) -> None:
    async with client_of(tiny) as client:
        answer = await client.get(f"/{query}", headers=HTML)
    assert (answer.status_code, answer.headers["location"]) == (307, f"/private{query}")


@pytest.mark.parametrize(
    ("hops", "lines", "address"),
    [
        (0, ["203.0.113.9"], "10.0.0.1"),
        (1, ["203.0.113.9"], "203.0.113.9"),
        (1, ["198.51.100.1, 203.0.113.9"], "203.0.113.9"),
        (1, ["198.51.100.1", "203.0.113.9"], "203.0.113.9"),
        (2, ["198.51.100.1, 203.0.113.9", "10.0.0.2"], "203.0.113.9"),
        (2, ["203.0.113.9"], "10.0.0.1"),
    ],
)
def test_client_address_is_what_the_trusted_proxies_report(hops: int, lines: list[str], address: str) -> None:
    state = SimpleNamespace(settings=SimpleNamespace(trusted_proxies=hops))
    scope = {
        "type": "http",
        "app": SimpleNamespace(state=state),
        "client": ("10.0.0.1", 1),
        "headers": [(b"x-forwarded-for", line.encode()) for line in lines],
    }
    assert client_address(Request(scope)) == address


async def test_internal_interface_needs_a_credential_with_the_scope(tiny: Service) -> None:
    async with client_of(tiny, STAFF) as client:
        assert shape(await client.post("/internal/contacts")) == (401, PROBLEM, "http_401")
    async with client_of(tiny) as client:
        assert (await client.post("/internal/contacts")).status_code == 401
        wrong = await client.post("/internal/contacts", headers={"Authorization": "Bearer token-of-matchinx"})
        assert wrong.status_code == 401
    async with internal_client(tiny, "matching") as client:
        assert shape(await client.post("/internal/erasures")) == (403, PROBLEM, "http_403")
        answer = await client.post("/internal/contacts", headers={"X-Correlation-Id": "chain-of-tests"})
    assert answer.json() == {"caller": "matching"}
    rows = await tiny.context.pool.fetch("SELECT caller, scope, items, correlation_id FROM internal_accesses")
    assert [tuple(row) for row in rows] == [("matching", "contacts", 3, "chain-of-tests")]


async def test_infrastructure_fault_is_503_with_retry_after(tiny: Service) -> None:
    async with client_of(tiny) as client:
        program, page = await client.get("/v1/away"), await client.get("/away", headers=HTML)
    assert shape(program) == (503, PROBLEM, "unavailable")
    assert [answer.headers["retry-after"] for answer in (program, page)] == ["5", "5"]
    assert (page.status_code, page.headers["content-type"]) == (503, "text/html; charset=utf-8")
    assert "10.0.0.7" not in program.text + page.text


@pytest.mark.parametrize("body", [{"note": "a\x00b"}, {"answers": '{"money": "\\u0000"}'}], ids=["text", "json"])
async def test_character_that_no_database_holds_is_refused_with_the_remedy(tiny: Service, body: dict[str, str]) -> None:
    async with client_of(tiny) as client:
        answer = await client.post("/v1/kept", json=body)
    assert shape(answer) == (422, PROBLEM, "unstorable")
    assert answer.json()["detail"] == (
        "The text holds a character that can't be stored (a zero byte). Take it out and send it again."
    )


async def test_form_with_such_a_character_is_kept_without_it(tiny: Service) -> None:
    async with client_of(tiny) as client:
        page = await client.post("/kept", data={"note": "a\x00b", "more": "c"}, headers=HTML)
    assert (page.status_code, page.headers["content-type"]) == (422, "text/html; charset=utf-8")
    assert '<input type="hidden" name="note" value="ab">' in page.text
    assert '<input type="hidden" name="more" value="c">' in page.text
    assert "Press the button to send it." in page.text


async def test_problems_have_their_shape(tiny: Service) -> None:
    async with client_of(tiny) as client:
        refused = await client.get("/v1/refused", headers={"X-Correlation-Id": "chain-of-tests"})
        busy = await client.get("/v1/busy")
        missing = await client.get("/v1/nothing")
        method = await client.delete("/v1/name")
        page = await client.get("/refused", headers=HTML)
    assert (refused.status_code, refused.headers["content-type"]) == (409, PROBLEM)
    assert refused.headers["cache-control"] == "no-store"
    assert refused.json() == {
        "type": "urn:hustings:problem:full",
        "title": "That is no longer possible",
        "status": 409,
        "code": "full",
        "detail": "This call is full.",
        "correlation_id": "chain-of-tests",
        "errors": [{"field": "slot", "detail": "Choose another time."}],
    }
    assert (shape(busy), busy.headers["retry-after"]) == ((429, PROBLEM, "too_many"), "60")
    assert shape(missing) == (404, PROBLEM, "not_found")
    assert shape(method) == (405, PROBLEM, "http_405")
    assert (page.status_code, page.headers["cache-control"]) == (409, "no-store")
    assert "This call is full." in page.text


async def test_invalid_body_names_the_field_and_does_not_repeat_it(tiny: Service) -> None:
    async with client_of(tiny) as client:
        answer = await client.post("/v1/name", json={"name": "person@example.org"})
        broken = await client.post("/v1/name", content=b"{person@example.org")
    assert shape(answer) == (422, PROBLEM, "invalid")
    assert [error["field"] for error in answer.json()["errors"]] == ["name"]
    assert broken.status_code == 422
    assert "person@example.org" not in answer.text + broken.text


@pytest.mark.parametrize("path", ["/v1/boom/person@example.org", "/v1/wrong"])
async def test_bug_is_answered_without_detail_and_logged_without_personal_data(
    tiny: Service, logged: io.StringIO, path: str
) -> None:
    async with client_of(tiny) as client:
        answer = await client.get(path, headers={"X-Correlation-Id": "chain-of-tests"})
    assert shape(answer) == (500, PROBLEM, "internal_error")
    assert answer.json()["correlation_id"] == "chain-of-tests"
    assert "person@example.org" not in answer.text
    lines = [json.loads(line) for line in logged.getvalue().splitlines()]
    (line,) = [line for line in lines if line["event"] == "request_failed"]
    assert (line["service"], line["level"], line["correlation_id"]) == ("tiny", "error", "chain-of-tests")
    wanted = "builtins.RuntimeError" if "boom" in path else "asyncpg.exceptions.DataError"
    assert line["exception"][0]["type"] == wanted
    assert any("tinyservice/app.py" in frame for frame in line["exception"][0]["frames"])
    assert "person@example.org" not in logged.getvalue()


async def test_bug_is_a_page_for_a_browser(tiny: Service) -> None:
    async with client_of(tiny) as client:
        answer = await client.get("/boom/person@example.org", headers={**HTML, "X-Correlation-Id": "chain-of-tests"})
    assert (answer.status_code, answer.headers["content-type"]) == (500, "text/html; charset=utf-8")
    assert "chain-of-tests" in answer.text
    assert "person@example.org" not in answer.text
