"""Wiring of the signup service."""

import asyncio
from pathlib import Path

from services.signup import web
from services.signup.actions.access import SIGN_IN_TIMER, sign_in_action
from services.signup.handlers import ROUTES
from services.signup.intake import KEEP_INTENTS, Intake
from services.signup.limits import Limits
from services.signup.settings import Settings
from services.signup.store.intake import prune_intents
from services.signup.store.limits import prune_buckets
from shared.db import Pool
from shared.service import Context, Definition, Parts

PRUNE_EVERY_SECONDS = 600.0


async def prune(pool: Pool) -> None:
    """Forget intake keys after a week and idle rate buckets, for ever, in small steps."""
    while True:
        async with pool.acquire() as connection:
            while await prune_intents(connection, KEEP_INTENTS):
                await asyncio.sleep(0)
            await prune_buckets(connection)
        await asyncio.sleep(PRUNE_EVERY_SECONDS)


def wire(context: Context) -> Parts:
    """Everything that the service consists of."""
    settings = context.settings
    assert isinstance(settings, Settings)
    secret = settings.link_secret.get_secret_value()
    limits = Limits(context.pool, settings)
    intake = Intake(context.workshop, limits, secret=secret, batch=settings.intake_batch)
    return Parts(
        routers=web.ROUTERS,
        routes=ROUTES,
        timers={SIGN_IN_TIMER: sign_in_action(secret)},
        loops={"prune": lambda: prune(context.pool)},
        on_close=(intake.close,),
        state={"intake": intake, "limits": limits},
        embeddable=("/embed/",),
        express=web.express(context.program),
        front="/f",
    )


SERVICE = Definition("signup", Settings, Path(__file__).parent, wire)
