"""Where to go after signing in: only to the organization's own services, whatever the address says."""

from collections.abc import Iterable
from urllib.parse import urlsplit


def safe_next(text: str | None, bases: Iterable[str]) -> str | None:
    """The address, if it lies under one of the base URLs exactly as browsers read it; else None."""
    if not text or len(text) > 2000 or "\\" in text or any(not c.isprintable() or c.isspace() for c in text):
        return None
    try:
        wanted = urlsplit(text)
    except ValueError:
        return None
    for base in bases:
        own = urlsplit(base)
        path = own.path.rstrip("/")
        same_origin = (wanted.scheme, wanted.netloc) == (own.scheme, own.netloc)
        if same_origin and (not path or wanted.path == path or wanted.path.startswith(f"{path}/")):
            return text
    return None
