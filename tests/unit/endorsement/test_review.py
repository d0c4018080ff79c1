from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from uuid import UUID

import pytest

from services.endorsement.domain import review
from services.endorsement.domain.eligibility import Result
from services.endorsement.domain.review import (
    Advice,
    Card,
    Decision,
    Declaration,
    File,
    Refusal,
    Reviewer,
    Standing,
)
from tests.unit.program.files import shipped

AT = datetime(2026, 3, 2, 15, tzinfo=UTC)
RULES = shipped(2017).scorecard
CRITERIA = RULES.criteria


def person(number: int) -> UUID:
    return UUID(int=number)


CANDIDATE, STAFF, OUTSIDER, ADVISOR = person(1), person(2), person(3), person(4)


def scores(value: int = 3) -> dict[str, int]:
    return {criterion.id: value for criterion in CRITERIA}


def card(author: UUID, outside: bool = False, value: int = 3, version: int = 1, minutes: int = 0) -> Card:
    return Card(Reviewer(author, outside), version, scores(value), AT + timedelta(minutes=minutes))


def file(
    cards: Sequence[Card] = (),
    advice: Sequence[Advice] = (),
    eligibility: Result = "eligible",
    is_decided: bool = False,
    conflicts: Sequence[UUID] = (),
) -> File:
    declarations = [Declaration(who, who in conflicts) for who in (STAFF, OUTSIDER, ADVISOR, CANDIDATE)]
    return File(CANDIDATE, 1, eligibility, advice, declarations, cards, is_decided)


FULL = file([card(STAFF), card(OUTSIDER, outside=True, minutes=1)])


def standing(of: File, aliases: dict[UUID, UUID] | None = None) -> Standing:
    return review.standing(of, CRITERIA, RULES.quorum, aliases or {})


def told(refusal: Refusal | None) -> tuple[str, str] | None:
    return None if refusal is None else (refusal.code, str(refusal.sentence))


def code(refusal: Refusal | None) -> str | None:
    return refusal.code if refusal else None


# Merges


def test_merges_are_followed_to_the_end() -> None:
    assert review.resolve(person(9), {person(9): person(8), person(8): person(7)}) == person(7)


def test_merges_in_a_circle_are_refused() -> None:
    with pytest.raises(ValueError, match="run in a circle"):
        review.resolve(person(9), {person(9): person(8), person(8): person(9)})


# Recusal


def test_advisor_is_recused() -> None:
    advised = file(advice=[Advice(ADVISOR, CANDIDATE, "one-on-one call")])
    refusal = review.recusal(ADVISOR, advised, {})
    assert told(refusal) == ("advised", "You advised this person, so you are recused; leave it to others.")
    assert review.recusal(STAFF, advised, {}) is None


def test_advisor_of_somebody_else_is_not_recused() -> None:
    assert review.recusal(ADVISOR, file(advice=[Advice(ADVISOR, person(77), "mentor")]), {}) is None


@pytest.mark.parametrize(
    "aliases",
    [{person(50): ADVISOR}, {ADVISOR: person(50)}],
    ids=["account_merged_into_advisor", "advisor_merged_into_account"],
)
def test_advisor_is_recused_under_a_merged_id(aliases: dict[UUID, UUID]) -> None:
    advised = file(advice=[Advice(ADVISOR, CANDIDATE, "mentor")])
    assert code(review.recusal(person(50), advised, aliases)) == "advised"
    assert review.recusal(person(50), advised, {}) is None


def test_advisor_is_recused_when_the_candidate_was_merged() -> None:
    advised = file(advice=[Advice(ADVISOR, person(60), "mentor")])
    assert code(review.recusal(ADVISOR, advised, {person(60): CANDIDATE})) == "advised"


def test_nobody_reviews_their_own_file_even_by_an_alias() -> None:
    assert code(review.recusal(CANDIDATE, file(), {})) == "own_file"
    assert code(review.recusal(person(51), file(), {person(51): CANDIDATE})) == "own_file"


