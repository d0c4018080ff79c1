"""A seeded crowd: people by state and population, their zones, offices, tracks, sources, languages and hours.

Names are invented; the awkward ones are valid. Addresses are at example domains (RFC 2606).
Population weights: 2020 census, millions, rounded.
"""

import random
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any
from uuid import NAMESPACE_URL, UUID, uuid5

# State: millions of people, main zone, a ZIP code there.
STATES: dict[str, tuple[float, str, str]] = {
    "AL": (5.0, "America/Chicago", "35203"), "AK": (0.7, "America/Anchorage", "99501"),
    "AZ": (7.2, "America/Phoenix", "85003"), "AR": (3.0, "America/Chicago", "72201"),
    "CA": (39.5, "America/Los_Angeles", "94103"), "CO": (5.8, "America/Denver", "80202"),
    "CT": (3.6, "America/New_York", "06103"), "DE": (1.0, "America/New_York", "19801"),
    "FL": (21.5, "America/New_York", "33130"), "GA": (10.7, "America/New_York", "30303"),
    "HI": (1.5, "Pacific/Honolulu", "96813"), "ID": (1.8, "America/Boise", "83702"),
    "IL": (12.8, "America/Chicago", "60602"), "IN": (6.8, "America/Indiana/Indianapolis", "46204"),
    "IA": (3.2, "America/Chicago", "50309"), "KS": (2.9, "America/Chicago", "66603"),
    "KY": (4.5, "America/Kentucky/Louisville", "40202"), "LA": (4.7, "America/Chicago", "70112"),
    "ME": (1.4, "America/New_York", "04101"), "MD": (6.2, "America/New_York", "21202"),
    "MA": (7.0, "America/New_York", "02108"), "MI": (10.1, "America/Detroit", "48226"),
    "MN": (5.7, "America/Chicago", "55401"), "MS": (3.0, "America/Chicago", "39201"),
    "MO": (6.2, "America/Chicago", "63101"), "MT": (1.1, "America/Denver", "59601"),
    "NE": (2.0, "America/Chicago", "68102"), "NV": (3.1, "America/Los_Angeles", "89101"),
    "NH": (1.4, "America/New_York", "03301"), "NJ": (9.3, "America/New_York", "07102"),
    "NM": (2.1, "America/Denver", "87102"), "NY": (20.2, "America/New_York", "10007"),
    "NC": (10.4, "America/New_York", "27601"), "ND": (0.8, "America/Chicago", "58102"),
    "OH": (11.8, "America/New_York", "43215"), "OK": (4.0, "America/Chicago", "73102"),
    "OR": (4.2, "America/Los_Angeles", "97204"), "PA": (13.0, "America/New_York", "19107"),
    "RI": (1.1, "America/New_York", "02903"), "SC": (5.1, "America/New_York", "29201"),
    "SD": (0.9, "America/Chicago", "57104"), "TN": (6.9, "America/Chicago", "37203"),
    "TX": (29.1, "America/Chicago", "78701"), "UT": (3.3, "America/Denver", "84111"),
    "VT": (0.6, "America/New_York", "05401"), "VA": (8.6, "America/New_York", "23219"),
    "WA": (7.7, "America/Los_Angeles", "98104"), "WV": (1.8, "America/New_York", "25301"),
    "WI": (5.9, "America/Chicago", "53703"), "WY": (0.6, "America/Denver", "82001"),
}  # fmt: skip

