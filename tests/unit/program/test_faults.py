from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import pytest

from shared.program import ProgramError, load, parse
from tests.unit.program.files import edited, parsed


@dataclass(frozen=True)
class Fault:
    """`old` in org_2025.toml replaced by `new`; the error names the line where `at` begins, then `sentence`."""

    old: str
    new: str
    at: str
    sentence: str


FAULTS = {
    "wrong_choice": Fault(
        'level = "federal"',
        'level = "city"',
        'level = "city"',
        'offices[9].level is "city"; use one of local, county, state, federal.',
    ),
    "missing_key": Fault(
        'id = "mayor"\n',
        "",
        '[[offices]]\nlabel = { en = "Mayor"',
        "offices[2].id is missing; add it.",
    ),
    "misspelt_key": Fault(
        "hold_hours = 24\n",
        "hold_hors = 24\n",
        "hold_hors",
        "one_on_one.hold_hors is not a known key; write hold_hours, or remove it.",
    ),
    "unknown_key": Fault(
        'id = "mayor"',
        'id = "mayor"\nzzz = 1',
        "zzz",
        "offices[2].zzz is not a known key; remove it, or use one of id, label, level, endorsable.",
    ),
    "number_in_quotes": Fault(
        "capacity = 300",
        'capacity = "300"',
        "capacity",
        'intro_calls.capacity is "300"; write a whole number.',
    ),
    "number_too_small": Fault(
        "capacity = 300",
        "capacity = 0",
        "capacity",
        "intro_calls.capacity is 0; use 1 or more.",
    ),
    "number_too_large": Fault(
        "topic_retention_days = 28",
        "topic_retention_days = 29",
        "topic_retention_days",
        "privacy.topic_retention_days is 29; use 28 or less.",
    ),
    "date_in_quotes": Fault(
        "closes = 2025-06-30",
        'closes = "2025-06-30"',
        "closes",
        'application.classes[0].closes is "2025-06-30"; write a date without quotes, such as 2026-01-31.',
    ),
    "id_with_capital": Fault(
        'id = "mayor"',
        'id = "Mayor"',
        'id = "Mayor"',
        'offices[2].id is "Mayor"; use lower-case letters, digits and underscores, a letter first.',
    ),
    "pale_colour": Fault(
        '"#1d4f91"',
        '"#777777"',
        "brand = ",
        'organization.brand.primary is "#777777"; its contrast with white is 4.48; '
        "choose a darker colour with at least 4.5.",
    ),
    "unknown_zone": Fault(
        'time_zone = "America/Chicago"',
        'time_zone = "America/Springfield"',
        "time_zone",
        'organization.time_zone is "America/Springfield"; use an IANA time zone such as "America/Chicago".',
    ),
    "folder_of_zones": Fault(
        'unknown_zone = "America/New_York"',
        'unknown_zone = "America/Argentina"',
        "unknown_zone",
        'texting.unknown_zone is "America/Argentina"; use an IANA time zone such as "America/Chicago".',
    ),
    "missing_spanish": Fault(
        '{ en = "Mayor", es = "Alcaldía" }',
        '{ en = "Mayor" }',
        'label = { en = "Mayor" }',
        'offices[2].label.es is missing; add the Spanish text as es = "...".',
    ),
    "default_language_not_offered": Fault(
        'languages = ["en", "es"]\ndefault_language = "en"',
        'languages = ["es"]\ndefault_language = "en"',
        "default_language",
        'default_language is "en"; use one of languages, es.',
    ),
    "office_twice": Fault(
        'id = "mayor"',
        'id = "city_council"',
        '"city_council"\nlabel = { en = "Mayor"',
        'offices[2].id "city_council" is used twice; give each id once.',
    ),
    "form_offers_unknown_office": Fault(
        'offices = ["school_board",',
        'offices = ["dog_catcher",',
        '"dog_catcher"',
        'forms[0].fields[6].offices[0] "dog_catcher" is not in this program; use one of school_board, '
        "city_council, mayor, special_district, county_commission, clerk, sheriff_da, state_house, "
        "state_senate, us_house.",
    ),
    "form_offers_unknown_track": Fault(
        '{ field = "tracks", required = false }',
        '{ field = "tracks", tracks = ["educators", "pirates"] }',
        '"pirates"',
        'forms[0].fields[7].tracks[1] "pirates" is not in this program; use one of federal_workers, educators, '
        "women, rural, spanish, scientists, veterans, renters, parents.",
    ),
    "offices_on_another_field": Fault(
        '{ field = "state", required = true }',
        '{ field = "state", required = true, offices = ["mayor"] }',
        'offices = ["mayor"]',
        'forms[0].fields[3].offices is only for field = "office"; remove it here.',
    ),
    "form_without_email": Fault(
        '  { field = "email", required = true },\n',
        "",
        "fields = [",
        'forms[0].fields needs the field "email"; add { field = "email", required = true }.',
    ),
    "form_of_unknown_body": Fault(
        'role = "prospect"\nbody = "education"',
        'role = "prospect"\nbody = "edu"',
        'body = "edu"\n',
        'forms[0].body "edu" is not in this program; use one of education, political.',
    ),
    "form_offers_unknown_wording": Fault(
        'consents = ["email_updates", "text_reminders"]',
        'consents = ["email_updates", "push"]',
        '"push"',
        'forms[0].consents[1] "push" is not in this program; use one of email_updates, text_reminders.',
    ),
    "texts_without_phone": Fault(
        '  { field = "phone", required = false, help = { en = "Only for reminders, and only if you ask for '
        'them below.", es = "Solo para recordatorios, y solo si los pides más abajo." } },\n',
        "",
        'consents = ["email_updates", "text_reminders"]',
        'forms[0].consents[1] "text_reminders" is for texts, and the form asks for no phone; add the field.',
    ),
    "choice_of_one": Fault(
        '  { id = "one", label = { en = "One campaign", es = "Una campaña" } },\n'
        '  { id = "several", label = { en = "Several campaigns", es = "Varias campañas" } },\n'
        '  { id = "professional", label = { en = "It was my job", es = "Fue mi trabajo" } },\n',
        "",
        'options = [\n  { id = "none"',
        "forms[1].questions[1].options a choice needs at least two options; add them under options.",
    ),
    "text_wording_without_stop": Fault(
        "Reply STOP to stop,",
        "Reply with a wave to stop,",
        "Reply with a wave",
        "wordings[1].text.en lacks the word STOP; say how to stop and get help.",
    ),
    "wording_time_without_zone": Fault(
        "effective_from = 2024-06-01T00:00:00Z",
        "effective_from = 2024-06-01T00:00:00",
        "effective_from = 2024-06-01T00:00:00",
        "wordings[0].effective_from has no time zone; write it with a Z or an offset, "
        'such as "2025-01-20T00:00:00Z" unquoted.',
    ),
    "stages_out_of_order": Fault(
        'required = true\nrequires = ["signed_up"]',
        'required = true\nrequires = ["filed"]',
        'requires = ["filed"]',
        'stages[1].requires[0] "filed" does not come before confirmed; reorder the stages.',
    ),
    "hold_longer_than_near": Fault(
        "near_hold_hours = 6",
        "near_hold_hours = 25",
        "near_hold_hours",
        "one_on_one.near_hold_hours is more than hold_hours (24); lower it.",
    ),
    "call_off_the_grid": Fault(
        "call_minutes = 30",
        "call_minutes = 45",
        "call_minutes",
        "one_on_one.call_minutes is 45; use a multiple of slot_minutes (30).",
    ),
    "cap_above_maximum": Fault(
        "weekly_cap_default = 2",
        "weekly_cap_default = 16",
        "weekly_cap_default",
        "one_on_one.weekly_cap_default is more than weekly_cap_max (15); lower it.",
    ),
    "weight_missing": Fault(
        "exp_short = 30\n",
        "",
        "[one_on_one.weights]",
        "one_on_one.weights.exp_short is missing; add it.",
    ),
    "rules_overlap": Fault(
        "effective_to = 2024-12-31\n",
        "effective_to = 2025-02-28\n",
        "effective_from = 2025-01-01\n",
        'eligibility[1].effective_from is 2025-01-01, and version "2024-born-1984" is in force until 2025-02-28, '
        "so the two overlap; end that one on 2024-12-31.",
    ),
    "rules_overlap_without_end": Fault(
        "effective_to = 2024-12-31\n",
        "",
        "effective_from = 2025-01-01\n",
        'eligibility[1].effective_from is 2025-01-01, and version "2024-born-1984" is in force until further '
        "notice, so the two overlap; end that one on 2024-12-31.",
    ),
    "rules_leave_a_gap": Fault(
        "effective_to = 2024-12-31\n",
        "effective_to = 2024-11-30\n",
        "effective_from = 2025-01-01\n",
        'eligibility[1].effective_from is 2025-01-01, and version "2024-born-1984" ends on 2024-11-30, '
        "which leaves days without rules; begin on 2024-12-01.",
    ),
    "unknown_test": Fault(
        'test = "age_at_most"',
        'test = "age_at_least"',
        'test = "age_at_least"',
        'eligibility[1].rules[0].test is "age_at_least"; use one of younger_than, age_at_most, born_in_or_after, '
        "office_level_in, filing_confirmed, stage_reached.",
    ),
    "test_missing": Fault(
        'test = "age_at_most"\n',
        "",
        "[[eligibility.rules]]\nage = 40",
        "eligibility[1].rules[0].test is missing; use one of younger_than, age_at_most, born_in_or_after, "
        "office_level_in, filing_confirmed, stage_reached.",
    ),
    "key_of_another_test": Fault(
        "year = 1984",
        "year = 1984\nage = 40",
        "age = 40\nlabel",
        "eligibility[0].rules[0].age is not a known key; remove it, or use one of test, year, label.",
    ),
    "rule_without_its_key": Fault(
        "age = 40\n",
        "",
        '[[eligibility.rules]]\ntest = "age_at_most"',
        "eligibility[1].rules[0].age is missing; add it.",
    ),
    "class_without_rules": Fault(
        "opens = 2025-01-01",
        "opens = 2024-01-01",
        "opens = 2024-01-01",
        "application.classes[0].opens is 2024-01-01, when no eligibility rules are in force; they cover "
        "2024-born-1984 (2024-06-01 to 2024-12-31), 2025-age-40 (2025-01-01 to further notice).",
    ),
    "class_closes_first": Fault(
        "closes = 2025-06-30",
        "closes = 2024-12-31",
        "closes = 2024-12-31",
        "application.classes[0].closes is before opens (2025-01-01); put it on the same day or later.",
    ),
    "weights_do_not_add_up": Fault(
        "weight = 20",
        "weight = 25",
        "weight = 15\n\n[[scorecard.decline_reasons]]",
        "scorecard.criteria[4].weight has weights that add up to 105; change them to add up to 100.",
    ),
    "more_outsiders_than_quorum": Fault(
        "outside = 1 }",
        "outside = 3 }",
        "quorum = ",
        "scorecard.quorum.outside is 3, more than the quorum's size (2); lower it.",
    ),
    "embargo_beyond_limit": Fault(
        "max_days = 60",
        "max_days = 2",
        "embargo = ",
        "scorecard.embargo.default_hours is longer than max_days (2 days); lower it.",
    ),
    "sign_in_as_bulk": Fault(
        'kind = "sign_in"\nclass = "link"',
        'kind = "sign_in"\nclass = "bulk"',
        'class = "bulk"\nchannels = ["email"]\n\n[[messages]]\nkind = "confirmed_welcome"',
        'messages[2].class is "bulk" for sign_in; use "link".',
    ),
    "sign_in_left_out": Fault(
        '[[messages]]\nkind = "sign_in"\nclass = "link"\nchannels = ["email"]\n',
        "",
        "[[messages]]",
        'messages lacks "sign_in", without which nobody can confirm or sign in; add it.',
    ),
    "texts_too_early": Fault(
        "from_hour = 8",
        "from_hour = 7",
        "from_hour = 7",
        "texting.from_hour is 7; use 8 or more.",
    ),
}


