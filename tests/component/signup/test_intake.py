"""The intake by JSON: what is stored, what is refused, and what a repeat does."""

import asyncio
import io
import logging
from datetime import timedelta
from uuid import UUID, uuid4

import asyncpg
import httpx
import pytest
import structlog

from services.signup.app import SERVICE
from services.signup.domain.submission import read
from services.signup.intake import Intake
from services.signup.settings import Settings
from services.signup.store.intake import Owner, claim_emails, prune_intents
from shared.log import configure
from shared.service import Service
from tests.component.signup.conftest import a_signup, confirmed_person, post, signed_up_of
from tests.conftest import DatabaseFactory
from tests.harness import client_of, make_settings, outbox_events, running, take_outbox


async def counts(service: Service) -> dict[str, int]:
    tables = ("people", "signups", "intents", "sources", "consents", "links")
    return {name: await service.context.pool.fetchval(f"SELECT count(*) FROM {name}") for name in tables}


async def test_signup_is_stored_whole_before_it_is_answered(service: Service, client: httpx.AsyncClient) -> None:
    intent = uuid4()
    answer = await post(
        client,
        intent,
        phone="(202) 555-0143",
        zip="78701-1234",
        birth_year=1990,
        office="school_board",
        tracks=["educators"],
        time_zone="America/Chicago",
        consents=[{"channel": "email"}, {"channel": "sms", "wording_version": "2024.1"}],
        source={"utm_source": "partner", "ref": "teachers", "page": "https://example.org/join?email=x"},
        availability=[{"dow": 1, "start": "18:00", "end": "24:00"}],
        answers={"when": "this_year", "why": "The school\nroof leaks"},
    )
    assert (answer.status_code, answer.json()["intent_id"]) == (202, str(intent))
    assert await counts(service) == {
        "people": 1, "signups": 1, "intents": 1, "sources": 1, "consents": 2, "links": 1
    }  # fmt: skip
    row = await service.context.pool.fetchrow("SELECT * FROM people")
    assert row is not None
    assert dict(row) == {
        "id": row["id"],
        "name": "Ana María Ortiz",
        "phone": "+12025550143",
        "state": "TX",
        "zip": "78701",
        "birth_year": 1990,
        "office": "school_board",
        "tracks": ["educators"],
        "language": "en",
        "spoken_languages": ["en", "es"],
        "time_zone": "America/Chicago",
        "availability": [{"dow": 1, "start": "18:00", "end": "24:00"}],
        "answers": {"when": "this_year", "why": "The school\nroof leaks"},
        "legal_body": "education",
        "stage": "signed_up",
        "signed_up_at": row["signed_up_at"],
        "confirmed_at": None,
    }
    consents = await service.context.pool.fetch("SELECT channel, wording_version, page FROM consents ORDER BY id")
    assert [tuple(row) for row in consents] == [
        ("email", "2025.1", "https://example.org/join"),
        ("sms", "2024.1", "https://example.org/join"),
    ]
    assert await service.context.pool.fetchval("SELECT count(*) FROM consent_states") == 0
    [event] = signed_up_of(await outbox_events(service))
    assert (event.person_id, str(event.signup_id), event.known, event.office_level) == (
        row["id"], answer.json()["signup_id"], False, "local"
    )  # fmt: skip


async def test_signup_whose_commit_fails_is_not_acknowledged(service: Service, client: httpx.AsyncClient) -> None:
    await at_commit(service, "RAISE EXCEPTION 'the disk is full' USING ERRCODE = 'disk_full'")
    intent = uuid4()
    refused = await post(client, intent)
    assert refused.status_code in (500, 503)
    assert set((await counts(service)).values()) == {0}
    await owner(service, "DROP TRIGGER at_commit ON signups")
    answer = await post(client, intent)
    assert answer.status_code == 202
    assert await service.context.pool.fetchval("SELECT id FROM signups") == UUID(answer.json()["signup_id"])


async def test_signup_is_on_disk_before_it_is_answered(service: Service, client: httpx.AsyncClient) -> None:
    """PostgreSQL answers a commit after the write-ahead log was flushed, unless it is told not to wait."""
    await owner(service, "CREATE TABLE waits (setting text)")
    await owner(service, "GRANT ALL ON waits TO PUBLIC")
    await at_commit(service, "INSERT INTO waits VALUES (current_setting('synchronous_commit')); RETURN NULL")
    assert (await post(client)).status_code == 202
    assert await service.context.pool.fetch("SELECT setting FROM waits") == [("on",)]


async def test_log_of_a_signup_holds_ids_only(service: Service, client: httpx.AsyncClient) -> None:
    stream = io.StringIO()
    settings = structlog.get_config()
    handlers, level = logging.getLogger().handlers[:], logging.getLogger().level
    configure("signup", "DEBUG", stream)
    try:
        structlog.configure(cache_logger_on_first_use=False)
        intent = uuid4()
        assert (await post(client, intent, phone="(202) 555-0143", zip="78701")).status_code == 202
        assert (await post(client, intent, state="OH")).status_code == 422
        assert (await post(client, email="no address")).status_code == 422
    finally:
        structlog.configure(**settings)
        logging.getLogger().handlers[:] = handlers
        logging.getLogger().setLevel(level)
    told = stream.getvalue().lower()
    assert [word for word in ("ana@example.org", "ortiz", "5550143", "78701", "no address") if word in told] == []


