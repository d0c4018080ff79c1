"""From sign-up to election: stages, group calls, one-on-one calls and how they are matched."""

from __future__ import annotations

from typing import Literal

from pydantic import Field, model_validator

from shared.program.vocabulary import Id, Localized, Misfit, Section, check_unique

StageId = Literal[
    "signed_up",
    "confirmed",
    "intro_call",
    "one_on_one",
    "filed",
    "applied",
    "eligible",
    "decided",
    "endorsed",
    "elected",
    "alum",
]


class Stage(Section):
    """A step of the pipeline. The order in the file is the order in which people see them."""

    id: StageId
    """Which one; the first is `signed_up`."""
    label: Localized
    """As people see it."""
    required: bool
    """Whether an endorsement needs it; people may skip the others."""
    requires: tuple[StageId, ...] = ()
    """Stages that must be reached before this one."""


class IntroCalls(Section):
    """Group calls for people who have just signed up."""

    capacity: int = Field(ge=1, le=5000)
    """People per call unless staff set another number."""
    minutes: int = Field(ge=15, le=240)
    """Length of a call."""
    waiting_list: bool
    """Whether people may queue for a full call."""
    reminder_hours: tuple[int, ...]
    """Hours before the call at which reminders go out, longest first."""

    @model_validator(mode="after")
    def _ordered(self) -> IntroCalls:
        check_reminders(self.reminder_hours)
        return self


def check_reminders(hours: tuple[int, ...]) -> None:
    """Refuse reminders that are out of order, double, or not between one hour and two weeks before."""
    if any(not 1 <= hour <= 336 for hour in hours):
        raise Misfit("must lie between 1 and 336 hours; correct them", ("reminder_hours",))
    if list(hours) != sorted(set(hours), reverse=True):
        raise Misfit("must be different and fall, such as [24, 2]; reorder them", ("reminder_hours",))


class Weights(Section):
    """Utility of a call between one prospect and one volunteer, in points. Higher is matched first."""

    base: int = Field(ge=0)
    """Any call at all."""
    same_state: int = Field(ge=0)
    """Both live in the same state."""
    same_division: int = Field(ge=0)
    """Another state of the same census division."""
    office: int = Field(ge=0)
    """The volunteer knows the office that the prospect wants."""
    office_undecided: int = Field(ge=0)
    """The prospect has not chosen an office."""
    track_each: int = Field(ge=0)
    """For every track in common, ..."""
    track_max: int = Field(ge=0)
    """... up to this number of tracks."""
    urbanicity: int = Field(ge=0)
    """Both rural, suburban or urban."""
    lived: int = Field(ge=0)
    """The volunteer shares a lived experience that the prospect asked for."""
    lived_no_pref: int = Field(ge=0)
    """The prospect asked for none."""
    exp_ok: int = Field(ge=0)
    """The volunteer is as experienced as needed."""
    exp_short: int = Field(ge=0)
    """The volunteer is less experienced than needed."""
    soon_max: int = Field(ge=0)
    """A call today; ..."""
    soon_per_day: int = Field(ge=0)
    """... less this for every day later, never below zero."""
    wait_per_day: int = Field(ge=1)
    """For every day waited, without a limit, so that nobody starves."""


class Fairness(Section):
    """Whether groups that are served less often get a price that lifts them."""

    floors: bool
    """Whether this is done."""
    floor_percent: int = Field(ge=50, le=100)
    """A group is lifted while its served rate is below this share of everybody's, in percent."""


class Outcome(Section):
    """How a call went, as the volunteer attests it."""

    id: Id
    """Stored with the call."""
    label: Localized
    """As the volunteer sees it."""


class Missed(Section):
    """Who did not come."""

    by: Literal["prospect", "volunteer"]
    """Who."""
    label: Localized
    """As the volunteer sees it."""


class OneOnOne(Section):
    """Calls between one prospect and one volunteer."""

    promised_to_all: bool
    """True: everybody who has confirmed waits for one. False: only those who ask."""
    slot_minutes: Literal[30]
    """The grid of starting times."""
    call_minutes: int = Field(ge=30, le=120)
    """Length of a call, a multiple of slot_minutes."""
    horizon_days: int = Field(ge=7, le=60)
    """How far ahead calls are booked."""
    hold_hours: int = Field(ge=1, le=168)
    """How long an offer waits for the prospect's answer."""
    near_hold_hours: int = Field(ge=1, le=168)
    """The same when the call is near, ..."""
    near_within_hours: int = Field(ge=1, le=336)
    """... that is, starts within this many hours."""
    decline_window_hours: int = Field(ge=0, le=168)
    """How long before a call a volunteer may still hand it back without staff."""
    batch_minutes: int = Field(ge=1, le=1440)
    """A round of matching starts after this time, ..."""
    batch_people: int = Field(ge=1, le=100_000)
    """... or as soon as this many people are new."""
    weekly_cap_default: int = Field(ge=1, le=40)
    """Calls a week for a volunteer who names no number."""
    weekly_cap_max: int = Field(ge=1, le=40)
    """Most calls a week that a volunteer may take."""
    reminder_hours: tuple[int, ...]
    """Hours before the call at which reminders go out, longest first."""
    attest_after_minutes: int = Field(ge=0, le=1440)
    """After the end of a call, when the volunteer is asked how it went."""
    outcomes: tuple[Outcome, ...] = Field(min_length=1)
    """How a call can have gone."""
    missed: tuple[Missed, ...]
    """One entry for prospect and one for volunteer."""
    weights: Weights
    """Points for a match."""
    fairness: Fairness
    """Lifting groups that are served less often."""

    @model_validator(mode="after")
    def _consistent(self) -> OneOnOne:
        if self.call_minutes % self.slot_minutes:
            raise Misfit(
                f"is {self.call_minutes}; use a multiple of slot_minutes ({self.slot_minutes})",
                ("call_minutes",),
            )
        if self.near_hold_hours > self.hold_hours:
            raise Misfit(f"is more than hold_hours ({self.hold_hours}); lower it", ("near_hold_hours",))
        if self.near_within_hours < self.near_hold_hours:
            raise Misfit(
                f"is less than near_hold_hours ({self.near_hold_hours}); raise it, or a hold outlives its call",
                ("near_within_hours",),
            )
        if self.weekly_cap_default > self.weekly_cap_max:
            raise Misfit(f"is more than weekly_cap_max ({self.weekly_cap_max}); lower it", ("weekly_cap_default",))
        check_reminders(self.reminder_hours)
        check_unique([outcome.id for outcome in self.outcomes], ("outcomes",))
        if sorted(entry.by for entry in self.missed) != ["prospect", "volunteer"]:
            raise Misfit('needs one entry for "prospect" and one for "volunteer"; correct it', ("missed",))
        return self
