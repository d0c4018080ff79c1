"""A person's own page, and what staff see: people, one person, the funnel."""

import csv
import hashlib
import io
from uuid import UUID, uuid4

import httpx
import pytest

from services.signup.store.access import NO_ENTRY, audit_content
from shared.events import matching as m
from shared.events.signup import ConsentChanged, ProfileChanged
from shared.service import Service
from shared.web.sessions import Principal
from tests.component.signup.conftest import confirmed_person, post
from tests.harness import client_of, deliver, session_token, take_outbox

HTML = {"Accept": "text/html"}


def own(service: Service, person_id: UUID) -> httpx.AsyncClient:
    """The person, signed in by cookie as a browser is."""
    cookie = f"hustings_session={session_token(Principal(person_id, language='en'))}"
    return client_of(service, Cookie=cookie, Origin="http://signup.test", Accept="text/html")


async def test_own_page_shows_the_next_step(service: Service, client: httpx.AsyncClient) -> None:
    person_id = await confirmed_person(service, client)
    async with own(service, person_id) as me:
        page = (await me.get("/me")).text
        assert "Hello, Ana" in page
        assert 'href="http://matching.test/intro-calls"' in page
        call = {"call_id": uuid4(), "prospect_id": person_id, "volunteer_id": uuid4(), "purpose": "one_on_one"}
        at = await service.context.pool.fetchval("SELECT now()")
        await deliver(service, m.MatchOffered(**call, starts_at=at, ends_at=at, expires_at=at))
        assert 'href="http://matching.test/calls"' in (await me.get("/me")).text


async def test_profile_change_tells_what_really_changed(service: Service, client: httpx.AsyncClient) -> None:
    person_id = await confirmed_person(service, client)
    await take_outbox(service)
    async with own(service, person_id) as me:
        same = await me.patch("/v1/me", json={"name": "Ana María Ortiz", "state": "TX"})
        assert (same.status_code, await take_outbox(service)) == (200, [])
        changed = await me.patch("/v1/me", json={"phone": "202-555-0143", "tracks": ["women"], "state": None})
        assert (changed.json()["phone"], changed.json()["state"]) == ("+12025550143", None)
        assert await take_outbox(service) == [ProfileChanged(person_id=person_id, changed=("phone", "state", "tracks"))]
        refused = await me.patch("/v1/me", json={"name": "", "zip": "1", "email": "x@example.org"})
        assert [error["field"] for error in refused.json()["errors"]] == ["name", "zip", "email"]
        form = await me.post("/me/profile", data={"name": "Ana O", "zip": "1", "language": "en"})
        assert (form.status_code, 'value="Ana O"' in form.text) == (422, True)
        saved = await me.post(
            "/me/profile", data={"name": "Ana O", "language": "es", "spoken_languages": ["es"], "website": ""}
        )
        assert (saved.status_code, saved.headers["location"]) == (303, "/me")
    assert await service.context.pool.fetchval("SELECT language FROM people") == "es"


async def test_consent_is_given_and_taken_back_in_words_on_record(service: Service, client: httpx.AsyncClient) -> None:
    person_id = await confirmed_person(service, client)
    await take_outbox(service)
    async with own(service, person_id) as me:
        no_phone = await me.post("/v1/me/consents", json={"channel": "sms", "granted": True})
        assert (no_phone.status_code, no_phone.json()["code"]) == (422, "no_phone")
        for granted in ("yes", "yes", "no", "no"):
            assert (await me.post("/me/consents", data={"channel": "email", "granted": granted})).status_code == 303
    events = [c for c in await take_outbox(service) if isinstance(c, ConsentChanged)]
    assert [(c.granted, c.wording_version, c.reason) for c in events] == [
        (True, "2025.1", "preference"),
        (False, "2025.1", "preference"),
    ]
    rows = await service.context.pool.fetch("SELECT granted, program_hash FROM consents ORDER BY id")
    content_hash = service.context.program.content_hash
    assert [tuple(row) for row in rows] == [(True, content_hash), (False, content_hash)]


async def test_change_by_cookie_from_another_site_is_refused(service: Service, client: httpx.AsyncClient) -> None:
    person_id = await confirmed_person(service, client)
    async with own(service, person_id) as me:
        answer = await me.post("/me/profile", data={"name": "X"}, headers={"Origin": "https://evil.example"})
    assert answer.status_code == 403


async def test_export_holds_what_was_given(service: Service, client: httpx.AsyncClient) -> None:
    person_id = await confirmed_person(service, client, consents=[{"channel": "email"}], source={"ref": "partner"})
    async with own(service, person_id) as me:
        answer = await me.get("/v1/me/export")
    assert answer.headers["content-disposition"] == 'attachment; filename="my-data.json"'
    body = answer.json()
    assert sorted(body) == ["consents", "emails", "journey", "person", "roles", "signups"]
    assert (body["person"]["id"], body["signups"][0]["ref"], body["emails"][0]["email"]) == (
        str(person_id), "partner", "ana@example.org"
    )  # fmt: skip