def test_file_opens_only_after_a_declaration_without_conflict() -> None:
    assert code(review.may_open(person(99), file(), {})) == "undeclared"
    assert code(review.may_open(STAFF, file(conflicts=[STAFF]), {})) == "declared"
    assert review.may_open(STAFF, file(), {}) is None


# Scorecards


@pytest.mark.parametrize(
    ("changed", "expected"),
    [
        ({}, None),
        ({"vision": 1, "plan": 5}, None),
        ({"vision": 0}, "score_out_of_range"),
        ({"vision": 6}, "score_out_of_range"),
        ({"hair": 3}, "score_unknown"),
    ],
)
def test_scores_are_checked(changed: dict[str, int], expected: str | None) -> None:
    assert code(review.check_scores(CRITERIA, scores() | changed)) == expected


def test_missing_scores_are_named() -> None:
    refusal = review.check_scores(CRITERIA, {"plan": 3, "roots": 4})
    assert told(refusal) == ("score_missing", "Score every criterion; still open: path, vision.")


def test_scoring_is_refused_to_the_recused_and_after_the_decision() -> None:
    advised = file(advice=[Advice(STAFF, CANDIDATE, "mentor")])
    assert code(review.may_score(STAFF, advised, CRITERIA, scores(), {})) == "advised"
    assert code(review.may_score(STAFF, file(is_decided=True), CRITERIA, scores(), {})) == "already_decided"
    assert code(review.may_score(STAFF, file(), CRITERIA, {}, {})) == "score_missing"
    assert review.may_score(STAFF, file(), CRITERIA, scores(), {}) is None


def test_weighted_score_follows_the_weights() -> None:
    assert review.weighted_score(CRITERIA, scores(1)) == 100
    assert review.weighted_score(CRITERIA, scores(5)) == 500
    # plan 30 %, path 30 %, vision 25 %, roots 15 %
    assert review.weighted_score(CRITERIA, {"plan": 5, "path": 4, "vision": 3, "roots": 2}) == 375


def test_weighted_score_outlives_a_change_of_criteria() -> None:
    plan, path = ({c.id: c for c in CRITERIA}[name] for name in ("plan", "path"))
    expected = (plan.weight * 5 + path.weight * 4) * 100 // (plan.weight + path.weight)
    assert review.weighted_score(CRITERIA, {"plan": 5, "path": 4, "charm": 1}) == expected
    assert review.weighted_score(CRITERIA, {"charm": 2, "wit": 5}) == 350


def test_others_scores_show_only_after_ones_own() -> None:
    alone = file([card(STAFF)])
    assert review.visible_cards(OUTSIDER, alone, {}) == ()
    assert review.visible_cards(OUTSIDER, FULL, {}) == tuple(FULL.cards)


def test_call_that_becomes_known_later_voids_the_scorecard() -> None:
    assert review.cards_to_void(FULL, {}) == ()
    later = replace(FULL, advice=[Advice(OUTSIDER, CANDIDATE, "one-on-one call")])
    ((void, reason),) = review.cards_to_void(later, {})
    assert (void, reason.code) == (FULL.cards[1], "advised")
    assert (standing(FULL).has_quorum, standing(later).has_quorum) == (True, False)


def test_merge_that_becomes_known_later_voids_the_scorecard() -> None:
    later = replace(FULL, advice=[Advice(ADVISOR, CANDIDATE, "one-on-one call")])
    assert [void.reviewer.person for void, _ in review.cards_to_void(later, {ADVISOR: STAFF})] == [STAFF]


# Quorum


