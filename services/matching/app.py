"""Wiring of the matching service."""

from pathlib import Path

from services.matching.handlers import ROUTES
from services.matching.handlers.intro_calls import INTRO_TIMERS
from services.matching.settings import Settings
from services.matching.web.intro_calls import intro_router
from shared.program import Program
from shared.service import Context, Definition, Parts
from shared.settings import ServiceSettings
from shared.web.internal import InternalClient
from shared.web.navigation import staff_navigation
from shared.web.pages import Pages

HERE = Path(__file__).parent
SERVICES = ("signup", "matching", "notifications", "endorsement")


def make_pages(settings: ServiceSettings, program: Program) -> Pages:
    """The service's pages in the organization's languages and colours."""
    return Pages(
        service="matching",
        templates=[HERE / "templates"],
        locales=[HERE / "locales"],
        program=program,
        links={name: settings.public_url(name) for name in SERVICES},
        navigation=staff_navigation(settings),
    )


def wire(context: Context) -> Parts:
    """Everything the service is made of."""
    signup = InternalClient(context.settings.internal_url("signup"), context.settings.internal_token.get_secret_value())
    return Parts(
        routers=[intro_router],
        routes=ROUTES,
        timers={**INTRO_TIMERS},
        loops={},
        on_close=[signup.close],
        state={"signup": signup},
    )


SERVICE = Definition("matching", Settings, make_pages, wire)
