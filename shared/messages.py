"""What a message needs to say: the contract between notifications and the services that own the facts.

An event names a message's template and its reference (a call, an application …). At the moment of sending,
notifications asks the owner, `POST <owner>/internal/message-data` with `Request`, for what the template needs.
The owner answers per item: the data, or that the message no longer applies (`gone`), which is how stage and expiry
are checked again. Links carry tokens and so are made by the owner, at that moment; they are on no topic.
"""

from datetime import date
from typing import Any, ClassVar, Literal
from uuid import UUID

from pydantic import AwareDatetime, BaseModel, ConfigDict, Field

PATH = "/internal/message-data"
SCOPE = "message-data"
MAX_ITEMS = 200

Owner = Literal["signup", "matching", "endorsement"]


class Item(BaseModel):
    """One question: what does `template` say to `person_id` about `reference`? `id` is echoed."""

    model_config = ConfigDict(frozen=True)

    id: str
    template: str
    person_id: UUID
    reference: str


class Request(BaseModel):
    """A batch of questions."""

    model_config = ConfigDict(frozen=True)

    items: tuple[Item, ...] = Field(max_length=MAX_ITEMS)


class Attachment(BaseModel):
    """A text file that goes with a message, e.g. a calendar file."""

    model_config = ConfigDict(frozen=True)

    filename: str
    content_type: str
    content: str


class Answer(BaseModel):
    """`ok` with the template's data, or `gone` with the reason's code."""

    model_config = ConfigDict(frozen=True)

    id: str
    status: Literal["ok", "gone"]
    reason: str | None = None
    data: dict[str, Any] = Field(default_factory=dict)
    attachments: tuple[Attachment, ...] = ()


class Answers(BaseModel):
    """Answers, in the order of the questions."""

    model_config = ConfigDict(frozen=True)

    items: tuple[Answer, ...]


class Data(BaseModel):
    """What one template needs. The recipient's name, language and zone come from their contact, not from here.

    Times are UTC; notifications shows them in the recipient's zone. `url`s are absolute.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    template: ClassVar[str]
    owner: ClassVar[Owner]
    registry: ClassVar[dict[str, type["Data"]]] = {}

    @classmethod
    def __pydantic_init_subclass__(cls, **kwargs: Any) -> None:
        super().__pydantic_init_subclass__(**kwargs)
        if cls.template:
            Data.registry[cls.template] = cls

    def answer(self, item: Item, *attachments: Attachment) -> Answer:
        """The `ok` answer to a question."""
        return Answer(id=item.id, status="ok", data=self.model_dump(mode="json"), attachments=attachments)


class WelcomeConfirm(Data):
    """To a new address: what they signed up for, and the link that confirms it. Reference: the sign-up."""

    template, owner = "welcome_confirm", "signup"
    confirm_url: str
    form: str


class AlreadyKnown(Data):
    """To a known address: somebody signed up with it; confirm to apply. Reference: the sign-up."""

    template, owner = "already_known", "signup"
    confirm_url: str
    form: str


class SignIn(Data):
    """A link to sign in. Reference: the link."""

    template, owner = "sign_in", "signup"
    sign_in_url: str
    expires_at: AwareDatetime


class ConfirmedWelcome(Data):
    """After confirmation: what happens next and the link to the person's own page. Reference: the person."""

    template, owner = "confirmed_welcome", "signup"
    page_url: str
    roles: tuple[str, ...]


class _IntroCall(Data):
    template, owner = "", "matching"
    starts_at: AwareDatetime
    minutes: int
    track: str | None
    call_language: str
    answer_url: str


class IntroInvitation(_IntroCall):
    """An invitation to a group call, with the link to answer it. Reference: `<intro call>`."""

    template = "intro_invitation"


class IntroConfirmed(_IntroCall):
    """A seat is theirs; how to join. Calendar file attached. Reference: the intro call."""

    template = "intro_confirmed"
    join_url: str


class IntroWaiting(_IntroCall):
    """They are on the waiting list. Reference: the intro call."""

    template = "intro_waiting"
    place: int


class IntroPromoted(_IntroCall):
    """A seat came free and is theirs. Calendar file attached. Reference: the intro call."""

    template = "intro_promoted"
    join_url: str


class IntroReminder(_IntroCall):
    """The group call is near. Reference: the intro call."""

    template = "intro_reminder"
    join_url: str


