from __future__ import annotations

import json
from dataclasses import replace
from datetime import UTC, date, datetime

import pytest
from hypothesis import given
from hypothesis import strategies as st

from services.endorsement.domain.eligibility import Facts, Verdict, age_on, age_range_on, evaluate, replay
from services.endorsement.domain.explanation import explain
from shared.program import Eligibility, Language
from tests.unit.program.files import shipped

AT = datetime(2025, 8, 1, 12, tzinfo=UTC)
ELECTION = date(2025, 11, 4)

UNDER_35 = shipped(2017).eligibility_version("2017-under-35")
BORN_1984 = shipped(2025).eligibility_version("2024-born-1984")
AGE_40 = shipped(2025).eligibility_version("2025-age-40")


def applicant(**changes: object) -> Facts:
    known = Facts(
        birth_date=date(1990, 5, 1),
        signed_up_on=date(2024, 11, 6),
        applied_on=date(2025, 8, 1),
        election_day=ELECTION,
        office_level="local",
        filing_confirmed=True,
        stages_reached=frozenset({"signed_up", "confirmed", "one_on_one", "filed", "applied"}),
    )
    return replace(known, **changes)  # type: ignore[arg-type]


def aged(age: int) -> Facts:
    """Somebody who had that birthday in spring."""
    return applicant(birth_date=date(2025 - age, 4, 1))


def outcome(rules: Eligibility, facts: Facts) -> str:
    return evaluate(rules, facts, AT).outcome


@pytest.mark.parametrize(
    ("age", "under_2017", "under_2025"),
    [(34, "eligible", "eligible"), (38, "ineligible", "eligible"), (41, "ineligible", "ineligible")],
)
def test_same_person_is_judged_by_each_program(age: int, under_2017: str, under_2025: str) -> None:
    assert (outcome(UNDER_35, aged(age)), outcome(AGE_40, aged(age))) == (under_2017, under_2025)


@pytest.mark.parametrize(
    ("rules", "birth_date", "expected"),
    [
        (UNDER_35, date(1990, 8, 2), "eligible"),  # 35 the day after applying
        (UNDER_35, date(1990, 8, 1), "ineligible"),  # 35 on the day itself
        (AGE_40, date(1984, 11, 5), "eligible"),  # 41 the day after the election
        (AGE_40, date(1984, 11, 4), "ineligible"),  # 41 on election day
        (AGE_40, date(1985, 11, 4), "eligible"),  # 40 on election day
        (BORN_1984, date(1984, 1, 1), "eligible"),
        (BORN_1984, date(1983, 12, 31), "ineligible"),
    ],
)
def test_birthday_decides_to_the_day(rules: Eligibility, birth_date: date, expected: str) -> None:
    assert outcome(rules, applicant(birth_date=birth_date)) == expected


@pytest.mark.parametrize(
    ("day", "age"),
    [
        (date(2025, 2, 28), 40),
        (date(2025, 3, 1), 41),
        (date(2024, 2, 28), 39),
        (date(2024, 2, 29), 40),
    ],
)
def test_birthday_on_29_february_is_1_march_in_common_years(day: date, age: int) -> None:
    assert age_on(date(1984, 2, 29), day) == age


def test_leap_day_birthday_passes_on_28_february_and_fails_on_1_march() -> None:
    born = applicant(birth_date=date(1984, 2, 29))
    assert outcome(AGE_40, replace(born, election_day=date(2025, 2, 28))) == "eligible"
    assert outcome(AGE_40, replace(born, election_day=date(2025, 3, 1))) == "ineligible"


@pytest.mark.parametrize(("year", "expected"), [(1985, "eligible"), (1984, "undetermined"), (1983, "ineligible")])
def test_year_alone_settles_all_but_the_year_at_the_limit(year: int, expected: str) -> None:
    verdict = evaluate(AGE_40, applicant(birth_date=None, birth_year=year), AT)
    assert verdict.outcome == expected
    assert verdict.missing == (("birth_date",) if expected == "undetermined" else ())


