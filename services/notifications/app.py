"""Wiring of the notifications service."""

import datetime as dt
import os
import uuid
from collections.abc import Sequence
from pathlib import Path

from services.notifications.handlers import ROUTES
from services.notifications.sending.answers import Answer
from services.notifications.sending.mime import Envelope
from services.notifications.sending.providers import HandOver, Provider, Providers
from services.notifications.sending.render import Renderer
from services.notifications.sending.sender import Lane, Ready, Sender, as_mail
from services.notifications.sending.sms import SmsGateway
from services.notifications.sending.smtp import Relay, SmtpPool
from services.notifications.sending.sources import Sources
from services.notifications.sending.upkeep import Upkeep
from services.notifications.settings import Settings
from services.notifications.web.inbound import router as inbound
from services.notifications.web.log import router as log_pages
from services.notifications.web.preferences import router as preferences
from services.notifications.web.receipts import router as receipts
from shared.service import Context, Definition, Loop, Parts
from shared.web.internal import InternalClient

LANES = (
    Lane("link", "email", ("link",)),
    Lane("transactional", "email", ("transactional",)),
    Lane("bulk", "email", ("bulk",)),
)
TEXTS = Lane("text", "sms", ("transactional", "bulk"))
TEXTS_AT_ONCE = 8


def wire(context: Context) -> Parts:
    """Lanes with connections of their own, upkeep, pages."""
    settings = context.settings
    assert isinstance(settings, Settings)
    token = settings.internal_token.get_secret_value()
    sources = Sources(
        {name: InternalClient(settings.internal_url(name), token) for name in ("signup", "matching", "endorsement")}
    )
    renderer = Renderer(context.program, settings.public_url("notifications"), settings.link_secret.get_secret_value())
    relays = _relays(settings)
    gateways = _gateways(settings)
    organization = context.program.organization
    envelope = Envelope(
        sender_name=organization.sender_name,
        sender_address=organization.sender_address,
        reply_to=organization.contact_email,
    )
    pools: list[SmtpPool] = []

    def sender(lane: Lane, at_once: int, providers: Sequence[Provider]) -> Sender:
        return Sender(
            lane,
            workshop=context.workshop,
            sources=sources,
            renderer=renderer,
            providers=Providers(lane.name, providers, timeout_seconds=settings.smtp_timeout_seconds),
            contact_key=settings.contact_key,
            batch=settings.batch,
            at_once=at_once,
            lease_seconds=settings.lease_seconds,
            timeout_seconds=settings.smtp_timeout_seconds,
            name=f"{os.getpid()}-{uuid.uuid4().hex[:8]}",
            can_look_up=settings.sms_lookup,
        )

    senders = []
    for lane, at_once in zip(LANES, _shares(settings.smtp_connections), strict=True):
        # Connections of its own for each lane and host: what hangs in one holds up no other.
        own = {name: SmtpPool(relay) for name, relay in relays.items()}
        pools += own.values()
        senders.append(sender(lane, at_once, [Provider(name, _by_mail(envelope, pool)) for name, pool in own.items()]))
    if gateways:
        by_text = [Provider(name, _by_text(gateway)) for name, gateway in gateways.items()]
        senders.append(sender(TEXTS, TEXTS_AT_ONCE, by_text))
    upkeep = Upkeep(
        context.workshop,
        list(gateways.values()) if settings.sms_lookup else [],
        context.program.privacy.message_body_days,
    )
    loops: dict[str, Loop] = {f"send_{each.lane.name}": each.run for each in senders}
    loops |= {"recovery": upkeep.run_recovery, "purge": upkeep.run_purge}
    closing: list[Loop] = [*(pool.close for pool in pools), sources.close]
    closing += [gateway.close for gateway in gateways.values()]
    return Parts(
        routers=(preferences, log_pages, inbound, receipts),
        routes=ROUTES,
        loops=loops,
        on_close=closing,
        state={
            "renderer": renderer,
            "gateway": next(iter(gateways.values()), None),
            "senders": {each.lane.name: each for each in senders},
            "upkeep": upkeep,
        },
        front="/preferences",
    )


def _shares(connections: int) -> tuple[int, int, int]:
    """Connections for links, transactional and bulk mail."""
    links = max(1, connections // 5)
    bulk = max(1, (connections - links) // 2)
    return links, max(1, connections - links - bulk), bulk


def _relays(settings: Settings) -> dict[str, Relay]:
    """The relay hosts by what metrics call them, the preferred one first."""
    found = {
        "first": (settings.smtp_host, settings.smtp_port, settings.smtp_username, settings.smtp_password),
    }
    if settings.smtp_fallback_host is not None:
        found["fallback"] = (
            settings.smtp_fallback_host,
            settings.smtp_fallback_port,
            settings.smtp_fallback_username,
            settings.smtp_fallback_password,
        )
    return {
        name: Relay(
            host=host,
            port=port,
            security=settings.smtp_security,
            username=username,
            password=password.get_secret_value() if password else None,
            timeout_seconds=settings.smtp_timeout_seconds,
        )
        for name, (host, port, username, password) in found.items()
    }


def _gateways(settings: Settings) -> dict[str, SmsGateway]:
    """The text providers, likewise; none without an address."""
    found = {"first": (settings.sms_url, settings.sms_token),
             "fallback": (settings.sms_fallback_url, settings.sms_fallback_token)}  # fmt: skip
    return {
        name: SmsGateway(
            url,
            settings.sms_sender,
            token.get_secret_value() if token else None,
            timeout_seconds=settings.smtp_timeout_seconds,
        )
        for name, (url, token) in found.items()
        if url is not None
    }


def _by_mail(envelope: Envelope, pool: SmtpPool) -> HandOver:
    async def hand_over(ready: Ready) -> Answer:
        return await pool.hand_over(as_mail(envelope, ready, dt.datetime.now(dt.UTC)))

    return hand_over


def _by_text(gateway: SmsGateway) -> HandOver:
    async def hand_over(ready: Ready) -> Answer:
        return await gateway.hand_over(ready.address, ready.rendered.text, str(ready.message.id))

    return hand_over


SERVICE = Definition("notifications", Settings, Path(__file__).parent, wire, "templates/pages")
