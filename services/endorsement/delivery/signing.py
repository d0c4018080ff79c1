"""Secrets and signatures of Standard Webhooks."""

import base64
import hashlib
import hmac
from datetime import UTC, datetime
from uuid import UUID

from standardwebhooks.webhooks import Webhook


def secret_of(key: str, subscriber_id: UUID, version: int) -> str:
    """A subscriber's secret (`whsec_`, 32 bytes), derived: the database holds none that could leak."""
    purpose = f"webhook-secret\x00{subscriber_id}\x00{version}"
    digest = hmac.digest(key.encode(), purpose.encode(), hashlib.sha256)
    return "whsec_" + base64.b64encode(digest).decode()


def signed_headers(secrets: list[str], webhook_id: str, body: str, at: datetime) -> dict[str, str]:
    """The three headers; one signature per secret that is valid at the moment. `at` is wall-clock time."""
    moment = at.astimezone(UTC)
    return {
        "webhook-id": webhook_id,
        "webhook-timestamp": str(int(moment.timestamp())),
        "webhook-signature": " ".join(Webhook(secret).sign(webhook_id, moment, body) for secret in secrets),
    }
