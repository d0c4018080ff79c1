"""E-mail addresses: reading one, what identifies it, and a hint when its domain looks mistyped."""

import difflib
import re
from dataclasses import dataclass
from functools import lru_cache

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


# What needs no look by the library: letters, digits and single signs between them, short enough for any domain.
PLAIN_LOCAL_PART = re.compile(r"[A-Za-z0-9]+(?:[._+-][A-Za-z0-9]+)*", re.ASCII)
PLAIN_LENGTH, DOMAIN_LENGTH = 64, 100


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
    stripped = text.strip()
    local, _at, domain = stripped.rpartition("@")
    if len(local) <= PLAIN_LENGTH and len(domain) <= DOMAIN_LENGTH and PLAIN_LOCAL_PART.fullmatch(local):
        # Most people's domains are the same few; the library reads each of them once.
        normalized, ascii_domain = _read_domain(domain)
        return EmailAddress(f"{local}@{normalized}", f"{local.casefold()}@{ascii_domain}")
    try:
        valid = validate_email(stripped, check_deliverability=False)
    except EmailNotValidError as error:
        raise ValueError(str(error)) from None
    return EmailAddress(valid.normalized, f"{valid.local_part.casefold()}@{valid.ascii_domain.lower()}")


@lru_cache(maxsize=4096)
def _read_domain(domain: str) -> tuple[str, str]:
    """A domain as mail is sent to it, and in ASCII. Raises `ValueError`."""
    try:
        valid = validate_email(f"a@{domain}", check_deliverability=False)
    except EmailNotValidError as error:
        raise ValueError(str(error)) from None
    return valid.domain, valid.ascii_domain.lower()


def suggestion(text: str) -> str | None:
    """The domain that was probably meant ("gmail.com" for anything at gmial.com), or None."""
    domain = text.strip().lower().rpartition("@")[2]
    if not domain or domain in COMMON_DOMAINS:
        return None
    close = difflib.get_close_matches(domain, COMMON_DOMAINS, n=1, cutoff=0.85)
    return close[0] if close else None
