"""Signing in by link, staying signed in, signing out, and the organization's accounts."""

import asyncio
from datetime import timedelta
from uuid import UUID

import httpx
import pytest

from services.signup.actions.access import close_account, open_account
from shared.errors import Rejected
from shared.events.signup import AccountChanged, SignInRequested
from shared.links import derive
from shared.service import Service
from shared.web.sessions import verify
from tests.component.signup.conftest import confirmed_person, post
from tests.harness import client_of, fire_timers, session_keys, take_outbox

HTML = {"Accept": "text/html"}


async def sign_in_token(service: Service, client: httpx.AsyncClient, email: str, **body: str) -> str:
    """The token of the link that is mailed to a known address."""
    await take_outbox(service)
    assert (await client.post("/v1/account/sign-in", json={"email": email, **body})).status_code == 202
    await fire_timers(service)
    [event] = await take_outbox(service)
    assert isinstance(event, SignInRequested)
    return derive("link-secret-of-tests", "sign_in", str(event.link_id))


async def test_link_signs_in_and_refresh_keeps_it(service: Service, client: httpx.AsyncClient) -> None:
    person_id = await confirmed_person(service, client)
    token = await sign_in_token(service, client, "ANA@example.org", next="http://matching.test/calls")
    assert (await client.get(f"/account/sign-in/{token}", headers=HTML)).status_code == 200
    answer = await client.post(f"/account/sign-in/{token}", headers=HTML)
    assert (answer.status_code, answer.headers["location"]) == (303, "http://matching.test/calls")
    cookies = {c.split("=")[0]: c for c in answer.headers.get_list("set-cookie")}
    assert "Path=/account" in cookies["hustings_refresh"]
    assert all("HttpOnly" in c and "SameSite=lax" in c for c in cookies.values())
    refresh = answer.cookies["hustings_refresh"]
    renewed = await client.get(
        "/account/refresh?next=http://signup.test/me", headers={**HTML, "Cookie": f"hustings_refresh={refresh}"}
    )
    assert (renewed.status_code, renewed.headers["location"]) == (303, "http://signup.test/me")
    principal = verify(renewed.cookies["hustings_session"], session_keys()[1])
    assert principal is not None
    assert principal.person_id == person_id
    leaving = await client.get("/account/sign-out", headers=HTML)
    assert (leaving.status_code, '<form method="post" action="/account/sign-out">' in leaving.text) == (200, True)
    out = await client.post(
        "/account/sign-out", headers={"Cookie": f"hustings_refresh={refresh}", "Origin": "http://signup.test"}
    )
    assert out.status_code == 303
    after = await client.get("/account/refresh", headers={**HTML, "Cookie": f"hustings_refresh={refresh}"})
    assert (after.status_code, after.headers.get("set-cookie")) == (200, None)


async def test_unknown_address_gets_the_same_answer_and_no_mail(service: Service, client: httpx.AsyncClient) -> None:
    await confirmed_person(service, client)
    await take_outbox(service)
    answers = [
        await client.post("/v1/account/sign-in", json={"email": email})
        for email in ("ana@example.org", "no@example.org")
    ]
    pages = [
        await client.post("/account/sign-in", data={"email": email}, headers=HTML)
        for email in ("ana@example.org", "no@example.org")
    ]
    assert (answers[0].status_code, answers[0].content) == (answers[1].status_code, answers[1].content)
    assert (pages[0].status_code, pages[0].content) == (pages[1].status_code, pages[1].content)
    await fire_timers(service)
    assert [type(event) for event in await take_outbox(service)] == [SignInRequested, SignInRequested]
    assert await service.context.pool.fetchval("SELECT count(*) FROM timers") == 0


async def test_unconfirmed_person_gets_the_confirmation_instead(service: Service, client: httpx.AsyncClient) -> None:
    await post(client)
    await take_outbox(service)
    await client.post("/v1/account/sign-in", json={"email": "ana@example.org"})
    await fire_timers(service)
    [event] = await take_outbox(service)
    assert isinstance(event, SignInRequested)
    token = derive("link-secret-of-tests", "confirm", str(event.link_id))
    assert (await client.post("/v1/confirmations", json={"token": token})).status_code == 200


async def test_link_is_good_once_and_for_half_an_hour(service: Service, client: httpx.AsyncClient) -> None:
    await confirmed_person(service, client)
    token = await sign_in_token(service, client, "ana@example.org")
    answers = await asyncio.gather(*(client.post("/v1/account/session", json={"token": token}) for _n in range(5)))
    assert sorted(a.status_code for a in answers) == [200, 410, 410, 410, 410]
    late = await sign_in_token(service, client, "ana@example.org")
    await service.context.pool.execute("UPDATE links SET expires_at = expires_at - interval '31 minutes'")
    page = await client.post(f"/account/sign-in/{late}", headers=HTML)
    assert (page.status_code, 'href="/account/sign-in"' in page.text) == (410, True)


