"""What a candidate declares, and why a filing goes back."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import date
from urllib.parse import urlsplit

from shared.program import Program, UnknownId
from shared.web.text import Message, _

_POSTAL = """
    AL AK AZ AR CA CO CT DE DC FL GA HI ID IL IN IA KS KY LA ME MD MA MI MN MS MO MT NE NV NH NJ NM NY NC ND OH OK
    OR PA RI SC SD TN TX UT VT VA WA WV WI WY PR GU VI AS MP
"""
STATES = tuple(_POSTAL.split())
"""Postal codes of states and territories that hold elections."""

RETURN_REASONS: Mapping[str, Message] = {
    "link_does_not_open": _("The link does not open."),
    "not_on_list": _("We could not find you on that list."),
    "other_name": _("The list shows another name."),
    "other_office": _("The list shows another office or district."),
    "other_date": _("The list shows another date."),
}
"""Why a filing could not be verified, by the code that the event carries."""

RESCISSION_REASONS: Mapping[str, Message] = {
    "left_race": _("The candidate left the race."),
    "facts_wrong": _("What we relied on turned out to be wrong."),
    "conduct": _("The candidate’s conduct."),
    "values": _("Our values no longer match."),
}
"""Why an endorsement is taken back, by the code that the event carries."""

_CONTROL = re.compile(r"[\x00-\x1f\x7f]")


@dataclass(frozen=True)
class Declared:
    """A candidacy as its candidate states it; `official_link` is the public list, never a scan."""

    office: str
    office_level: str
    state: str
    district: str | None
    election_date: date
    term: str
    ballot_name: str
    official_link: str
    filed_on: date


def read_declared(
    values: Mapping[str, str | None], dates: Mapping[str, date | None], program: Program, today: date
) -> tuple[Declared | None, dict[str, Message]]:
    """The declaration, or what is wrong by field.

    `values` has office, state, district, term, ballot_name and official_link; `dates` election_date and filed_on.
    """
    errors: dict[str, Message] = {}
    text = {name: " ".join((value or "").split()) for name, value in values.items()}
    level = ""
    try:
        level = program.office(text["office"]).level
    except UnknownId:
        errors["office"] = _("Choose the office you filed for.")
    if text["state"].upper() not in STATES:
        errors["state"] = _("Choose a state.")
    if len(text["district"]) > 80:
        errors["district"] = _("Shorten the district to 80 characters.")
    if not text["term"] or len(text["term"]) > 40:
        errors["term"] = _("Enter the term you would serve, such as 2026–2030.")
    # Names of one letter exist, and signup takes them.
    if not 1 <= len(text["ballot_name"]) <= 120:
        errors["ballot_name"] = _("Enter your name as it will stand on the ballot.")
    if not _is_public_link(text["official_link"]):
        errors["official_link"] = _("Enter the address of the official list, beginning with https://.")
    for name, value in text.items():
        if _CONTROL.search(value):
            errors[name] = _("Remove the line breaks or control characters.")
    election, filed = dates["election_date"], dates["filed_on"]
    if election is None:
        errors["election_date"] = _("Enter the day of the election.")
    elif election < today:
        errors["election_date"] = _("That election is over. Enter the day of the coming one.")
    if filed is None:
        errors["filed_on"] = _("Enter the day you filed.")
    elif filed > today:
        errors["filed_on"] = _("That day is still to come. Declare the candidacy once you have filed.")
    if errors or election is None or filed is None:
        return None, errors
    return Declared(
        office=text["office"],
        office_level=level,
        state=text["state"].upper(),
        district=text["district"] or None,
        election_date=election,
        term=text["term"],
        ballot_name=text["ballot_name"],
        official_link=text["official_link"],
        filed_on=filed,
    ), errors


def _is_public_link(link: str) -> bool:
    try:
        parts = urlsplit(link)
    except ValueError:
        return False
    host = parts.hostname or ""
    return parts.scheme == "https" and "." in host and parts.username is None and len(link) <= 500 and " " not in link
