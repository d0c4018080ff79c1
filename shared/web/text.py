"""Text that is written in English where it arises and put into a reader's language where it is shown.

Imports nothing of the web, so that a service's `domain` may use it: `_("Enter your ZIP code")`.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Protocol, TypeAlias


@dataclass(frozen=True, slots=True)
class Message:
    """A sentence of the catalogue: the English text is its key; `%(name)s` in it is filled from `values`."""

    english: str
    values: Mapping[str, object] = field(default_factory=dict)

    def __str__(self) -> str:
        return self.english % self.values if self.values else self.english


def _(english: str, /, **values: object) -> Message:
    """Mark `english` for the catalogues. The argument is a literal, or the extraction cannot see it."""
    return Message(english, values)


class ByLanguage(Protocol):
    """A text that exists in several languages: `shared.program`'s `Localized`, or a mapping by language code."""

    def get(self, language: str, /) -> str | None: ...


Text: TypeAlias = str | Message | ByLanguage
"""What a page can show: ready text, a catalogue message, or a program's text."""
