"""Webhook subscribers: registered, tested, rotated, disabled, enabled and replayed by administrators."""

from collections.abc import Sequence
from datetime import timedelta
from uuid import UUID

import orjson

from services.endorsement.actions.actor import Actor, actor_of, record
from services.endorsement.store import publication as store
from services.endorsement.store.publication import Subscriber
from shared.errors import Rejected
from shared.events.envelope import new_id
from shared.web.sessions import Principal
from shared.web.text import _
from shared.work import Work

ADMINISTERING = frozenset({"admin"})
TEST_TYPE = "endorsement.webhook_test.v1"


async def register(work: Work, principal: Principal, url: str, description: str) -> Subscriber:
    """A subscriber to what is published from now on; the address was checked before this transaction."""
    actor = await _admin(work, principal)
    subscriber_id = new_id()
    await store.insert_subscriber(
        work.connection, subscriber_id, url, description.strip()[:200], actor.person_id, work.now
    )
    await record(work, actor, "webhook_registered", subscriber_id)
    return await store.get_subscriber(work.connection, subscriber_id)


async def rotate(work: Work, principal: Principal, subscriber_id: UUID, overlap: timedelta) -> Subscriber:
    """The next secret; the former one signs beside it for the overlap."""
    actor = await _admin(work, principal)
    await store.lock_subscriber(work.connection, subscriber_id)
    await store.mark_rotated(work.connection, subscriber_id, work.now + overlap)
    await record(work, actor, "webhook_rotated", subscriber_id)
    return await store.get_subscriber(work.connection, subscriber_id)


async def send_test(work: Work, principal: Principal, subscriber_id: UUID) -> int:
    """Queue a test event; returns the delivery's id."""
    actor = await _admin(work, principal)
    subscriber = await store.lock_subscriber(work.connection, subscriber_id)
    if subscriber.status != "active":
        raise Rejected("webhook_disabled", _("This webhook is disabled. Enable it first."))
    event_id = new_id()
    body = {
        "specversion": "1.0",
        "id": str(event_id),
        "source": f"/hustings/{work.source}",
        "type": TEST_TYPE,
        "subject": str(subscriber_id),
        "time": work.now.isoformat().replace("+00:00", "Z"),
        "datacontenttype": "application/json",
        "data": {"message": "This is a test. Nothing was endorsed."},
    }
    delivery_id = await store.insert_delivery(
        work.connection, subscriber_id, str(event_id), TEST_TYPE, orjson.dumps(body).decode(), work.now
    )
    await record(work, actor, "webhook_tested", subscriber_id, delivery=delivery_id)
    return delivery_id


async def disable(work: Work, principal: Principal, subscriber_id: UUID) -> Subscriber:
    """Send nothing more; what waits is kept on record."""
    actor = await _admin(work, principal)
    await store.lock_subscriber(work.connection, subscriber_id)
    await store.mark_disabled(work.connection, subscriber_id, "by_hand")
    await record(work, actor, "webhook_disabled", subscriber_id)
    return await store.get_subscriber(work.connection, subscriber_id)


async def enable(work: Work, principal: Principal, subscriber_id: UUID) -> Subscriber:
    """Send again, beginning with what was missed."""
    actor = await _admin(work, principal)
    await store.lock_subscriber(work.connection, subscriber_id)
    await store.mark_enabled(work.connection, subscriber_id, work.now)
    await record(work, actor, "webhook_enabled", subscriber_id)
    return await store.get_subscriber(work.connection, subscriber_id)


async def replay(work: Work, principal: Principal, subscriber_id: UUID, delivery_ids: Sequence[int]) -> int:
    """Send deliveries again under their webhook ids; returns how many."""
    actor = await _admin(work, principal)
    subscriber = await store.lock_subscriber(work.connection, subscriber_id)
    if subscriber.status != "active":
        raise Rejected("webhook_disabled", _("This webhook is disabled. Enable it first."))
    count = await store.replay(work.connection, subscriber_id, delivery_ids, work.now)
    await record(work, actor, "webhook_replayed", subscriber_id, deliveries=count)
    return count


async def _admin(work: Work, principal: Principal) -> Actor:
    return await actor_of(work, principal, needs=ADMINISTERING)
