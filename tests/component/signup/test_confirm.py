"""Using a sign-up's link: what holds afterwards, what is told, and links that do not open."""

import asyncio
from datetime import timedelta
from typing import Any
from uuid import UUID

import httpx
import pytest

from shared.events.signup import ConsentChanged, PersonConfirmed, ProfileChanged, RoleAdded, SignInRequested
from shared.service import Service
from tests.component.signup.conftest import confirmed_person, link_token, post
from tests.harness import take_outbox


async def test_first_link_confirms_the_person(service: Service, client: httpx.AsyncClient) -> None:
    signup_id = (await post(client, consents=[{"channel": "email"}], office="mayor")).json()["signup_id"]
    await take_outbox(service)
    answer = await client.post("/v1/confirmations", json={"token": await link_token(service, signup_id)})
    person_id = UUID(answer.json()["person_id"])
    assert await take_outbox(service) == [
        PersonConfirmed(
            person_id=person_id,
            signup_id=UUID(signup_id),
            roles=("prospect",),
            language="en",
            state="TX",
            office="mayor",
        ),
        RoleAdded(person_id=person_id, role="prospect", signup_id=UUID(signup_id)),
        ConsentChanged(
            person_id=person_id,
            channel="email",
            granted=True,
            wording_version="2025.1",
            legal_body="education",
            reason="form",
        ),
    ]
    me = await client.get("/v1/me", headers={"Authorization": f"Bearer {answer.json()['session']}"})
    assert (me.status_code, me.json()["person_id"]) == (200, str(person_id))


async def test_known_person_changes_with_the_link_and_not_before(service: Service, client: httpx.AsyncClient) -> None:
    person_id = await confirmed_person(service, client, consents=[{"channel": "email"}])
    await take_outbox(service)
    changes: dict[str, Any] = {
        "form": "volunteer",
        "name": "Ana Ortiz",
        "phone": "202-555-0143",
        "time_zone": "America/Chicago",
        "consents": [{"channel": "email"}, {"channel": "sms"}],
    }
    signup_id = (await post(client, **changes)).json()["signup_id"]
    await take_outbox(service)
    assert await service.context.pool.fetchval("SELECT name FROM people") == "Ana María Ortiz"
    await client.post("/v1/confirmations", json={"token": await link_token(service, signup_id)})
    assert await take_outbox(service) == [
        RoleAdded(person_id=person_id, role="volunteer", signup_id=UUID(signup_id)),
        ProfileChanged(person_id=person_id, changed=("name", "phone", "time_zone")),
        ConsentChanged(
            person_id=person_id,
            channel="sms",
            granted=True,
            wording_version="2025.1",
            legal_body="education",
            reason="form",
        ),
    ]


async def test_link_used_twice_at_once_works_once(service: Service, client: httpx.AsyncClient) -> None:
    token = await link_token(service, (await post(client)).json()["signup_id"])
    answers = await asyncio.gather(*(client.post("/v1/confirmations", json={"token": token}) for _n in range(8)))
    assert sorted(a.status_code for a in answers) == [200] + [410] * 7
    assert {a.json()["code"] for a in answers if a.status_code == 410} == {"link_used"}


async def test_two_pending_links_of_one_person_each_apply_their_own(
    service: Service, client: httpx.AsyncClient
) -> None:
    one = (await post(client, state="TX")).json()["signup_id"]
    two = (await post(client, state="OH", form="volunteer", time_zone="America/New_York")).json()["signup_id"]
    await take_outbox(service)
    for signup_id in (two, one):
        await client.post("/v1/confirmations", json={"token": await link_token(service, signup_id)})
    events = await take_outbox(service)
    assert [type(event) for event in events] == [
        PersonConfirmed, RoleAdded, ProfileChanged, RoleAdded, ProfileChanged
    ]  # fmt: skip
    assert await service.context.pool.fetchval("SELECT state FROM people") == "TX"


async def test_what_was_never_confirmed_is_no_part_of_the_profile(service: Service, client: httpx.AsyncClient) -> None:
    first = await post(client, phone="202-555-0143", birth_year=1970)
    assert first.status_code == 202
    signup_id = (await post(client)).json()["signup_id"]
    await client.post("/v1/confirmations", json={"token": await link_token(service, signup_id)})
    (row,) = await service.context.pool.fetch("SELECT phone, birth_year FROM people")
    assert tuple(row) == (None, None)


@pytest.mark.parametrize("accept", ["text/html", "application/json"])
async def test_altered_link_says_what_to_do(client: httpx.AsyncClient, accept: str) -> None:
    answer = await client.get("/confirm/AAAAAAAAAAAAAAAAAAAAAA", headers={"Accept": accept})
    assert answer.status_code == 404
    assert "ask for a new one" in answer.text


async def test_getting_a_link_uses_nothing_up(service: Service, client: httpx.AsyncClient) -> None:
    token = await link_token(service, (await post(client)).json()["signup_id"])
    for _scan in range(2):
        page = await client.get(f"/confirm/{token}")
        assert (page.status_code, page.text.count('<form method="post"')) == (200, 1)
    assert await service.context.pool.fetchval("SELECT confirmed_at FROM people") is None
    done = await client.post(f"/confirm/{token}")
    assert (done.status_code, done.headers["location"]) == (303, "http://signup.test/me")
    assert "hustings_session=" in done.headers["set-cookie"]
    used = await client.get(f"/confirm/{token}", headers={"Accept": "text/html"})
    assert (used.status_code, "was used already" in used.text) == (410, True)


async def test_expired_link_can_be_asked_for_again(service: Service, client: httpx.AsyncClient) -> None:
    signup_id = (await post(client)).json()["signup_id"]
    token = await link_token(service, signup_id)
    await service.context.pool.execute("UPDATE links SET expires_at = expires_at - $1::interval", timedelta(days=31))
    await take_outbox(service)
    page = await client.get(f"/confirm/{token}", headers={"Accept": "text/html"})
    assert (page.status_code, f'action="/confirm/{token}/again"' in page.text) == (410, True)
    assert (await client.post(f"/confirm/{token}/again")).status_code == 200
    [mailed] = await take_outbox(service)
    assert isinstance(mailed, SignInRequested)
    fresh = await link_token(service, signup_id)
    assert fresh != token
    assert (await client.post("/v1/confirmations", json={"token": fresh})).status_code == 200


async def test_link_for_signing_in_confirms_nothing(service: Service, client: httpx.AsyncClient) -> None:
    token = await link_token(service, (await post(client)).json()["signup_id"])
    answer = await client.post("/v1/account/session", json={"token": token})
    assert (answer.status_code, answer.json()["code"]) == (404, "link_unknown")
