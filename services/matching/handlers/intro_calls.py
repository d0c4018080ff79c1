"""Events and timers of group intro calls."""

from collections.abc import Mapping, Sequence
from uuid import UUID

from services.matching.actions import intro_calls
from services.matching.handlers import people
from shared.events.envelope import Received
from shared.events.signup import PersonConfirmed, RoleAdded
from shared.inbox import Routes
from shared.timers import Action, Timer
from shared.work import Work


def _call_of(timer: Timer) -> UUID:
    return UUID(timer.owner_key.partition(":")[2])


async def on_reminder(work: Work, timer: Timer) -> None:
    """Emits `IntroCallReminderDue` for each who goes; fires once, since the firing deletes its row."""
    await intro_calls.remind(work, _call_of(timer), int(timer.payload["hours"]))


async def on_close(work: Work, timer: Timer) -> None:
    """Emits `IntroCallInvited` for whoever the call left without a seat."""
    await intro_calls.close(work, _call_of(timer))


async def on_invite(work: Work, timer: Timer) -> None:
    """Emits `IntroCallInvited` for the next batch that a call fits."""
    await intro_calls.invite_more(work, _call_of(timer))


async def on_person_confirmed(work: Work, events: Sequence[Received]) -> None:
    """Beside what the rest of the service does: keeps the person, emits `IntroCallInvited`. Safe to repeat."""
    await intro_calls.on_people_confirmed(work, events)
    await people.on_person_changed(work, events)


async def on_role_added(work: Work, events: Sequence[Received]) -> None:
    """Beside what the rest of the service does: invites who became a prospect. Safe to repeat."""
    await intro_calls.on_roles_added(work, events)
    await people.on_person_changed(work, events)


# In place of the routes of the same events in `handlers.people`, whose handler they call.
INTRO_ROUTES: Routes = {PersonConfirmed: on_person_confirmed, RoleAdded: on_role_added}
INTRO_TIMERS: Mapping[str, Action] = {
    intro_calls.REMINDER: on_reminder,
    intro_calls.CLOSE: on_close,
    intro_calls.INVITE: on_invite,
}
