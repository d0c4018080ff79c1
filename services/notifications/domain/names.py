"""Names of states, templates and reasons as staff and recipients read them."""

from collections.abc import Mapping

from shared.web.text import Message, Text, _

STATES: Mapping[str, Message] = {
    "queued": _("Waiting"),
    "deferred": _("Put off"),
    "claimed": _("Being prepared"),
    "handing": _("Being handed over"),
    "unknown": _("Unknown"),
    "accepted": _("Handed over"),
    "rejected": _("Refused"),
    "dropped": _("Not sent"),
}
TEMPLATES: Mapping[str, Message] = {
    "welcome_confirm": _("Confirm your address"),
    "already_known": _("Signed up again"),
    "sign_in": _("Link to sign in"),
    "confirmed_welcome": _("Welcome"),
    "intro_invitation": _("Invitation to an intro call"),
    "intro_confirmed": _("Seat in an intro call"),
    "intro_waiting": _("Waiting list of an intro call"),
    "intro_promoted": _("Seat came free"),
    "intro_reminder": _("Reminder of an intro call"),
    "intro_missed": _("Missed intro call"),
    "intro_cancelled": _("Intro call cancelled"),
    "availability_request": _("Question for hours"),
    "match_offer": _("Offer of a call"),
    "match_expired": _("Offer ran out"),
    "call_booked": _("Call booked"),
    "call_booked_volunteer": _("Call booked, to the volunteer"),
    "call_reminder": _("Reminder of a call"),
    "call_cancelled": _("Call cancelled"),
    "attest_request": _("Question how the call went"),
    "call_completed_followup": _("After the call"),
    "call_missed": _("Call missed"),
    "filing_confirmed": _("Filing confirmed"),
    "filing_returned": _("Filing to correct"),
    "application_received": _("Application received"),
    "eligibility_result": _("Result of the rules"),
    "decision_endorsed": _("Decision to endorse"),
    "decision_declined": _("Decision not to endorse"),
    "endorsement_announced": _("Endorsement announced"),
    "endorsement_rescinded": _("Endorsement withdrawn"),
}
REASONS: Mapping[str, Message] = {
    "suppressed": _("the person stopped it, or the address does not work"),
    "no_consent": _("no consent for this channel"),
    "gone": _("it no longer applied"),
    "expired": _("it would have come too late"),
    "unconfirmed": _("the address is not confirmed"),
    "erased": _("the person was erased"),
    "no_person": _("nobody is known under this id"),
    "no_contact": _("no address or number for this channel"),
    "bad_address": _("the address cannot be used"),
    "not_in_program": _("the program does not send it"),
    "quiet_hours": _("texts wait for the morning there"),
    "owner_away": _("the service that knows the facts does not answer"),
    "not_rendered": _("the facts do not fit the template"),
    "out_of_tries": _("put off too many times"),
    "bounced": _("the address does not exist"),
    "timeout": _("no answer in time"),
    "server_disconnected": _("the connection was closed without an answer"),
    "sender_lost": _("the sender stopped in the middle"),
    "receipt": _("the relay host reported that it arrived"),
    "provider_demoted": _("the provider was slow or failing"),
    "stopping": _("the sender was stopped before it"),
    "too_slow": _("there was no time left in the batch"),
    "looked_up": _("the provider was asked"),
    "resend": _("sent once more, as its class allows"),
    "by_operator": _("decided by staff"),
}


def state_name(state: str) -> Text:
    """A state's name."""
    return STATES[state]


def template_name(template: str) -> Text:
    """A template's name; the code itself for one that this version no longer has."""
    return TEMPLATES.get(template, template)


def reason_name(reason: str) -> Text:
    """A reason in words; a provider's own code stays as it is."""
    return REASONS.get(reason, reason)
