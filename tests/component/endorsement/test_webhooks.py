"""Webhooks against a real receiver: signed, ordered, retried, given up; never into a private network."""

import asyncio
import datetime as dt
import json
from uuid import UUID

import pytest
from standardwebhooks.webhooks import Webhook, WebhookVerificationError

from services.endorsement.delivery.addresses import is_public
from services.endorsement.delivery.loop import Courier
from services.endorsement.domain.deliveries import RETRY_DELAYS
from services.endorsement.store import publication
from shared.service import Service
from shared.web.sessions import Principal
from tests.component.endorsement.receiver import Got, Receiver, receiving, reply
from tests.component.endorsement.scenes import (
    ADMIN,
    SECOND,
    STAFF,
    announced,
    call,
    decided,
    opened,
    refused,
)
from tests.conftest import DatabaseFactory
from tests.harness import Database, client_of

HOUR = dt.timedelta(hours=1)
WAITING = """
    SELECT count(*) FROM pg_stat_activity WHERE datname = current_database() AND wait_event_type = 'Lock'
"""


def courier_of(service: Service) -> Courier:
    courier: Courier = service.web_app.state.courier
    return courier


async def registered(service: Service, receiver: Receiver) -> tuple[str, str]:
    made = await call(service, ADMIN, "POST", "/v1/webhooks", {"url": receiver.url, "description": "Press"}, status=201)
    return made["webhook_id"], made["secret"]


async def log_of(service: Service, subscriber: str) -> list[tuple[str, str | None, int, int | None, str | None]]:
    rows = (await call(service, ADMIN, "GET", f"/v1/webhooks/{subscriber}/deliveries"))["deliveries"]
    return [
        (row["status"], row["dead_reason"], row["attempts"], row["last_status_code"], row["last_error"]) for row in rows
    ]


async def test_announcement_and_rescission_arrive_signed_and_in_order(databases: DatabaseFactory) -> None:
    database = await databases("endorsement")
    async with opened(database, webhook_allow_private=True) as service, receiving() as receiver:
        subscriber, secret = await registered(service, receiver)
        made = await announced(service, database)
        path = f"/v1/endorsements/{made['endorsement_id']}/rescission"
        await call(service, STAFF, "POST", path, {"reason": "left_race", "note": "Out."}, status=201)
        await call(service, SECOND, "POST", f"{path}/confirmation")
        assert [await courier_of(service).deliver_due() for _ in range(3)] == [1, 1, 0]
        bodies = [Webhook(secret).verify(got.body, got.headers) for got in receiver.got]
        feed = await call(service, None, "GET", "/v1/endorsements/feed")
        assert bodies == [entry["event"] for entry in feed["events"]]
        assert [got.headers["webhook-id"] for got in receiver.got] == [body["id"] for body in bodies]
        assert receiver.got[0].headers["content-type"] == "application/cloudevents+json"
        with pytest.raises(WebhookVerificationError):
            Webhook(secret).verify(receiver.got[0].body + " ", receiver.got[0].headers)
        assert await log_of(service, subscriber) == [("delivered", None, 1, 200, None)] * 2


@pytest.mark.parametrize("key", ["key-of-webhooks", None])
async def test_signatures_outlive_new_links_where_webhooks_have_a_key_of_their_own(
    databases: DatabaseFactory, key: str | None
) -> None:
    """Without one they do not: a system that never set it must not rotate its link secret."""
    database = await databases("endorsement")
    common = {"webhook_allow_private": True, "webhook_key": key}
    async with receiving() as receiver:
        async with opened(database, link_secret="before", **common) as service:
            subscriber, secret = await registered(service, receiver)
        async with opened(database, link_secret="after", **common) as service:
            await call(service, ADMIN, "POST", f"/v1/webhooks/{subscriber}/test", status=202)
            assert await courier_of(service).deliver_due() == 1
        [got] = receiver.got
        if key is None:
            with pytest.raises(WebhookVerificationError):
                Webhook(secret).verify(got.body, got.headers)
        else:
            assert Webhook(secret).verify(got.body, got.headers)["id"] == got.headers["webhook-id"]


async def test_webhooks_are_signed_with_the_link_secret_where_they_have_no_key(databases: DatabaseFactory) -> None:
    """What a system without the key signed, one that is given its link secret as key signs alike."""
    database = await databases("endorsement")
    async with receiving() as receiver:
        async with opened(database, webhook_allow_private=True, link_secret="before") as service:
            subscriber, secret = await registered(service, receiver)
        settings = {"webhook_allow_private": True, "link_secret": "after", "webhook_key": "before"}
        async with opened(database, **settings) as service:
            await call(service, ADMIN, "POST", f"/v1/webhooks/{subscriber}/test", status=202)
            assert await courier_of(service).deliver_due() == 1
        [got] = receiver.got
        assert Webhook(secret).verify(got.body, got.headers)["id"] == got.headers["webhook-id"]


