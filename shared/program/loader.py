"""Reading a program file: TOML in, a frozen `Program` out, or one sentence that names the line."""

from __future__ import annotations

import difflib
import hashlib
import re
import tomllib
from collections.abc import Mapping
from pathlib import Path
from typing import Any, get_args

from pydantic import ValidationError
from pydantic_core import ErrorDetails

from shared.program.positions import Positions
from shared.program.program import Program
from shared.program.vocabulary import Location, Misfit, Section, listed


class ProgramError(Exception):
    """A program file cannot be used. The text is `file:line: what is wrong; the remedy.`"""


def load(path: Path) -> Program:
    """The program in that file. Raises `ProgramError`."""
    try:
        content = path.read_bytes()
    except OSError as error:
        reason = error.strerror or "it cannot be read"
        raise ProgramError(f"{path}: {reason.lower()}; give the path of a program file.") from error
    return parse(content, str(path))


def parse(content: bytes, name: str) -> Program:
    """The program in those bytes, for example as stored under a hash. `name` is the file's name in errors.

    Raises `ProgramError`.
    """
    try:
        text = content.decode()
    except UnicodeDecodeError as error:
        line = content.count(b"\n", 0, error.start) + 1
        raise ProgramError(f"{name}:{line}: this is not UTF-8; save the file as UTF-8.") from error
    try:
        document = tomllib.loads(text)
    except tomllib.TOMLDecodeError as error:
        raise ProgramError(_syntax_sentence(str(error), name, text)) from error
    context = {"content": content, "content_hash": hashlib.sha256(content).hexdigest()}
    try:
        return Program.model_validate(_frozen(document), context=context)
    except ValidationError as error:
        positions = Positions(content)
        details = error.errors(include_url=False)
        faults = [_fault(entry, document) for entry in _without_echoes(details)]
        location, sentence = min(faults, key=lambda fault: positions.line(fault[0]))
        raise ProgramError(f"{name}:{positions.line(location)}: {sentence}.") from error


def _frozen(value: Any) -> Any:
    """Lists as tuples: strict models take them as they are, and nothing can change them later."""
    if isinstance(value, dict):
        return {key: _frozen(item) for key, item in value.items()}
    if isinstance(value, list):
        return tuple(_frozen(item) for item in value)
    return value


def _without_echoes(details: list[ErrorDetails]) -> list[ErrorDetails]:
    """A misspelt key is both unknown and missing: the unknown one is at the line to correct."""
    misspelt = {entry["loc"][:-1] for entry in details if entry["type"] == "extra_forbidden"}
    return [entry for entry in details if not (entry["type"] == "missing" and entry["loc"][:-1] in misspelt)]


def _syntax_sentence(message: str, name: str, text: str) -> str:
    found = re.fullmatch(
        r"(?s)(?P<what>.*) \(at (?:line (?P<line>\d+), column (?P<column>\d+)|end of document)\)", message
    )
    if found is None:
        return f"{name}:1: this is not TOML: {message}; correct it."
    what = found["what"][0].lower() + found["what"][1:]
    line = int(found["line"]) if found["line"] else text.rstrip().count("\n") + 1
    where = f"column {found['column']}" if found["column"] else "the end of the file"
    return f"{name}:{line}: this is not TOML, at {where}: {what}; correct the line."


_EXPECTED: Mapping[str, str] = {
    "string_type": "a text in quotes",
    "int_type": "a whole number",
    "int_from_float": "a whole number",
    "bool_type": "true or false",
    "tuple_type": "a list in brackets",
    "model_type": "a table",
    "model_attributes_type": "a table",
    "date_type": "a date without quotes, such as 2026-01-31",
    "date_from_datetime_inexact": "a date without a time, such as 2026-01-31",
    "datetime_type": "a time without quotes, such as 2026-01-31T00:00:00Z",
}

_PATTERNS: Mapping[str, str] = {
    r"^[a-z][a-z0-9_]{0,39}$": "use lower-case letters, digits and underscores, a letter first",
    r"^[0-9a-z][0-9a-z._-]{0,39}$": "use lower-case letters, digits, dots and dashes",
    r"^[^\r\n]+$": "write it on one line",
    r"^#[0-9a-fA-F]{6}$": 'use a colour such as "#1d4f91"',
    r"^https://[^\s\"<>]+$": "use an address that begins with https://",
    r"^[^@\s<>\"]+@[^@\s<>\"]+\.[a-z]{2,}$": 'use an e-mail address such as "hello@example.org"',
}


