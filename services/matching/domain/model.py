"""What a batch of matching is about, and what comes out of it.

A `Problem` is a snapshot: people, hours, calls already booked, rules, weights. It comes from database rows in
the live service and from a `hustings-match/1` file on the command line; nothing in it is read from a clock.
Every instant is aware; every amount is an integer, so that two runs agree to the last point.

The dataclasses have no slots: they cross to the solver's process by the thousand, and with slots each would be pickled
field by field in Python.
"""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, fields
from datetime import UTC, date, datetime, timedelta
from enum import StrEnum
from typing import Literal
from uuid import UUID
from zoneinfo import ZoneInfo

from services.matching.domain.availability import Window

PersonId = UUID | str


class ProblemError(ValueError):
    """A problem that contradicts itself; the message says which part to mend."""


@dataclass(frozen=True)
class Weights:
    """Points of the program file. All are whole, from 0 to 100,000.

    `soon_max` less `soon_per_day` for each day of waiting ahead, never below 0; `wait_per_day` for each day
    waited already, by the full hour and without a ceiling, so that nobody starves.
    """

    base: int
    same_state: int
    same_division: int
    office: int
    office_undecided: int
    track_each: int
    track_max: int
    urbanicity: int
    lived: int
    lived_no_pref: int
    exp_ok: int
    exp_short: int
    soon_max: int
    soon_per_day: int
    wait_per_day: int

    def __post_init__(self) -> None:
        for name in (f.name for f in fields(self)):
            value = getattr(self, name)
            if isinstance(value, bool) or not isinstance(value, int) or not 0 <= value <= 100_000:
                raise ProblemError(f"Weight {name!r} must be a whole number from 0 to 100000, not {value!r}.")

    @classmethod
    def from_mapping(cls, stated: Mapping[str, object]) -> "Weights":
        """Weights from a table. Raises ProblemError when one is missing, unknown or out of range."""
        names = {f.name for f in fields(cls)}
        if missing := sorted(names - stated.keys()):
            raise ProblemError(f"Matching weights lack {', '.join(missing)}: state every weight.")
        if unknown := sorted(stated.keys() - names):
            raise ProblemError(f"Unknown matching weights {', '.join(unknown)}: remove them or mend their names.")
        return cls(**stated)  # type: ignore[arg-type]  # checked, value by value, in __post_init__


