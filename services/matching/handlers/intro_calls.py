"""Timers of group intro calls. What signup tells about people arrives through `handlers.people`."""

from collections.abc import Mapping
from uuid import UUID

from services.matching.actions import intro_calls
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


INTRO_ROUTES: Routes = {}
INTRO_TIMERS: Mapping[str, Action] = {
    intro_calls.REMINDER: on_reminder,
    intro_calls.CLOSE: on_close,
    intro_calls.INVITE: on_invite,
}