async def test_failing_receiver_gets_the_same_id_again_until_it_is_given_up(databases: DatabaseFactory) -> None:
    database = await databases("endorsement")
    async with opened(database, webhook_allow_private=True) as service, receiving() as receiver:
        subscriber, _secret = await registered(service, receiver)
        receiver.answer = lambda _got: reply(500)
        await announced(service, database)
        await call(service, ADMIN, "POST", f"/v1/webhooks/{subscriber}/test", status=202)
        for delay in RETRY_DELAYS:
            assert await courier_of(service).deliver_due() == 1
            assert await courier_of(service).deliver_due() == 0
            await database.advance_clock(delay)
        assert await courier_of(service).deliver_due() == 1
        assert len({got.headers["webhook-id"] for got in receiver.got}) == 1
        assert await log_of(service, subscriber) == [
            ("pending", None, 0, None, None),
            ("dead", "exhausted", len(RETRY_DELAYS) + 1, 500, None),
        ]
        receiver.answer = lambda _got: reply(204)
        assert await courier_of(service).deliver_due() == 1
        delivery = (await call(service, ADMIN, "GET", f"/v1/webhooks/{subscriber}/deliveries"))["deliveries"][-1]
        body = {"delivery_ids": [delivery["delivery_id"]]}
        assert await call(service, ADMIN, "POST", f"/v1/webhooks/{subscriber}/replay", body) == {"replayed": 1}
        assert await courier_of(service).deliver_due() == 1
        assert receiver.got[-1].headers["webhook-id"] == receiver.got[0].headers["webhook-id"]
        assert [row[0] for row in await log_of(service, subscriber)] == ["delivered", "delivered"]


@pytest.mark.parametrize(
    ("answer", "status", "error"),
    [
        (reply(302, "Location: http://127.0.0.1:9/elsewhere"), 302, None),
        (b"", None, "timeout"),
        (b"nonsense\r\n\r\n", None, "RemoteProtocolError"),
    ],
    ids=["redirect", "hang", "nonsense"],
)
async def test_redirect_hang_and_nonsense_are_failures(
    databases: DatabaseFactory, answer: bytes, status: int | None, error: str | None
) -> None:
    database = await databases("endorsement")
    async with (
        opened(database, webhook_allow_private=True, webhook_timeout_seconds=0.5) as service,
        receiving() as receiver,
    ):
        subscriber, _secret = await registered(service, receiver)
        receiver.answer = lambda _got: answer
        await call(service, ADMIN, "POST", f"/v1/webhooks/{subscriber}/test", status=202)
        assert await courier_of(service).deliver_due() == 1
        assert len(receiver.got) == 1
        assert await log_of(service, subscriber) == [("pending", None, 1, status, error)]


async def test_retry_after_lengthens_the_wait(databases: DatabaseFactory) -> None:
    database = await databases("endorsement")
    async with opened(database, webhook_allow_private=True) as service, receiving() as receiver:
        subscriber, _secret = await registered(service, receiver)
        receiver.answer = lambda _got: reply(429, "Retry-After: 7200")
        await call(service, ADMIN, "POST", f"/v1/webhooks/{subscriber}/test", status=202)
        await courier_of(service).deliver_due()
        await database.advance_clock(2 * HOUR - dt.timedelta(minutes=1))
        assert await courier_of(service).deliver_due() == 0
        await database.advance_clock(dt.timedelta(minutes=2))
        assert await courier_of(service).deliver_due() == 1


@pytest.mark.parametrize(
    "header",
    ["Mon, 01 Jan 99999999999 00:00:00 GMT", "Mon, 01 Jan 2027 00:00:00 +9999999999999999", "9" * 5000],
    ids=["year", "zone", "digits"],
)
async def test_retry_after_that_cannot_be_read_stops_no_delivery(databases: DatabaseFactory, header: str) -> None:
    """Neither a second one to the same receiver nor those to others: the loop goes on."""
    database = await databases("endorsement")
    async with opened(database, webhook_allow_private=True) as service, receiving() as odd, receiving() as other:
        odd.answer = lambda _got: reply(200, f"Retry-After: {header}")
        subscribers = [(await registered(service, receiver))[0] for receiver in (odd, other)]
        for subscriber in subscribers * 2:
            await call(service, ADMIN, "POST", f"/v1/webhooks/{subscriber}/test", status=202)
        running = asyncio.create_task(courier_of(service).run())
        delivered = [("delivered", None, 1, 200, None)] * 2
        async with asyncio.timeout(20):
            while [await log_of(service, subscriber) for subscriber in subscribers] != [delivered] * 2:
                assert not running.done()
                await asyncio.sleep(0.02)
        running.cancel()
        await asyncio.gather(running, return_exceptions=True)
        assert (len(odd.got), len(other.got)) == (2, 2)


