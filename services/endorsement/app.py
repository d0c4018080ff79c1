"""Wiring of the endorsement service."""

from pathlib import Path

from services.endorsement.actions.applying import ANNOUNCE
from services.endorsement.actions.deciding import announce_when_due
from services.endorsement.delivery.loop import Courier, Pruner
from services.endorsement.delivery.sender import Sender
from services.endorsement.handlers import ROUTES
from services.endorsement.profiles import ProfileReader
from services.endorsement.settings import Settings
from services.endorsement.web import (
    application_pages,
    applications,
    candidacies,
    decisions,
    endorsement_pages,
    feed,
    internal,
    reviews,
    webhooks,
)
from shared.service import Context, Definition, Parts
from shared.web.internal import InternalClient


def wire(context: Context) -> Parts:
    """Routes, handlers, timers, loops."""
    settings = context.settings
    assert isinstance(settings, Settings)
    profiles = ProfileReader(
        InternalClient(settings.internal_url("signup"), settings.internal_token.get_secret_value(), timeout_seconds=5)
    )
    sender = Sender(
        settings.signing_key,
        timeout_seconds=settings.webhook_timeout_seconds,
        allow_private=settings.webhook_allow_private,
    )
    courier = Courier(
        context.workshop,
        sender,
        timeout_seconds=settings.webhook_timeout_seconds,
        concurrency=settings.webhook_concurrency,
    )
    pruner = Pruner(context.workshop, settings.feed_retention_days)
    return Parts(
        routers=[
            candidacies.router,
            applications.router,
            application_pages.router,
            reviews.router,
            decisions.router,
            feed.router,
            endorsement_pages.router,
            webhooks.router,
            internal.router,
        ],
        routes=ROUTES,
        timers={ANNOUNCE: announce_when_due},
        loops={"webhooks": courier.run, "feed_retention": pruner.run},
        on_close=[profiles.close, sender.close],
        state={"profiles": profiles, "courier": courier, "pruner": pruner},
        body_limits={"/v1/applications": 256 * 1024, "/applications": 256 * 1024},
        front="/endorsements",
    )


SERVICE = Definition("endorsement", Settings, Path(__file__).parent, wire)
