"""What other services fetch: contacts, profiles and message data; credential, scope, audit row."""

from uuid import uuid4

import httpx
import pytest

from shared.service import Service
from tests.component.signup.conftest import confirmed_person, link_token, post
from tests.harness import client_of, internal_client


async def test_contacts_resolve_merges_and_leave_out_erased_people(service: Service, client: httpx.AsyncClient) -> None:
    one = await confirmed_person(service, client, phone="202-555-0143", consents=[{"channel": "email"}])
    two = await confirmed_person(service, client, email="two@example.org")
    gone = await confirmed_person(service, client, email="gone@example.org")
    pool = service.context.pool
    await pool.execute("INSERT INTO person_aliases VALUES ($1, $2, now())", two, one)
    await pool.execute("INSERT INTO tombstones VALUES ($1, now(), $2)", gone, uuid4())
    async with internal_client(service, "notifications") as notifications:
        answer = await notifications.post(
            "/internal/contacts", json={"person_ids": [str(i) for i in (one, two, gone, uuid4())]}
        )
    contacts = {c["person_id"]: c for c in answer.json()["contacts"]}
    assert sorted(contacts) == sorted([str(one), str(two)])
    assert contacts[str(two)] == {**contacts[str(one)], "person_id": str(two)}
    assert contacts[str(one)] == {
        "person_id": str(one),
        "current_id": str(one),
        "name": "Ana María Ortiz",
        "email": "ana@example.org",
        "phone": "+12025550143",
        "language": "en",
        "time_zone": None,
        "state": "TX",
        "confirmed": True,
        "consents": {"email": True},
        "legal_body": "education",
    }
    rows = await pool.fetch("SELECT caller, scope, items FROM internal_accesses")
    assert [tuple(row) for row in rows] == [("notifications", "contacts", 4)]


async def test_profile_tells_what_matching_needs(service: Service, client: httpx.AsyncClient) -> None:
    person_id = await confirmed_person(
        service,
        client,
        availability=[{"dow": 0, "start": "18:00", "end": "20:00"}],
        answers={"when": "later"},
        tracks=["women"],
        birth_year=1990,
    )
    async with internal_client(service, "matching") as matching:
        answer = await matching.post("/internal/profiles", json={"person_ids": [str(person_id)]})
    [profile] = answer.json()["profiles"]
    assert {k: v for k, v in profile.items() if not k.endswith("_at")} == {
        "person_id": str(person_id),
        "current_id": str(person_id),
        "name": "Ana",
        "roles": ["prospect"],
        "state": "TX",
        "zip": None,
        "birth_year": 1990,
        "office": None,
        "tracks": ["women"],
        "language": "en",
        "spoken_languages": ["en", "es"],
        "time_zone": None,
        "availability": [{"dow": 0, "start": "18:00", "end": "20:00"}],
        "answers": {"when": "later"},
    }


async def test_message_data_tells_the_link_until_it_was_used(service: Service, client: httpx.AsyncClient) -> None:
    signup_id = (await post(client)).json()["signup_id"]
    person_id = str(await service.context.pool.fetchval("SELECT id FROM people"))
    token = await link_token(service, signup_id)
    item = {"id": "1", "template": "welcome_confirm", "person_id": person_id, "reference": signup_id}
    items = [
        item,
        {**item, "id": "2", "template": "already_known"},
        {**item, "id": "3", "reference": str(uuid4())},
        {**item, "id": "4", "reference": "no-id"},
        {**item, "id": "5", "person_id": str(uuid4())},
        {**item, "id": "6", "template": "confirmed_welcome", "reference": person_id},
        {**item, "id": "7", "template": "sign_in"},
    ]
    async with internal_client(service, "notifications") as notifications:
        before = (await notifications.post("/internal/message-data", json={"items": items})).json()["items"]
        await client.post("/v1/confirmations", json={"token": token})
        after = (await notifications.post("/internal/message-data", json={"items": items})).json()["items"]
    data = {"confirm_url": f"http://signup.test/confirm/{token}", "form": "run"}
    assert [(a["id"], a["status"], a["reason"], a["data"]) for a in before] == [
        ("1", "ok", None, data),
        ("2", "ok", None, data),
        ("3", "gone", "no_signup", {}),
        ("4", "gone", "no_signup", {}),
        ("5", "gone", "no_signup", {}),
        ("6", "ok", None, {"page_url": "http://signup.test/me", "roles": []}),
        ("7", "gone", "no_link", {}),
    ]
    assert [(a["status"], a["reason"]) for a in after[:2]] == [("gone", "already_used")] * 2
    assert after[5]["data"]["roles"] == ["prospect"]


async def test_second_copy_of_a_link_has_the_same_token(service: Service, client: httpx.AsyncClient) -> None:
    """A link's mail may be sent once more when nobody knows whether it arrived: either copy opens the same door."""
    signup_id = (await post(client)).json()["signup_id"]
    person_id = str(await service.context.pool.fetchval("SELECT id FROM people"))
    item = {"id": "1", "template": "welcome_confirm", "person_id": person_id, "reference": signup_id}
    async with internal_client(service, "notifications") as notifications:
        copies = [(await notifications.post("/internal/message-data", json={"items": [item]})).json() for _ in range(2)]
    assert copies[0] == copies[1]
    assert copies[0]["items"][0]["data"]["confirm_url"].endswith(await link_token(service, signup_id))


@pytest.mark.parametrize("path", ["/internal/contacts", "/internal/profiles", "/internal/message-data"])
async def test_internal_interface_needs_a_credential(
    service: Service, client: httpx.AsyncClient, staff_client: httpx.AsyncClient, path: str
) -> None:
    body: dict[str, list[str]] = {"items": []} if path.endswith("data") else {"person_ids": []}
    async with client_of(service, Authorization="Bearer token-of-nobody") as stranger:
        answers = [await c.post(path, json=body) for c in (client, staff_client, stranger)]
    assert [a.status_code for a in answers] == [401, 401, 401]
