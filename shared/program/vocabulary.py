"""What every section of a program file is made of: identifiers, bilingual texts, faults with a place."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from functools import cache
from typing import Annotated, Literal, Protocol, TypeVar
from zoneinfo import ZoneInfo

from pydantic import AfterValidator, BaseModel, ConfigDict, StringConstraints

Language = Literal["en", "es"]
LANGUAGE_NAMES: Mapping[str, str] = {"en": "English", "es": "Spanish"}

Location = tuple[str | int, ...]


class Misfit(ValueError):
    """Raised by a validator: what is wrong and the remedy, without the final full stop.

    `location` is relative to the section that raises it, so that the loader can name the line of the
    faulty key rather than of the section around it.
    """

    def __init__(self, sentence: str, location: Location = ()) -> None:
        super().__init__(sentence)
        self.sentence = sentence
        self.location = location


class UnknownId(LookupError):
    """The program has no such form, office, track, ...: the sentence lists those it has."""


class Section(BaseModel):
    """A table of the program file: immutable, strict about types, unknown keys refused."""

    model_config = ConfigDict(
        frozen=True,
        extra="forbid",
        strict=True,
        use_attribute_docstrings=True,
        str_strip_whitespace=True,
        populate_by_name=True,
        val_json_bytes="base64",
    )


def _check_zone(name: str) -> str:
    if not _is_zone(name):
        raise Misfit('use an IANA time zone such as "America/Chicago"')
    return name


@cache
def _is_zone(name: str) -> bool:
    try:
        ZoneInfo(name)
    except (LookupError, OSError, ValueError):  # missing, a directory of zones, or a path
        return False
    return "/" in name or name == "UTC"


Id = Annotated[str, StringConstraints(pattern=r"^[a-z][a-z0-9_]{0,39}$")]
"""An identifier in snake case, at most 40 characters."""

Version = Annotated[str, StringConstraints(pattern=r"^[0-9a-z][0-9a-z._-]{0,39}$")]
"""The name of a version, such as 2025.1 or 2025-age-40."""

Line = Annotated[str, StringConstraints(min_length=1, max_length=300, pattern=r"^[^\r\n]+$")]
"""Text on one line: it may end up in a mail header."""

Email = Annotated[str, StringConstraints(pattern=r"^[^@\s<>\"]+@[^@\s<>\"]+\.[a-z]{2,}$", max_length=254)]
"""An e-mail address."""

Url = Annotated[str, StringConstraints(pattern=r"^https://[^\s\"<>]+$", max_length=500)]
"""An address that begins with https://."""

Zone = Annotated[str, AfterValidator(_check_zone)]
"""An IANA time zone."""

Paragraph = Annotated[str, StringConstraints(min_length=1, max_length=4000)]


class Localized(Section):
    """A text in each language that the program offers: `{ en = "...", es = "..." }`.

    `Program` refuses a text that lacks one of its languages.
    """

    en: Paragraph | None = None
    """English."""
    es: Paragraph | None = None
    """Spanish."""

    def get(self, language: str) -> str | None:
        """The text in that language, or None."""
        if language == "en":
            return self.en
        if language == "es":
            return self.es
        return None


class HasId(Protocol):
    @property
    def id(self) -> str: ...


Item = TypeVar("Item", bound=HasId)


def find(items: Iterable[Item], identifier: str, kind: str) -> Item:
    """The item with that id; `UnknownId` lists the ids there are."""
    known = []
    for item in items:
        if item.id == identifier:
            return item
        known.append(item.id)
    raise UnknownId(f'There is no {kind} "{identifier}"; the program has {listed(known)}.')


def listed(names: Iterable[object]) -> str:
    """Names as a list for a sentence; "none" when there are none."""
    return ", ".join(str(name) for name in names) or "none"


def check_unique(names: Sequence[str], location: Location, key: str = "id") -> None:
    """Raise `Misfit` at the second use of a name. `names` are the values of `key` in order."""
    seen: dict[str, int] = {}
    for index, name in enumerate(names):
        if name in seen:
            raise Misfit(f'"{name}" is used twice; give each {key} once', (*location, index, key))
        seen[name] = index


def check_known(name: str, known: Iterable[str], location: Location) -> None:
    """Raise `Misfit` when a reference points nowhere."""
    names = list(known)
    if name not in names:
        raise Misfit(f'"{name}" is not in this program; use one of {listed(names)}', location)
