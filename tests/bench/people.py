"""Made-up sign-ups and events, as many as a benchmark wants."""

from collections.abc import Mapping
from html.parser import HTMLParser
from typing import Any
from urllib.parse import urlencode
from uuid import UUID, uuid4

import orjson

from shared.events.signup import SignedUp


def signed_up(person_id: UUID) -> SignedUp:
    """The event of one sign-up by the form `run`."""
    return SignedUp(
        person_id=person_id,
        signup_id=uuid4(),
        intent_id=uuid4(),
        form="run",
        role="prospect",
        known=False,
        legal_body="pac",
        program_version="2025",
        language="en",
        state="TX",
        office="city_council",
        office_level="local",
        time_zone="America/Chicago",
    )


def facts(mark: str, number: int) -> dict[str, str]:
    """What one person types; every third gives a phone number."""
    return {
        "name": f"Ana María Ortiz {mark}",
        "email": f"ana.{mark}.{number}@example.org",
        "phone": f"202-555-{number % 10000:04d}" if number % 3 == 0 else "",
        "state": "TX",
        "zip": "78701",
        "birth_year": "1990",
        "office": "city_council",
        "time_zone": "America/Chicago",
    }


def as_json(mark: str, number: int) -> bytes:
    """A sign-up as a program sends it."""
    body: dict[str, Any] = {name: value for name, value in facts(mark, number).items() if value}
    return orjson.dumps(
        {
            **body,
            "form": "run",
            "intent_id": str(uuid4()),
            "spoken_languages": ["en", "es"],
            "consents": [{"channel": "email"}],
            "source": {"utm_source": "news", "utm_campaign": "weekend", "page": "https://example.org/join"},
            "answers": {"when": "this_year"},
        }
    )


class _Controls(HTMLParser):
    """The values that a browser would send of a form which nobody touched."""

    def __init__(self) -> None:
        super().__init__()
        self.values: dict[str, str] = {}

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        attributes = dict(attrs)
        name = attributes.get("name")
        if not name or (attributes.get("type") in ("checkbox", "radio") and "checked" not in attributes):
            return
        if tag in ("input", "select", "textarea"):
            self.values.setdefault(name, attributes.get("value") or "")


def controls(page: str) -> dict[str, str]:
    """The names and first values of a page's controls."""
    parser = _Controls()
    parser.feed(page)
    return parser.values


def as_form(shown: Mapping[str, str], mark: str, number: int) -> bytes:
    """A sign-up as a browser sends the form that it was shown."""
    sent = {**shown, **facts(mark, number), "intent_id": str(uuid4()), "consent_email_updates": "yes"}
    return urlencode([*sent.items(), ("spoken_languages", "es"), ("q_when", "this_year")]).encode()
