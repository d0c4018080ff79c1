"""What the solver may weigh of a person, read from the answers of a sign-up form.

A question counts by its id, so an organization opts in by asking it; what nobody asked is unknown and scores
neutral.

    urbanicity            rural, suburban or urban
    district              an id that volunteers may have a conflict with
    lived                 experiences of one's own; of a volunteer
    lived_consent         whether they may be named to the other side
    wants_lived           experiences the other side should share; of a prospect
    gender, requires_gender
    campaign_experience   none, one, several or professional; of a volunteer
    needs_experience      the same words; of a prospect
    offices               offices a volunteer knows, beside the one they named
    conflict_districts    districts a volunteer must not advise in
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

EXPERIENCE = {"none": 0, "one": 1, "several": 2, "professional": 3}


@dataclass(frozen=True, slots=True, kw_only=True)
class Facts:
    """See the module; None and empty mean unknown."""

    urbanicity: str | None = None
    district: str | None = None
    lived: frozenset[str] = frozenset()
    lived_consent: bool = False
    wants_lived: frozenset[str] = frozenset()
    gender: str | None = None
    requires_gender: str | None = None
    experience: int | None = None
    needs_experience: int | None = None
    offices: frozenset[str] = frozenset()
    conflict_districts: frozenset[str] = frozenset()


def flat(answers: Mapping[str, Any]) -> dict[str, Any]:
    """Answers by question; those of several forms, given by form, are joined."""
    joined: dict[str, Any] = {}
    for key, value in answers.items():
        joined.update(value if isinstance(value, Mapping) else {key: value})
    return joined


def facts_of(answers: Mapping[str, Any]) -> Facts:
    """The facts in these answers; an answer of an unexpected form counts as none."""
    stated = flat(answers)
    return Facts(
        urbanicity=_word(stated.get("urbanicity")),
        district=_word(stated.get("district")),
        lived=_words(stated.get("lived")),
        lived_consent=stated.get("lived_consent") in (True, "yes"),
        wants_lived=_words(stated.get("wants_lived")),
        gender=_word(stated.get("gender")),
        requires_gender=_word(stated.get("requires_gender")),
        experience=EXPERIENCE.get(str(stated.get("campaign_experience"))),
        needs_experience=EXPERIENCE.get(str(stated.get("needs_experience"))),
        offices=_words(stated.get("offices")),
        conflict_districts=_words(stated.get("conflict_districts")),
    )


def _word(value: object) -> str | None:
    return value if isinstance(value, str) and value else None


def _words(value: object) -> frozenset[str]:
    if isinstance(value, str):
        return frozenset({value} if value else ())
    return frozenset(v for v in value if isinstance(v, str)) if isinstance(value, list | tuple) else frozenset()
