"""Tokens in the links of a message: they name the message, and prove that we sent the link for that purpose.

Stateless: `<id>.<proof>`, 22 characters each; the proof is derived from the service's key, the purpose and the id.
"""

import base64
import binascii
import hashlib
import hmac
import re
from typing import Literal
from uuid import UUID

from shared.links import derive, matches

Purpose = Literal["unsubscribe", "preferences", "why"]
PURPOSES: tuple[Purpose, ...] = ("why", "preferences", "unsubscribe")


def token_of(secret: str, purpose: Purpose, message_id: UUID) -> str:
    """The token of a message's link."""
    name = base64.urlsafe_b64encode(message_id.bytes).rstrip(b"=").decode()
    return f"{name}.{derive(secret, purpose, str(message_id))}"


def message_of(secret: str, purpose: Purpose, token: str) -> UUID | None:
    """The message that a token names; None for one that is not ours or of another purpose."""
    name, _, proof = token.partition(".")
    try:
        raw = base64.urlsafe_b64decode(name + "==")
    except (binascii.Error, ValueError):
        return None
    if len(raw) != 16:
        return None
    message_id = UUID(bytes=raw)
    return message_id if matches(secret, purpose, str(message_id), proof) else None


def without_tokens(body: str) -> str:
    """A message's words as they are kept: links end before what could open them."""
    return re.sub(r"(https?://[^\s/]+/?)\S*", r"\1…", body)


def contact_hash(key: str, channel: str, contact: str) -> bytes:
    """A keyed hash of an e-mail address (case-insensitive) or a phone number (digits and +), 32 bytes."""
    if channel == "email":
        plain = contact.strip().lower()
    else:
        digits = "".join(sign for sign in contact if sign.isdigit())
        plain = f"+1{digits}" if len(digits) == 10 else f"+{digits}"
    return hmac.digest(key.encode(), f"contact\x00{channel}\x00{plain}".encode(), hashlib.sha256)
