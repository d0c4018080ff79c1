"""Events of the matching service, owner of time: availability, intro calls, one-on-one calls."""

from typing import ClassVar, Literal
from uuid import UUID

from shared.events.base import Code, Event, Moment
from shared.events.topics import MATCHING_CALLS, MATCHING_INTRO_CALLS, MATCHING_PEOPLE, Topic

Purpose = Literal["one_on_one", "mentoring"]
Party = Literal["prospect", "volunteer", "staff"]


class AvailabilityRequested(Event):
    """A person's turn has come and we don't know their weekly hours.

    Emitted by matching; read by notifications (asks for the hours).
    """

    type: ClassVar[str] = "matching.availability_requested.v1"
    topic: ClassVar[Topic] = MATCHING_PEOPLE

    person_id: UUID
    role: Literal["prospect", "volunteer"]


class IntroCallScheduled(Event):
    """Staff put a group call on the calendar. Emitted by matching.

    No service reads it; it is for the record.
    """

    type: ClassVar[str] = "matching.intro_call_scheduled.v1"
    topic: ClassVar[Topic] = MATCHING_INTRO_CALLS

    intro_call_id: UUID
    starts_at: Moment
    minutes: int
    capacity: int
    language: Code
    track: Code | None = None


class IntroCallCancelled(Event):
    """Staff took a group call off the calendar; each person told gets an `IntroCallDropped`.

    Emitted by matching. No service reads it; it is for the record.
    """

    type: ClassVar[str] = "matching.intro_call_cancelled.v1"
    topic: ClassVar[Topic] = MATCHING_INTRO_CALLS

    intro_call_id: UUID


class IntroCallInvited(Event):
    """A prospect was invited to a group call. Emitted by matching; read by notifications and signup (journey)."""

    type: ClassVar[str] = "matching.intro_call_invited.v1"
    topic: ClassVar[Topic] = MATCHING_INTRO_CALLS

    intro_call_id: UUID
    person_id: UUID
    starts_at: Moment


class IntroCallAnswered(Event):
    """A prospect answered an invitation; `going` holds a seat, `waiting` a place on the waiting list.

    Emitted by matching; read by notifications.
    """

    type: ClassVar[str] = "matching.intro_call_answered.v1"
    topic: ClassVar[Topic] = MATCHING_INTRO_CALLS

    intro_call_id: UUID
    person_id: UUID
    answer: Literal["going", "waiting", "declined"]
    starts_at: Moment


class IntroCallPromoted(Event):
    """A seat came free and the first of the waiting list has it. Emitted by matching; read by notifications."""

    type: ClassVar[str] = "matching.intro_call_promoted.v1"
    topic: ClassVar[Topic] = MATCHING_INTRO_CALLS

    intro_call_id: UUID
    person_id: UUID
    starts_at: Moment


class IntroCallReminderDue(Event):
    """A group call that the person goes to is near. Emitted by matching; read by notifications."""

    type: ClassVar[str] = "matching.intro_call_reminder_due.v1"
    topic: ClassVar[Topic] = MATCHING_INTRO_CALLS

    intro_call_id: UUID
    person_id: UUID
    starts_at: Moment
    hours_before: int


class IntroCallDropped(Event):
    """A group call that the person was invited to or going to was cancelled. Read by notifications."""

    type: ClassVar[str] = "matching.intro_call_dropped.v1"
    topic: ClassVar[Topic] = MATCHING_INTRO_CALLS

    intro_call_id: UUID
    person_id: UUID
    starts_at: Moment


class IntroCallAttended(Event):
    """Staff recorded that the person took part.

    Emitted by matching; read by signup (journey) and endorsement (a stage that eligibility rules may ask for).
    """

    type: ClassVar[str] = "matching.intro_call_attended.v1"
    topic: ClassVar[Topic] = MATCHING_INTRO_CALLS

    intro_call_id: UUID
    person_id: UUID


class IntroCallMissed(Event):
    """Staff recorded that the person was expected and did not come. Read by notifications (offers the next)."""

    type: ClassVar[str] = "matching.intro_call_missed.v1"
    topic: ClassVar[Topic] = MATCHING_INTRO_CALLS

    intro_call_id: UUID
    person_id: UUID


class _Call(Event):
    """What all events of a one-on-one carry: the call and its two parties."""

    call_id: UUID
    prospect_id: UUID
    volunteer_id: UUID
    purpose: Purpose


class MatchOffered(_Call):
    """A volunteer's hour is held for a prospect until `expires_at`.

    Emitted by matching; read by notifications (the offer) and signup (journey).
    """

    type: ClassVar[str] = "matching.match_offered.v1"
    topic: ClassVar[Topic] = MATCHING_CALLS

    starts_at: Moment
    ends_at: Moment
    expires_at: Moment


class MatchDeclined(_Call):
    """The prospect or the volunteer let the held hour go. Emitted by matching.

    No service reads it; it is for the record. Who waits again hears of the next offer.
    """

    type: ClassVar[str] = "matching.match_declined.v1"
    topic: ClassVar[Topic] = MATCHING_CALLS

    by: Party
    reason: Literal["another_time", "another_person", "not_now", "volunteer_unavailable"]


class MatchExpired(_Call):
    """The hold ran out without an answer. `parked` tells that this was the second silence.

    Emitted by matching; read by notifications.
    """

    type: ClassVar[str] = "matching.match_expired.v1"
    topic: ClassVar[Topic] = MATCHING_CALLS

    parked: bool


class CallBooked(_Call):
    """The prospect confirmed; both are expected. `replaces` names the call that this one was moved from.

    Emitted by matching; read by notifications (both are told, calendar file) and signup (journey).
    """

    type: ClassVar[str] = "matching.call_booked.v1"
    topic: ClassVar[Topic] = MATCHING_CALLS

    starts_at: Moment
    ends_at: Moment
    replaces: UUID | None = None


class CallCancelled(_Call):
    """A booked call will not happen. `replaced_by` names the call that it was moved to, if it was moved.

    Emitted by matching; read by notifications and signup (journey).
    """

    type: ClassVar[str] = "matching.call_cancelled.v1"
    topic: ClassVar[Topic] = MATCHING_CALLS

    by: Party
    replaced_by: UUID | None = None


class CallReminderDue(_Call):
    """A booked call is near. Emitted by matching; read by notifications (both are reminded)."""

    type: ClassVar[str] = "matching.call_reminder_due.v1"
    topic: ClassVar[Topic] = MATCHING_CALLS

    starts_at: Moment
    hours_before: int


class AttestationDue(_Call):
    """A booked call's time is over and nobody has said how it went. Read by notifications (asks the volunteer)."""

    type: ClassVar[str] = "matching.attestation_due.v1"
    topic: ClassVar[Topic] = MATCHING_CALLS

    attempt: int


class CallCompleted(_Call):
    """The volunteer attests that the call took place, with its typed outcome.

    Emitted by matching; read by signup (journey), endorsement (who advised whom) and notifications.
    """

    type: ClassVar[str] = "matching.call_completed.v1"
    topic: ClassVar[Topic] = MATCHING_CALLS

    outcome: Code
    follow_ups: tuple[Code, ...] = ()


class CallMissed(_Call):
    """The call did not take place, and by whom. Emitted by matching; read by notifications and signup (journey)."""

    type: ClassVar[str] = "matching.call_missed.v1"
    topic: ClassVar[Topic] = MATCHING_CALLS

    missed_by: Literal["prospect", "volunteer"]
