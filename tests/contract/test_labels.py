"""Codes that one service sends and another puts into words: no mail shows a raw code, in either language."""

from dataclasses import replace

import pytest

from deploy.contract import sample
from services.endorsement.domain.candidacy import RETURN_REASONS
from services.matching.domain.calls import FOLLOW_UPS
from services.matching.domain.explain import explain
from services.notifications.domain.plan import PLAN, plan
from services.notifications.sending import labels
from services.notifications.sending.render import Renderer
from shared.messages import Data
from shared.program import Program, load
from shared.program.messages import MESSAGE_KINDS
from shared.web.i18n import locale_of
from shared.web.text import Message, Text
from tests.contract.test_events import TYPES
from tests.harness import PROGRAM_2017, PROGRAM_2025
from tests.unit.matching.test_explain import ANN, HORIZON, MATCH, VAL

PROGRAMS = {path.stem: load(path) for path in (PROGRAM_2017, PROGRAM_2025)}
RENDERERS = {name: Renderer(program, "https://messages.example", "secret") for name, program in PROGRAMS.items()}


def in_both(renderer: Renderer, code: str, text: Text) -> None:
    """The words of a code differ from it, and between the languages."""
    english, spanish = renderer.say(text, "en"), renderer.say(text, "es")
    assert english != spanish
    assert labels.in_words(code) not in (english, spanish)
    assert len(english.split()) > 1


@pytest.mark.parametrize("organization", sorted(RENDERERS))
def test_every_next_step_that_matching_sends_has_words(organization: str) -> None:
    assert set(labels.FOLLOW_UPS) == set(FOLLOW_UPS)
    for code in FOLLOW_UPS:
        in_both(RENDERERS[organization], code, labels.follow_up(code))


@pytest.mark.parametrize("organization", sorted(RENDERERS))
def test_every_reason_that_sends_a_filing_back_has_words(organization: str) -> None:
    assert set(labels.FILING_REASONS) == set(RETURN_REASONS)
    for code in RETURN_REASONS:
        in_both(RENDERERS[organization], code, labels.filing_reason(code))


@pytest.mark.parametrize("organization", sorted(RENDERERS))
def test_every_reason_of_a_match_has_words(organization: str) -> None:
    program, renderer = PROGRAMS[organization], RENDERERS[organization]
    office, tracks = program.offices[0].id, frozenset(track.id for track in program.tracks[:1])
    candidate = replace(ANN, office=office, tracks=tracks)
    volunteer = replace(VAL, offices=frozenset({office}), tracks=tracks, lived_consent=True)
    elsewhere = replace(volunteer, state="GA")
    said = [
        *explain(MATCH, candidate, volunteer, HORIZON, "candidate"),
        *explain(MATCH, candidate, elsewhere, HORIZON, "candidate"),
    ]
    expected = {"same_state", "same_region", "knows_office", "speaks", "shared_lived", "same_place", "experienced"}
    expected |= {"earliest_shared_time", "waited"} | ({"shared_track"} if tracks else set())
    assert {reason["code"] for reason in said} == expected
    for reason in said:
        words = {language: labels.match_reason(program, reason, locale_of(language)) for language in ("en", "es")}
        assert all(isinstance(text, Message) for text in words.values())
        english, spanish = (renderer.say(words[language], language) for language in ("en", "es"))
        assert english != spanish
        assert "_" not in english + spanish


@pytest.mark.parametrize("organization", sorted(RENDERERS))
def test_every_reason_to_decline_has_words(organization: str) -> None:
    program = PROGRAMS[organization]
    for reason in program.scorecard.decline_reasons:
        words = labels.label_of(program, "decline_reason", reason.id)
        assert words == reason.label
        assert RENDERERS[organization].say(words, "en") != RENDERERS[organization].say(words, "es")


def test_program_kinds_are_those_that_events_make() -> None:
    made = {planned.kind for cls in TYPES if cls in PLAN for planned in plan(sample(cls))}
    made |= {"already_known", "welcome_confirm", "intro_waiting", "call_booked", "call_booked_volunteer"}
    made |= {"call_rescheduled", "call_cancelled"}
    assert made == set(MESSAGE_KINDS)
    assert set(MESSAGE_KINDS) - {"call_rescheduled"} == set(Data.registry)


@pytest.mark.parametrize("organization", sorted(PROGRAMS))
def test_shipped_programs_send_every_kind(organization: str) -> None:
    program: Program = PROGRAMS[organization]
    assert [kind for kind in MESSAGE_KINDS if program.message(kind) is None] == []