@pytest.mark.parametrize(
    "next_url",
    [
        "https://evil.example/",
        "//evil.example",
        "http://signup.test.evil.example/",
        "http://signup.test@evil.example/",
        "http://matching.test\\@evil.example",
        "javascript:alert(1)",
        "http://matching.test/\r\nSet-Cookie: a=b",
    ],
)
async def test_sign_in_leads_nowhere_else(service: Service, client: httpx.AsyncClient, next_url: str) -> None:
    await confirmed_person(service, client)
    token = await sign_in_token(service, client, "ana@example.org", next=next_url)
    answer = await client.post(f"/account/sign-in/{token}", headers=HTML)
    assert answer.headers["location"] == "http://signup.test/me"
    refresh = {**HTML, "Cookie": f"hustings_refresh={answer.cookies['hustings_refresh']}"}
    renewed = await client.get("/account/refresh", params={"next": next_url}, headers=refresh)
    assert renewed.headers["location"] == "http://signup.test/me"
    page = await client.get("/account/refresh", params={"next": next_url}, headers=HTML)
    assert "evil" not in page.text


async def test_signed_out_browser_comes_back_to_where_it_was(client: httpx.AsyncClient) -> None:
    asked = await client.get("/me", headers=HTML)
    assert asked.status_code == 303
    page = await client.get(asked.headers["location"], headers=HTML)
    assert 'name="next" value="http://signup.test/me"' in page.text
    assert (await client.get("/v1/me")).status_code == 401


async def test_bad_address_is_told(client: httpx.AsyncClient) -> None:
    page = await client.post("/account/sign-in", data={"email": "nobody"}, headers=HTML)
    assert (page.status_code, "name@example.com" in page.text) == (422, True)


async def test_account_opens_signs_in_and_closes(service: Service, client: httpx.AsyncClient) -> None:
    workshop = service.context.workshop
    async with workshop.begin() as work:
        account_id, token = await open_account(
            work, name="Rae", email="rae@example.org", roles=["reviewer"], outside=True, secret="link-secret-of-tests"
        )
    events = await take_outbox(service)
    [opened] = [event for event in events if isinstance(event, AccountChanged)]
    assert (opened.account_id, opened.roles, opened.outside) == (account_id, ("reviewer",), True)
    answer = await client.post("/v1/account/session", json={"token": token})
    principal = verify(answer.json()["session"], session_keys()[1])
    assert principal is not None
    assert (principal.account_id, principal.roles, principal.outside) == (account_id, frozenset({"reviewer"}), True)
    assert UUID(answer.json()["person_id"]) == opened.person_id
    async with client_of(service, principal) as reviewer:
        assert (await reviewer.get("/v1/people")).status_code == 403
    async with workshop.begin() as work:
        await close_account(work, "RAE@example.org")
    [closed] = await take_outbox(service)
    assert (type(closed), closed.roles) == (AccountChanged, ())  # type: ignore[attr-defined]
    rows = await service.context.pool.fetch("SELECT action FROM audit_entries ORDER BY id")
    assert [row["action"] for row in rows] == ["account_opened", "account_closed"]


@pytest.mark.parametrize(
    ("roles", "outside", "email"),
    [([], False, "a@example.org"), (["boss"], False, "a@example.org"), (["staff"], True, "a@example.org"),
     (["staff"], False, "a")],
)  # fmt: skip
async def test_account_that_makes_no_sense_is_refused(
    service: Service, roles: list[str], outside: bool, email: str
) -> None:
    with pytest.raises(Rejected):
        async with service.context.workshop.begin() as work:
            await open_account(work, name="Rae", email=email, roles=roles, outside=outside, secret="s")
    assert await service.context.pool.fetchval("SELECT count(*) FROM accounts") == 0


async def test_session_outlives_a_moved_business_clock(service: Service, client: httpx.AsyncClient) -> None:
    await confirmed_person(service, client)
    token = await sign_in_token(service, client, "ana@example.org")
    answer = await client.post(f"/account/sign-in/{token}", headers=HTML)
    expires = await service.context.pool.fetchval("SELECT max(expires_at) - max(created_at) FROM sessions")
    assert expires == timedelta(days=30)
    assert answer.status_code == 303