def test_year_alone_is_enough_for_the_year_test() -> None:
    assert outcome(BORN_1984, applicant(birth_date=None, birth_year=1984)) == "eligible"


def test_year_alone_settles_on_31_december() -> None:
    facts = applicant(birth_date=None, birth_year=1984, election_day=date(2025, 12, 31))
    assert outcome(AGE_40, facts) == "ineligible"


@given(birth=st.dates(date(1900, 1, 1), date(2007, 12, 31)), day=st.dates(date(2008, 1, 1), date(2060, 12, 31)))
def test_age_lies_within_the_range_of_its_year(birth: date, day: date) -> None:
    lowest, highest = age_range_on(birth.year, day)
    assert lowest <= age_on(birth, day) <= highest


@given(birth=st.dates(date(1970, 1, 1), date(2000, 12, 31)), day=st.dates(date(2024, 1, 1), date(2030, 12, 31)))
def test_verdict_of_the_year_never_contradicts_that_of_the_date(birth: date, day: date) -> None:
    by_date = applicant(birth_date=birth, election_day=day)
    by_year = replace(by_date, birth_date=None, birth_year=birth.year)
    assert outcome(AGE_40, by_year) in (outcome(AGE_40, by_date), "undetermined")


@pytest.mark.parametrize(
    ("unknown", "missing"),
    [
        ({"birth_date": None}, ("birth_year",)),
        ({"election_day": None}, ("election_day",)),
        ({"birth_date": None, "election_day": None}, ("birth_year", "election_day")),
        ({"office_level": None}, ("office_level",)),
        ({"filing_confirmed": None}, ("filing_confirmed",)),
        ({"birth_date": None, "filing_confirmed": None}, ("birth_year", "filing_confirmed")),
    ],
)
def test_missing_fact_leaves_the_verdict_open_and_is_named(unknown: dict[str, None], missing: tuple[str, ...]) -> None:
    verdict = evaluate(AGE_40, applicant(**unknown), AT)
    assert (verdict.outcome, verdict.missing) == ("undetermined", missing)


def test_unknown_stages_leave_the_2017_verdict_open() -> None:
    verdict = evaluate(UNDER_35, applicant(birth_date=date(1995, 1, 1), stages_reached=None), AT)
    assert (verdict.outcome, verdict.missing) == ("undetermined", ("stages_reached",))


def test_failed_rule_outweighs_an_open_one() -> None:
    assert outcome(AGE_40, applicant(birth_date=None, office_level="federal")) == "ineligible"


@pytest.mark.parametrize(
    ("changes", "code"),
    [
        ({"office_level": "federal"}, "office_outside"),
        ({"office_endorsable": False}, "office_never_endorsed"),
        ({"filing_confirmed": False}, "filing_not_confirmed"),
        ({"stages_reached": frozenset({"signed_up"})}, "stage_not_reached"),
    ],
)
def test_each_rule_can_fail_alone(changes: dict[str, object], code: str) -> None:
    facts = applicant(**{"birth_date": date(1995, 1, 1), **changes})
    verdict = evaluate(UNDER_35, facts, AT)
    assert verdict.outcome == "ineligible"
    assert [check.code for check in verdict.checks if check.passed is False] == [code]


def test_contradicting_birth_facts_are_refused() -> None:
    with pytest.raises(ValueError, match="1985 contradicts the birth date 1984-01-01; correct one"):
        Facts(birth_year=1985, birth_date=date(1984, 1, 1))


def test_naive_time_is_refused() -> None:
    with pytest.raises(ValueError, match="aware"):
        evaluate(AGE_40, applicant(), datetime(2025, 8, 1))  # noqa: DTZ001


def test_replay_finds_who_flips_between_the_two_tests_of_2025() -> None:
    people = [
        applicant(birth_date=date(1984, 1, 15)),  # passes by year, 41 on election day
        applicant(birth_date=date(1984, 11, 5)),  # passes both
        applicant(birth_date=date(1983, 12, 31)),  # fails both
        applicant(birth_date=None, birth_year=1984),  # passes by year, open by age
        applicant(birth_date=date(1990, 1, 1)),
    ]
    flips = replay(BORN_1984, AGE_40, people, AT)
    assert [(flip.index, flip.before.outcome, flip.after.outcome) for flip in flips] == [
        (0, "eligible", "ineligible"),
        (3, "eligible", "undetermined"),
    ]
    assert flips[0].facts is people[0]


