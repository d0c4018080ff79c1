"""Events in: they only write down which messages they cause, in one statement per batch; sending comes later."""

import datetime as dt
from collections.abc import Sequence
from functools import cache, partial

from services.notifications import actions
from services.notifications.domain.plan import PLAN, TEMPLATES_WITH_TEXT, plan
from services.notifications.store import messages, people
from shared.events import signup
from shared.events.envelope import Received, new_id
from shared.inbox import Routes
from shared.program import Program
from shared.work import Work


async def on_planned(work: Work, events: Sequence[Received]) -> None:
    """Insert a message for each person, template and channel that these events cause.

    A repeat is safe by messages_once_uq. A kind that the program does not send leaves a row that says so.
    """
    program, now = work.program, work.now
    # Asked once for each kind in the batch.
    manners = cache(partial(_manners, program=program, now=now))
    new = [
        messages.NewMessage(
            id=new_id(),
            event_id=received.id,
            person_id=planned.person_id,
            reference=planned.reference,
            expires_at=planned.expires_at,
            correlation_id=received.correlation_id,
            manner=manner,
        )
        for received in events
        for planned in plan(received.event)
        for manner in manners(received.event.type, planned.template, planned.kind)
    ]
    await messages.insert_messages(work.connection, new, program.version, program.content_hash, now)


def _manners(
    event_type: str, template: str, kind: str, *, program: Program, now: dt.datetime
) -> tuple[messages.Manner, ...]:
    """One for each channel that the program sends this kind by."""
    policy = program.message(kind)
    if policy is None:
        return (messages.Manner(event_type, template, "email", "transactional", "dropped", "not_in_program", now),)
    due_at = now + dt.timedelta(minutes=policy.delay_minutes)
    return tuple(
        messages.Manner(event_type, template, channel, policy.delivery, "queued", None, due_at)
        for channel in policy.channels
        if channel == "email" or template in TEMPLATES_WITH_TEXT
    )


async def on_consent_changed(work: Work, events: Sequence[Received]) -> None:
    """Take over the newest word on each person and channel, by the sequence of the person's events.

    A yes that somebody said on their own page also lifts what they had stopped until then. A repeat is safe: a stop
    that was said later stays, whenever the yes arrives; a yes that follows from a stop taken back here is none.
    """
    rows = []
    for received in events:
        event = received.event
        assert isinstance(event, signup.ConsentChanged)
        rows.append((event.person_id, event.channel, event.granted, received.sequence))
    await people.merge_consents(work.connection, rows)
    for received in events:
        event = received.event
        if isinstance(event, signup.ConsentChanged) and event.granted and event.reason == "preference":
            with work.because_of(received):
                await actions.heed_yes(work, event.person_id, event.channel, received.time)


ROUTES: Routes = {**dict.fromkeys(PLAN, on_planned), signup.ConsentChanged: on_consent_changed}
