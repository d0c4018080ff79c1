"""Who the crowd is and what each of them will do: a function of the seed alone, but for the run's mark."""

import random
from dataclasses import dataclass, replace
from typing import Any, Literal
from uuid import NAMESPACE_URL, UUID, uuid5

from deploy.demo.people import Invented, crowd
from shared.program import Program

AREAS = ("202", "212", "303", "415", "512", "602", "713", "808", "901")
PAGE_SHARE, KNOWN_SHARE, TWICE_SHARE, MISTAKE_SHARE = 0.1, 0.05, 0.03, 0.02
TEXTS_SHARE, CONFIRMS_SHARE = 0.25, 0.3
# Most that walk the whole path take texts: nobody else gets any but the answers to what they text themselves.
WALKERS_TEXTS_SHARE = 0.8
LEAVES_SHARE, CHOOSES_SHARE, STOPS_SHARE = 0.1, 0.1, 0.2
Later = Literal["unsubscribe", "choose", "stop"]


@dataclass(frozen=True, slots=True)
class Marks:
    """What tells this run's people from all others; every piece of personal data holds one of them."""

    word: str

    @classmethod
    def of(cls, seed: int, run: str) -> "Marks":
        """Of a seed and a run; another run on the same system has other people."""
        return cls(f"Kestrel{uuid5(NAMESPACE_URL, f'{seed}/{run}').hex[:8]}")

    @property
    def domain(self) -> str:
        """Where the crowd's mail goes."""
        return f"{self.word.lower()}.example.org"

    def phone(self, number: int) -> str:
        """A number of the exchange that is kept for fiction; 10,000 in each area."""
        return f"+1{AREAS[number // 10_000 % len(AREAS)]}555{number % 10_000:04d}"

    def as_list(self) -> list[str]:
        """For the journal."""
        return [self.word, self.domain, *(f"+1{area}555" for area in AREAS)]


@dataclass(frozen=True, slots=True)
class Planned:
    """One sign-up to be sent. `via` is the JSON interface or the HTML form; `later` what follows a confirmation."""

    intent_id: UUID
    payload: dict[str, Any]
    via: Literal["json", "page"] = "json"
    is_mistake: bool = False
    twice: bool = False
    confirms: bool = False
    later: tuple[Later, ...] = ()

    @property
    def email(self) -> str:
        """The address given."""
        return str(self.payload.get("email", ""))


def invented(program: Program, seed: int, form_id: str, count: int, marks: Marks) -> list[Invented]:
    """People for a form, each marked."""
    form = program.form(form_id)
    offices = tuple(office.id for office in program.offices if office.is_endorsable)
    for item in form.fields:
        if item.field == "office" and item.offices:
            offices = tuple(item.offices)
    people = crowd(
        seed=seed,
        run=marks.word.lower(),
        form=form_id,
        count=count,
        offices=offices,
        tracks=tuple(track.id for track in program.tracks),
        fields=frozenset(item.field for item in form.fields),
    )
    rng = random.Random(f"{seed}/{form_id}/marks")
    base = {"run": 0, "volunteer": 80_000}.get(form_id, 85_000)
    return [_marked(person, number, marks, program, rng, base) for number, person in enumerate(people)]


def _marked(person: Invented, number: int, marks: Marks, program: Program, rng: random.Random, base: int) -> Invented:
    signup = {**person.signup}
    form = program.form(signup["form"])
    signup["name"] = f"{signup['name']} {marks.word}"
    signup["email"] = f"{form.id}.{number}@{marks.domain}"
    signup.pop("phone", None)
    channels = {wording.channel for wording in program.wordings if wording.id in form.consents}
    asks_phone = form.field("phone") is not None
    signup["consents"] = [consent for consent in signup["consents"] if consent["channel"] in channels]
    if asks_phone and rng.random() < TEXTS_SHARE + 0.1:
        signup["phone"] = marks.phone(base + number)
        if "sms" in channels and rng.random() < TEXTS_SHARE / (TEXTS_SHARE + 0.1):
            signup["consents"] = [*signup["consents"], {"channel": "sms"}]
    words = {question.id: f"A library that is open on Sundays. {marks.word}" for question in form.questions
             if question.kind in ("short_text", "long_text")}  # fmt: skip
    choices = {question.id: question.options[0].id for question in form.questions
               if question.kind == "choice" and question.required}  # fmt: skip
    if words or choices:
        signup["answers"] = {**words, **choices}
    return replace(person, signup=signup)


def willing(person: Invented, *, texts: str | None) -> Invented:
    """The same person, on the way to an endorsement: of an age that qualifies, at every step; `texts` is a number."""
    signup = {**person.signup}
    if "birth_year" in signup:
        signup["birth_year"] = 1990 + int(signup["birth_year"]) % 12
    consents = [{"channel": "email"}]
    if texts is not None:
        signup["phone"] = texts
        consents.append({"channel": "sms"})
    signup["consents"] = consents
    return replace(person, signup=signup, confirms=True, attends=True, accepts=True, files=True)


def plan(program: Program, seed: int, count: int, marks: Marks) -> list[Planned]:
    """`count` sign-ups in the order of their arrival."""
    rng = random.Random(f"{seed}/plan")
    planned: list[Planned] = []
    known: list[str] = []
    for number, person in enumerate(invented(program, seed, "run", count, marks)):
        intent_id = uuid5(NAMESPACE_URL, f"{marks.word}/{number}")
        payload = dict(person.signup)
        draw = rng.random()
        if draw < MISTAKE_SHARE:
            planned.append(Planned(intent_id, _spoiled(payload, rng), is_mistake=True))
            continue
        if draw < MISTAKE_SHARE + KNOWN_SHARE and known:
            payload["email"] = rng.choice(known)
        known.append(payload["email"])
        by_text = any(consent["channel"] == "sms" for consent in payload["consents"])
        later: list[Later] = []
        if rng.random() < LEAVES_SHARE:
            later.append("unsubscribe")
        elif rng.random() < CHOOSES_SHARE:
            later.append("choose")
        if by_text and rng.random() < STOPS_SHARE:
            later.append("stop")
        by_page = rng.random() < PAGE_SHARE
        planned.append(
            Planned(
                intent_id,
                payload,
                via="page" if by_page else "json",
                twice=not by_page and rng.random() < TWICE_SHARE,
                confirms=rng.random() < CONFIRMS_SHARE,
                later=tuple(later),
            )
        )
    return planned


def _spoiled(payload: dict[str, Any], rng: random.Random) -> dict[str, Any]:
    """The payload with an honest mistake."""
    mistakes: tuple[dict[str, Any], ...] = (
        {"state": "Narnia"},
        {"email": payload["email"].replace("@", " at ")},
        {"name": " "},
        {"phone": "12345"},
        {"birth_year": 2025},
        {"favourite_colour": "green"},
    )
    return {**payload, **rng.choice(mistakes)}


def arrivals(seed: int, count: int, rate: float) -> list[float]:
    """Seconds after the start at which each sign-up is sent: a Poisson process, or all at 0 for rate 0."""
    rng = random.Random(f"{seed}/arrivals")
    moments: list[float] = []
    moment = 0.0
    for _ in range(count):
        moment += rng.expovariate(rate) if rate else 0.0
        moments.append(moment)
    return moments
