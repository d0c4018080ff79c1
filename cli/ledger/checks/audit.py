"""L12: the chain of every audit log is whole, and every privileged act has one row in it.

The canonical form that each service hashes is written down here anew.
"""

import hashlib
import json
from collections.abc import Callable, Mapping
from typing import Any

from cli.ledger.databases import SERVICES
from cli.ledger.evidence import Evidence, Row
from cli.ledger.report import Check

ENTRIES = (
    "SELECT id, at, actor, account, action, subject, details, previous_hash, hash FROM {service}_audit ORDER BY id"
)
NO_ENTRY = "0" * 64


def _dump(value: object) -> bytes:
    return json.dumps(value, sort_keys=True, separators=(",", ":"), ensure_ascii=False).encode()


def _moment(at: str) -> str:
    """Microseconds are left out when there are none."""
    return at.removesuffix(".000000")


def _signup(previous: str, row: Row) -> bytes:
    _, at, actor, account, action, subject, details, _, _ = row
    return bytes.fromhex(previous) + _dump(
        [f"{_moment(at)}Z", account, actor, action, subject, json.loads(details)],
    )


def _matching(previous: str, row: Row) -> bytes:
    _, at, actor, account, action, subject, details, _, _ = row
    entry = {
        "at": f"{_moment(at)}+00:00",
        "actor": actor,
        "account": account,
        "action": action,
        "subject": subject,
        "details": json.loads(details),
    }
    return bytes.fromhex(previous) + _dump(entry)


def _notifications(previous: str, row: Row) -> bytes:
    _, at, actor, _, action, subject, details, _, _ = row
    return bytes.fromhex(previous) + _dump([f"{_moment(at)}+00:00", actor, action, subject, json.loads(details)])


def _endorsement(previous: str, row: Row) -> bytes:
    _, at, actor, account, action, subject, details, _, _ = row
    return _dump(
        [previous, f"{_moment(at)}+00:00", actor, str(account), action, subject, json.loads(details)],
    )


CONTENTS: Mapping[str, Callable[[str, Row], bytes]] = {
    "signup": _signup,
    "matching": _matching,
    "notifications": _notifications,
    "endorsement": _endorsement,
}

