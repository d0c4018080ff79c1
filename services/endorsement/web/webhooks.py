"""Webhook subscribers (administrators). Pages under /webhooks, JSON under /v1/webhooks."""

import re
from collections.abc import Mapping
from datetime import timedelta
from typing import Annotated, Any
from uuid import UUID

from fastapi import APIRouter, Path, Query, Request
from fastapi.responses import Response
from pydantic import Field as Bounded

from services.endorsement.actions import subscribing
from services.endorsement.actions.actor import actor_of
from services.endorsement.actions.subscribing import ADMINISTERING
from services.endorsement.delivery.addresses import resolve
from services.endorsement.delivery.signing import secret_of
from services.endorsement.store import publication as store
from services.endorsement.store.publication import Subscriber
from services.endorsement.web.requests import MAX_ID, Administering, Body, begin, field_errors, form_of, page, see_other
from services.endorsement.web.views import subscriber_json
from shared.errors import Rejected
from shared.web.fields import Field
from shared.web.sessions import Principal
from shared.web.text import Message, _

router = APIRouter(tags=["webhooks"])

DELIVERY_ID = re.compile(r"[0-9]{1,18}")


class SubscriberBody(Body):
    """Where to send, and whose it is."""

    url: str
    description: str = ""


class ReplayBody(Body):
    """Deliveries to send again."""

    delivery_ids: tuple[Annotated[int, Bounded(ge=1, le=MAX_ID)], ...] = Bounded(min_length=1, max_length=500)


def _secret(request: Request, subscriber: Subscriber) -> str:
    return secret_of(request.app.state.settings.signing_key, subscriber.id, subscriber.secret_version)


async def _register(request: Request, principal: Principal, url: str, description: str) -> Subscriber:
    # Looked up before the transaction: a name server may take its time.
    await resolve(url.strip(), allow_private=request.app.state.settings.webhook_allow_private)
    async with begin(request) as work:
        return await subscribing.register(work, principal, url.strip(), description)


async def _rotate(request: Request, principal: Principal, subscriber_id: UUID) -> Subscriber:
    overlap = timedelta(hours=request.app.state.settings.secret_overlap_hours)
    async with begin(request) as work:
        return await subscribing.rotate(work, principal, subscriber_id, overlap)


@router.post("/v1/webhooks", status_code=201, summary="Register a webhook; the secret is shown this once")
async def create(request: Request, principal: Administering, body: SubscriberBody) -> dict[str, Any]:
    subscriber = await _register(request, principal, body.url, body.description)
    return subscriber_json(subscriber) | {"secret": _secret(request, subscriber)}


@router.get("/v1/webhooks", summary="All webhooks")
async def listing(request: Request, principal: Administering) -> dict[str, Any]:
    async with begin(request) as work:
        await actor_of(work, principal, needs=ADMINISTERING)
        return {"webhooks": [subscriber_json(row) for row in await store.find_subscribers(work.connection)]}


@router.get("/v1/webhooks/{subscriber_id}", summary="One webhook")
async def one(request: Request, principal: Administering, subscriber_id: UUID) -> dict[str, Any]:
    async with begin(request) as work:
        await actor_of(work, principal, needs=ADMINISTERING)
        return subscriber_json(await store.get_subscriber(work.connection, subscriber_id))


@router.post("/v1/webhooks/{subscriber_id}/rotation", summary="A new secret, shown this once; both sign for a while")
async def rotate(request: Request, principal: Administering, subscriber_id: UUID) -> dict[str, Any]:
    subscriber = await _rotate(request, principal, subscriber_id)
    return subscriber_json(subscriber) | {"secret": _secret(request, subscriber)}


@router.post("/v1/webhooks/{subscriber_id}/test", status_code=202, summary="Send a test event")
async def test(request: Request, principal: Administering, subscriber_id: UUID) -> dict[str, Any]:
    async with begin(request) as work:
        return {"delivery_id": await subscribing.send_test(work, principal, subscriber_id)}


@router.post("/v1/webhooks/{subscriber_id}/disabling", summary="Send nothing more")
async def disable(request: Request, principal: Administering, subscriber_id: UUID) -> dict[str, Any]:
    async with begin(request) as work:
        return subscriber_json(await subscribing.disable(work, principal, subscriber_id))


@router.post("/v1/webhooks/{subscriber_id}/enabling", summary="Send again, beginning with what was missed")
async def enable(request: Request, principal: Administering, subscriber_id: UUID) -> dict[str, Any]:
    async with begin(request) as work:
        return subscriber_json(await subscribing.enable(work, principal, subscriber_id))


