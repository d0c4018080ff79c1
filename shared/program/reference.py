"""The reference of every key, written from the models: `python -m shared.program.reference docs/program-file.md`."""

from __future__ import annotations

import inspect
import re
import sys
import types
from collections.abc import Iterator
from datetime import date, datetime
from pathlib import Path
from typing import Any, Literal, get_args, get_origin

from pydantic.fields import FieldInfo

from shared.program.program import Program
from shared.program.vocabulary import LANGUAGE_NAMES, Localized, Section, Zone

_INTRODUCTION = """\
# The program file

One TOML file holds an organization's policy: `programs/org_2017.toml` and `programs/org_2025.toml` are complete
examples to copy. It is read once, at start; a fault stops the start with one sentence that names the file, the
line, the key and the remedy. A key that is not listed here is refused.

- **Identifiers** are in snake case: lower-case letters, digits and underscores, a letter first, at most 40.
- **Texts** are given in each of the program's `languages`: `{ en = "…", es = "…" }`.
- **Dates** and **times** are written without quotes; a time has a `Z` or an offset.
- **Versions**: change `version` with every change of the file. Wordings and eligibility rules are never
  edited, only followed by a new version, because consents and decisions name the one they were made under.

This page is written from the models by `.venv/bin/python -m shared.program.reference docs/program-file.md`.
"""


def reference() -> str:
    """The page in Markdown: one table of keys per section, in the order of the file."""
    parts = [_INTRODUCTION, "## Top level\n\n" + _table(Program)]
    parts += [
        f"## `{heading}`\n\n{_summary(section)}\n\n{_table(section)}" for heading, section in _sections(Program, "")
    ]
    return "\n".join(parts)


def _sections(model: type[Section], prefix: str) -> Iterator[tuple[str, type[Section]]]:
    for name, field in model.model_fields.items():
        path = f"{prefix}{field.alias or name}"
        members, is_list = _members(field.annotation)
        for member in members:
            heading = f"[[{path}]]" if is_list else f"[{path}]"
            if len(members) > 1:
                heading += f' with test = "{get_args(member.model_fields["test"].annotation)[0]}"'
            yield heading, member
            yield from _sections(member, f"{path}.")


def _members(annotation: Any) -> tuple[list[type[Section]], bool]:
    """The sections that a key holds, and whether it holds a list of them. Localized texts are values."""
    if inspect.isclass(annotation) and issubclass(annotation, Section):
        return ([] if annotation is Localized else [annotation]), False
    found = [_members(item)[0] for item in get_args(annotation)]
    return [member for members in found for member in members], get_origin(annotation) is tuple


def _table(model: type[Section]) -> str:
    lines = ["| key | value | needed | meaning |", "| --- | --- | --- | --- |"]
    for name, field in model.model_fields.items():
        needed = "yes" if field.is_required() else _default(field)
        meaning = _one_line(field.description or "")
        lines.append(f"| `{field.alias or name}` | {_value(field)} | {needed} | {meaning} |")
    return "\n".join(lines) + "\n"


def _default(field: FieldInfo) -> str:
    if field.default is None or field.default == ():
        return "no"
    shown = f'"{field.default}"' if isinstance(field.default, str) else str(field.default).lower()
    return f"no: `{shown}`"


def _value(field: FieldInfo) -> str:
    annotation = Zone if list(get_args(Zone)[1:]) == field.metadata else field.annotation
    bounds = _bounds(field.metadata)
    arguments = [item for item in get_args(annotation) if item is not type(None)]
    if get_origin(annotation) is types.UnionType and len(arguments) == 1:
        annotation = arguments[0]
    return _escaped(_described(annotation, _pattern(field.metadata)) + bounds)


def _described(annotation: Any, pattern: str = "") -> str:
    if annotation == Zone:
        return "IANA time zone"
    if hasattr(annotation, "__metadata__"):
        pattern = _pattern(annotation.__metadata__) or pattern
        return _described(annotation.__origin__, pattern)
    if get_origin(annotation) is tuple:
        inner = get_args(annotation)[0]
        members, _ = _members(inner)
        return "list of tables" if members else f"list of {_described(inner)}"
    if get_origin(annotation) is Literal:
        return " or ".join(
            f'`"{choice}"`' if isinstance(choice, str) else f"`{choice}`" for choice in get_args(annotation)
        )
    if annotation is date or annotation is datetime:
        return "date" if annotation is date else "time"
    if annotation is Localized:
        return "text in each language"
    if inspect.isclass(annotation) and issubclass(annotation, Section):
        return "table"
    names = {int: "whole number", bool: "true or false", str: "text"}
    return _PATTERN_NAMES.get(pattern, names[annotation])


_PATTERN_NAMES = {
    r"^[a-z][a-z0-9_]{0,39}$": "identifier",
    r"^[0-9a-z][0-9a-z._-]{0,39}$": "version",
    r"^[^\r\n]+$": "one line",
    r"^#[0-9a-fA-F]{6}$": "colour `#rrggbb`",
    r"^https://[^\s\"<>]+$": "https address",
    r"^[^@\s<>\"]+@[^@\s<>\"]+\.[a-z]{2,}$": "e-mail address",
}


def _pattern(metadata: Any) -> str:
    return next((str(item.pattern) for item in metadata if getattr(item, "pattern", None)), "")


def _bounds(metadata: Any) -> str:
    lowest = next((item.ge for item in metadata if hasattr(item, "ge")), None)
    highest = next((item.le for item in metadata if hasattr(item, "le")), None)
    if lowest is not None and highest is not None:
        return f", {lowest} to {highest}"
    return f", {lowest} or more" if lowest is not None else ""


def _summary(section: type[Section]) -> str:
    return _escaped(_one_line(inspect.getdoc(section) or ""))


def _one_line(text: str) -> str:
    return re.sub(r"\s+", " ", text).strip()


def _escaped(text: str) -> str:
    return text.replace("|", "\\|")


if __name__ == "__main__":
    Path(sys.argv[1]).write_text(reference(), encoding="utf-8")
    print(f"Wrote {sys.argv[1]}, with texts in {' and '.join(LANGUAGE_NAMES.values())}.")