async def owner(service: Service, sql: str) -> None:
    """Run a statement as the owner of the tables."""
    address = service.context.settings.owner_database_url
    assert address is not None
    connection = await asyncpg.connect(address.get_secret_value())
    try:
        await connection.execute(sql)
    finally:
        await connection.close()


async def at_commit(service: Service, body: str) -> None:
    """Have PL/pgSQL run in every transaction that stores a sign-up, while it commits."""
    await owner(service, f"CREATE FUNCTION at_commit() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN {body}; END $$")
    await owner(
        service,
        "CREATE CONSTRAINT TRIGGER at_commit AFTER INSERT ON signups DEFERRABLE INITIALLY DEFERRED"
        " FOR EACH ROW EXECUTE FUNCTION at_commit()",
    )


async def test_intent_repeated_gets_the_same_answer(service: Service, client: httpx.AsyncClient) -> None:
    intent = uuid4()
    answers = [await post(client, intent), await post(client, intent)]
    assert answers[0].json() == answers[1].json()
    assert (await counts(service))["signups"] == 1


async def test_intent_with_another_payload_is_a_conflict(service: Service, client: httpx.AsyncClient) -> None:
    intent = uuid4()
    await post(client, intent)
    refused = await post(client, intent, state="OH")
    assert (refused.status_code, refused.json()["code"]) == (422, "intent_conflict")
    assert (await counts(service))["signups"] == 1


async def test_intent_sent_twenty_times_at_once_adds_one(databases: DatabaseFactory) -> None:
    database = await databases("signup")
    settings = make_settings(Settings, database, limit_contact_burst=100)
    async with running(SERVICE, settings) as one, running(SERVICE, settings) as two:
        intent = uuid4()
        async with client_of(one) as first, client_of(two) as second:
            answers = await asyncio.gather(*(post(c, intent) for _n in range(10) for c in (first, second)))
        assert [a.status_code for a in answers] == [202] * 20
        assert len({a.json()["signup_id"] for a in answers}) == 1
        assert (await counts(one))["signups"] == 1
        assert len(await outbox_events(one)) == 1


async def test_new_address_twenty_times_at_once_makes_one_person(databases: DatabaseFactory) -> None:
    database = await databases("signup")
    settings = make_settings(Settings, database, limit_contact_burst=100)
    async with running(SERVICE, settings) as one, running(SERVICE, settings) as two:
        async with client_of(one) as first, client_of(two) as second:
            answers = await asyncio.gather(
                *(
                    post(c, name=f"Ana {n}", email="Ana@Example.org" if n % 2 else "ana@example.ORG")
                    for n in range(10)
                    for c in (first, second)
                )
            )
        assert [a.status_code for a in answers] == [202] * 20
        found = await counts(one)
        assert (found["people"], found["signups"]) == (1, 20)
        events = signed_up_of(await outbox_events(one))
        assert (len(events), len({e.person_id for e in events}), {e.known for e in events}) == (20, 1, {False})


async def test_address_that_a_rival_takes_while_we_wait_is_the_rivals(
    service: Service, client: httpx.AsyncClient
) -> None:
    workshop, others = service.context.workshop, uuid4()
    for name in ("ours", "theirs"):
        await post(client, email=f"{name}@example.org")
    ours, theirs = await service.context.pool.fetchrow(
        "SELECT min(person_id::text)::uuid, max(person_id::text)::uuid FROM person_emails"
    )
    async with workshop.begin() as rival:
        taken, _owners = await claim_emails(rival.connection, [("b@example.org", theirs, "B@example.org")], rival.now)
        assert taken == {"b@example.org"}

        async def claim() -> tuple[frozenset[str], dict[str, Owner]]:
            async with workshop.begin() as work:
                wanted = [("a@example.org", ours, "a@example.org"), ("b@example.org", others, "b@example.org")]
                return await claim_emails(work.connection, wanted, work.now)

        waiting = asyncio.create_task(claim())
        async with asyncio.timeout(30):
            while not await rival.connection.fetchval("SELECT count(*) FROM pg_locks WHERE NOT granted"):
                await asyncio.sleep(0.01)
    assert await waiting == (
        frozenset({"a@example.org"}),
        {"a@example.org": Owner(ours, confirmed=False), "b@example.org": Owner(theirs, confirmed=False)},
    )


async def test_known_address_is_answered_like_an_unknown_one(service: Service, client: httpx.AsyncClient) -> None:
    person_id = await confirmed_person(service, client)
    await take_outbox(service)
    before = await service.context.pool.fetchrow("SELECT * FROM people WHERE id = $1", person_id)
    known = await post(client, form="volunteer", name="Somebody Else", state="OH", time_zone="America/New_York")
    unknown = await post(client, email="new@example.org")
    assert (known.status_code, sorted(known.json())) == (unknown.status_code, sorted(unknown.json()))
    assert await service.context.pool.fetchrow("SELECT * FROM people WHERE id = $1", person_id) == before
    assert await service.context.pool.fetch("SELECT role FROM roles") == [("prospect",)]
    events = signed_up_of(await outbox_events(service))
    assert [(e.person_id == person_id, e.known) for e in events] == [(True, True), (False, False)]


