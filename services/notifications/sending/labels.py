"""Codes as people read them: the program's labels, and sentences for the codes that other services send.

A code that this version does not know is shown as words or left out, never an error: the message still goes.
"""

from collections.abc import Mapping, Sequence
from typing import Any

from babel import Locale

from shared.program import Program, UnknownId
from shared.web.text import Message, Text, _

FOLLOW_UPS: Mapping[str, Message] = {
    "send_filing_guide": _("We’ll send you the filing guide for your state."),
    "training": _("Pick a training that fits your race."),
    "second_call": _("Have a second call when you are ready."),
    "mentor": _("We’ll look for a mentor for you."),
    "introduce_alum": _("We’ll introduce you to somebody who has held that office."),
    "safety_pack": _("Read our guide to staying safe as a candidate."),
    "check_in": _("We’ll check in with you."),
}
FILING_REASONS: Mapping[str, Message] = {
    "link_does_not_open": _("The link you gave did not open for us."),
    "not_on_list": _("We could not find your name on the official list."),
    "other_name": _("The name on the official list is different."),
    "other_office": _("The official list names another office or district."),
    "other_date": _("The official list shows another date."),
}


def label_of(program: Program, kind: str, identifier: str) -> Text:
    """A program's label, or the id as words when this program no longer has it."""
    try:
        if kind == "office":
            return program.office(identifier).label
        if kind == "track":
            return program.track(identifier).label
        if kind == "form":
            return program.form(identifier).title
    except UnknownId:
        return in_words(identifier)
    for reason in program.scorecard.decline_reasons:
        if reason.id == identifier:
            return reason.label
    return in_words(identifier)


def in_words(code: str) -> str:
    """A snake-case code as words."""
    words = code.replace("_", " ").replace("-", " ").strip()
    return words[:1].upper() + words[1:]


def follow_up(code: str) -> Text:
    """An agreed next step."""
    return FOLLOW_UPS.get(code, in_words(code))


def filing_reason(code: str) -> Text:
    """Why a filing could not be verified."""
    return FILING_REASONS.get(code, in_words(code))


def match_reason(program: Program, reason: Mapping[str, Any], locale: Locale) -> Text:
    """Why these two were matched, as the prospect may know it; empty for a code that we have no words for."""
    match reason.get("code"):
        case "same_state":
            return _("You live in the same state.")
        case "same_region":
            return _("You live in the same part of the country.")
        case "knows_office":
            office = label_of(program, "office", str(reason.get("office")))
            return _("They know the office you are thinking about: %(office)s.", office=office)
        case "shared_track":
            track = label_of(program, "track", str(reason.get("track")))
            return _("You share a group: %(track)s.", track=track)
        case "speaks":
            code = str(reason.get("language"))
            return _("You share a language: %(name)s.", name=locale.languages.get(code, code))
        case "shared_lived":
            return _("They share an experience that you asked for.")
        case "same_place":
            return _("You live in similar kinds of places.")
        case "experienced":
            return _("They have campaign experience.")
        case "earliest_shared_time":
            return _("It is the earliest time that suits you both.")
        case "waited":
            return _("You have waited, and your turn has come.")
        case _:
            return ""


def eligibility_checks(checks: Sequence[Mapping[str, Any]], language: str) -> list[tuple[bool | None, str]]:
    """Each rule in the program's words of the day, with whether it was met (None: could not be told)."""
    found = []
    for check in checks:
        params = check.get("params") or {}
        requirement = params.get("requirement") or {}
        words = requirement.get(language) or requirement.get("en") if isinstance(requirement, Mapping) else None
        found.append((check.get("passed"), str(words or in_words(str(check.get("code", ""))))))
    return found
