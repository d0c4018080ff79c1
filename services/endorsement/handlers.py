"""Events in. Each handler works in sets and is safe to repeat: rows are written once, whatever comes twice."""

from collections.abc import Sequence

from services.endorsement.actions.reviewing import take_advice
from services.endorsement.store import applications, reviews
from shared.events.envelope import Received
from shared.events.matching import CallCompleted, IntroCallAttended
from shared.events.signup import AccountChanged
from shared.inbox import Routes
from shared.work import Work


async def on_call_completed(work: Work, events: Sequence[Received]) -> None:
    """Keep who advised whom; void scorecards of reviewers who turn out to have advised.

    Writes advisories (by call id, so a repeat adds nothing), recusals and voided scorecards; emits `ReviewerRecused`
    once per reviewer and application. People and applications need not be known yet: reviews look here again.
    """
    advice, causes = [], {}
    for received in events:
        event = received.event
        assert isinstance(event, CallCompleted)
        advice.append((event.call_id, event.volunteer_id, event.prospect_id, event.purpose))
        causes[event.call_id] = received
    await take_advice(work, advice, causes)


async def on_intro_call_attended(work: Work, events: Sequence[Received]) -> None:
    """Note that a stage was reached which eligibility rules may ask for; one row per person."""
    people = [event.person_id for event in (r.event for r in events) if isinstance(event, IntroCallAttended)]
    await applications.insert_attendances(work.connection, people, work.now)


async def on_account_changed(work: Work, events: Sequence[Received]) -> None:
    """Keep who may review and who is from outside; the event's sequence keeps an older one from overwriting."""
    for received in events:
        event = received.event
        assert isinstance(event, AccountChanged)
        await reviews.upsert_account(
            work.connection,
            event.account_id,
            event.person_id,
            event.roles,
            outside=event.outside,
            sequence=received.sequence,
        )


ROUTES: Routes = {
    AccountChanged: on_account_changed,
    CallCompleted: on_call_completed,
    IntroCallAttended: on_intro_call_attended,
}
