"""Why somebody got a message: the event that caused it, as a sentence."""

from collections.abc import Mapping

from shared.web.text import Message, _

REASONS: Mapping[str, Message] = {
    "signup.signed_up.v1": _("somebody, most likely you, filled in our sign-up form with this address"),
    "signup.person_confirmed.v1": _("you confirmed your address"),
    "signup.sign_in_requested.v1": _("somebody, most likely you, asked for a link to sign in"),
    "matching.availability_requested.v1": _("you signed up for calls and we don’t know your hours yet"),
    "matching.intro_call_invited.v1": _("you signed up and we scheduled an intro call"),
    "matching.intro_call_answered.v1": _("you answered our invitation to an intro call"),
    "matching.intro_call_promoted.v1": _("you were on the waiting list of an intro call"),
    "matching.intro_call_reminder_due.v1": _("you have a seat in an intro call"),
    "matching.intro_call_missed.v1": _("we expected you in an intro call"),
    "matching.intro_call_dropped.v1": _("you were invited to an intro call that was cancelled"),
    "matching.match_offered.v1": _("a volunteer’s time is held for a call with you"),
    "matching.match_expired.v1": _("a call that we held for you was not confirmed in time"),
    "matching.call_booked.v1": _("a call with you was booked"),
    "matching.call_cancelled.v1": _("a call with you was cancelled"),
    "matching.call_reminder_due.v1": _("you have a call coming up"),
    "matching.attestation_due.v1": _("you held a call and have not told us yet how it went"),
    "matching.call_completed.v1": _("you had a call with one of our volunteers"),
    "matching.call_missed.v1": _("a call with you did not take place"),
    "endorsement.filing_confirmed.v1": _("you told us that you filed for office"),
    "endorsement.filing_returned.v1": _("you told us that you filed for office"),
    "endorsement.application_submitted.v1": _("you applied for our endorsement"),
    "endorsement.eligibility_decided.v1": _("you applied for our endorsement"),
    "endorsement.endorsement_decided.v1": _("you applied for our endorsement"),
    "endorsement.endorsement_declined.v1": _("you applied for our endorsement"),
    "endorsement.endorsement_announced.v1": _("we endorsed you"),
    "endorsement.endorsement_withdrawn.v1": _("we had endorsed you"),
}


def why(event_type: str) -> Message:
    """The clause that follows "You get this because"."""
    return REASONS[event_type]
