"""What a person says about themselves, and how each part of it is read: one reader per field.

A reader takes what a form or JSON sent and returns the clean value, or raises `Invalid` with the sentence shown
beside the field. Names may be in any script and may hold emoji, but need a letter; what can't be seen (control
characters, direction overrides) is refused, because it can make one name look like another.
"""

import re
import unicodedata
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from itertools import pairwise
from typing import Any

import phonenumbers
from pydantic import ValidationError

from services.signup.domain.places import SPOKEN_LANGUAGES, STATES, time_zones
from shared.directory import AvailabilityWindow
from shared.program import Form, Program, Question
from shared.web.text import Message, _

NAME_LIMIT = 200
WINDOWS_A_DAY = 2
"""What the editors of hours show, here and in matching: more would be lost when the page is saved."""
MAX_WINDOWS = 7 * WINDOWS_A_DAY
ZIP = re.compile(r"^(\d{5})(-?\d{4})?$", re.ASCII)
STATES_BY_NAME = {name.casefold(): code for code, name in STATES.items()}
JOINERS = "\u200c\u200d"
"""Zero-width joiners: Persian and Indic names, and composed emoji, need them."""


class Invalid(Exception):
    """A value can't be used; `message` says what to enter instead."""

    def __init__(self, message: Message) -> None:
        self.message = message
        super().__init__(str(message))


@dataclass(frozen=True, slots=True)
class Facts:
    """The facts of one sign-up; None and empty where the person said nothing."""

    name: str
    language: str
    phone: str | None = None
    state: str | None = None
    zip: str | None = None
    birth_year: int | None = None
    office: str | None = None
    tracks: tuple[str, ...] = ()
    spoken_languages: tuple[str, ...] = ()
    time_zone: str | None = None
    availability: tuple[AvailabilityWindow, ...] = ()
    answers: Mapping[str, str | bool] | None = None

    def as_json(self) -> dict[str, Any]:
        """JSON values, with every field present."""
        return {
            "name": self.name,
            "language": self.language,
            "phone": self.phone,
            "state": self.state,
            "zip": self.zip,
            "birth_year": self.birth_year,
            "office": self.office,
            "tracks": self.tracks,
            "spoken_languages": self.spoken_languages,
            "time_zone": self.time_zone,
            "availability": [window.model_dump() for window in self.availability],
            "answers": dict(self.answers or {}),
        }


@dataclass(frozen=True, slots=True)
class Asked:
    """What a value is read against: the program, the form (None when a person edits their page), and the time."""

    program: Program
    form: Form | None
    now: datetime


def read_line(value: object, limit: int) -> str | None:
    """Text on one line; None when empty."""
    if value is None or value == "":
        return None
    if not isinstance(value, str):
        raise Invalid(_("Send text here"))
    text = unicodedata.normalize("NFC", value).strip()
    # What can be printed holds nothing hidden; looking at each sign is for the rest.
    if not text.isprintable() and any(_hidden(c) for c in text):
        raise Invalid(_("Remove the characters that can't be seen, such as tabs or line breaks"))
    if len(text) > limit:
        raise Invalid(_("Use at most %(limit)d characters; this has %(length)d", limit=limit, length=len(text)))
    return text or None


def read_paragraph(value: object, limit: int) -> str | None:
    """Text that may have line breaks; None when empty."""
    if value is None or value == "":
        return None
    if not isinstance(value, str):
        raise Invalid(_("Send text here"))
    text = unicodedata.normalize("NFC", value.replace("\r\n", "\n")).strip()
    if any(_hidden(c) for c in text if c not in "\n\t"):
        raise Invalid(_("Remove the characters that can't be seen"))
    if len(text) > limit:
        raise Invalid(_("Use at most %(limit)d characters; this has %(length)d", limit=limit, length=len(text)))
    return text or None


def _hidden(character: str) -> bool:
    category = unicodedata.category(character)
    if category == "Cf":
        # Tag characters draw the flags of nations such as Scotland; U+FEFF, overrides and isolates stay out.
        return character not in JOINERS and not 0xE0020 <= ord(character) <= 0xE007F
    return category in ("Cc", "Cs", "Co", "Zl", "Zp")


def read_name(value: object, _asked: Asked) -> str | None:
    name = read_line(value, NAME_LIMIT)
    if name is not None and not any(c.isalpha() for c in name):
        raise Invalid(_("Enter your name with at least one letter"))
    return name


def read_phone(value: object, _asked: Asked) -> str | None:
    """E.164; a number without a country code is a US number."""
    text = read_line(value, 40)
    if text is None:
        return None
    sentence = _("Enter a phone number with its area code, like 202-555-0143")
    try:
        number = phonenumbers.parse(text, "US")
    except phonenumbers.NumberParseException:
        raise Invalid(sentence) from None
    if not phonenumbers.is_valid_number(number):
        raise Invalid(sentence)
    return phonenumbers.format_number(number, phonenumbers.PhoneNumberFormat.E164)


