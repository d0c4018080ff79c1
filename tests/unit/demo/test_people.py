"""The demo's crowd: the same for a seed, other people in each run."""

from dataclasses import replace

from deploy.demo.people import STATES, Invented, crowd

FIELDS = frozenset({"name", "email", "state", "zip", "birth_year", "time_zone", "spoken_languages", "availability"})


def people(seed: int, run: str, count: int = 400) -> list[Invented]:
    return list(
        crowd(seed=seed, run=run, form="run", count=count, offices=("mayor",), tracks=("rural",), fields=FIELDS)
    )


def test_crowd_of_a_seed_is_the_same_but_for_addresses_and_intents() -> None:
    def plain(person: Invented) -> Invented:
        signup = {name: value for name, value in person.signup.items() if name != "email"}
        return replace(person, intent_id=None, signup=signup)  # type: ignore[arg-type]

    first, second = people(7, "a"), people(7, "b")
    assert [plain(p) for p in first] == [plain(p) for p in second]
    assert {p.email for p in first} & {p.email for p in second} == set()
    assert {p.intent_id for p in first} & {p.intent_id for p in second} == set()
    assert [plain(p) for p in first] != [plain(p) for p in people(8, "a")]


def test_crowd_lives_where_people_live() -> None:
    counts = dict.fromkeys(STATES, 0)
    for person in people(7, "a", 4000):
        counts[person.signup["state"]] += 1
    assert max(counts, key=lambda state: counts[state]) == "CA"
    assert min(counts.values()) > 0


def test_people_give_only_what_the_form_asks_for() -> None:
    asked = FIELDS | {"form", "language", "consents", "source"}
    assert {name for person in people(7, "a") for name in person.signup} == asked