async def test_people_are_searched_filtered_and_paged(
    service: Service, client: httpx.AsyncClient, staff_client: httpx.AsyncClient
) -> None:
    for number in range(53):
        await post(client, email=f"p{number}@example.org", name=f"Person {number}")
    zoe = await confirmed_person(service, client, email="zoe@example.org", name="Zoë 100%", state="OH")
    first = (await staff_client.get("/v1/people")).json()
    second = (await staff_client.get("/v1/people", params={"after": first["next"]})).json()
    ids = [p["id"] for p in first["people"] + second["people"]]
    assert (len(first["people"]), len(ids), len(set(ids)), second["next"]) == (50, 54, 54, None)
    for query in (
        {"q": "zoë"},
        {"q": "ZOE@"},
        {"q": "100%"},
        {"role": "prospect"},
        {"state": "OH"},
        {"stage": "confirmed"},
    ):
        found = (await staff_client.get("/v1/people", params=query)).json()["people"]
        assert [p["id"] for p in found] == [str(zoe)]
    for cursor in ("xx", "WyJ4IiwieSJd", "W10", "bnVsbA"):
        assert (await staff_client.get("/v1/people", params={"after": cursor})).status_code == 422
    assert (await staff_client.get("/v1/people", params={"q": "\x00zo\x00ë"})).json()["people"][0]["id"] == str(zoe)
    page = await staff_client.get("/people", params={"q": "zo"}, headers=HTML)
    assert (page.status_code, f'href="/people/{zoe}"' in page.text) == (200, True)


async def test_reading_a_person_is_recorded_in_a_whole_chain(
    service: Service, client: httpx.AsyncClient, staff_client: httpx.AsyncClient
) -> None:
    person_id = await confirmed_person(service, client)
    for _read in range(3):
        assert (await staff_client.get(f"/people/{person_id}", headers=HTML)).status_code == 200
    assert (await staff_client.get(f"/people/{uuid4()}", headers=HTML)).status_code == 404
    rows = await service.context.pool.fetch("SELECT * FROM audit_entries ORDER BY id")
    assert len(rows) == 3
    previous = NO_ENTRY
    for row in rows:
        content = audit_content(
            row["at"], row["actor_account"], row["actor_person"], row["action"], row["subject"], row["details"]
        )
        assert (row["previous_hash"], row["hash"]) == (previous, hashlib.sha256(previous + content).digest())
        previous = row["hash"]


@pytest.mark.parametrize(
    "path", ["/people", "/people/links", "/v1/people", f"/v1/people/{uuid4()}", f"/people/{uuid4()}", "/funnel",
             "/v1/funnel", "/funnel.csv"]
)  # fmt: skip
async def test_staff_pages_are_for_staff(service: Service, client: httpx.AsyncClient, path: str) -> None:
    async with (
        client_of(service, Principal(uuid4())) as person,
        client_of(service, Principal(uuid4(), frozenset({"reviewer"}))) as reviewer,
    ):
        answers = [await c.get(path) for c in (client, person, reviewer)]
    assert [a.status_code for a in answers] == [401, 403, 403]


async def test_funnel_follows_a_source_and_hides_small_groups(
    service: Service, client: httpx.AsyncClient, staff_client: httpx.AsyncClient
) -> None:
    people = [
        await confirmed_person(
            service,
            client,
            email=f"p{n}@example.org",
            source={"ref": "=partner"} if n < 3 else {},
            state="TX" if n < 12 else "OH" if n < 15 else "VT",
        )
        for n in range(27)
    ]
    await post(client, email="new@example.org")
    await post(client, email="vol@example.org", form="volunteer", time_zone="America/Chicago")
    await deliver(service, *(m.IntroCallAttended(intro_call_id=uuid4(), person_id=p) for p in people[:3]))
    total = (await staff_client.get("/v1/funnel")).json()
    assert total["groups"] == [
        {"group": None, "signed_up": 28, "confirmed": 27, "intro_call": 3, "one_on_one": 0, "filed": 0, "applied": 0,
         "endorsed": 0}
    ]  # fmt: skip
    by_source = {g["group"]: g["intro_call"] for g in (await staff_client.get("/v1/funnel?by=source")).json()["groups"]}
    assert by_source == {None: 0, "=partner": 3}
    by_state = (await staff_client.get("/v1/funnel?by=state")).json()["groups"]
    assert {g["group"]: (g["confirmed"], g["intro_call"]) for g in by_state} == {
        "OH": (None, 0), "TX": (None, None), "VT": (12, 0)
    }  # fmt: skip
    lines = list(csv.reader(io.StringIO((await staff_client.get("/funnel.csv?by=source")).text)))
    assert [line[:3] for line in lines] == [
        ["source", "signed_up", "confirmed"],
        ["", "25", "24"],
        ["'=partner", "3", "3"],
    ]
    page = await staff_client.get("/funnel?by=age", headers=HTML)
    assert (page.status_code, "<svg" in page.text) == (200, True)