@router.get("/v1/webhooks/{subscriber_id}/deliveries", summary="Delivery log, newest first")
async def deliveries(
    request: Request,
    principal: Administering,
    subscriber_id: UUID,
    before: Annotated[int | None, Query(ge=0, le=MAX_ID)] = None,
) -> dict[str, Any]:
    async with begin(request) as work:
        await actor_of(work, principal, needs=ADMINISTERING)
        await store.get_subscriber(work.connection, subscriber_id)
        rows = await store.find_deliveries(work.connection, subscriber_id, before=before)
    listed = [{"delivery_id": row["id"]} | {name: row[name] for name in dict(row) if name != "id"} for row in rows]
    return {"deliveries": listed}


@router.get("/v1/webhooks/{subscriber_id}/deliveries/{delivery_id}", summary="Every try of one delivery")
async def attempts(
    request: Request, principal: Administering, subscriber_id: UUID, delivery_id: Annotated[int, Path(ge=1, le=MAX_ID)]
) -> dict[str, Any]:
    async with begin(request) as work:
        await actor_of(work, principal, needs=ADMINISTERING)
        await store.get_subscriber(work.connection, subscriber_id)
        rows = await store.find_attempts(work.connection, delivery_id)
    return {"delivery_id": delivery_id, "attempts": [dict(row) for row in rows]}


@router.post("/v1/webhooks/{subscriber_id}/replay", summary="Send deliveries again, under the same ids")
async def replay(request: Request, principal: Administering, subscriber_id: UUID, body: ReplayBody) -> dict[str, Any]:
    async with begin(request) as work:
        return {"replayed": await subscribing.replay(work, principal, subscriber_id, body.delivery_ids)}


# ---------------------------------------------------------------- pages


@router.get("/webhooks", include_in_schema=False)
async def list_page(request: Request, principal: Administering) -> Response:
    return await _list(request, principal, {}, {})


@router.post("/webhooks", include_in_schema=False)
async def create_post(request: Request, principal: Administering) -> Response:
    form = await form_of(request)
    try:
        subscriber = await _register(request, principal, str(form.get("url", "")), str(form.get("description", "")))
    except Rejected as no:
        return await _list(request, principal, form, field_errors(no), status=422)
    return _show_secret(request, principal, subscriber)


@router.get("/webhooks/{subscriber_id}", include_in_schema=False)
async def one_page(request: Request, principal: Administering, subscriber_id: UUID) -> Response:
    async with begin(request) as work:
        await actor_of(work, principal, needs=ADMINISTERING)
        subscriber = await store.get_subscriber(work.connection, subscriber_id)
        rows = await store.find_deliveries(work.connection, subscriber_id)
    return page(
        request,
        "webhook.html",
        principal,
        title=subscriber.description or subscriber.url,
        current="endorsements",
        subscriber=subscriber,
        deliveries=rows,
    )


@router.post("/webhooks/{subscriber_id}/rotate", include_in_schema=False)
async def rotate_post(request: Request, principal: Administering, subscriber_id: UUID) -> Response:
    return _show_secret(request, principal, await _rotate(request, principal, subscriber_id))


@router.post("/webhooks/{subscriber_id}/{act}", include_in_schema=False)
async def act_post(request: Request, principal: Administering, subscriber_id: UUID, act: str) -> Response:
    form = await form_of(request)
    async with begin(request) as work:
        if act == "test":
            await subscribing.send_test(work, principal, subscriber_id)
        elif act == "disable":
            await subscribing.disable(work, principal, subscriber_id)
        elif act == "enable":
            await subscribing.enable(work, principal, subscriber_id)
        elif act == "replay" and DELIVERY_ID.fullmatch(str(form.get("delivery_id", ""))):
            await subscribing.replay(work, principal, subscriber_id, [int(form["delivery_id"])])
        else:
            raise Rejected("unknown_act", _("There is no such act. Reload the page and use its buttons."), status=404)
    return see_other(f"/webhooks/{subscriber_id}")


async def _list(
    request: Request,
    principal: Principal,
    values: Mapping[str, Any],
    errors: Mapping[str, Message],
    *,
    status: int = 200,
) -> Response:
    async with begin(request) as work:
        await actor_of(work, principal, needs=ADMINISTERING)
        rows = await store.find_subscribers(work.connection)
    return page(
        request,
        "webhooks.html",
        principal,
        status=status,
        title=_("Webhooks"),
        current="endorsements",
        subscribers=rows,
        values=values,
        errors=errors,
        form_fields=[
            Field(
                name="url",
                kind="url",
                label=_("Address to send to"),
                hint=_("Begins with https:// and is public on the internet."),
                max_length=500,
            ),
            Field(name="description", kind="text", label=_("Whose it is"), required=False, max_length=200),
        ],
    )


def _show_secret(request: Request, principal: Principal, subscriber: Subscriber) -> Response:
    return page(
        request,
        "webhook_secret.html",
        principal,
        title=_("The secret of this webhook"),
        current="endorsements",
        subscriber=subscriber,
        secret=_secret(request, subscriber),
    )