@pytest.mark.parametrize("fault", FAULTS.values(), ids=FAULTS.keys())
def test_fault_names_line_key_and_remedy(fault: Fault) -> None:
    text = edited(2025, fault.old, fault.new)
    line = text[: text.index(fault.at)].count("\n") + 1
    with pytest.raises(ProgramError) as refused:
        parsed(text)
    assert str(refused.value) == f"programs/x.toml:{line}: {fault.sentence}"


def test_first_of_several_faults_is_told() -> None:
    text = edited(2025, "capacity = 300", "capacity = 0").replace('level = "federal"', 'level = "city"')
    with pytest.raises(ProgramError, match=r"offices\[9\]\.level"):
        parsed(text)


def test_syntax_error_names_its_line() -> None:
    text = edited(2025, "capacity = 300", "capacity = = 300")
    line = text[: text.index("capacity = =")].count("\n") + 1
    with pytest.raises(ProgramError) as refused:
        parsed(text)
    assert str(refused.value) == (
        f"programs/x.toml:{line}: this is not TOML, at column 12: invalid value; correct the line."
    )


def test_syntax_error_at_the_end_names_the_last_line() -> None:
    with pytest.raises(ProgramError) as refused:
        parsed('version = "1"\nlanguages = ["en"\n')
    assert str(refused.value) == (
        "programs/x.toml:2: this is not TOML, at the end of the file: unclosed array; correct the line."
    )


def test_bytes_that_are_not_utf8_name_their_line() -> None:
    with pytest.raises(ProgramError, match=r"^x\.toml:2: this is not UTF-8; save the file as UTF-8\.$"):
        parse(b'a = "1"\nb = "\xe1"\n', "x.toml")


def test_missing_file_is_one_sentence(tmp_path: Path) -> None:
    path = tmp_path / "none.toml"
    with pytest.raises(ProgramError) as refused:
        load(path)
    assert str(refused.value) == f"{path}: no such file or directory; give the path of a program file."


def test_empty_file_names_its_first_line() -> None:
    with pytest.raises(ProgramError, match=r"^programs/x\.toml:1: version is missing; add it\.$"):
        parsed("")