def read_state(value: object, _asked: Asked) -> str | None:
    text = read_line(value, 40)
    if text is None:
        return None
    if text.upper() in STATES:
        return text.upper()
    if text.casefold() in STATES_BY_NAME:
        return STATES_BY_NAME[text.casefold()]
    raise Invalid(_("Choose a state or territory, as its two letters, like TX"))


def read_zip(value: object, _asked: Asked) -> str | None:
    """The five digits; a ZIP+4 names a street side, so its last four are not kept."""
    text = read_line(value, 20)
    if text is None:
        return None
    match = ZIP.match(text)
    if match is None:
        raise Invalid(_("Enter a ZIP code of five digits, like 64110"))
    return match[1]


def read_birth_year(value: object, asked: Asked) -> int | None:
    if value is None or value == "":
        return None
    text = str(value).strip() if isinstance(value, str | int) and not isinstance(value, bool) else ""
    newest = asked.now.year - 13
    if not (text.isascii() and text.isdigit() and asked.now.year - 110 <= int(text[:6]) <= newest):
        raise Invalid(_("Enter the year you were born in as four digits, %(newest)d or earlier", newest=newest))
    return int(text)


def read_office(value: object, asked: Asked) -> str | None:
    offered = offices_of(asked.program, asked.form)
    return _one_of(value, offered, _("Choose one of the offices on the list"))


def read_tracks(value: object, asked: Asked) -> tuple[str, ...]:
    return _some_of(value, tracks_of(asked.program, asked.form), _("Choose tracks from the list"))


def read_language(value: object, asked: Asked) -> str | None:
    return _one_of(value, asked.program.languages, _("Choose one of the languages that we write in"))


def read_spoken_languages(value: object, _asked: Asked) -> tuple[str, ...]:
    return _some_of(value, SPOKEN_LANGUAGES, _("Choose languages from the list"))


def read_time_zone(value: object, _asked: Asked) -> str | None:
    zone = read_line(value, 64)
    if zone is not None and zone not in time_zones():
        raise Invalid(_("Choose a time zone, like America/Chicago"))
    return zone


def read_availability(value: object, _asked: Asked) -> tuple[AvailabilityWindow, ...]:
    """Weekly windows that don't overlap, at most two a day, sorted."""
    if value is None:
        return ()
    if not isinstance(value, list | tuple) or len(value) > MAX_WINDOWS:
        raise Invalid(_("Send a list of at most %(limit)d times", limit=MAX_WINDOWS))
    try:
        windows = sorted(
            (AvailabilityWindow.model_validate(window) for window in value), key=lambda w: (w.dow, w.start, w.end)
        )
    except ValidationError:
        raise Invalid(_("Send each time as dow (0 is Monday), start and end, like 18:30")) from None
    if any(window.end <= window.start for window in windows):
        raise Invalid(_("Enter an end time that is later than the start time"))
    if any(a.dow == b.dow and b.start < a.end for a, b in pairwise(windows)):
        raise Invalid(_("These times overlap. Change one, or make them one time"))
    if any(count > WINDOWS_A_DAY for count in Counter(window.dow for window in windows).values()):
        raise Invalid(_("State at most two times a day; join those that touch"))
    return tuple(windows)


Reader = Callable[[object, Asked], Any]
READERS: Mapping[str, Reader] = {
    "name": read_name,
    "phone": read_phone,
    "state": read_state,
    "zip": read_zip,
    "birth_year": read_birth_year,
    "office": read_office,
    "tracks": read_tracks,
    "language": read_language,
    "spoken_languages": read_spoken_languages,
    "time_zone": read_time_zone,
    "availability": read_availability,
}


def read_answer(question: Question, value: object) -> str | bool | None:
    """An answer to one of the program's own questions; None when there is none."""
    if value is None or value == "":
        return None
    if question.kind == "yes_no":
        answers: Mapping[object, bool] = {True: True, False: False, "yes": True, "no": False}
        if not isinstance(value, str | bool) or value not in answers:
            raise Invalid(_("Answer yes or no"))
        return answers[value]
    if question.kind == "choice":
        return _one_of(value, [option.id for option in question.options], _("Choose one of the answers on the list"))
    reader = read_line if question.kind == "short_text" else read_paragraph
    return reader(value, question.limit)


def offices_of(program: Program, form: Form | None) -> tuple[str, ...]:
    """The offices that a form offers, all of the program's without a form."""
    field = form.field("office") if form else None
    return (field.offices if field else ()) or tuple(office.id for office in program.offices)


def tracks_of(program: Program, form: Form | None) -> tuple[str, ...]:
    """The tracks that a form offers, all of the program's without a form."""
    field = form.field("tracks") if form else None
    return (field.tracks if field else ()) or tuple(track.id for track in program.tracks)


def _one_of(value: object, offered: Sequence[str], sentence: Message) -> str | None:
    if value is None or value == "":
        return None
    if not isinstance(value, str) or value not in offered:
        raise Invalid(sentence)
    return value


def _some_of(value: object, offered: Sequence[str], sentence: Message) -> tuple[str, ...]:
    if value is None or value == "":
        return ()
    if not isinstance(value, list | tuple) or any(not isinstance(item, str) or item not in offered for item in value):
        raise Invalid(sentence)
    return tuple(dict.fromkeys(value))
