"""What a match says to whom."""

from dataclasses import replace
from datetime import UTC, datetime, time, timedelta
from zoneinfo import ZoneInfo

from services.matching.domain.availability import Window
from services.matching.domain.explain import Audience, Sentence, explain, explain_waiting
from services.matching.domain.fairness import with_groups
from services.matching.domain.model import Assignment, Candidate, Horizon, Reason, ScoreParts, Unmatched, Volunteer

START = datetime(2027, 1, 11, tzinfo=UTC)
ZONE = ZoneInfo("America/New_York")
HORIZON = Horizon(START, 21, 30)
ANN = Candidate(
    id="ann",
    zone=ZONE,
    languages=frozenset({"en", "es"}),
    state="VA",
    urbanicity="rural",
    tracks=frozenset({"federal_worker", "parent"}),
    waiting_since=START - timedelta(days=12, hours=5),
    office="school_board",
    wants_lived=frozenset({"immigrant", "woman"}),
    needs_experience=1,
    requires_gender="woman",
    blocks=frozenset({"somebody"}),
)
VAL = Volunteer(
    id="val",
    zone=ZONE,
    languages=frozenset({"en", "es"}),
    state="VA",
    urbanicity="rural",
    tracks=frozenset({"federal_worker"}),
    weekly_cap=4,
    gender="woman",
    offices=frozenset({"school_board"}),
    lived=frozenset({"immigrant"}),
    experience=2,
)
MATCH = Assignment(
    candidate_id="ann",
    volunteer_id="val",
    start=START,
    end=START + timedelta(minutes=30),
    parts=ScoreParts(1000, 250, 200, 100, 100, 150, 100, 98, 488),
    rank=3,
    feasible_volunteers=41,
    slot_price=77,
    group_price=0,
    earliest_shared=True,
)


def codes(sentences: list[Sentence]) -> list[str]:
    return [str(s["code"]) for s in sentences]


def told(audience: Audience, candidate: Candidate = ANN, volunteer: Volunteer = VAL) -> list[str]:
    return codes(explain(MATCH, candidate, volunteer, HORIZON, audience))


def test_explain_tells_the_candidate_what_both_share() -> None:
    assert explain(MATCH, ANN, VAL, HORIZON, "candidate") == [
        {"code": "same_state", "state": "VA"},
        {"code": "knows_office", "office": "school_board"},
        {"code": "shared_track", "track": "federal_worker"},
        {"code": "speaks", "language": "es"},
        {"code": "same_place", "urbanicity": "rural"},
        {"code": "experienced"},
        {"code": "earliest_shared_time"},
        {"code": "waited", "days": 12},
    ]


def test_lived_experience_needs_the_volunteers_consent_and_goes_to_the_candidate_only() -> None:
    open_about_it = replace(VAL, lived_consent=True)
    assert {"code": "shared_lived", "lived": "immigrant"} in explain(MATCH, ANN, open_about_it, HORIZON, "candidate")
    assert "shared_lived" not in told("candidate")
    assert "shared_lived" not in told("volunteer", volunteer=open_about_it)


def test_explain_is_silent_about_safety_rules() -> None:
    careless = replace(ANN, requires_gender=None, blocks=frozenset())
    for audience in ("candidate", "volunteer", "staff"):
        assert explain(MATCH, ANN, VAL, HORIZON, audience) == explain(MATCH, careless, VAL, HORIZON, audience)


def test_explain_says_nothing_of_unknowns_or_of_english_alone() -> None:
    plain = replace(
        ANN,
        languages=frozenset({"en"}),
        state=None,
        urbanicity=None,
        tracks=frozenset(),
        office=None,
        needs_experience=None,
        waiting_since=START,
    )
    assert told("candidate", plain, replace(VAL, urbanicity=None, state=None)) == ["earliest_shared_time"]
    later = replace(MATCH, earliest_shared=False)
    assert explain(later, plain, VAL, HORIZON, "candidate") == []
    assert told("candidate", volunteer=replace(VAL, state="MD"))[0] == "same_region"
    assert told("candidate", volunteer=replace(VAL, state="CA"))[0] == "knows_office"


def test_explain_keeps_rank_and_price_for_staff() -> None:
    assert explain(MATCH, ANN, VAL, HORIZON, "staff")[-2:] == [
        {"code": "rank", "rank": 3, "of": 41},
        {"code": "slot_price", "points": 77},
    ]
    assert codes(explain(replace(MATCH, slot_price=None), ANN, VAL, HORIZON, "staff"))[-1] == "rank"


def test_waiting_is_explained_without_naming_a_safety_rule() -> None:
    told = {reason: explain_waiting(Unmatched("ann", reason, 9, 8, 7, 6, 5), "candidate") for reason in Reason}
    assert told == {
        Reason.NO_HOURS: {"code": "add_hours"},
        Reason.NO_SUPPLY: {"code": "waiting_for_volunteers"},
        Reason.NO_SHARED_LANGUAGE: {"code": "no_shared_language"},
        Reason.GENDER_REQUIREMENT: {"code": "waiting_for_volunteers"},
        Reason.NOT_PERMITTED: {"code": "waiting_for_volunteers"},
        Reason.NO_SHARED_HOURS: {"code": "no_shared_hours"},
        Reason.ALL_TAKEN: {"code": "waiting_for_volunteers"},
    }
    assert explain_waiting(Unmatched("ann", Reason.NOT_PERMITTED, 9, 8, 7, 0, 0), "staff") == {
        "code": "not_permitted",
        "with_room": 9,
        "sharing_language": 8,
        "meeting_requirement": 7,
        "permitted": 0,
        "sharing_hours": 0,
    }


def test_with_groups_names_place_language_hours_and_scarce_states() -> None:
    evening = Window(0, time(18), time(20))
    people = (
        replace(ANN, windows=(evening,), languages=frozenset({"es"})),
        *(replace(ANN, id=f"c{n}", state="TX", windows=(evening, replace(evening, dow=1))) for n in range(3)),
    )
    grouped = with_groups(people, [VAL, replace(VAL, id="vic")])
    assert grouped[0].groups == ("place:rural", "language:other", "hours:narrow")
    assert grouped[1].groups == ("place:rural", "language:english", "state:few_volunteers")