@pytest.mark.parametrize(
    ("cards", "expected"),
    [
        ([], (0, 0, False)),
        ([card(STAFF)], (1, 0, False)),
        ([card(OUTSIDER, outside=True)], (1, 1, False)),
        ([card(STAFF), card(ADVISOR)], (2, 0, False)),
        ([card(STAFF), card(OUTSIDER, outside=True)], (2, 1, True)),
        ([card(ADVISOR, outside=True), card(OUTSIDER, outside=True)], (2, 2, True)),
        ([card(STAFF), card(OUTSIDER, outside=True, version=2)], (1, 0, False)),
        ([card(OUTSIDER, outside=True), card(OUTSIDER, outside=True, minutes=5)], (1, 1, False)),
    ],
    ids=[
        "none",
        "staff_only",
        "outsider_only",
        "no_outsider",
        "staff_and_outsider",
        "outsiders",
        "other_version",
        "one_person_twice",
    ],
)
def test_quorum_needs_two_with_one_from_outside(cards: list[Card], expected: tuple[int, int, bool]) -> None:
    state = standing(file(cards))
    assert (state.counted, state.outside, state.has_quorum) == expected


def test_two_accounts_of_one_person_count_once() -> None:
    cards = [card(STAFF), card(OUTSIDER, outside=True, minutes=1)]
    assert standing(file(cards), {OUTSIDER: STAFF}).has_quorum is False


def test_latest_card_of_a_person_counts() -> None:
    cards = [card(STAFF, value=5, minutes=9), card(STAFF, value=1), card(OUTSIDER, outside=True, value=2)]
    state = standing(file(cards))
    assert (state.mean_score, state.spread) == (350, 300)


def test_standing_without_cards_has_no_score() -> None:
    assert (standing(file()).mean_score, standing(file()).spread) == (None, 0)


# Deciding


def test_endorsing_needs_eligibility_and_quorum() -> None:
    assert review.may_endorse(STAFF, FULL, standing(FULL), {}) is None
    for eligibility, expected in (("ineligible", "not_eligible"), ("undetermined", "eligibility_open")):
        other = replace(FULL, eligibility=eligibility)  # type: ignore[arg-type]
        assert code(review.may_endorse(STAFF, other, standing(other), {})) == expected
    short = file([card(STAFF)])
    assert told(review.may_endorse(STAFF, short, standing(short), {})) == (
        "no_quorum",
        "1 of 2 scorecards are in, 0 of 1 from outside the staff; ask for the missing ones.",
    )


def test_recused_person_may_not_decide() -> None:
    advised = replace(FULL, advice=[Advice(ADVISOR, CANDIDATE, "mentor")])
    assert code(review.may_endorse(ADVISOR, advised, standing(advised), {})) == "advised"
    refusal = review.may_decline(ADVISOR, advised, standing(advised), RULES.decline_reasons, "values", {})
    assert code(refusal) == "advised"


def test_version_is_decided_once() -> None:
    decided = replace(FULL, is_decided=True)
    assert code(review.may_endorse(STAFF, decided, standing(decided), {})) == "already_decided"
    refusal = review.may_decline(STAFF, decided, standing(decided), RULES.decline_reasons, "values", {})
    assert code(refusal) == "already_decided"


def test_declining_needs_a_known_reason_and_a_quorum() -> None:
    short = file([card(STAFF)])
    reasons = RULES.decline_reasons
    assert review.may_decline(STAFF, FULL, standing(FULL), reasons, "values", {}) is None
    assert code(review.may_decline(STAFF, FULL, standing(FULL), reasons, "mood", {})) == "reason_unknown"
    assert code(review.may_decline(STAFF, short, standing(short), reasons, "values", {})) == "no_quorum"


def test_ineligible_person_is_declined_without_a_quorum() -> None:
    barred = file(eligibility="ineligible")
    refusal = review.may_decline(STAFF, barred, standing(barred), RULES.decline_reasons, "not_eligible", {})
    assert refusal is None


def test_answer_is_due_after_thirty_days() -> None:
    days = shipped(2017).application.answer_within_days
    assert review.answer_due(AT, days) == datetime(2026, 4, 1, 15, tzinfo=UTC)