def _fault(details: ErrorDetails, document: Mapping[str, Any]) -> tuple[Location, str]:
    """Where an error of pydantic lies, and the sentence for it without its full stop."""
    kind = details["type"]
    context = details.get("ctx", {})
    location, model = _follow(details["loc"], document)
    error = context.get("error")
    if isinstance(error, Misfit):
        location = (*location, *error.location)
        return location, f"{_name(location)} {_with_value(error.sentence, details['input'])}"
    if kind == "missing":
        return location, f"{_name(location)} is missing; add it"
    if kind == "extra_forbidden":
        return location, f"{_name(location)} is not a known key; {_spelling(str(location[-1]), model)}"
    if kind in ("union_tag_invalid", "union_tag_not_found"):
        key = str(context["discriminator"]).strip("'")
        tags = str(context.get("expected_tags") or listed(f"'{tag}'" for tag in _tags(model)))
        location = (*location, key)
        value = details["input"].get(key) if isinstance(details["input"], dict) else None
        state = "is missing" if value is None else f"is {_shown(value)}"
        return location, f"{_name(location)} {state}; use one of {tags.replace(chr(39), '')}"
    value = _shown(details["input"])
    if kind == "literal_error":
        choices = str(context["expected"]).replace("'", "").replace(" or ", ", ")
        remedy = "use one of " + choices if ", " in choices else "use " + choices
    elif kind in _EXPECTED:
        remedy = f"write {_EXPECTED[kind]}"
    elif kind == "string_pattern_mismatch":
        remedy = _PATTERNS[context["pattern"]]
    elif kind == "greater_than_equal":
        remedy = f"use {context['ge']} or more"
    elif kind == "less_than_equal":
        remedy = f"use {context['le']} or less"
    elif kind in ("string_too_short", "too_short"):
        return location, f"{_name(location)} is empty; fill it in"
    elif kind == "string_too_long":
        return location, f"{_name(location)} is too long; use at most {context['max_length']} characters"
    else:
        message = details["msg"]
        remedy = message[0].lower() + message[1:]
    return location, f"{_name(location)} is {value}; {remedy}"


def _with_value(sentence: str, value: object) -> str:
    """A remedy that begins with a verb follows the value; every other sentence already says what is."""
    if sentence.startswith("use ") and isinstance(value, str):
        return f"is {_shown(value)}; {sentence}"
    if sentence.startswith("its ") and isinstance(value, str):
        return f"is {_shown(value)}; {sentence}"
    return sentence


def _follow(path: Location, document: Any) -> tuple[Location, type[Section]]:
    """The path in the file, and the section it lies in. pydantic puts the tag of a union into its path."""
    location: list[str | int] = []
    node: Any = document
    model: Any = Program
    for position, step in enumerate(path):
        is_last = position == len(path) - 1
        if isinstance(node, dict) and step not in node and not is_last:
            model = next(member for member in _members(model) if _tag(member) == step)
            continue
        location.append(step)
        if isinstance(node, dict):
            node = node.get(step)
            if not is_last:
                model = _annotation(model, str(step))
        elif isinstance(node, list) and isinstance(step, int):
            node = node[step]
    return tuple(location), model


def _annotation(model: type[Section], key: str) -> Any:
    """The section behind a key (or the union of sections), through tuples and options."""
    for name, field in model.model_fields.items():
        if key in (name, field.alias):
            return _unwrapped(field.annotation)
    return model


def _unwrapped(annotation: Any) -> Any:
    """`tuple[X, ...]`, `X | None` and `Annotated[X, ...]` become X; a union of sections stays."""
    arguments = [item for item in get_args(annotation) if item not in (type(None), Ellipsis)]
    if isinstance(annotation, type) and issubclass(annotation, Section):
        return annotation
    members = [item for item in arguments if isinstance(item, type) and issubclass(item, Section)]
    if len(members) > 1:
        return annotation
    return _unwrapped(arguments[0]) if arguments else annotation


def _members(annotation: Any) -> tuple[type[Section], ...]:
    return tuple(item for item in get_args(annotation) if isinstance(item, type))


def _tag(member: type[Section]) -> str:
    return str(get_args(member.model_fields["test"].annotation)[0])


def _tags(annotation: Any) -> list[str]:
    return [_tag(member) for member in _members(annotation)]


def _spelling(key: str, model: type[Section]) -> str:
    keys = [field.alias or name for name, field in model.model_fields.items()]
    close = difflib.get_close_matches(key, keys, n=1)
    if close:
        return f"write {close[0]}, or remove it"
    return f"remove it, or use one of {listed(keys)}"


def _name(location: Location) -> str:
    name = ""
    for step in location:
        name += f"[{step}]" if isinstance(step, int) else f".{step}"
    return name.removeprefix(".") or "the file"


def _shown(value: object) -> str:
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, str):
        text = value if len(value) <= 60 else value[:59] + "…"
        return '"' + text.replace("\n", " ") + '"'
    if isinstance(value, dict):
        return "a table"
    if isinstance(value, tuple | list):
        return "a list"
    return str(value)