async def test_gone_disables_and_enabling_brings_back_what_was_missed(databases: DatabaseFactory) -> None:
    database = await databases("endorsement")
    async with opened(database, webhook_allow_private=True) as service, receiving() as receiver:
        subscriber, secret = await registered(service, receiver)
        await announced(service, database)
        await courier_of(service).deliver_due()
        receiver.answer = lambda _got: reply(410)
        await call(service, ADMIN, "POST", f"/v1/webhooks/{subscriber}/test", status=202)
        await courier_of(service).deliver_due()
        shown = await call(service, ADMIN, "GET", f"/v1/webhooks/{subscriber}")
        assert (shown["status"], shown["disabled_reason"]) == ("disabled", "gone")
        [endorsement] = (await call(service, None, "GET", "/v1/endorsements"))["endorsements"]
        path = f"/v1/endorsements/{endorsement['endorsement_id']}/rescission"
        await call(service, STAFF, "POST", path, {"reason": "left_race", "note": "Out."}, status=201)
        await call(service, SECOND, "POST", f"{path}/confirmation")
        assert await courier_of(service).deliver_due() == 0
        receiver.answer = lambda _got: reply(200)
        await call(service, ADMIN, "POST", f"/v1/webhooks/{subscriber}/enabling")
        assert [await courier_of(service).deliver_due() for _ in range(3)] == [1, 1, 0]
        types = [Webhook(secret).verify(got.body, got.headers)["type"] for got in receiver.got]
        assert types == [
            "endorsement.endorsed.v1",
            "endorsement.webhook_test.v1",
            "endorsement.webhook_test.v1",
            "endorsement.endorsement_rescinded.v1",
        ]


async def test_what_is_published_while_disabled_is_sent_when_enabled(databases: DatabaseFactory) -> None:
    database = await databases("endorsement")
    async with opened(database, webhook_allow_private=True) as service, receiving() as receiver, receiving() as late:
        subscriber, secret = await registered(service, receiver)
        await call(service, ADMIN, "POST", f"/v1/webhooks/{subscriber}/disabling")
        made = await announced(service, database)
        newcomer, _secret = await registered(service, late)
        path = f"/v1/endorsements/{made['endorsement_id']}/rescission"
        await call(service, STAFF, "POST", path, {"reason": "left_race", "note": "Out."}, status=201)
        await call(service, SECOND, "POST", f"{path}/confirmation")
        assert [await courier_of(service).deliver_due() for _ in range(2)] == [1, 0]
        assert await log_of(service, subscriber) == [("dead", "disabled", 0, None, None)] * 2
        assert receiver.got == []
        await call(service, ADMIN, "POST", f"/v1/webhooks/{subscriber}/enabling")
        assert [await courier_of(service).deliver_due() for _ in range(3)] == [1, 1, 0]
        feed = await call(service, None, "GET", "/v1/endorsements/feed")
        assert [Webhook(secret).verify(got.body, got.headers) for got in receiver.got] == [
            entry["event"] for entry in feed["events"]
        ]
        assert await log_of(service, subscriber) == [("delivered", None, 1, 200, None)] * 2
        assert await log_of(service, newcomer) == [("delivered", None, 1, 200, None)]


@pytest.mark.parametrize(
    ("status", "delivery"),
    [("active", ("pending", None, 0, None, None)), ("disabled", ("dead", "disabled", 0, None, None))],
)
async def test_publishing_waits_for_who_is_being_enabled_or_disabled(
    databases: DatabaseFactory, status: str, delivery: tuple[str, str | None, int, int | None, str | None]
) -> None:
    """Else what is published in that moment would stay dead with an active subscriber, or wait with a disabled one."""
    database = await databases("endorsement")
    async with opened(database, webhook_allow_private=True) as service, receiving() as receiver:
        subscriber, _secret = await registered(service, receiver)
        if status == "active":
            await call(service, ADMIN, "POST", f"/v1/webhooks/{subscriber}/disabling")
        decision_id = await decided(service)
        await database.advance_clock(73 * HOUR)
        pool = service.context.pool
        async with pool.acquire() as connection, asyncio.timeout(20):
            async with connection.transaction():
                if status == "active":
                    await publication.lock_subscriber(connection, UUID(subscriber))
                    await publication.mark_enabled(connection, UUID(subscriber), dt.datetime.now(dt.UTC))
                else:
                    await publication.mark_disabled(connection, UUID(subscriber), "gone")
                path = f"/v1/decisions/{decision_id}/announcement"
                announcing = asyncio.create_task(call(service, SECOND, "POST", path, status=201))
                while not announcing.done() and not await pool.fetchval(WAITING):
                    await asyncio.sleep(0.02)
                assert not announcing.done()
            await announcing
        assert (await call(service, ADMIN, "GET", f"/v1/webhooks/{subscriber}"))["status"] == status
        assert await log_of(service, subscriber) == [delivery]


