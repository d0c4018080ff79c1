"""Words that many messages share, with holes for what is each recipient's own.

A stencil is cut from one ordinary rendering with marks in the places of the personal values. A mark holds every sign
that HTML escapes, so the rendering itself tells of each place whether the value stands there escaped or as it is.
What is filled in is joined, never looked at again: no value can pass for a mark or for a template's syntax.
"""

import binascii
import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from operator import itemgetter
from typing import Any

from markupsafe import escape

_SIGNS = "&<>'\""
_MARK = re.compile(f"\ue000({re.escape(_SIGNS)}|{re.escape(str(escape(_SIGNS)))})([0-9]+)\ue001")


class NoStencil(ValueError):
    """A rendering does more with a personal value than to write it down."""


def mark(number: int) -> str:
    """What stands for personal value number `number` in the rendering that a stencil is cut from."""
    return f"\ue000{_SIGNS}{number}\ue001"


def marks_in(rendered: str) -> frozenset[int]:
    """The numbers of the marks in a rendering."""
    return frozenset(int(number) for _sign, number in _MARK.findall(rendered))


def may_be_taken_for_mark(words: object) -> bool:
    """Whether something that goes into a rendering unmarked could be taken for a mark, or for a part of one."""
    return "\\ue000" in ascii(words) or "\\ue001" in ascii(words)


def fits(value: str) -> bool:
    """Whether a value can be filled in: one printable word, so that it neither ends a line nor is trimmed."""
    return value.isprintable() and " " not in value


def values_of(personal: Sequence[str]) -> tuple[str, ...]:
    """What `fill` takes: each value as it is, then each escaped for HTML."""
    return (*personal, *(str(escape(value)) for value in personal))


@dataclass(frozen=True, slots=True)
class Line:
    """Text with holes: `fill` gives it with `values_of(personal)` in them."""

    shape: str
    pick: Callable[[Sequence[str]], Any] | None

    def fill(self, values: Sequence[str]) -> str:
        """The text."""
        return self.shape if self.pick is None else self.shape % self.pick(values)


def cut(rendered: str, personal: int) -> Line:
    """The stencil of a rendering with marks for `personal` values; `NoStencil` where a mark was changed."""
    parts = _MARK.split(rendered)
    constant, holes = parts[::3], []
    for sign, number in zip(parts[1::3], parts[2::3], strict=True):
        if int(number) >= personal:
            raise NoStencil("A mark has a number that no value has.")
        holes.append(int(number) + (0 if sign == _SIGNS else personal))
    if any("\ue000" in text or "\ue001" in text for text in constant):
        raise NoStencil("A personal value was changed on its way into the words.")
    if not holes:
        return Line(rendered, None)
    return Line("%s".join(text.replace("%", "%%") for text in constant), itemgetter(*holes))


@dataclass(frozen=True, slots=True)
class Body:
    """A form of a mail: its words, and the same as quoted-printable lines, of which those without holes are ready."""

    words: Line
    encoded: tuple[bytes | Line, ...]

    def encode(self, values: Sequence[str]) -> bytes:
        """What `quoted_printable(self.words.fill(values))` is, in less time."""
        return b"".join(
            part if isinstance(part, bytes) else binascii.b2a_qp(part.fill(values).encode(), istext=True)
            for part in self.encoded
        )


def cut_body(rendered: str, personal: int) -> Body:
    """The stencil of one form of a mail."""
    encoded: list[bytes | Line] = []
    for text in rendered.splitlines():
        line = cut(text + "\r\n", personal)
        if line.pick is not None:
            encoded.append(line)
            continue
        ready = binascii.b2a_qp(line.shape.encode(), istext=True)
        if encoded and isinstance(encoded[-1], bytes):
            encoded[-1] += ready
        else:
            encoded.append(ready)
    return Body(cut(rendered, personal), tuple(encoded))


def quoted_printable(text: str) -> bytes:
    """The lines of a text, ended by CRLF and encoded (RFC 2045, 6.7): none is longer than 76 characters."""
    lines = "\r\n".join(text.splitlines()) + "\r\n"
    return binascii.b2a_qp(lines.encode(), istext=True)
