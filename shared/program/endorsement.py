"""Endorsing: eligibility rules, the application, the scorecard and what follows a decision."""

from __future__ import annotations

from datetime import date
from typing import Annotated, Literal

from pydantic import Field, model_validator

from shared.program.intake import Level
from shared.program.pipeline import StageId
from shared.program.vocabulary import Id, Localized, Misfit, Section, Version, check_unique

Occasion = Literal["application", "election_day", "signup"]
Age = Annotated[int, Field(ge=16, le=120)]


class YoungerThan(Section):
    """The person has not yet had the birthday on which they reach `age`."""

    test: Literal["younger_than"]
    """The kind of rule."""
    age: Age
    """In years."""
    on: Occasion
    """The day on which the age counts."""
    label: Localized
    """The rule in words, for applicants."""


class AgeAtMost(Section):
    """The person is `age` or younger: they pass until the day before the next birthday."""

    test: Literal["age_at_most"]
    """The kind of rule."""
    age: Age
    """In years."""
    on: Occasion
    """The day on which the age counts."""
    label: Localized
    """The rule in words, for applicants."""


class BornInOrAfter(Section):
    """The year of birth alone decides; no date is needed."""

    test: Literal["born_in_or_after"]
    """The kind of rule."""
    year: int = Field(ge=1900, le=2100)
    """First year of birth that passes."""
    label: Localized
    """The rule in words, for applicants."""


class OfficeLevelIn(Section):
    """The office is at one of these levels, and is not one that the program never endorses for."""

    test: Literal["office_level_in"]
    """The kind of rule."""
    levels: tuple[Level, ...] = Field(min_length=1)
    """Levels that pass."""
    label: Localized
    """The rule in words, for applicants."""


class FilingConfirmed(Section):
    """Somebody other than the applicant has checked that they are on the ballot."""

    test: Literal["filing_confirmed"]
    """The kind of rule."""
    label: Localized
    """The rule in words, for applicants."""


class StageReached(Section):
    """The person has reached a stage of the pipeline."""

    test: Literal["stage_reached"]
    """The kind of rule."""
    stage: StageId
    """Which one."""
    label: Localized
    """The rule in words, for applicants."""


Rule = Annotated[
    YoungerThan | AgeAtMost | BornInOrAfter | OfficeLevelIn | FilingConfirmed | StageReached,
    Field(discriminator="test"),
]


class Eligibility(Section):
    """One version of the rules. All of its rules must pass."""

    version: Version
    """Kept with each decision."""
    effective_from: date
    """First day of applications that it judges."""
    effective_to: date | None = None
    """Last day; left out, until further notice."""
    rules: tuple[Rule, ...] = Field(min_length=1)
    """The rules of this version."""

    @model_validator(mode="after")
    def _ordered(self) -> Eligibility:
        if self.effective_to is not None and self.effective_to < self.effective_from:
            raise Misfit(
                f"is before effective_from ({self.effective_from}); put it on the same day or later",
                ("effective_to",),
            )
        return self

    def covers(self, day: date) -> bool:
        """Whether the version is in force on that day."""
        return self.effective_from <= day and (self.effective_to is None or day <= self.effective_to)


class Statement(Section):
    """A value that applicants affirm."""

    id: Id
    """Stored with the answer."""
    text: Localized
    """What is affirmed, in the first person."""


class ApplicationField(Section):
    """A question of the application form."""

    id: Id
    """Stored with the answer."""
    kind: Literal["short_text", "long_text", "money", "whole_number", "statements"]
    """`money` is whole US cents; `statements` are boxes to affirm one by one."""
    label: Localized
    """The question."""
    help: Localized | None = None
    """A line under the question."""
    required: bool
    """Whether the application can be handed in without it. For statements: whether all must be affirmed."""
    max_length: int | None = Field(default=None, ge=1, le=20_000)
    """Characters, for texts; must be given."""
    statements: tuple[Statement, ...] = ()
    """For `kind = "statements"`."""

    @model_validator(mode="after")
    def _fits_kind(self) -> ApplicationField:
        written = self.kind in ("short_text", "long_text")
        if written and self.max_length is None:
            raise Misfit("is missing; give the most characters allowed", ("max_length",))
        if not written and self.max_length is not None:
            raise Misfit("is only for texts; remove it here", ("max_length",))
        if (self.kind == "statements") != bool(self.statements):
            raise Misfit('belongs to kind = "statements" and only there; add or remove it', ("statements",))
        check_unique([statement.id for statement in self.statements], ("statements",))
        return self