async def test_rotated_secrets_both_verify_until_the_overlap_ends(databases: DatabaseFactory) -> None:
    database = await databases("endorsement")
    async with opened(database, webhook_allow_private=True) as service, receiving() as receiver:
        subscriber, former = await registered(service, receiver)
        latter = (await call(service, ADMIN, "POST", f"/v1/webhooks/{subscriber}/rotation"))["secret"]
        assert former != latter
        await call(service, ADMIN, "POST", f"/v1/webhooks/{subscriber}/test", status=202)
        await courier_of(service).deliver_due()
        for secret in (former, latter):
            Webhook(secret).verify(receiver.got[0].body, receiver.got[0].headers)
        await database.advance_clock(dt.timedelta(hours=25))
        await call(service, ADMIN, "POST", f"/v1/webhooks/{subscriber}/test", status=202)
        await courier_of(service).deliver_due()
        Webhook(latter).verify(receiver.got[1].body, receiver.got[1].headers)
        with pytest.raises(WebhookVerificationError):
            Webhook(former).verify(receiver.got[1].body, receiver.got[1].headers)
        stored = await service.context.pool.fetch("SELECT * FROM webhook_subscribers")
        assert former.removeprefix("whsec_") not in str(stored)


async def test_hanging_subscriber_does_not_hold_up_others(databases: DatabaseFactory) -> None:
    database = await databases("endorsement")
    async with (
        opened(database, webhook_allow_private=True) as service,
        receiving() as slow,
        receiving() as quick,
    ):
        slow.answer = lambda _got: b""
        for receiver in (slow, quick):
            subscriber, _secret = await registered(service, receiver)
            await call(service, ADMIN, "POST", f"/v1/webhooks/{subscriber}/test", status=202)
        await call(service, ADMIN, "POST", f"/v1/webhooks/{subscriber}/test", status=202)
        running = asyncio.create_task(courier_of(service).run())
        async with asyncio.timeout(8):
            while len(quick.got) < 2 or not slow.got:
                await asyncio.sleep(0.02)
        running.cancel()
        await asyncio.gather(running, return_exceptions=True)
        assert len(slow.got) == 1


async def test_rival_couriers_send_each_delivery_once(databases: DatabaseFactory) -> None:
    database = await databases("endorsement")
    async with opened(database, webhook_allow_private=True) as service, receiving() as receiver:
        subscriber, _secret = await registered(service, receiver)
        for _ in range(5):
            await call(service, ADMIN, "POST", f"/v1/webhooks/{subscriber}/test", status=202)
        async with asyncio.timeout(20):
            while len(receiver.got) < 5:
                await asyncio.gather(*(courier_of(service).deliver_due() for _ in range(4)))
        ids = [got.headers["webhook-id"] for got in receiver.got]
        queued = await service.context.pool.fetch("SELECT webhook_id FROM webhook_deliveries ORDER BY id")
        assert ids == [row["webhook_id"] for row in queued]


async def test_sender_whose_lease_ran_out_changes_nothing(databases: DatabaseFactory) -> None:
    database = await databases("endorsement")
    async with opened(database, webhook_allow_private=True) as service, receiving() as receiver:
        subscriber, _secret = await registered(service, receiver)
        await call(service, ADMIN, "POST", f"/v1/webhooks/{subscriber}/test", status=202)
        courier = courier_of(service)
        [stale] = await courier._claim(1)
        await database.execute("UPDATE webhook_subscribers SET lease_until = '-infinity'")
        assert await courier.deliver_due() == 1
        await courier._deliver(stale)
        assert await log_of(service, subscriber) == [("delivered", None, 1, 200, None)]
        assert len({got.headers["webhook-id"] for got in receiver.got}) == 1