# (what the act is, rows whose first column names what was done to, how often it was done, how often it is recorded)
ACTS: Mapping[str, str] = {
    "an account was opened": """
        SELECT a.id, 1, min(1, (SELECT count(*) FROM signup_audit WHERE action = 'account_opened' AND subject = a.id))
        FROM signup_accounts AS a
    """,
    "an account was changed": """
        SELECT json_extract(r.payload, '$.account_id'), count(*),
               (SELECT count(*) FROM signup_audit WHERE action IN ('account_opened', 'account_closed')
                AND subject = json_extract(r.payload, '$.account_id'))
        FROM records AS r WHERE r.type = 'signup.account_changed.v1' AND r.first GROUP BY 1
    """,
    "an intro call was scheduled": """
        SELECT c.intro_call_id, 1, (SELECT count(*) FROM matching_audit AS a
                                    WHERE a.action = 'intro_call.schedule' AND a.subject = c.intro_call_id)
        FROM matching_intro_calls AS c
    """,
    "an intro call was cancelled": """
        SELECT c.intro_call_id, c.status = 'cancelled',
               (SELECT count(*) FROM matching_audit AS a
                WHERE a.action = 'intro_call.cancel' AND a.subject = c.intro_call_id)
        FROM matching_intro_calls AS c
    """,
    "staff cancelled a call": """
        SELECT b.call_id, b.closed_by IS 'staff', (SELECT count(*) FROM matching_audit AS a
                                                 WHERE a.action = 'cancel_call' AND a.subject = b.call_id)
        FROM matching_bookings AS b
    """,
    "a concern was closed": """
        SELECT t.call_id, t.concern_closed, (SELECT count(*) FROM matching_audit AS a
                                             WHERE a.action = 'close_concern' AND a.subject = t.call_id)
        FROM matching_attestations AS t
    """,
    "who came was recorded": """
        SELECT s.intro_call_id || ' ' || s.person_id, 1, min(1, count(DISTINCT a.id))
        FROM matching_seats AS s
        LEFT JOIN matching_audit AS a ON a.action = 'intro_call.attendance' AND a.subject = s.intro_call_id
             AND instr(a.details, s.person_id) > 0
        WHERE s.marked GROUP BY s.intro_call_id, s.person_id
    """,
    "an unknown message was settled": """
        SELECT m.id, (SELECT count(*) FROM notifications_message_steps AS s
                      WHERE s.message_id = m.id AND s.reason = 'by_operator'
                        AND s.state IN ('accepted', 'queued', 'dropped')),
               (SELECT count(*) FROM notifications_audit AS a WHERE a.action = 'message_settled' AND a.subject = m.id)
        FROM notifications_messages AS m
    """,
    "an application was decided": """
        SELECT d.id, 1, (SELECT count(*) FROM endorsement_audit AS a WHERE a.action = 'decided'
                         AND a.subject = d.application_id AND json_extract(a.details, '$.decision') = d.id)
        FROM endorsement_decisions AS d
    """,
    "an announcement was approved": """
        SELECT p.decision_id, 1, (SELECT count(*) FROM endorsement_audit AS a WHERE a.action = 'announcement_approved'
                                  AND json_extract(a.details, '$.decision') = p.decision_id)
        FROM endorsement_approvals AS p
    """,
    "an endorsement was announced": """
        SELECT e.id, 1, (SELECT count(*) FROM endorsement_audit AS a
                         WHERE a.action = 'announced' AND json_extract(a.details, '$.endorsement') = e.id)
        FROM endorsement_endorsements AS e
    """,
    "an endorsement was rescinded": """
        SELECT e.id, e.status = 'rescinded', (SELECT count(*) FROM endorsement_audit AS a
                                              WHERE a.action = 'rescinded' AND a.subject = e.id)
        FROM endorsement_endorsements AS e
    """,
    "an application was scored": """
        SELECT s.id, 1, (SELECT count(*) FROM endorsement_audit AS a
                         WHERE a.action = 'scored' AND json_extract(a.details, '$.scorecard') = s.id)
        FROM endorsement_scorecards AS s
    """,
    "a filing was confirmed": """
        SELECT c.id, c.verified_by IS NOT NULL,
               min((SELECT count(*) FROM endorsement_audit AS a
                    WHERE a.action = 'filing_confirmed' AND a.subject = c.id),
                   CASE WHEN c.status = 'withdrawn' THEN 0 ELSE 9 END)
        FROM endorsement_candidacies AS c
    """,
    "a webhook was registered": """
        SELECT s.id, 1, (SELECT count(*) FROM endorsement_audit AS a
                         WHERE a.action = 'webhook_registered' AND a.subject = s.id)
        FROM endorsement_subscribers AS s
    """,
}
# Records of what never happened, or happened to nothing.
GROUNDLESS = """
    SELECT id, action, subject FROM endorsement_audit
    WHERE (action = 'decided' AND json_extract(details, '$.decision') NOT IN (SELECT id FROM endorsement_decisions))
       OR (action = 'announced'
           AND json_extract(details, '$.endorsement') NOT IN (SELECT id FROM endorsement_endorsements))
       OR (action = 'rescinded' AND subject NOT IN (SELECT id FROM endorsement_endorsements))
       OR (action = 'scored' AND json_extract(details, '$.scorecard') NOT IN (SELECT id FROM endorsement_scorecards))
       OR (action = 'webhook_registered' AND subject NOT IN (SELECT id FROM endorsement_subscribers))
"""
# Acts that other services tell of by events, which come after the row.
BY_EVENTS = frozenset({"an account was changed"})


def audit(evidence: Evidence, check: Check) -> None:
    """L12."""
    evidence.db.executescript(
        "CREATE INDEX IF NOT EXISTS notifications_audit_idx ON notifications_audit (subject, action);"
        "CREATE INDEX IF NOT EXISTS matching_audit_idx ON matching_audit (subject, action);"
        "CREATE INDEX IF NOT EXISTS endorsement_audit_idx ON endorsement_audit (action, subject);"
    )
    entries = 0
    for service in SERVICES:
        entries += _chain(evidence, check, service)
    check.count(entries, "audit rows")
    done = 0
    for what, sql in ACTS.items():
        if what in BY_EVENTS and not (evidence.at_rest and evidence.kept_from_the_start("signup.people")):
            check.skip("changes of accounts against their events: the system is running, or retention has passed")
            continue
        for identity, times, recorded in evidence.rows(sql):
            done += times
            if times != recorded:
                check.found(identity, f"{what} {_times(times)}, and is on record {_times(recorded)}")
    check.count(done, "privileged acts")
    for identity, action, subject in evidence.rows(GROUNDLESS):
        check.found(f"endorsement audit {identity}", f"records `{action}` of {subject}, which is not there")


def _times(number: Any) -> str:
    return "once" if number == 1 else f"{number} times"


def _chain(evidence: Evidence, check: Check, service: str) -> int:
    previous, entries = NO_ENTRY, 0
    for row in evidence.rows(ENTRIES.format(service=service)):
        entries += 1
        identity, said_before, said = f"{service} audit {row[0]}", row[7], row[8]
        if said_before != previous:
            check.found(identity, "its `previous_hash` is not the hash of the row before: one is missing or was put in")
        elif hashlib.sha256(CONTENTS[service](said_before, row)).hexdigest() != said:
            check.found(identity, "its hash is not that of its content: it was altered")
        previous = said
    if service == "endorsement":
        (head,) = evidence.db.execute("SELECT hash FROM endorsement_head").fetchone() or (NO_ENTRY,)
        if head != previous:
            check.found("endorsement audit head", "is not the hash of the last row: rows are missing at the end")
    return entries
