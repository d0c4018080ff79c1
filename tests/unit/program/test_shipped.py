from __future__ import annotations

import hashlib
from datetime import UTC, date, datetime

import pytest
from pydantic import ValidationError

from shared.program import MESSAGE_KINDS, Program, UnknownId
from shared.program.organization import contrast_with_white
from tests.unit.program.files import PATHS, edited, parsed, shipped

YEARS = pytest.mark.parametrize("year", [2017, 2025])


@YEARS
def test_program_keeps_content_and_its_hash(year: int) -> None:
    content = PATHS[year].read_bytes()
    program = shipped(year)
    assert program.content == content
    assert program.content_hash == hashlib.sha256(content).hexdigest()


@YEARS
def test_program_offers_four_forms_in_both_languages(year: int) -> None:
    program = shipped(year)
    assert [form.id for form in program.forms] == ["run", "volunteer", "mentor", "staff"]
    assert [form.role for form in program.forms] == ["prospect", "volunteer", "mentor", "campaign_staff"]
    assert program.languages == ("en", "es")


@YEARS
def test_program_sends_every_kind_of_message(year: int) -> None:
    assert sorted(message.kind for message in shipped(year).messages) == sorted(MESSAGE_KINDS)


@YEARS
def test_program_never_endorses_for_congress(year: int) -> None:
    offices = shipped(year).offices
    assert [office.id for office in offices if not office.is_endorsable] == ["us_house"]


@YEARS
def test_program_has_an_open_class_on_every_day(year: int) -> None:
    program = shipped(year)
    for month in range(1, 13):
        at = datetime(2026, month, 28, 12, tzinfo=UTC)
        assert len(program.classes_open_at(at)) == 1


@YEARS
def test_program_cannot_be_changed(year: int) -> None:
    program = shipped(year)
    with pytest.raises(ValidationError, match="frozen"):
        setattr(program, "version", "other")  # noqa: B010 - the type checker refuses the plain form
    with pytest.raises(ValidationError, match="frozen"):
        setattr(program.organization, "name", "other")  # noqa: B010


def test_one_on_one_is_promised_to_all_in_2017_only() -> None:
    before, after = shipped(2017), shipped(2025)
    assert (before.one_on_one.promised_to_all, before.stage("one_on_one").required) == (True, True)
    assert (after.one_on_one.promised_to_all, after.stage("one_on_one").required) == (False, False)


def test_weights_are_those_of_the_matching_instances() -> None:
    assert shipped(2025).one_on_one.weights.model_dump() == {
        "base": 1000,
        "same_state": 250,
        "same_division": 80,
        "office": 200,
        "office_undecided": 100,
        "track_each": 100,
        "track_max": 2,
        "urbanicity": 100,
        "lived": 150,
        "lived_no_pref": 75,
        "exp_ok": 100,
        "exp_short": 30,
        "soon_max": 98,
        "soon_per_day": 14,
        "wait_per_day": 40,
    }


def test_sharing_follows_the_direction_of_the_rule() -> None:
    program = shipped(2025)
    assert program.may_share("education", "political", "contact") is True
    assert program.may_share("political", "education", "contact") is False
    assert program.may_share("political", "education", "endorsement") is True
    assert program.may_share("political", "political", "source") is True


def test_wording_in_force_changes_with_its_date() -> None:
    program = shipped(2025)
    change = datetime(2025, 1, 1, tzinfo=UTC)
    before = datetime(2024, 12, 31, 23, 59, tzinfo=UTC)
    assert program.wording("email", None, before).version == "2024.1"
    assert program.wording("email", None, change).version == "2025.1"
    assert program.wording("sms", "2024.1", change).version == "2024.1"
    assert [wording.version for wording in program.wordings_of(program.form("run"), before)] == [
        "2024.1",
        "2024.1",
    ]
    with pytest.raises(UnknownId, match=r'^There is no email wording "9"; the program has 2024\.1, 2025\.1\.$'):
        program.wording("email", "9", change)
    with pytest.raises(UnknownId, match=r"in force at 2020-01-01T00:00:00\+00:00"):
        program.wording("email", None, datetime(2020, 1, 1, tzinfo=UTC))
    with pytest.raises(UnknownId):
        program.wording("email", None, change, body="political")


def test_eligibility_version_depends_on_the_day() -> None:
    program = shipped(2025)
    assert program.eligibility_at(date(2024, 12, 31)).version == "2024-born-1984"
    assert program.eligibility_at(date(2025, 1, 1)).version == "2025-age-40"
    assert program.eligibility_version("2024-born-1984").effective_to == date(2024, 12, 31)
    with pytest.raises(UnknownId, match="No eligibility rules are in force on 2024-05-31"):
        program.eligibility_at(date(2024, 5, 31))
    with pytest.raises(UnknownId, match='no eligibility version "1999"'):
        program.eligibility_version("1999")


def test_class_closes_at_midnight_of_the_organization() -> None:
    program = shipped(2025)
    (spring,) = (entry for entry in program.application.classes if entry.id == "spring_2026")
    assert program.deadline(spring) == datetime(2026, 7, 1, 5, tzinfo=UTC)
    assert [entry.id for entry in program.classes_open_at(datetime(2026, 7, 1, 4, 59, 59, tzinfo=UTC))] == [
        "spring_2026"
    ]
    assert [entry.id for entry in program.classes_open_at(datetime(2026, 7, 1, 5, tzinfo=UTC))] == ["fall_2026"]


def test_text_falls_back_to_the_default_language() -> None:
    program = shipped(2025)
    label = program.office("mayor").label
    assert program.text(label, "es") == "Alcaldía"
    assert program.text(label, "fr") == "Mayor"


@pytest.mark.parametrize(
    ("look_up", "sentence"),
    [
        ("form", 'There is no form "x"; the program has run, volunteer, mentor, staff.'),
        ("legal_body", 'There is no legal body "x"; the program has education, political.'),
    ],
)
def test_unknown_id_lists_what_there_is(look_up: str, sentence: str) -> None:
    with pytest.raises(UnknownId) as refused:
        getattr(shipped(2025), look_up)("x")
    assert str(refused.value) == sentence


def test_message_left_out_of_the_file_is_not_sent() -> None:
    entry = '[[messages]]\nkind = "intro_missed"\nclass = "transactional"\nchannels = ["email"]\ndelay_minutes = 60\n'
    program = parsed(edited(2025, entry, ""))
    assert program.message("intro_missed") is None
    sent = program.message("intro_reminder")
    assert sent is not None
    assert (sent.delivery, sent.channels) == ("transactional", ("email", "sms"))


def test_office_may_be_opened_for_endorsement_by_the_file() -> None:
    program = parsed(edited(2025, 'level = "federal"', 'level = "federal"\nendorsable = true'))
    assert program.office("us_house").is_endorsable is True


def test_contrast_matches_the_reference_values() -> None:
    assert contrast_with_white("#000000") == pytest.approx(21.0)
    assert contrast_with_white("#ffffff") == pytest.approx(1.0)
    # The two greys on either side of the threshold, well known from WCAG's own examples.
    assert contrast_with_white("#767676") == pytest.approx(4.54, abs=0.01)
    assert contrast_with_white("#777777") == pytest.approx(4.48, abs=0.01)


def test_program_in_one_language_needs_no_other() -> None:
    text = edited(2025, 'languages = ["en", "es"]', 'languages = ["en"]')
    text = text.replace('label = { en = "Mayor", es = "Alcaldía" }', 'label = { en = "Mayor" }')
    program: Program = parsed(text)
    assert program.text(program.office("mayor").label, "es") == "Mayor"
