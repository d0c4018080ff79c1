"""Which event causes which messages to whom: one table, the only place that says so.

A rule turns an event into `Planned` messages. `template` is the text (and the question to its owner), `kind` the
entry of the program file's `messages` that says whether, how and where it is sent; they differ where the program
speaks of a moved call.
"""

import datetime as dt
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, TypeAlias
from uuid import UUID

from shared.events import Event, endorsement, matching, signup


@dataclass(frozen=True, slots=True)
class Planned:
    """One message to one person. `expires_at` (UTC): from then on it would come too late."""

    template: str
    person_id: UUID
    reference: str
    kind: str
    expires_at: dt.datetime | None = None


Rule: TypeAlias = Callable[[Any], tuple[Planned, ...]]


def _to_person(template: str, reference: str, *, expires: str | None = None) -> Rule:
    """One message to the event's person; `reference` and `expires` name fields of the event."""

    def rule(event: Any) -> tuple[Planned, ...]:
        expires_at = getattr(event, expires) if expires else None
        return (Planned(template, event.person_id, str(getattr(event, reference)), template, expires_at),)

    return rule


def _intro_answered(event: matching.IntroCallAnswered) -> tuple[Planned, ...]:
    template = {"going": "intro_confirmed", "waiting": "intro_waiting"}.get(event.answer)
    if template is None:
        return ()
    return (Planned(template, event.person_id, str(event.intro_call_id), template, event.starts_at),)


def _call_booked(event: matching.CallBooked) -> tuple[Planned, ...]:
    moved = event.replaces is not None
    call = str(event.call_id)
    return (
        Planned(
            "call_booked", event.prospect_id, call, "call_rescheduled" if moved else "call_booked", event.starts_at
        ),
        Planned(
            "call_booked_volunteer",
            event.volunteer_id,
            call,
            "call_rescheduled" if moved else "call_booked_volunteer",
            event.starts_at,
        ),
    )


def _call_cancelled(event: matching.CallCancelled) -> tuple[Planned, ...]:
    if event.replaced_by is not None:
        return ()  # the booking that replaces it tells both
    return _to_both("call_cancelled", event)


def _to_both(template: str, event: Any, expires_at: dt.datetime | None = None) -> tuple[Planned, ...]:
    call = str(event.call_id)
    return tuple(
        Planned(template, person_id, call, template, expires_at)
        for person_id in (event.prospect_id, event.volunteer_id)
    )


def _to_prospect(template: str, expires: str | None = None) -> Rule:
    def rule(event: Any) -> tuple[Planned, ...]:
        expires_at = getattr(event, expires) if expires else None
        return (Planned(template, event.prospect_id, str(event.call_id), template, expires_at),)

    return rule


def _signed_up(event: signup.SignedUp) -> tuple[Planned, ...]:
    template = "already_known" if event.known else "welcome_confirm"
    return (Planned(template, event.person_id, str(event.signup_id), template),)


def _attestation(event: matching.AttestationDue) -> tuple[Planned, ...]:
    return (Planned("attest_request", event.volunteer_id, str(event.call_id), "attest_request"),)


PLAN: Mapping[type[Event], Rule] = {
    signup.SignedUp: _signed_up,
    signup.PersonConfirmed: _to_person("confirmed_welcome", "person_id"),
    signup.SignInRequested: _to_person("sign_in", "link_id", expires="expires_at"),
    matching.AvailabilityRequested: _to_person("availability_request", "person_id"),
    matching.IntroCallInvited: _to_person("intro_invitation", "intro_call_id", expires="starts_at"),
    matching.IntroCallAnswered: _intro_answered,
    matching.IntroCallPromoted: _to_person("intro_promoted", "intro_call_id", expires="starts_at"),
    matching.IntroCallReminderDue: _to_person("intro_reminder", "intro_call_id", expires="starts_at"),
    matching.IntroCallMissed: _to_person("intro_missed", "intro_call_id"),
    matching.IntroCallDropped: _to_person("intro_cancelled", "intro_call_id", expires="starts_at"),
    matching.MatchOffered: _to_prospect("match_offer", "expires_at"),
    matching.MatchExpired: _to_prospect("match_expired"),
    matching.CallBooked: _call_booked,
    matching.CallCancelled: _call_cancelled,
    matching.CallReminderDue: lambda event: _to_both("call_reminder", event, event.starts_at),
    matching.AttestationDue: _attestation,
    matching.CallCompleted: _to_prospect("call_completed_followup"),
    matching.CallMissed: _to_prospect("call_missed"),
    endorsement.FilingConfirmed: _to_person("filing_confirmed", "candidacy_id"),
    endorsement.FilingReturned: _to_person("filing_returned", "candidacy_id"),
    endorsement.ApplicationSubmitted: _to_person("application_received", "application_id"),
    endorsement.EligibilityDecided: _to_person("eligibility_result", "application_id"),
    endorsement.EndorsementDecided: _to_person("decision_endorsed", "application_id"),
    endorsement.EndorsementDeclined: _to_person("decision_declined", "application_id"),
    endorsement.EndorsementAnnounced: _to_person("endorsement_announced", "endorsement_id"),
    endorsement.EndorsementWithdrawn: _to_person("endorsement_rescinded", "endorsement_id"),
}

TEMPLATES_WITH_TEXT = frozenset(
    {
        "intro_promoted",
        "intro_reminder",
        "intro_cancelled",
        "match_offer",
        "call_booked",
        "call_booked_volunteer",
        "call_reminder",
        "call_cancelled",
    }
)
"""Templates that exist as a text message too."""


def plan(event: Event) -> tuple[Planned, ...]:
    """The messages that an event causes; none for one that concerns nobody."""
    return PLAN[type(event)](event)