def test_replay_finds_who_flips_the_other_way() -> None:
    # In 2023, a person born in 1983 may be 39: too early a year, young enough an age.
    facts = applicant(birth_date=date(1983, 12, 1), election_day=date(2023, 11, 7))
    assert [(flip.before.outcome, flip.after.outcome) for flip in replay(BORN_1984, AGE_40, [facts], AT)] == [
        ("ineligible", "eligible")
    ]


def test_replay_of_a_version_by_itself_flips_nobody() -> None:
    assert replay(AGE_40, AGE_40, [aged(age) for age in range(18, 60)], AT) == ()


@pytest.mark.parametrize(
    "facts",
    [applicant(), Facts(), applicant(birth_date=None, birth_year=1984, stages_reached=None)],
    ids=["all_known", "nothing_known", "open"],
)
def test_verdict_survives_json_and_can_be_evaluated_again(facts: Facts) -> None:
    verdict = evaluate(AGE_40, facts, AT)
    stored = Verdict.from_dict(json.loads(json.dumps(verdict.to_dict())))
    assert stored == verdict
    assert evaluate(AGE_40, stored.facts, AT) == verdict


def test_verdict_as_json_has_this_shape() -> None:
    verdict = evaluate(BORN_1984, Facts(birth_year=1980, office_level="local", filing_confirmed=True), AT)
    document = verdict.to_dict()
    assert document["rule_version"] == "2024-born-1984"
    assert document["evaluated_at"] == "2025-08-01T12:00:00+00:00"
    assert document["checks"][0] == {
        "test": "born_in_or_after",
        "passed": False,
        "code": "born_before",
        "params": {
            "requirement": {
                "en": "You were born in 1984 or later.",
                "es": "Naciste en 1984 o después.",
            },
            "limit": 1984,
            "year": 1980,
        },
    }


@pytest.mark.parametrize(
    ("facts", "language", "finding"),
    [
        (
            applicant(birth_date=date(1984, 1, 15)),
            "en",
            "We counted 41 years on November 4, 2025, which is above the limit.",
        ),
        (
            applicant(birth_date=date(1984, 1, 15)),
            "es",
            "Contamos 41 años el 4 de noviembre de 2025, por encima del límite.",
        ),
        (
            applicant(birth_date=None, birth_year=1984),
            "en",
            "With the year alone we count 40 or 41 years on November 4, 2025. Please tell us your date of birth.",
        ),
        (
            Facts(),
            "es",
            "Para decidirlo nos falta tu año de nacimiento y el día de tu elección.",
        ),
    ],
)
def test_explanation_tells_requirement_and_finding(facts: Facts, language: Language, finding: str) -> None:
    requirement = {
        "en": "You are 40 or younger on election day.",
        "es": "Tienes 40 años o menos el día de la elección.",
    }
    sentence = explain(evaluate(AGE_40, facts, AT).checks[0], language)
    assert sentence == f"{requirement[language]} {finding}"


@pytest.mark.parametrize("language", ["en", "es"])
@pytest.mark.parametrize(
    "facts",
    [
        applicant(),
        Facts(),
        applicant(birth_date=None, birth_year=1984),
        applicant(birth_date=date(1970, 1, 1), filing_confirmed=False, office_level="federal"),
        applicant(birth_date=None, birth_year=1990, office_endorsable=False, stages_reached=frozenset()),
    ],
)
def test_every_check_can_be_explained(facts: Facts, language: Language) -> None:
    for rules in (UNDER_35, BORN_1984, AGE_40):
        for check in evaluate(rules, facts, AT).checks:
            sentence = explain(check, language)
            assert "{" not in sentence
            assert sentence.endswith(".")
