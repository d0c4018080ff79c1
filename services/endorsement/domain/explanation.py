"""A check in words, for the applicant: what was found, in English or Spanish."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import date
from typing import Any, cast

from babel.dates import format_date
from babel.lists import format_list

from services.endorsement.domain.eligibility import Check
from shared.program import Language

_FINDINGS: Mapping[str, Mapping[Language, str]] = {
    "age_within": {
        "en": "We counted {age} years on {day}.",
        "es": "Contamos {age} años el {day}.",
    },
    "age_above": {
        "en": "We counted {age} years on {day}, which is above the limit.",
        "es": "Contamos {age} años el {day}, por encima del límite.",
    },
    "age_depends_on_birthday": {
        "en": "With the year alone we count {age} years on {day}. Please tell us your date of birth.",
        "es": "Solo con el año contamos {age} años el {day}. Dinos tu fecha de nacimiento, por favor.",
    },
    "born_within": {"en": "You were born in {year}.", "es": "Naciste en {year}."},
    "born_before": {
        "en": "You were born in {year}, before {limit}.",
        "es": "Naciste en {year}, antes de {limit}.",
    },
    "office_within": {"en": "Level of your office: {level}.", "es": "Nivel del cargo: {level}."},
    "office_outside": {
        "en": "Level of your office: {level}; we endorse for the levels {levels}.",
        "es": "Nivel del cargo: {level}; respaldamos para los niveles {levels}.",
    },
    "office_never_endorsed": {
        "en": "We do not endorse candidates for this office.",
        "es": "No respaldamos candidaturas a este cargo.",
    },
    "filing_confirmed": {
        "en": "Your filing is confirmed.",
        "es": "Tu inscripción está confirmada.",
    },
    "filing_not_confirmed": {
        "en": "We have not been able to confirm your filing yet.",
        "es": "Todavía no hemos podido confirmar tu inscripción.",
    },
    "stage_reached": {"en": "Done.", "es": "Hecho."},
    "stage_not_reached": {"en": "This has not happened yet.", "es": "Esto todavía no ha ocurrido."},
    "fact_missing": {
        "en": "To settle this we need {missing}.",
        "es": "Para decidirlo nos falta {missing}.",
    },
}

_NAMES: Mapping[Language, Mapping[str, str]] = {
    "en": {
        "birth_year": "your year of birth",
        "birth_date": "your date of birth",
        "signed_up_on": "the day you signed up",
        "applied_on": "the day you apply",
        "election_day": "the day of your election",
        "office_level": "the office you are running for",
        "filing_confirmed": "a check of your filing",
        "stages_reached": "your steps with us so far",
        "local": "local",
        "county": "county",
        "state": "state",
        "federal": "federal",
    },
    "es": {
        "birth_year": "tu año de nacimiento",
        "birth_date": "tu fecha de nacimiento",
        "signed_up_on": "el día en que te registraste",
        "applied_on": "el día de tu solicitud",
        "election_day": "el día de tu elección",
        "office_level": "el cargo al que te postulas",
        "filing_confirmed": "comprobar tu inscripción",
        "stages_reached": "tus pasos con nosotros hasta ahora",
        "local": "local",
        "county": "del condado",
        "state": "estatal",
        "federal": "federal",
    },
}


def explain(check: Check, language: Language) -> str:
    """The requirement and the finding, each a sentence.

    The requirement is as the program file had it at the time; where it lacks the language, the finding
    stands alone.
    """
    params: Mapping[str, Any] = check.params
    names = _NAMES[language]
    values: dict[str, object] = {key: params[key] for key in ("year", "limit") if key in params}
    if "day" in params:
        values["day"] = format_date(date.fromisoformat(params["day"]), "long", locale=language)
        youngest, oldest = params["youngest"], params["oldest"]
        ages = [str(age) for age in range(youngest, oldest + 1)]
        values["age"] = format_list(ages, style="or", locale=language)
    if "level" in params:
        values["level"] = names[params["level"]]
        values["levels"] = format_list([names[level] for level in params["levels"]], "or", locale=language)
    if "missing" in params:
        values["missing"] = format_list([names[fact] for fact in params["missing"]], locale=language)
    requirement = cast("Mapping[str, str]", params["requirement"]).get(language, "")
    return f"{requirement} {_FINDINGS[check.code][language].format(**values)}".strip()
