"""L10: every subscriber got every public event, under one id, signed; or it is on record as undelivered."""

import base64
import binascii
import hashlib
import hmac
import json
from urllib.parse import urlsplit

from cli.ledger.evidence import Evidence
from cli.ledger.report import Check

# Standard Webhooks asks receivers to refuse what is older; the journal is written at once.
TIMESTAMP_SECONDS = 300.0
GRACE_SECONDS = 5.0

# Only those that were never disabled, as far as anything says: the others have their dead letters.
MISSING = """
    SELECT r.event_id, s.id FROM records AS r CROSS JOIN endorsement_subscribers AS s
    WHERE r.topic = 'endorsement.endorsements' AND r.first AND r.time > s.created_at + ? AND s.status = 'active'
      AND NOT EXISTS (SELECT 1 FROM endorsement_deliveries AS d
                      WHERE d.subscriber_id = s.id AND d.webhook_id = r.event_id)
      AND NOT EXISTS (SELECT 1 FROM endorsement_audit AS a WHERE a.subject = s.id
                      AND a.action IN ('webhook_disabled', 'webhook_enabled'))
      AND NOT EXISTS (SELECT 1 FROM endorsement_deliveries AS d
                      WHERE d.subscriber_id = s.id AND d.dead_reason IN ('gone', 'disabled'))
"""
TWICE = """
    SELECT group_concat(id, ', '), subscriber_id, webhook_id, count(*) FROM endorsement_deliveries
    GROUP BY subscriber_id, webhook_id HAVING count(*) > 1
"""
EVENT_TWICE = """
    SELECT group_concat(webhook_id, ', '), subscriber_id, endorsement_id, event_type FROM endorsement_deliveries
    WHERE endorsement_id IS NOT NULL GROUP BY subscriber_id, endorsement_id, event_type HAVING count(*) > 1
"""
UNKNOWN_EVENT = """
    SELECT d.id, d.webhook_id FROM endorsement_deliveries AS d
    WHERE d.endorsement_id IS NOT NULL
      AND NOT EXISTS (SELECT 1 FROM records AS r
                      WHERE r.event_id = d.webhook_id AND r.topic = 'endorsement.endorsements')
"""
UNSETTLED = "SELECT id, subscriber_id, status FROM endorsement_deliveries WHERE status NOT IN ('delivered', 'dead')"
# A letter is dead for a reason that its attempts bear out.
UNFOUNDED = """
    SELECT id, dead_reason, attempts FROM endorsement_deliveries
    WHERE status = 'dead' AND (dead_reason IS NULL OR (dead_reason IN ('gone', 'exhausted') AND attempts = 0))
"""
UNTAKEN = "SELECT id, webhook_id FROM endorsement_deliveries WHERE status = 'delivered' AND taken = 0"
DELIVERED = """
    SELECT d.id, d.webhook_id, s.url FROM endorsement_deliveries AS d
    JOIN endorsement_subscribers AS s ON s.id = d.subscriber_id WHERE d.status = 'delivered'
"""
TAKEN_PATHS = "SELECT path FROM hooks WHERE webhook_id = ? AND CAST(answer AS INTEGER) BETWEEN 200 AND 299"
RECEIVED = "SELECT line, at, path, webhook_id, timestamp, signature, body FROM hooks ORDER BY line"
SENT_BODY = """
    SELECT s.url, d.body FROM endorsement_deliveries AS d JOIN endorsement_subscribers AS s ON s.id = d.subscriber_id
    WHERE d.webhook_id = ?
"""
SECRETS = """
    SELECT json_extract(detail, '$.path'), json_extract(detail, '$.secret') FROM acts
    WHERE act IN ('subscribe', 'rotate') AND outcome = 'ack' AND detail IS NOT NULL
"""


def webhooks(evidence: Evidence, check: Check) -> None:
    """L10."""
    check.count(evidence.count("SELECT count(*) FROM endorsement_subscribers"), "subscribers")
    check.count(evidence.count("SELECT count(*) FROM endorsement_deliveries"), "deliveries")
    check.each(evidence.rows(MISSING, GRACE_SECONDS), "subscriber {1} has no delivery of this event")
    check.each(evidence.rows(TWICE), "subscriber {1} has {3} deliveries under the id {2}")
    check.each(evidence.rows(EVENT_TWICE), "subscriber {1} gets {3} of {2} under several ids")
    if evidence.kept_from_the_start("endorsement.endorsements"):
        check.each(evidence.rows(UNKNOWN_EVENT), "its webhook id {1} is no event of the public topic")
    if evidence.at_rest:
        check.each(evidence.rows(UNSETTLED), "the delivery to {1} is {2}: neither taken nor a dead letter")
    else:
        check.skip("deliveries that wait: the system is running")
    check.each(evidence.rows(UNFOUNDED), "a dead letter ({1}) after {2} attempts")
    check.each(evidence.rows(UNTAKEN), "delivered, says its row, and no attempt at {1} was answered with 2xx")
    if "webhook" not in evidence.has:
        check.skip("what receivers got, and its signatures: webhook.jsonl is not given")
        return
    for delivery_id, webhook_id, url in evidence.rows(DELIVERED):
        if urlsplit(url).path not in {path for (path,) in evidence.rows(TAKEN_PATHS, webhook_id)}:
            check.found(delivery_id, f"delivered, says its row, and no receiver at {url} took {webhook_id}")
    _received(evidence, check)


def _received(evidence: Evidence, check: Check) -> None:
    secrets: dict[str, list[str]] = {}
    for path, secret in evidence.rows(SECRETS):
        if path and secret:
            secrets.setdefault(path, []).append(secret)
    received = signed = 0
    for line, at, path, webhook_id, timestamp, signature, body in evidence.rows(RECEIVED):
        received += 1
        where = f"webhook.jsonl line {line}"
        sent = {urlsplit(url).path: text for url, text in evidence.rows(SENT_BODY, webhook_id)}
        if path not in sent:
            check.found(where, f"the receiver got {webhook_id}, which no delivery to it is about")
        elif json.loads(sent[path]) != _parsed(body):
            check.found(where, f"the body under {webhook_id} is not the delivery's")
        try:
            if abs(float(timestamp) - at) > TIMESTAMP_SECONDS:
                check.found(where, f"signed for another time than it came ({timestamp})")
        except ValueError:
            check.found(where, f"its timestamp {timestamp!r} is no number")
        if path in secrets:
            signed += 1
            if not any(is_signed(secret, str(webhook_id), timestamp, body, signature) for secret in secrets[path]):
                check.found(where, f"the signature of {webhook_id} is none of the secrets' that {path} was given")
        else:
            check.skip(f"signatures at {path}: no act of the journal says which secret it was given")
    check.count(received, "requests received")
    check.count(signed, "signatures verified")


def _parsed(body: str) -> object:
    try:
        return json.loads(body)
    except ValueError:
        return body


def is_signed(secret: str, webhook_id: str, timestamp: str, body: str, signature: str) -> bool:
    """Whether one of the `v1,` signatures is HMAC-SHA256 of `id.timestamp.body` (Standard Webhooks)."""
    try:
        key = base64.b64decode(secret.removeprefix("whsec_"), validate=True)
    except binascii.Error:
        return False
    content = f"{webhook_id}.{timestamp}.{body}".encode()
    right = "v1," + base64.b64encode(hmac.digest(key, content, hashlib.sha256)).decode()
    return any(hmac.compare_digest(right.encode(), given.encode()) for given in signature.split())