GIVEN = (
    "Aaliyah", "Ana", "Bao", "Ben", "Camila", "Chidi", "Dana", "Diego", "Elena", "Ezra", "Fatima", "Grace", "Hana",
    "Imani", "Isaac", "Jamal", "Jo", "Kai", "Keisha", "Lena", "Luis", "Mai", "Marcus", "Nadia", "Noah", "Olu",
    "Priya", "Quinn", "Rosa", "Sam", "Sofía", "Tasha", "Uma", "Victor", "Wren", "Ximena", "Yusuf", "Zoë",
)  # fmt: skip
FAMILY = (
    "Abdi", "Baker", "Begaye", "Chen", "Cruz", "Dubois", "Edwards", "Flores", "García", "Haddad", "Ito", "Jackson",
    "Kealoha", "Kim", "Lopez", "Miller", "Nguyen", "Okafor", "Patel", "Quispe", "Ramirez", "Singh", "Tran",
    "Underwood", "Vang", "Washington", "Xiong", "Young", "Zamora",
)  # fmt: skip
AWKWARD = (
    "Null", "N. O'Neil-O’Brien", "María José de la Cruz y Ruiz", "Nguyễn Thị Hồng", "李小龍", "Ólafur Þórsson", "X",
    "Jean-Luc d’Arcy III", "محمد علي", "Zoë “Zee” Müller-Lüdenscheidt", "ʻIolani Kaʻahumanu", "Mc Donald Test",
    "Anne Marie  Double Space", "Ben & Jerry Smith", "<b>Bold</b> Person",
)  # fmt: skip
SOURCES: tuple[dict[str, str], ...] = (
    {"utm_source": "news", "utm_medium": "article", "utm_campaign": "the_week_it_turned"},
    {"utm_source": "friend", "utm_medium": "share"},
    {"utm_source": "podcast", "utm_medium": "audio", "utm_campaign": "episode_12"},
    {"ref": "campus-union", "utm_source": "partner"},
    {"referrer": "https://example.org/run"},
    {},
)


@dataclass(frozen=True, slots=True)
class Invented:
    """A person of the crowd: what they type into the form, and how they will behave."""

    intent_id: UUID
    signup: dict[str, Any]
    confirms: bool
    attends: bool
    accepts: bool
    files: bool

    @property
    def email(self) -> str:
        """Where their mail goes."""
        return str(self.signup["email"])


def _hours(rng: random.Random, windows: int) -> list[dict[str, Any]]:
    days = sorted(rng.sample(range(7), windows))
    hours = []
    for day in days:
        start = rng.choice((9, 11, 13) if day >= 5 else (17, 18, 19))
        hours.append({"dow": day, "start": f"{start:02d}:00", "end": f"{start + rng.choice((2, 3)):02d}:30"})
    return hours


def crowd(
    *,
    seed: int,
    run: str,
    form: str,
    count: int,
    offices: tuple[str, ...],
    tracks: tuple[str, ...],
    fields: frozenset[str],
) -> Iterator[Invented]:
    """`count` people who fill the form `form`: the same for the same seed, but for their addresses.

    `run` goes into addresses and intents, so that a second crowd on one system is of other people.
    `fields` are those that the program's form asks for; the others are left out.
    """
    rng = random.Random(f"{seed}/{form}")  # noqa: S311 (invented people, not secrets)
    names = list(STATES)
    weights = [STATES[name][0] for name in names]
    for number in range(count):
        state = rng.choices(names, weights)[0]
        _, zone, zip_code = STATES[state]
        plain = f"{rng.choice(GIVEN)} {rng.choice(FAMILY)}"
        name = AWKWARD[number // 9 % len(AWKWARD)] if number % 9 == 4 else plain
        speaks_spanish = rng.random() < 0.2
        language = "es" if speaks_spanish and rng.random() < 0.6 else "en"
        spoken = ["es"] if language == "es" and rng.random() < 0.4 else ["en", "es"] if speaks_spanish else ["en"]
        answers: dict[str, Any] = {
            "name": name,
            "email": f"{form}.{number}.{run}@example.org",
            "state": state,
            "zip": zip_code,
            "birth_year": rng.randint(1988, 2005) if rng.random() < 0.8 else rng.randint(1950, 1987),
            "office": rng.choice(offices) if rng.random() < 0.7 else None,
            "tracks": rng.sample(tracks, k=min(len(tracks), rng.choice((0, 0, 1, 1, 2)))),
            "language": language,
            "spoken_languages": spoken,
            "time_zone": zone,
            "availability": _hours(rng, 5 if form == "volunteer" else rng.choice((2, 3, 4))),
        }
        if rng.random() < 0.3:
            answers["phone"] = f"+1202555{rng.randint(100, 199):04d}"
        always = {"name", "email", "language"}
        signup = {k: v for k, v in answers.items() if v is not None and (k in fields or k in always)}
        consents = [{"channel": "email"}] if rng.random() < 0.85 else []
        yield Invented(
            intent_id=uuid5(NAMESPACE_URL, f"hustings-demo/{run}/{form}/{number}"),
            signup={"form": form, **signup, "consents": consents, "source": rng.choice(SOURCES)},
            confirms=form == "volunteer" or rng.random() < 0.85,
            attends=rng.random() < 0.75,
            accepts=rng.random() < 0.85,
            files=rng.random() < 0.25,
        )
