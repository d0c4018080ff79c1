"""Events in: which function handles which type."""

from services.matching.handlers import people
from services.matching.handlers.intro_calls import INTRO_ROUTES
from shared.inbox import Routes

ROUTES: Routes = {**people.PEOPLE_ROUTES, **INTRO_ROUTES}
