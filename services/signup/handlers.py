"""Events in: the journey of each person, and what notifications learned about consent.

A journey step is kept under the id of the person that the event names, known here or not: topics have no common
order. A repeat changes nothing, by the inbox and by the step's primary key.
"""

from collections.abc import Iterable, Sequence
from uuid import UUID

from services.signup.actions import people as actions
from services.signup.domain.journey import CONFIDENTIAL, STAGE_OF
from services.signup.store import journey as store
from services.signup.store import people as people_store
from services.signup.store.journey import NewStep
from shared.errors import TryAgain
from shared.events import Event, endorsement, matching, notifications
from shared.events.envelope import Received
from shared.inbox import Handler, Routes
from shared.people import resolve
from shared.work import Work


async def on_intro_call_step(work: Work, events: Sequence[Received]) -> None:
    """An invitation to a group call, or that somebody took part: a step; attendance reaches a stage."""
    steps = []
    for received in events:
        event = received.event
        assert isinstance(event, matching.IntroCallInvited | matching.IntroCallAttended)
        name = "intro_call_invited" if isinstance(event, matching.IntroCallInvited) else "intro_call_attended"
        steps.append(NewStep(received.id, event.person_id, name, received.time, event.intro_call_id))
    await _append(work, steps)


CALL_EVENTS = (
    matching.MatchOffered,
    matching.CallBooked,
    matching.CallCancelled,
    matching.CallCompleted,
    matching.CallMissed,
)
CALL_STEPS: dict[type[Event], str] = {
    matching.MatchOffered: "match_offered",
    matching.CallBooked: "call_booked",
    matching.CallCancelled: "call_cancelled",
    matching.CallCompleted: "call_completed",
    matching.CallMissed: "call_missed",
}


async def on_call_step(work: Work, events: Sequence[Received]) -> None:
    """A one-on-one moved on: a step for the prospect, with whom; one for the volunteer once it is held."""
    steps = []
    for received in events:
        event = received.event
        assert isinstance(event, CALL_EVENTS)
        steps.append(
            NewStep(
                received.id,
                event.prospect_id,
                CALL_STEPS[type(event)],
                received.time,
                event.call_id,
                event.volunteer_id,
            )
        )
        if isinstance(event, matching.CallCompleted):
            steps.append(
                NewStep(received.id, event.volunteer_id, "call_held", received.time, event.call_id, event.prospect_id)
            )
    await _append(work, steps)


CANDIDACY_EVENTS = (
    endorsement.CandidacyDeclared,
    endorsement.FilingConfirmed,
    endorsement.ApplicationSubmitted,
    endorsement.EligibilityDecided,
    endorsement.EndorsementDecided,
    endorsement.EndorsementDeclined,
    endorsement.EndorsementAnnounced,
    endorsement.EndorsementWithdrawn,
)
CANDIDACY_STEPS: dict[type[Event], str] = {
    endorsement.CandidacyDeclared: "candidacy_declared",
    endorsement.FilingConfirmed: "filing_confirmed",
    endorsement.ApplicationSubmitted: "application_submitted",
    endorsement.EndorsementDecided: "endorsement_decided",
    endorsement.EndorsementDeclined: "endorsement_declined",
    endorsement.EndorsementAnnounced: "endorsement_announced",
    endorsement.EndorsementWithdrawn: "endorsement_withdrawn",
}


async def on_candidacy_step(work: Work, events: Sequence[Received]) -> None:
    """A candidacy moved on: a step. A withdrawn endorsement takes the person's stage back."""
    steps = []
    for received in events:
        event = received.event
        assert isinstance(event, CANDIDACY_EVENTS)
        name = event.outcome if isinstance(event, endorsement.EligibilityDecided) else CANDIDACY_STEPS[type(event)]
        steps.append(NewStep(received.id, event.person_id, name, received.time, event.candidacy_id))
    await _append(work, steps)
    withdrawn = [step.person_id for step in steps if step.step == "endorsement_withdrawn"]
    if withdrawn:
        await store.withdraw_stages(work.connection, withdrawn, "applied")


async def on_contact_suppressed(work: Work, events: Sequence[Received]) -> None:
    """A stop that holds already where messages are sent: the consent is withdrawn, `ConsentChanged` tells why.

    Safe to repeat: what is withdrawn stays so and emits nothing.
    """
    current = await _people(work, events)
    for received in events:
        event = received.event
        assert isinstance(event, notifications.ContactSuppressed)
        person = await people_store.lock_person(work.connection, current[event.person_id])
        if person is None:
            raise TryAgain("The person of a suppression is not known here yet.")
        with work.because_of(received):
            await actions.suppress(work, person["id"], event.channel, event.reason)


async def on_contact_restored(work: Work, events: Sequence[Received]) -> None:
    """A stop was taken back: a consent that was given before is recorded anew, in the words in force.

    Who never consented, or took it back on their own page since, gets none. Safe to repeat, as above.
    """
    current = await _people(work, events)
    for received in events:
        event = received.event
        assert isinstance(event, notifications.ContactRestored)
        person = await people_store.lock_person(work.connection, current[event.person_id])
        if person is None:
            raise TryAgain("The person of a restored contact is not known here yet.")
        with work.because_of(received):
            await actions.restore(work, person, event.channel, event.reason, received.time)


async def _people(work: Work, events: Iterable[Received]) -> dict[UUID, UUID]:
    return await resolve(work.connection, (person for received in events for person in received.event.person_ids))


async def _append(work: Work, steps: Sequence[NewStep]) -> None:
    await store.insert_steps(work.connection, steps)
    # The column is what staff filter by, so confidential steps don't move it.
    stages = [(s.person_id, STAGE_OF[s.step]) for s in steps if s.step in STAGE_OF and s.step not in CONFIDENTIAL]
    if stages:
        await store.advance_stages(work.connection, stages, [stage.id for stage in work.program.stages])


_JOURNEY: dict[Handler, tuple[type[Event], ...]] = {
    on_intro_call_step: (matching.IntroCallInvited, matching.IntroCallAttended),
    on_call_step: CALL_EVENTS,
    on_candidacy_step: CANDIDACY_EVENTS,
}

ROUTES: Routes = {
    **{event: handler for handler, events in _JOURNEY.items() for event in events},
    notifications.ContactSuppressed: on_contact_suppressed,
    notifications.ContactRestored: on_contact_restored,
}
