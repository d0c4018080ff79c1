"""Wiring of the matching service."""

from functools import partial
from pathlib import Path

from services.matching import profiles
from services.matching.handlers import ROUTES
from services.matching.handlers.calls import CALL_TIMERS
from services.matching.handlers.intro_calls import INTRO_TIMERS
from services.matching.leader import Leader
from services.matching.settings import Settings
from services.matching.web import availability, board, calls, calls_json, message_data
from services.matching.web.intro_calls import INTRO_TEMPLATES, intro_router
from shared.service import Context, Definition, Parts
from shared.web.internal import InternalClient


def wire(context: Context) -> Parts:
    """Everything the service is made of."""
    settings = context.settings
    assert isinstance(settings, Settings)
    signup = InternalClient(settings.internal_url("signup"), settings.internal_token.get_secret_value())
    leader = Leader(context.workshop, settings)
    return Parts(
        routers=[
            calls_json.router,
            calls.router,
            availability.router,
            board.router,
            message_data.router,
            intro_router,
        ],
        routes=ROUTES,
        timers={**CALL_TIMERS, **INTRO_TIMERS},
        loops={
            "leader": leader.run,
            "profiles": partial(profiles.run, context.workshop, signup, settings.profile_seconds),
        },
        on_close=[signup.close],
        state={
            "signup": signup,
            "leader": leader,
            "message_templates": {**message_data.TEMPLATES, **INTRO_TEMPLATES},
        },
        front="/availability",
    )


SERVICE = Definition("matching", Settings, Path(__file__).parent, wire)
