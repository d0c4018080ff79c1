"""Events in: they only write down which messages they cause, in one statement per batch; sending comes later."""

import datetime as dt
from collections.abc import Sequence

from services.notifications.domain.plan import PLAN, TEMPLATES_WITH_TEXT, Planned, plan
from services.notifications.domain.sending import Channel
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
    new = [
        message
        for received in events
        for planned in plan(received.event)
        for message in _messages(received, planned, work.program, work.now)
    ]
    program = work.program
    await messages.insert_messages(work.connection, new, program.version, program.content_hash, work.now)


def _messages(received: Received, planned: Planned, program: Program, now: dt.datetime) -> list[messages.NewMessage]:
    policy = program.message(planned.kind)
    channels: tuple[Channel, ...] = ("email",)
    due_at = now
    if policy is not None:
        channels = tuple(
            channel for channel in policy.channels if channel == "email" or planned.template in TEMPLATES_WITH_TEXT
        )
        due_at = now + dt.timedelta(minutes=policy.delay_minutes)
    return [
        messages.NewMessage(
            id=new_id(),
            event_id=received.id,
            event_type=received.event.type,
            person_id=planned.person_id,
            template=planned.template,
            channel=channel,
            delivery=policy.delivery if policy is not None else "transactional",
            reference=planned.reference,
            state="queued" if policy is not None else "dropped",
            reason=None if policy is not None else "not_in_program",
            due_at=due_at,
            expires_at=planned.expires_at,
            correlation_id=received.correlation_id,
        )
        for channel in channels
    ]


async def on_consent_changed(work: Work, events: Sequence[Received]) -> None:
    """Take over the newest word on each person and channel, by the sequence of the person's events."""
    rows = []
    for received in events:
        event = received.event
        assert isinstance(event, signup.ConsentChanged)
        rows.append((event.person_id, event.channel, event.granted, received.sequence))
    await people.merge_consents(work.connection, rows)


ROUTES: Routes = {**dict.fromkeys(PLAN, on_planned), signup.ConsentChanged: on_consent_changed}