class ApplicationClass(Section):
    """A round of applications with a deadline."""

    id: Id
    """Kept with each application."""
    label: Localized
    """As applicants see it."""
    opens: date
    """First day, in the organization's time zone."""
    closes: date
    """Last day, until midnight in the organization's time zone."""

    @model_validator(mode="after")
    def _ordered(self) -> ApplicationClass:
        if self.closes < self.opens:
            raise Misfit(f"is before opens ({self.opens}); put it on the same day or later", ("closes",))
        return self


class Application(Section):
    """What a candidate hands in to be endorsed, and when."""

    body: Id
    """The legal body that endorses."""
    answer_within_days: int = Field(ge=1, le=180)
    """The promise to applicants, from the day they hand in."""
    intro: Localized
    """A few sentences under the heading."""
    fields: tuple[ApplicationField, ...] = Field(min_length=1)
    """Questions, in order."""
    classes: tuple[ApplicationClass, ...] = Field(min_length=1)
    """Rounds; nobody can apply between them."""

    @model_validator(mode="after")
    def _unique(self) -> Application:
        check_unique([field.id for field in self.fields], ("fields",))
        check_unique([entry.id for entry in self.classes], ("classes",))
        return self


class Criterion(Section):
    """Something that reviewers score from 1 (weak) to 5 (strong)."""

    id: Id
    """Stored with the score."""
    label: Localized
    """As reviewers see it."""
    help: Localized | None = None
    """A question that helps to score."""
    weight: int = Field(ge=1, le=100)
    """Share of the total, in percent; all weights add up to 100."""


class Quorum(Section):
    """How many reviewers a decision needs."""

    size: int = Field(ge=1, le=9)
    """Valid scorecards in all, ..."""
    outside: int = Field(ge=0, le=9)
    """... of which this many by people from outside the staff."""


class DeclineReason(Section):
    """Why an application was declined."""

    id: Id
    """Stored with the decision."""
    label: Localized
    """As the applicant reads it."""
    reapply_after_days: int | None = Field(default=None, ge=0, le=3650)
    """When the person may apply again; left out, never for the same candidacy."""


class Embargo(Section):
    """How long an endorsement stays confidential between the decision and its announcement."""

    default_hours: int = Field(ge=0, le=8760)
    """Length of an embargo that nobody sets, from the decision."""
    max_days: int = Field(ge=0, le=365)
    """Longest embargo that may be set."""
    who: tuple[Literal["staff", "reviewer"], ...] = Field(min_length=1)
    """Roles that may set another time than the default."""


class Scorecard(Section):
    """How applications are scored, decided and answered."""

    criteria: tuple[Criterion, ...] = Field(min_length=1)
    """What is scored."""
    quorum: Quorum
    """Scorecards that a decision needs."""
    decline_reasons: tuple[DeclineReason, ...] = Field(min_length=1)
    """Reasons to choose from when declining."""
    embargo: Embargo
    """Confidential time before an announcement."""

    @model_validator(mode="after")
    def _consistent(self) -> Scorecard:
        check_unique([criterion.id for criterion in self.criteria], ("criteria",))
        check_unique([reason.id for reason in self.decline_reasons], ("decline_reasons",))
        if (total := sum(criterion.weight for criterion in self.criteria)) != 100:
            raise Misfit(
                f"has weights that add up to {total}; change them to add up to 100",
                ("criteria", len(self.criteria) - 1, "weight"),
            )
        if self.quorum.outside > self.quorum.size:
            raise Misfit(
                f"is {self.quorum.outside}, more than the quorum's size ({self.quorum.size}); lower it",
                ("quorum", "outside"),
            )
        if self.embargo.default_hours > self.embargo.max_days * 24:
            raise Misfit(
                f"is longer than max_days ({self.embargo.max_days} days); lower it",
                ("embargo", "default_hours"),
            )
        return self
