"""Events as the other services emit them."""

import datetime as dt
from typing import Any
from uuid import UUID, uuid4

from shared.events import matching, signup

START = dt.datetime(2030, 1, 1, 17, 0, tzinfo=dt.UTC)


def signed_up(person_id: UUID, *, known: bool = False) -> signup.SignedUp:
    """A sign-up by the form `run`."""
    return signup.SignedUp(
        person_id=person_id,
        signup_id=uuid4(),
        intent_id=uuid4(),
        form="run",
        role="prospect",
        known=known,
        legal_body="education",
        program_version="2025.1",
        language="en",
    )


def confirmed(person_id: UUID) -> signup.PersonConfirmed:
    """A confirmation."""
    return signup.PersonConfirmed(person_id=person_id, signup_id=uuid4(), roles=("prospect",), language="en")


def consent(person_id: UUID, channel: Any, *, granted: bool, reason: str = "form") -> signup.ConsentChanged:
    """A grant or its withdrawal; `preference` is what the person says on their own page."""
    return signup.ConsentChanged(
        person_id=person_id,
        channel=channel,
        granted=granted,
        wording_version="2025.1",
        legal_body="education",
        reason=reason,
    )


def invited(person_id: UUID) -> matching.IntroCallInvited:
    """An invitation, which is bulk mail."""
    return matching.IntroCallInvited(intro_call_id=uuid4(), person_id=person_id, starts_at=START)


def reminder(prospect_id: UUID, volunteer_id: UUID, starts_at: dt.datetime = START) -> matching.CallReminderDue:
    """A reminder to both, by e-mail and text."""
    return matching.CallReminderDue(
        call_id=uuid4(),
        prospect_id=prospect_id,
        volunteer_id=volunteer_id,
        purpose="one_on_one",
        starts_at=starts_at,
        hours_before=24,
    )


def booked(prospect_id: UUID, volunteer_id: UUID, *, replaces: UUID | None = None) -> matching.CallBooked:
    """A booking."""
    return matching.CallBooked(
        call_id=uuid4(),
        prospect_id=prospect_id,
        volunteer_id=volunteer_id,
        purpose="one_on_one",
        starts_at=START,
        ends_at=START + dt.timedelta(minutes=30),
        replaces=replaces,
    )
