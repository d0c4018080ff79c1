"""Judging a person by one version of the eligibility rules, and by another version afterwards.

A verdict keeps the version, the facts it was given and each rule's result, so that it can be stored as JSON
and evaluated again. A fact that nobody knows makes a verdict undetermined, never favourable.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import asdict, dataclass
from datetime import date, datetime
from typing import Any, Literal, cast

from shared.program import (
    AgeAtMost,
    BornInOrAfter,
    Eligibility,
    FilingConfirmed,
    Level,
    Localized,
    OfficeLevelIn,
    Rule,
    YoungerThan,
)

Result = Literal["eligible", "ineligible", "undetermined"]
Param = str | int | list[str] | dict[str, str]


@dataclass(frozen=True)
class Facts:
    """What is known of an applicant. None means unknown.

    `birth_year` is usual; `birth_date` is asked for only when a rule cannot be settled without it.
    `office_endorsable` is False for offices that the program never endorses for.
    """

    birth_year: int | None = None
    birth_date: date | None = None
    signed_up_on: date | None = None
    applied_on: date | None = None
    election_day: date | None = None
    office_level: Level | None = None
    office_endorsable: bool = True
    filing_confirmed: bool | None = None
    stages_reached: frozenset[str] | None = None

    def __post_init__(self) -> None:
        if self.birth_date is not None and self.birth_year not in (None, self.birth_date.year):
            raise ValueError(
                f"The birth year {self.birth_year} contradicts the birth date {self.birth_date}; correct one."
            )

    def to_dict(self) -> dict[str, Any]:
        """JSON values: dates as ISO text, stages as a sorted list, unknown facts as null."""
        values = asdict(self)
        for name, value in values.items():
            if isinstance(value, date):
                values[name] = value.isoformat()
            elif isinstance(value, frozenset):
                values[name] = sorted(value)
        return values

    @classmethod
    def from_dict(cls, values: Mapping[str, Any]) -> Facts:
        """The inverse of `to_dict`."""
        known = dict(values)
        for name in ("birth_date", "signed_up_on", "applied_on", "election_day"):
            if known.get(name) is not None:
                known[name] = date.fromisoformat(known[name])
        if known.get("stages_reached") is not None:
            known["stages_reached"] = frozenset(known["stages_reached"])
        return cls(**known)


@dataclass(frozen=True)
class Check:
    """One rule's result. `passed` is None when a fact is missing.

    `code` names the finding and `params` hold what `explain` puts into its sentence, always with
    `requirement`: the rule's words in each language at the time of the verdict.
    """

    test: str
    passed: bool | None
    code: str
    params: Mapping[str, Param]


@dataclass(frozen=True)
class Verdict:
    """The result of all rules of one version. `evaluated_at` is aware UTC."""

    outcome: Result
    rule_version: str
    checks: tuple[Check, ...]
    facts: Facts
    evaluated_at: datetime

    @property
    def missing(self) -> tuple[str, ...]:
        """Names of the facts that would settle the open checks, each once."""
        names = [name for check in self.checks for name in cast("list[str]", check.params.get("missing", []))]
        return tuple(dict.fromkeys(names))

    def to_dict(self) -> dict[str, Any]:
        """JSON values, with everything that is needed to evaluate again."""
        return {
            "outcome": self.outcome,
            "rule_version": self.rule_version,
            "checks": [
                {name: getattr(check, name) for name in ("test", "passed", "code")} | {"params": dict(check.params)}
                for check in self.checks
            ],
            "facts": self.facts.to_dict(),
            "evaluated_at": self.evaluated_at.isoformat(),
        }

    @classmethod
    def from_dict(cls, values: Mapping[str, Any]) -> Verdict:
        """The inverse of `to_dict`."""
        return cls(
            outcome=values["outcome"],
            rule_version=values["rule_version"],
            checks=tuple(Check(**check) for check in values["checks"]),
            facts=Facts.from_dict(values["facts"]),
            evaluated_at=datetime.fromisoformat(values["evaluated_at"]),
        )


@dataclass(frozen=True)
class Flip:
    """A person whom two versions judge differently. `index` is the place in the list given to `replay`."""

    index: int
    facts: Facts
    before: Verdict
    after: Verdict


def evaluate(rule_set: Eligibility, facts: Facts, at: datetime) -> Verdict:
    """Every rule applied to the facts.

    One failed rule makes the person ineligible, whatever is unknown; otherwise one open rule makes the
    verdict undetermined. `at` is only recorded: the days that count are facts. It must be aware.
    """
    if at.tzinfo is None:
        raise ValueError("The time of an evaluation needs a time zone; pass an aware datetime.")
    checks = tuple(_check(rule, facts) for rule in rule_set.rules)
    results = [check.passed for check in checks]
    outcome: Result = "eligible"
    if False in results:
        outcome = "ineligible"
    elif None in results:
        outcome = "undetermined"
    return Verdict(outcome, rule_set.version, checks, facts, at)


def replay(
    rule_set_a: Eligibility, rule_set_b: Eligibility, facts_list: Iterable[Facts], at: datetime
) -> tuple[Flip, ...]:
    """Who flips: those whose outcome under `rule_set_b` is another than under `rule_set_a`, in order."""
    flips = []
    for index, facts in enumerate(facts_list):
        before, after = evaluate(rule_set_a, facts, at), evaluate(rule_set_b, facts, at)
        if before.outcome != after.outcome:
            flips.append(Flip(index, facts, before, after))
    return tuple(flips)


def age_on(birth_date: date, day: date) -> int:
    """Completed years. Somebody born on 29 February has the birthday on 1 March in common years."""
    return day.year - birth_date.year - ((day.month, day.day) < (birth_date.month, birth_date.day))


def age_range_on(birth_year: int, day: date) -> tuple[int, int]:
    """Lowest and highest age possible on that day for that year of birth; equal on 31 December."""
    highest = day.year - birth_year
    return (highest if (day.month, day.day) == (12, 31) else highest - 1), highest


_OCCASIONS: Mapping[str, str] = {
    "application": "applied_on",
    "election_day": "election_day",
    "signup": "signed_up_on",
}


def _check(rule: Rule, facts: Facts) -> Check:
    if isinstance(rule, YoungerThan):
        return _age_check(rule, facts, lambda age: age < rule.age)
    if isinstance(rule, AgeAtMost):
        return _age_check(rule, facts, lambda age: age <= rule.age)
    if isinstance(rule, BornInOrAfter):
        return _born_check(rule, facts)
    if isinstance(rule, OfficeLevelIn):
        return _office_check(rule, facts)
    if isinstance(rule, FilingConfirmed):
        if facts.filing_confirmed is None:
            return _open(rule, ["filing_confirmed"])
        return _settled(rule, facts.filing_confirmed, "filing_confirmed", "filing_not_confirmed", {})
    if facts.stages_reached is None:
        return _open(rule, ["stages_reached"])
    reached = rule.stage in facts.stages_reached
    return _settled(rule, reached, "stage_reached", "stage_not_reached", {"stage": rule.stage})


def _age_check(rule: YoungerThan | AgeAtMost, facts: Facts, allows: Callable[[int], bool]) -> Check:
    occasion = _OCCASIONS[rule.on]
    day: date | None = getattr(facts, occasion)
    born_known = facts.birth_date is not None or facts.birth_year is not None
    missing = ([] if born_known else ["birth_year"]) + ([] if day is not None else [occasion])
    if day is None or not born_known:
        return _open(rule, missing)
    if facts.birth_date is not None:
        lowest = highest = age_on(facts.birth_date, day)
    else:
        lowest, highest = age_range_on(cast("int", facts.birth_year), day)
    params: dict[str, Param] = {
        "limit": rule.age,
        "on": rule.on,
        "day": day.isoformat(),
        "youngest": lowest,
        "oldest": highest,
    }
    if allows(lowest) != allows(highest):
        return _open(rule, ["birth_date"], "age_depends_on_birthday", params)
    return _settled(rule, allows(highest), "age_within", "age_above", params)


def _born_check(rule: BornInOrAfter, facts: Facts) -> Check:
    year = facts.birth_date.year if facts.birth_date is not None else facts.birth_year
    if year is None:
        return _open(rule, ["birth_year"])
    params: dict[str, Param] = {"limit": rule.year, "year": year}
    return _settled(rule, year >= rule.year, "born_within", "born_before", params)


def _office_check(rule: OfficeLevelIn, facts: Facts) -> Check:
    if facts.office_level is None:
        return _open(rule, ["office_level"])
    params: dict[str, Param] = {"level": facts.office_level, "levels": list(rule.levels)}
    if not facts.office_endorsable:
        return _settled(rule, False, "office_within", "office_never_endorsed", params)
    return _settled(rule, facts.office_level in rule.levels, "office_within", "office_outside", params)


def _settled(rule: Rule, passed: bool, yes: str, no: str, params: Mapping[str, Param]) -> Check:
    return Check(rule.test, passed, yes if passed else no, _with_requirement(rule.label, params))


def _open(
    rule: Rule, missing: list[str], code: str = "fact_missing", params: Mapping[str, Param] | None = None
) -> Check:
    return Check(rule.test, None, code, _with_requirement(rule.label, {**(params or {}), "missing": missing}))


def _with_requirement(label: Localized, params: Mapping[str, Param]) -> dict[str, Param]:
    return {"requirement": label.model_dump(exclude_none=True), **params}
