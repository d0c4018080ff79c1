"""Where a sign-up came from. It comes from addresses that others wrote, so it is cleaned, never a reason to refuse."""

from collections.abc import Mapping
from dataclasses import dataclass
from urllib.parse import urlsplit

PARTS = ("utm_source", "utm_medium", "utm_campaign", "referrer", "ref", "page")
MAX_LENGTH = 200


@dataclass(frozen=True, slots=True)
class Source:
    """Campaign parameters, a partner's referral code, the page before and the page that held the form."""

    utm_source: str | None = None
    utm_medium: str | None = None
    utm_campaign: str | None = None
    referrer: str | None = None
    ref: str | None = None
    page: str | None = None


def read(values: Mapping[str, object]) -> Source:
    """A source from whatever a query, a form or JSON held; what can't be used is left out."""
    return Source(**{part: _cleaned(part, values.get(part)) for part in PARTS})


def _cleaned(part: str, value: object) -> str | None:
    if not isinstance(value, str):
        return None
    text = (value if value.isprintable() else "".join(c for c in value if c.isprintable())).strip()
    if part in ("referrer", "page"):
        text = _without_query(text)
    return text[:MAX_LENGTH] or None


def _without_query(address: str) -> str:
    """Scheme, host and path only: a query may carry what somebody typed elsewhere."""
    try:
        parts = urlsplit(address)
        host = parts.hostname or ""
    except ValueError:
        return ""
    if parts.scheme not in ("http", "https"):
        return ""
    return f"{parts.scheme}://{host}{parts.path}"