async def test_concurrent_signups_share_transactions(service: Service, client: httpx.AsyncClient) -> None:
    answers = await asyncio.gather(*(post(client, email=f"p{n}@example.org") for n in range(60)))
    assert [a.status_code for a in answers] == [202] * 60
    transactions = await service.context.pool.fetchval("SELECT count(DISTINCT xmin::text) FROM signups")
    assert transactions <= 10
    assert await counts(service) == {
        "people": 60, "signups": 60, "intents": 60, "sources": 60, "consents": 0, "links": 60
    }  # fmt: skip


async def test_row_that_the_database_refuses_fails_alone(service: Service, client: httpx.AsyncClient) -> None:
    intake: Intake = service.web_app.state.intake
    now = await intake.now()
    good = [read(a_signup(email=f"g{n}@example.org"), uuid4(), service.context.program, now) for n in range(5)]
    # Past every check on purpose: a NUL byte is what PostgreSQL can't store.
    bad = read(a_signup(email="bad@example.org"), uuid4(), service.context.program, now)
    object.__setattr__(bad.facts, "name", "A\x00B")
    outcomes = await asyncio.gather(
        *(intake.submit(s, address="192.0.2.1") for s in [*good[:2], bad, *good[2:]]), return_exceptions=True
    )
    assert [isinstance(outcome, Exception) for outcome in outcomes] == [False, False, True, False, False, False]
    assert (await counts(service))["signups"] == 5


async def test_intent_is_forgotten_after_a_week(service: Service, client: httpx.AsyncClient) -> None:
    await post(client)
    async with service.context.pool.acquire() as connection:
        assert await prune_intents(connection, timedelta(days=7)) == 0
        await connection.execute("UPDATE intents SET created_at = created_at - interval '7 days 1 minute'")
        assert await prune_intents(connection, timedelta(days=7)) == 1


async def test_bad_fields_are_named_with_their_remedies(client: httpx.AsyncClient) -> None:
    answer = await post(client, name="x" * 300, zip="123")
    assert (answer.status_code, answer.headers["content-type"]) == (422, "application/problem+json")
    assert answer.json()["errors"] == [
        {"field": "name", "detail": "Use at most 200 characters; this has 300"},
        {"field": "zip", "detail": "Enter a ZIP code of five digits, like 64110"},
    ]


@pytest.mark.parametrize("key", [None, "not-a-uuid"])
async def test_intent_id_has_to_be_a_uuid(client: httpx.AsyncClient, key: str | None) -> None:
    headers = {"Idempotency-Key": key} if key else {}
    answer = await client.post("/v1/signups", json=a_signup(), headers=headers)
    assert answer.status_code == 422
    assert "UUID" in answer.json()["detail"]


async def test_intent_id_may_be_in_the_body(client: httpx.AsyncClient) -> None:
    intent = str(uuid4())
    answer = await client.post("/v1/signups", json=a_signup(intent_id=intent))
    again = await client.post("/v1/signups", json=a_signup(), headers={"Idempotency-Key": intent})
    assert (answer.status_code, answer.json()) == (202, again.json())


@pytest.mark.parametrize(
    ("content", "kind", "status"),
    [
        (b"{}", "text/plain", 415),
        (b"{", "application/json", 400),
        (b"[]", "application/json", 400),
        (b'{"name": "' + b"x" * 33_000 + b'"}', "application/json", 413),
    ],
)
async def test_body_that_is_no_signup_is_refused(
    client: httpx.AsyncClient, content: bytes, kind: str, status: int
) -> None:
    headers = {"Content-Type": kind, "Idempotency-Key": str(uuid4())}
    answer = await client.post("/v1/signups", content=content, headers=headers)
    assert answer.status_code == status


async def test_one_contact_is_held_back_and_a_campus_is_not(service: Service, client: httpx.AsyncClient) -> None:
    campus = await asyncio.gather(*(post(client, email=f"student{n}@example.edu") for n in range(200)))
    assert {a.status_code for a in campus} == {202}
    same = [await post(client) for _n in range(11)]
    assert [a.status_code for a in same] == [202] * 10 + [429]
    assert same[-1].headers["retry-after"] == "60"
    assert UUID(same[0].json()["signup_id"])
    keys = [row["bucket"] for row in await service.context.pool.fetch("SELECT bucket FROM rate_buckets")]
    assert not [key for key in keys if "example" in key]


async def test_repeat_is_answered_when_its_contact_is_held_back(client: httpx.AsyncClient) -> None:
    intent = uuid4()
    first = await post(client, intent=intent)
    others = [await post(client) for _n in range(10)]
    assert [a.status_code for a in others] == [202] * 9 + [429]
    again = await post(client, intent=intent)
    assert (again.status_code, again.json()) == (202, first.json())
    assert (await post(client, intent=intent, name="Somebody Else")).status_code == 422