@dataclass(frozen=True)
class Horizon:
    """The grid of slots: `days` × 24 hours from `start`, in steps of `slot_minutes` (a divisor of a day).

    A day of the horizon is 24 hours from `start`, not a calendar date. One call takes one slot.
    """

    start: datetime
    days: int
    slot_minutes: int

    def __post_init__(self) -> None:
        if self.start.tzinfo is None:
            raise ProblemError("The horizon must start at an aware instant: add its offset.")
        if not 1 <= self.days <= 92:
            raise ProblemError(f"The horizon must last 1 to 92 days, not {self.days}.")
        if self.slot_minutes < 5 or 24 * 60 % self.slot_minutes:
            raise ProblemError(f"Slots of {self.slot_minutes} minutes do not divide a day: use 15, 20, 30, 45 or 60.")
        object.__setattr__(self, "start", self.start.astimezone(UTC))

    @property
    def slots_per_day(self) -> int:
        return 24 * 60 // self.slot_minutes

    @property
    def slots(self) -> int:
        return self.days * self.slots_per_day

    @property
    def step(self) -> timedelta:
        return timedelta(minutes=self.slot_minutes)

    @property
    def end(self) -> datetime:
        return self.start + timedelta(days=self.days)

    def instant(self, slot: int) -> datetime:
        """When the slot of that number begins."""
        return self.start + slot * self.step

    def overlapped(self, start: datetime, end: datetime) -> range:
        """Numbers of the slots that share time with `[start, end)`, inside the horizon or none."""
        first = (start - self.start) // self.step
        last = -((self.start - end) // self.step)
        return range(max(0, first), min(self.slots, last))


@dataclass(frozen=True, kw_only=True)
class Person:
    """What both sides have. None means unknown and scores neutral.

    Hours are weekly `windows` in `zone`, or ready `slots` (begin of each, on the horizon's grid) which then
    replace the windows; `absent` are local dates off.
    """

    id: PersonId
    zone: ZoneInfo
    windows: tuple[Window, ...] = ()
    slots: tuple[datetime, ...] | None = None
    absent: frozenset[date] = frozenset()
    languages: frozenset[str] = frozenset()
    state: str | None = None
    urbanicity: str | None = None
    tracks: frozenset[str] = frozenset()
    blocks: frozenset[PersonId] = frozenset()


@dataclass(frozen=True, kw_only=True)
class Candidate(Person):
    """Somebody who waits for a call.

    `office` None is undecided; an empty `wants_lived` is no preference. `credit_hours` are added to the wait,
    for instance after a volunteer did not show up. `groups` are the names under which served rates are watched.
    """

    waiting_since: datetime
    credit_hours: int = 0
    district: str | None = None
    office: str | None = None
    wants_lived: frozenset[str] = frozenset()
    needs_experience: int | None = None
    requires_gender: str | None = None
    groups: tuple[str, ...] = ()


@dataclass(frozen=True, kw_only=True)
class Volunteer(Person):
    """Somebody who gives hours.

    `weekly_cap` calls per cap period, booked ones counted. `room` is what a counter row says is still free, by
    period label; a period it names is not counted from the bookings. `lived_consent` allows the person's lived
    experience to be named to the other side.
    """

    weekly_cap: int
    gender: str | None = None
    offices: frozenset[str] = frozenset()
    lived: frozenset[str] = frozenset()
    lived_consent: bool = False
    experience: int | None = None
    conflict_districts: frozenset[str] = frozenset()
    room: Mapping[str, int] | None = None


@dataclass(frozen=True)
class Booking:
    """A call or hold that stands: its time is taken for both, and it counts against the volunteer's cap."""

    volunteer_id: PersonId
    start: datetime
    end: datetime
    candidate_id: PersonId | None = None


CapPeriod = Literal["horizon", "iso_week"]
WHOLE_HORIZON = "horizon"


def cap_label(period: CapPeriod, start: datetime, zone: ZoneInfo) -> str:
    """The cap period in which a call counts: "horizon", or the ISO week in the volunteer's zone ("2027-W02")."""
    if period == "horizon":
        return WHOLE_HORIZON
    year, week, _ = start.astimezone(zone).isocalendar()
    return f"{year}-W{week:02d}"


@dataclass(frozen=True)
class Problem:
    """One batch. `conflicts` and `never_again` are pairs (candidate, volunteer) that must not talk.

    `bookings` may name people outside the batch and, for caps by ISO week, must reach back to the start of
    the horizon's first week. Raises ProblemError when an id appears twice on one side.
    """

    horizon: Horizon
    weights: Weights
    candidates: tuple[Candidate, ...]
    volunteers: tuple[Volunteer, ...]
    bookings: tuple[Booking, ...] = ()
    conflicts: frozenset[tuple[PersonId, PersonId]] = frozenset()
    never_again: frozenset[tuple[PersonId, PersonId]] = frozenset()
    cap_period: CapPeriod = "horizon"

    def __post_init__(self) -> None:
        _refuse_repeats("Candidate", (c.id for c in self.candidates))
        _refuse_repeats("Volunteer", (v.id for v in self.volunteers))


def _refuse_repeats(side: str, ids: Iterable[PersonId]) -> None:
    seen: set[PersonId] = set()
    for person in ids:
        if person in seen:
            raise ProblemError(f"{side} {person} appears twice: send every person once.")
        seen.add(person)


@dataclass(frozen=True)
class ScoreParts:
    """Where a call's utility comes from, in points."""

    base: int
    location: int
    office: int
    track: int
    place: int
    lived: int
    experience: int
    soon: int
    wait: int

    @property
    def fit(self) -> int:
        return self.location + self.office + self.track + self.place + self.lived + self.experience

    @property
    def total(self) -> int:
        return self.base + self.fit + self.soon + self.wait


@dataclass(frozen=True)
class Assignment:
    """A proposed call and why it was chosen.

    `rank` (from 1) is the volunteer's place among the `feasible_volunteers` of this candidate, by fit and
    earliest shared day, equals sharing the better rank. `slot_price` is what one more such slot would have
    been worth to the batch, None when the greedy fallback chose. `earliest_shared` says that the two share no
    earlier free slot.
    """

    candidate_id: PersonId
    volunteer_id: PersonId
    start: datetime
    end: datetime
    parts: ScoreParts
    rank: int
    feasible_volunteers: int
    slot_price: int | None
    group_price: int
    earliest_shared: bool

    @property
    def utility(self) -> int:
        return self.parts.total


class Reason(StrEnum):
    """Why nobody was found: the first condition that left no volunteer, in this order."""

    NO_HOURS = "no_hours"
    """The candidate states no free hour inside the horizon."""
    NO_SUPPLY = "no_supply"
    """No volunteer has a free slot and room under the cap."""
    NO_SHARED_LANGUAGE = "no_shared_language"
    GENDER_REQUIREMENT = "gender_requirement"
    """Nobody who shares a language meets the candidate's requirement."""
    NOT_PERMITTED = "not_permitted"
    """Blocks, conflicts of interest or an earlier pairing exclude everybody left."""
    NO_SHARED_HOURS = "no_shared_hours"
    ALL_TAKEN = "all_taken"
    """Somebody is feasible, but every shared slot serves others better in this batch."""


@dataclass(frozen=True)
class Unmatched:
    """A candidate left waiting. The counts are the volunteers left after each condition, in Reason's order."""

    candidate_id: PersonId
    reason: Reason
    with_room: int
    sharing_language: int
    meeting_requirement: int
    permitted: int
    sharing_hours: int


Method = Literal["flow", "flow_interrupted", "greedy"]


@dataclass(frozen=True)
class Solution:
    """A batch's answer: every candidate is in `assignments` or in `unmatched`, once.

    `bound` is a proven upper limit of the utility without floors (from linear-programming duality), None when
    no flow was solved. `served` gives each group's served rate over that of the whole batch.
    """

    assignments: tuple[Assignment, ...]
    unmatched: tuple[Unmatched, ...]
    method: Method
    bound: int | None
    edges: int
    rounds: int
    group_prices: Mapping[str, int] = field(default_factory=dict)
    served: Mapping[str, float] = field(default_factory=dict)
    seconds: Mapping[str, float] = field(default_factory=dict)

    @property
    def utility(self) -> int:
        return sum(a.utility for a in self.assignments)
