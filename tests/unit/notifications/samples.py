"""One sample of every template's data, and people to write to."""

import datetime as dt
from typing import Any
from uuid import UUID

from shared.directory import Contact
from shared.messages import (
    AlreadyKnown,
    Announced,
    ApplicationReceived,
    AttestRequest,
    AvailabilityRequest,
    CallBooked,
    CallBookedVolunteer,
    CallCancelled,
    CallCompletedFollowup,
    CallMissed,
    CallReminder,
    ConfirmedWelcome,
    Data,
    DecisionDeclined,
    DecisionEndorsed,
    EligibilityResult,
    FilingConfirmed,
    FilingReturned,
    IntroCancelled,
    IntroConfirmed,
    IntroInvitation,
    IntroMissed,
    IntroPromoted,
    IntroReminder,
    IntroWaiting,
    MatchExpired,
    MatchOffer,
    Rescinded,
    SignIn,
    WelcomeConfirm,
)

AT = dt.datetime(2026, 3, 14, 18, 30, tzinfo=dt.UTC)
LATER = dt.datetime(2026, 3, 14, 19, 0, tzinfo=dt.UTC)
PERSON = UUID("0190a5c0-0000-7000-8000-000000000001")
URL = "https://hustings.example/x?a=1&b=2"
INTRO: dict[str, Any] = {
    "starts_at": AT, "minutes": 75, "track": "educators", "call_language": "en", "answer_url": URL,
}  # fmt: skip
CALL: dict[str, Any] = {"with_name": "Zoë O'Neil", "starts_at": AT, "ends_at": LATER, "call_url": URL}
RACE: dict[str, Any] = {"office": "school_board", "state": "KS", "district": "512", "page_url": URL}

SAMPLES: tuple[Data, ...] = (
    WelcomeConfirm(confirm_url=URL, form="run"),
    AlreadyKnown(confirm_url=URL, form="volunteer"),
    SignIn(sign_in_url=URL, expires_at=AT),
    ConfirmedWelcome(page_url=URL, roles=("prospect", "volunteer", "mentor", "campaign_staff")),
    IntroInvitation(**INTRO),
    IntroConfirmed(**INTRO, join_url=URL),
    IntroWaiting(**{**INTRO, "track": None}, place=3),
    IntroPromoted(**INTRO, join_url=URL),
    IntroReminder(**INTRO, join_url=URL),
    IntroMissed(next_starts_at=AT, answer_url=URL),
    IntroMissed(next_starts_at=None, answer_url=None),
    IntroCancelled(starts_at=AT),
    AvailabilityRequest(availability_url=URL, role="prospect"),
    AvailabilityRequest(availability_url=URL, role="volunteer"),
    MatchOffer(
        **CALL,
        expires_at=AT,
        reasons=(
            {"code": "same_state", "state": "KS"},
            {"code": "knows_office", "office": "school_board"},
            {"code": "shared_track", "track": "educators"},
            {"code": "speaks", "language": "es"},
            {"code": "waited", "days": 3},
            {"code": "invented_later"},
        ),
    ),
    MatchExpired(parked=True, rejoin_url=URL),
    MatchExpired(parked=False, rejoin_url=URL),
    CallBooked(**CALL, moved=False),
    CallBooked(**CALL, moved=True),
    CallBookedVolunteer(
        **CALL, moved=False, with_phone=None, with_email="p@example.org", office="mayor", state="KS", tracks=("women",)
    ),
    CallBookedVolunteer(
        **CALL, moved=True, with_phone="+13165550100", with_email="p@example.org", office=None, state=None, tracks=()
    ),
    CallReminder(**CALL, hours_before=24),
    CallCancelled(with_name="Zoë O'Neil", starts_at=AT, by="prospect", to_role="prospect"),
    CallCancelled(with_name="Zoë O'Neil", starts_at=AT, by="staff", to_role="prospect"),
    CallCancelled(with_name="Zoë O'Neil", starts_at=AT, by="prospect", to_role="volunteer"),
    AttestRequest(**CALL, attest_url=URL),
    CallCompletedFollowup(with_name="Zoë O'Neil", follow_ups=("training", "invented_later"), next_url=URL),
    CallMissed(with_name="Zoë O'Neil", missed_by="prospect", rejoin_url=URL),
    CallMissed(with_name="Zoë O'Neil", missed_by="volunteer", rejoin_url=URL),
    FilingConfirmed(**RACE),
    FilingReturned(**{**RACE, "district": None}, reason="not_on_list"),
    FilingReturned(**RACE, reason="other_name", note="Anna-Maria, or Ana?"),
    ApplicationReceived(**RACE, answer_by=dt.date(2026, 4, 13)),
    *(
        EligibilityResult(
            **RACE,
            outcome=outcome,
            rule_version="2025-age-40",
            checks=(
                {
                    "code": "age_within",
                    "passed": passed,
                    "params": {"requirement": {"en": "You are 40 or younger.", "es": "Tienes 40 años o menos."}},
                },
            ),
        )
        for outcome, passed in (("eligible", True), ("ineligible", False), ("undetermined", None))
    ),
    DecisionEndorsed(**RACE, embargo_until=AT),
    DecisionDeclined(**RACE, reason="plan_not_ready", reapply_from=dt.date(2026, 4, 13)),
    Announced(**RACE, public_url=URL),
    Rescinded(**RACE, reason="conduct"),
)


def sample(template: str) -> Data:
    """The first sample of a template."""
    return next(data for data in SAMPLES if data.template == template)


def contact(person_id: UUID = PERSON, **changes: Any) -> Contact:
    """A confirmed person in Kansas with both consents; `changes` override."""
    return Contact(
        **{
            "person_id": person_id,
            "current_id": person_id,
            "name": "Ana Pérez-Núñez",
            "email": f"p{person_id.hex[-6:]}@example.org",
            "phone": "+13165550123",
            "language": "en",
            "time_zone": "America/Chicago",
            "state": "KS",
            "confirmed": True,
            "consents": {"email": True, "sms": True},
            "legal_body": "education",
            **changes,
        }
    )
