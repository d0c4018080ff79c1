"""E-mail addresses: reading one, what identifies it, and a hint when its domain looks mistyped."""

import difflib
from dataclasses import dataclass

from email_validator import EmailNotValidError, validate_email

COMMON_DOMAINS = (
    "gmail.com",
    "yahoo.com",
    "hotmail.com",
    "outlook.com",
    "icloud.com",
    "aol.com",
    "comcast.net",
    "live.com",
    "msn.com",
    "verizon.net",
    "protonmail.com",
)


@dataclass(frozen=True, slots=True)
class EmailAddress:
    """`typed` is where mail goes; `key` is the same for every spelling of one address."""

    typed: str
    key: str


def read(text: str) -> EmailAddress:
    """The address in `text`, by syntax alone (no DNS). Raises `ValueError`.

    The key folds case on both sides: mail systems that tell `Ana@` from `ana@` are rarer than people who don't.
    Dots and `+tags` count, since only some providers ignore them.
    """
    try:
        valid = validate_email(text.strip(), check_deliverability=False)
    except EmailNotValidError as error:
        raise ValueError(str(error)) from None
    return EmailAddress(valid.normalized, f"{valid.local_part.casefold()}@{valid.ascii_domain.lower()}")


def suggestion(text: str) -> str | None:
    """The domain that was probably meant ("gmail.com" for anything at gmial.com), or None."""
    domain = text.strip().lower().rpartition("@")[2]
    if not domain or domain in COMMON_DOMAINS:
        return None
    close = difflib.get_close_matches(domain, COMMON_DOMAINS, n=1, cutoff=0.85)
    return close[0] if close else None
