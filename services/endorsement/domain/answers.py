"""An application's answers: what was typed is kept as it is in a draft, and judged when it is handed in."""

from __future__ import annotations

import re
from collections.abc import Mapping
from decimal import Decimal, DecimalException
from typing import Any

from shared.program import Application, ApplicationField
from shared.web.text import Message, _

PUBLISH_WORDING_VERSION = "publish-2025-1"
"""The version of the sentence that asks for consent to publish; change it when the sentence changes."""

MAX_CENTS = 10**12
MAX_NUMBER = 10**9
MAX_DIGITS = 20
"""Of an amount as it is typed: more than `MAX_CENTS` has, and so few that reckoning with them is exact and quick."""
# Lone surrogates, which JSON can write, are no characters: like NUL they can't be stored.
_CONTROL = re.compile(r"[\x00-\x08\x0b\x0c\x0e-\x1f\x7f\ud800-\udfff]")


def read_typed(field: ApplicationField, typed: object) -> tuple[Any, Message | None]:
    """An answer as it is stored, and what is wrong with it.

    A form types dollars, a program sends whole cents as a number. What does not parse is stored as it was typed, less
    the control characters, so that a draft shows it again.
    """
    if field.kind == "statements":
        known = [statement.id for statement in field.statements]
        ticked = [str(item) for item in typed] if isinstance(typed, (list, tuple)) else []
        unknown = [item for item in ticked if item not in known]
        return [item for item in known if item in ticked], _("Affirm only what is listed.") if unknown else None
    if typed is None or typed == "":
        return None, None
    if field.kind in ("money", "whole_number"):
        clean = _CONTROL.sub("", typed) if isinstance(typed, str) else typed
        answer, error = _money(clean) if field.kind == "money" else _whole(clean)
        return answer, error or (_("Remove the control characters.") if clean != typed else None)
    text = str(typed).replace("\r\n", "\n").strip()
    if _CONTROL.search(text):
        return _CONTROL.sub("", text), _("Remove the control characters.")
    limit = field.max_length or 0
    if len(text) > limit:
        over = len(text) - limit
        return text, _("Shorten this by %(over)d characters; %(limit)d fit.", over=over, limit=limit)
    return text or None, None


def _money(typed: object) -> tuple[Any, Message | None]:
    sentence = _("Enter an amount in dollars, like 12,500 or 950.50.")
    if isinstance(typed, int) and not isinstance(typed, bool):
        # As text when it is none: the database's numbers end where those of JSON go on.
        return (typed, None) if 0 <= typed <= MAX_CENTS else (str(typed), sentence)
    text = str(typed).replace("$", "").replace(",", "").strip()
    if len(text) > MAX_DIGITS:
        return str(typed), sentence
    try:
        amount = Decimal(text)
    except DecimalException:
        return str(typed), sentence
    # Eight characters, `9e900000`, are an amount that takes a processor twenty seconds to turn into a whole number.
    if not amount.is_finite() or abs(amount.adjusted()) > MAX_DIGITS:
        return str(typed), sentence
    cents = amount * 100
    whole = int(cents)
    return (whole, None) if cents == whole and 0 <= whole <= MAX_CENTS else (str(typed), sentence)


def _whole(typed: object) -> tuple[Any, Message | None]:
    sentence = _("Enter a whole number, like 4200.")
    if isinstance(typed, bool):
        return None, sentence
    text = str(typed).replace(",", "").strip()
    if not (text.isascii() and text.isdigit() and len(text) < 12):
        return str(typed), sentence
    number = int(text)
    return (number, None) if number <= MAX_NUMBER else (str(typed), sentence)


def read_answers(application: Application, typed: Mapping[str, object]) -> tuple[dict[str, Any], dict[str, Message]]:
    """Every answer as it is stored, and what is wrong by field; emptiness is not wrong yet."""
    answers: dict[str, Any] = {}
    errors: dict[str, Message] = {}
    for field in application.fields:
        answers[field.id], error = read_typed(field, typed.get(field.id))
        if error is not None:
            errors[field.id] = error
    for name in typed:
        if name not in answers:
            errors[name] = _("The application has no such field. Remove it.")
    return answers, errors


def check_complete(application: Application, answers: Mapping[str, Any]) -> dict[str, Message]:
    """What is wrong with stored answers when they are handed in."""
    errors: dict[str, Message] = {}
    for field in application.fields:
        answer, error = read_typed(field, answers.get(field.id))
        if error is not None:
            errors[field.id] = error
        elif field.kind == "statements":
            if field.required and len(answer) < len(field.statements):
                errors[field.id] = _("Affirm each of these, or write to us if you can't.")
        elif field.required and answer is None:
            errors[field.id] = _("Answer this; it is required.")
    return errors
