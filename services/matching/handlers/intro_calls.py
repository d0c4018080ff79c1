"""Events and timers of group intro calls."""

from collections.abc import Mapping

from shared.inbox import Routes
from shared.timers import Action

INTRO_ROUTES: Routes = {}
INTRO_TIMERS: Mapping[str, Action] = {}