@pytest.mark.parametrize(
    "url",
    [
        "http://example.org/hook",
        "https://127.0.0.1/hook",
        "https://localhost/hook",
        "https://10.1.2.3/",
        "https://169.254.169.254/latest/meta-data",
        "https://[::1]/",
        "https://[fd00::1]/",
        "https://[::ffff:10.0.0.1]/",
        "https://0.0.0.0/",
        "https://2130706433/",
        "https://user:pass@example.org/",
        "ftp://example.org/",
        "https:///hook",
        "https://no-such-host.invalid/",
        "https://☃.example/",
    ],
)
async def test_address_that_is_not_public_https_is_refused(databases: DatabaseFactory, url: str) -> None:
    async with opened(await databases("endorsement")) as service:
        assert await refused(service, ADMIN, "POST", "/v1/webhooks", {"url": url}) == (422, "address_refused")
        assert await service.context.pool.fetchval("SELECT count(*) FROM webhook_subscribers") == 0


async def test_address_that_turned_private_is_not_connected_to(databases: DatabaseFactory) -> None:
    database: Database = await databases("endorsement")
    async with opened(database, webhook_allow_private=True) as service, receiving() as receiver:
        subscriber, _secret = await registered(service, receiver)
        await call(service, ADMIN, "POST", f"/v1/webhooks/{subscriber}/test", status=202)
    async with receiving() as receiver, opened(database) as strict:
        await strict.context.pool.execute(
            "UPDATE webhook_subscribers SET url = $1", f"https://127.0.0.1:{receiver.port}/"
        )
        await courier_of(strict).deliver_due()
        assert await log_of(strict, subscriber) == [("pending", None, 1, None, "address_refused")]
        assert receiver.got == []


@pytest.mark.parametrize(
    ("address", "public"),
    [
        ("93.184.216.34", True),
        ("2606:2800:220:1:248:1893:25c8:1946", True),
        ("100.64.0.1", False),
        ("192.168.1.1", False),
        ("224.0.0.1", False),
        ("::ffff:127.0.0.1", False),
        ("64:ff9b::a00:1", False),
        ("2002:a00:1::", False),
        ("fe80::1", False),
    ],
)
def test_public_addresses_are_told_from_private_ones(address: str, public: bool) -> None:
    assert is_public(address) is public


async def test_webhooks_are_for_administrators(databases: DatabaseFactory) -> None:
    async with opened(await databases("endorsement")) as service:
        for somebody in (STAFF, Principal(UUID(int=1))):
            assert await refused(service, somebody, "GET", "/v1/webhooks") == (403, "forbidden")


async def test_delivery_number_past_all_bounds_is_refused(databases: DatabaseFactory) -> None:
    database = await databases("endorsement")
    async with opened(database, webhook_allow_private=True) as service, receiving() as receiver:
        subscriber, _secret = await registered(service, receiver)
        path = f"/v1/webhooks/{subscriber}"
        for number in (2**63, -(2**63) - 1, 10**30):
            for log in (f"{path}/deliveries?before={number}", f"{path}/deliveries/{number}"):
                assert await refused(service, ADMIN, "GET", log) == (422, "invalid")
            body = {"delivery_ids": [1, number]}
            assert await refused(service, ADMIN, "POST", f"{path}/replay", body) == (422, "invalid")
        last = 2**63 - 1
        assert await call(service, ADMIN, "GET", f"{path}/deliveries?before={last}") == {"deliveries": []}
        assert (await call(service, ADMIN, "GET", f"{path}/deliveries/{last}"))["attempts"] == []
        assert await call(service, ADMIN, "POST", f"{path}/replay", {"delivery_ids": [last]}) == {"replayed": 0}
        async with client_of(service, ADMIN, Accept="text/html") as client:
            for typed in ("²", "-1", "", "9" * 30, "9" * 5000):
                answer = await client.post(f"/webhooks/{subscriber}/replay", data={"delivery_id": typed})
                assert answer.status_code == 404
            answer = await client.post(f"/webhooks/{subscriber}/replay", data={"delivery_id": "9" * 18})
            assert answer.status_code == 303


async def test_body_is_the_structured_event_and_no_person(databases: DatabaseFactory) -> None:
    database = await databases("endorsement")
    async with opened(database, webhook_allow_private=True) as service, receiving() as receiver:
        await registered(service, receiver)
        await announced(service, database)
        await courier_of(service).deliver_due()
        got: Got = receiver.got[0]
        assert sorted(json.loads(got.body)["data"]) == sorted(
            [
                "endorsement_id",
                "ballot_name",
                "office",
                "office_label",
                "office_level",
                "state",
                "district",
                "election_date",
                "organization",
                "legal_body",
                "program_version",
                "announced_at",
            ]
        )