# Embargo, announcement, rescission

ENDORSED = Decision(True, STAFF, AT, embargo_until=review.default_embargo(RULES.embargo, AT))


def test_default_embargo_is_that_of_the_program() -> None:
    assert ENDORSED.embargo_until == AT + timedelta(hours=48)


@pytest.mark.parametrize(
    ("until", "role", "expected"),
    [
        (AT + timedelta(days=30), "staff", None),
        (AT + timedelta(days=30, seconds=1), "staff", "embargo_too_long"),
        (AT, "staff", None),
        (AT - timedelta(seconds=1), "staff", "embargo_past"),
        (AT + timedelta(days=1), "reviewer", "embargo_role"),
    ],
)
def test_embargo_keeps_to_its_limits(until: datetime, role: str, expected: str | None) -> None:
    assert code(review.may_set_embargo(RULES.embargo, AT, until, role, AT)) == expected


def test_announcing_waits_for_the_embargo_to_the_second() -> None:
    end = AT + timedelta(hours=48)
    assert code(review.may_announce(OUTSIDER, ENDORSED, end - timedelta(seconds=1), {})) == "embargoed"
    assert review.may_announce(OUTSIDER, ENDORSED, end, {}) is None


def test_announcing_takes_another_person_than_deciding() -> None:
    later = AT + timedelta(days=3)
    assert code(review.may_announce(STAFF, ENDORSED, later, {})) == "same_person"
    assert code(review.may_announce(person(52), ENDORSED, later, {person(52): STAFF})) == "same_person"


def test_declined_application_is_never_announced() -> None:
    declined = Decision(False, STAFF, AT, decline_reason="values")
    assert code(review.may_announce(OUTSIDER, declined, AT, {})) == "not_endorsed"


@pytest.mark.parametrize(
    ("confirmed_by", "reason", "announced", "rescinded", "expected"),
    [
        (OUTSIDER, "They left the race.", True, False, None),
        (STAFF, "They left the race.", True, False, "same_person"),
        (person(53), "They left the race.", True, False, "same_person"),
        (OUTSIDER, "  ", True, False, "reason_missing"),
        (OUTSIDER, "They left the race.", False, False, "not_announced"),
        (OUTSIDER, "They left the race.", True, True, "already_rescinded"),
    ],
)
def test_rescinding_takes_two_people_and_a_reason(
    confirmed_by: UUID, reason: str, announced: bool, rescinded: bool, expected: str | None
) -> None:
    refusal = review.may_rescind(STAFF, confirmed_by, reason, announced, rescinded, {person(53): STAFF})
    assert code(refusal) == expected


# Applying again


@pytest.mark.parametrize(
    ("reason", "after", "expected"),
    [
        ("plan_not_ready", timedelta(days=30), None),
        ("plan_not_ready", timedelta(days=29, hours=23), "too_early"),
        ("not_eligible", timedelta(0), None),
        ("conduct", timedelta(days=4000), "never_again"),
    ],
)
def test_applying_again_depends_on_the_reason(reason: str, after: timedelta, expected: str | None) -> None:
    declined = Decision(False, STAFF, AT, decline_reason=reason)
    assert code(review.may_reapply(declined, RULES.decline_reasons, True, AT + after)) == expected


def test_another_candidacy_is_a_new_start() -> None:
    declined = Decision(False, STAFF, AT, decline_reason="conduct")
    assert review.may_reapply(declined, RULES.decline_reasons, False, AT) is None


def test_endorsed_person_has_no_need_to_apply_again() -> None:
    assert code(review.may_reapply(ENDORSED, RULES.decline_reasons, True, AT)) == "already_endorsed"


def test_reason_that_the_program_lacks_is_an_error() -> None:
    with pytest.raises(LookupError, match="no decline reason mood"):
        review.reapply_from(Decision(False, STAFF, AT, decline_reason="mood"), RULES.decline_reasons)
