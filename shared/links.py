"""Tokens for links in mails: 128 bits, derived from a key and the link's id, so that a resend carries the same one.

Only the hash is stored. A token says what it is for by the id it was derived from, and opens nothing else. GET
never uses one up: mail scanners follow links; the page shows a button, and its POST does it.
"""

import base64
import hashlib
import hmac


def derive(secret: str, purpose: str, reference: str) -> str:
    """The token (22 URL-safe characters) of the link `reference` for `purpose`."""
    digest = hmac.digest(secret.encode(), f"{purpose}\x00{reference}".encode(), hashlib.sha256)
    return base64.urlsafe_b64encode(digest[:16]).rstrip(b"=").decode()


def matches(secret: str, purpose: str, reference: str, token: str) -> bool:
    """Whether `token` is the link's, compared in constant time."""
    return hmac.compare_digest(derive(secret, purpose, reference).encode(), token.encode())


def fingerprint(token: str) -> bytes:
    """What is stored of a token: its SHA-256, 32 bytes."""
    return hashlib.sha256(token.encode()).digest()
