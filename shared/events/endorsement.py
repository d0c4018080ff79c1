"""Events of the endorsement service, owner of candidacies, applications, decisions and endorsements."""

from datetime import date
from typing import ClassVar, Literal
from uuid import UUID

from shared.events.base import Code, Event, Moment
from shared.events.topics import (
    ENDORSEMENT_CANDIDACIES,
    ENDORSEMENT_ENDORSEMENTS,
    ENDORSEMENT_STATE,
    Topic,
)


class _Candidacy(Event):
    """What all internal events carry: the candidacy and the person whose it is."""

    candidacy_id: UUID
    person_id: UUID


class CandidacyDeclared(_Candidacy):
    """A person names the office they file for. Emitted by endorsement; read by signup (journey)."""

    type: ClassVar[str] = "endorsement.candidacy_declared.v1"
    topic: ClassVar[Topic] = ENDORSEMENT_CANDIDACIES

    office: Code
    office_level: Code
    state: str


class FilingConfirmed(_Candidacy):
    """Somebody other than the applicant verified the official evidence of filing.

    Emitted by endorsement; read by signup (journey) and notifications (invites to apply).
    """

    type: ClassVar[str] = "endorsement.filing_confirmed.v1"
    topic: ClassVar[Topic] = ENDORSEMENT_CANDIDACIES

    verified_by: UUID


class FilingReturned(_Candidacy):
    """The evidence of filing could not be verified; the candidate may correct it. Read by notifications."""

    type: ClassVar[str] = "endorsement.filing_returned.v1"
    topic: ClassVar[Topic] = ENDORSEMENT_CANDIDACIES

    reason: Code


class ApplicationSubmitted(_Candidacy):
    """An application was submitted and is fixed. Emitted by endorsement; read by signup and notifications."""

    type: ClassVar[str] = "endorsement.application_submitted.v1"
    topic: ClassVar[Topic] = ENDORSEMENT_CANDIDACIES

    application_id: UUID
    application_class: Code


class EligibilityDecided(_Candidacy):
    """A version of the eligibility rules was applied to an application. Read by notifications and signup."""

    type: ClassVar[str] = "endorsement.eligibility_decided.v1"
    topic: ClassVar[Topic] = ENDORSEMENT_CANDIDACIES

    application_id: UUID
    rule_version: str
    outcome: Literal["eligible", "ineligible", "undetermined"]


class ReviewerRecused(_Candidacy):
    """A reviewer may not judge this application: declared, or known to have advised the person.

    Emitted by endorsement. No service reads it; it is for the record.
    """

    type: ClassVar[str] = "endorsement.reviewer_recused.v1"
    topic: ClassVar[Topic] = ENDORSEMENT_CANDIDACIES

    application_id: UUID
    reviewer_id: UUID
    reason: Literal["declared", "advised", "same_person"]


class EndorsementDecided(_Candidacy):
    """The decision is to endorse; the candidate may be told in confidence, nobody else until the announcement.

    Emitted by endorsement; read by notifications (the candidate's own notice) and signup (journey).
    """

    type: ClassVar[str] = "endorsement.endorsement_decided.v1"
    topic: ClassVar[Topic] = ENDORSEMENT_CANDIDACIES

    application_id: UUID
    decision_id: UUID
    embargo_until: Moment


class EndorsementDeclined(_Candidacy):
    """The decision is not to endorse, with the reason's code. Read by notifications and signup (journey)."""

    type: ClassVar[str] = "endorsement.endorsement_declined.v1"
    topic: ClassVar[Topic] = ENDORSEMENT_CANDIDACIES

    application_id: UUID
    decision_id: UUID
    reason: Code
    reapply_from: date


class EndorsementAnnounced(_Candidacy):
    """The internal twin of `Endorsed`, with the person. Read by notifications and signup (journey)."""

    type: ClassVar[str] = "endorsement.endorsement_announced.v1"
    topic: ClassVar[Topic] = ENDORSEMENT_CANDIDACIES

    endorsement_id: UUID
    decision_id: UUID


class EndorsementWithdrawn(_Candidacy):
    """The internal twin of `EndorsementRescinded`, with the person. Read by notifications and signup (journey)."""

    type: ClassVar[str] = "endorsement.endorsement_withdrawn.v1"
    topic: ClassVar[Topic] = ENDORSEMENT_CANDIDACIES

    endorsement_id: UUID
    reason: Code


class Endorsed(Event):
    """An endorsement was announced. Public: whom, for what, where; published with the candidate's consent.

    Emitted by endorsement; read by downstream systems. Never a person id, never before the embargo.
    """

    type: ClassVar[str] = "endorsement.endorsed.v1"
    topic: ClassVar[Topic] = ENDORSEMENT_ENDORSEMENTS
    personal_data: ClassVar[str] = "ballot name, office and district, with consent"

    endorsement_id: UUID
    ballot_name: str
    office: Code
    office_label: str
    office_level: Code
    state: str
    district: str | None
    election_date: date
    organization: str
    legal_body: Code
    program_version: str
    announced_at: Moment


class EndorsementRescinded(Event):
    """An endorsement that was announced is withdrawn. Public; refers to the endorsement by its id.

    Emitted by endorsement; read by downstream systems.
    """

    type: ClassVar[str] = "endorsement.endorsement_rescinded.v1"
    topic: ClassVar[Topic] = ENDORSEMENT_ENDORSEMENTS
    personal_data: ClassVar[str] = "none"

    endorsement_id: UUID
    rescinded_at: Moment


class EndorsementState(Event):
    """The current state of one endorsement, whole: the last record of a key on the compacted topic is the truth.

    Emitted by endorsement; read by downstream systems.
    """

    type: ClassVar[str] = "endorsement.endorsement_state.v1"
    topic: ClassVar[Topic] = ENDORSEMENT_STATE
    personal_data: ClassVar[str] = "ballot name, office and district, with consent"

    endorsement_id: UUID
    status: Literal["endorsed", "rescinded"]
    ballot_name: str
    office: Code
    office_label: str
    office_level: Code
    state: str
    district: str | None
    election_date: date
    organization: str
    legal_body: Code
    program_version: str
    announced_at: Moment
    rescinded_at: Moment | None = None