class IntroMissed(Data):
    """They missed it; here is the next. `next_starts_at` is None when none is scheduled. Reference: the intro call."""

    template, owner = "intro_missed", "matching"
    next_starts_at: AwareDatetime | None
    answer_url: str | None


class IntroCancelled(Data):
    """The group call was cancelled. Reference: the intro call."""

    template, owner = "intro_cancelled", "matching"
    starts_at: AwareDatetime


class AvailabilityRequest(Data):
    """Their weekly hours are needed. Reference: the person."""

    template, owner = "availability_request", "matching"
    availability_url: str
    role: Literal["prospect", "volunteer"]


class _Call(Data):
    template, owner = "", "matching"
    with_name: str
    starts_at: AwareDatetime
    ends_at: AwareDatetime
    call_url: str


class MatchOffer(_Call):
    """To a prospect: an hour is held for them; why this person. Reference: the call."""

    template = "match_offer"
    expires_at: AwareDatetime
    reasons: tuple[dict[str, Any], ...]


class MatchExpired(Data):
    """To a prospect: the hold ran out. `parked` after the second silence. Reference: the call."""

    template, owner = "match_expired", "matching"
    parked: bool
    rejoin_url: str


class CallBooked(_Call):
    """To the prospect: the call is booked. Calendar file attached. Reference: the call."""

    template = "call_booked"
    moved: bool


class CallBookedVolunteer(_Call):
    """To the volunteer: whom they will talk to, when, how to reach them, the guide. Calendar file attached."""

    template = "call_booked_volunteer"
    moved: bool
    with_phone: str | None
    with_email: str
    office: str | None
    state: str | None
    tracks: tuple[str, ...]


class CallReminder(_Call):
    """To either party: the call is near. Reference: the call."""

    template = "call_reminder"
    hours_before: int


class CallCancelled(Data):
    """To either party: the call will not happen. Cancelling calendar file attached. Reference: the call."""

    template, owner = "call_cancelled", "matching"
    with_name: str
    starts_at: AwareDatetime
    by: Literal["prospect", "volunteer", "staff"]
    to_role: Literal["prospect", "volunteer"]


class AttestRequest(_Call):
    """To the volunteer: how did the call go? Reference: the call."""

    template = "attest_request"
    attest_url: str


class CallCompletedFollowup(Data):
    """To the prospect after a completed call: the agreed next steps. Reference: the call."""

    template, owner = "call_completed_followup", "matching"
    with_name: str
    follow_ups: tuple[str, ...]
    next_url: str


class CallMissed(Data):
    """To the prospect after a missed call: what happens now. Reference: the call."""

    template, owner = "call_missed", "matching"
    with_name: str
    missed_by: Literal["prospect", "volunteer"]
    rejoin_url: str


class _Candidacy(Data):
    template, owner = "", "endorsement"
    office: str
    state: str
    district: str | None
    page_url: str


class FilingConfirmed(_Candidacy):
    """Their filing was verified; they may apply. Reference: the candidacy."""

    template = "filing_confirmed"


class FilingReturned(_Candidacy):
    """Their filing could not be verified: the reason's code, and what the checker wrote. Reference: the candidacy."""

    template = "filing_returned"
    reason: str
    note: str | None = None


class ApplicationReceived(_Candidacy):
    """The application was submitted. Reference: the application."""

    template = "application_received"
    answer_by: date


class EligibilityResult(_Candidacy):
    """The rules were applied. `checks` are dicts of code, passed and params. Reference: the application."""

    template = "eligibility_result"
    outcome: Literal["eligible", "ineligible", "undetermined"]
    rule_version: str
    checks: tuple[dict[str, Any], ...]


class DecisionEndorsed(_Candidacy):
    """In confidence, before the announcement. Reference: the application."""

    template = "decision_endorsed"
    embargo_until: AwareDatetime


class DecisionDeclined(_Candidacy):
    """The decision, its reason's code, and when to apply again. Reference: the application."""

    template = "decision_declined"
    reason: str
    reapply_from: date


class Announced(_Candidacy):
    """The endorsement is public. Reference: the endorsement."""

    template = "endorsement_announced"
    public_url: str


class Rescinded(_Candidacy):
    """The endorsement was withdrawn, with the reason's code. Reference: the endorsement."""

    template = "endorsement_rescinded"
    reason: str
