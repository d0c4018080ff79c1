"""Wiring of the notifications service."""

import datetime as dt
import os
import uuid
from pathlib import Path

from services.notifications.handlers import ROUTES
from services.notifications.sending.answers import Answer
from services.notifications.sending.mime import Envelope
from services.notifications.sending.render import Renderer
from services.notifications.sending.sender import HandOver, Lane, Ready, Sender, as_mail
from services.notifications.sending.sms import SmsGateway
from services.notifications.sending.smtp import Relay, SmtpPool
from services.notifications.sending.sources import Sources
from services.notifications.sending.upkeep import Upkeep
from services.notifications.settings import Settings
from services.notifications.web.inbound import router as inbound
from services.notifications.web.log import router as log_pages
from services.notifications.web.preferences import router as preferences
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
    relay = Relay(
        host=settings.smtp_host,
        port=settings.smtp_port,
        security=settings.smtp_security,
        username=settings.smtp_username,
        password=settings.smtp_password.get_secret_value() if settings.smtp_password else None,
        timeout_seconds=settings.smtp_timeout_seconds,
    )
    gateway = None
    if settings.sms_url is not None:
        gateway = SmsGateway(
            settings.sms_url,
            settings.sms_sender,
            settings.sms_token.get_secret_value() if settings.sms_token else None,
            timeout_seconds=settings.smtp_timeout_seconds,
        )
    organization = context.program.organization
    envelope = Envelope(
        sender_name=organization.sender_name,
        sender_address=organization.sender_address,
        reply_to=organization.contact_email,
    )
    pools = [SmtpPool(relay) for _ in LANES]

    def sender(lane: Lane, at_once: int, hand_over: HandOver) -> Sender:
        return Sender(
            lane,
            workshop=context.workshop,
            sources=sources,
            renderer=renderer,
            hand_over=hand_over,
            contact_key=settings.contact_key,
            batch=settings.batch,
            at_once=at_once,
            lease_seconds=settings.lease_seconds,
            timeout_seconds=settings.smtp_timeout_seconds,
            name=f"{os.getpid()}-{uuid.uuid4().hex[:8]}",
            can_look_up=settings.sms_lookup,
        )

    senders = [
        sender(lane, at_once, _by_mail(envelope, pool))
        for lane, at_once, pool in zip(LANES, _shares(settings.smtp_connections), pools, strict=True)
    ]
    if gateway is not None:
        senders.append(sender(TEXTS, TEXTS_AT_ONCE, _by_text(gateway)))
    upkeep = Upkeep(
        context.workshop, gateway if settings.sms_lookup else None, context.program.privacy.message_body_days
    )
    loops: dict[str, Loop] = {f"send_{each.lane.name}": each.run for each in senders}
    loops |= {"recovery": upkeep.run_recovery, "purge": upkeep.run_purge}
    closing: list[Loop] = [*(pool.close for pool in pools), sources.close]
    if gateway is not None:
        closing.append(gateway.close)
    return Parts(
        routers=(preferences, log_pages, inbound),
        routes=ROUTES,
        loops=loops,
        on_close=closing,
        state={
            "renderer": renderer,
            "gateway": gateway,
            "senders": {each.lane.name: each for each in senders},
            "upkeep": upkeep,
        },
    )


def _shares(connections: int) -> tuple[int, int, int]:
    """Connections for links, transactional and bulk mail."""
    links = max(1, connections // 5)
    bulk = max(1, (connections - links) // 2)
    return links, max(1, connections - links - bulk), bulk


def _by_mail(envelope: Envelope, pool: SmtpPool) -> HandOver:
    async def hand_over(ready: Ready) -> Answer:
        return await pool.hand_over(as_mail(envelope, ready, dt.datetime.now(dt.UTC)))

    return hand_over


def _by_text(gateway: SmsGateway) -> HandOver:
    async def hand_over(ready: Ready) -> Answer:
        return await gateway.hand_over(ready.address, ready.rendered.text, str(ready.message.id))

    return hand_over


SERVICE = Definition("notifications", Settings, Path(__file__).parent, wire, "templates/pages")
