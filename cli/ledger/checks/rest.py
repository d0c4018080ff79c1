"""L13: once nothing is under way any more, nothing is left behind."""

from collections.abc import Mapping, Sequence

from cli.ledger.evidence import Evidence
from cli.ledger.report import Check

# Which topics each service reads, from the contract of the events.
READS: Mapping[str, Sequence[str]] = {
    "signup": ("matching.intro_calls", "matching.calls", "endorsement.candidacies", "notifications.messages"),
    "matching": ("signup.people",),
    "notifications": (
        "signup.people", "matching.people", "matching.intro_calls", "matching.calls", "endorsement.candidacies",
    ),
    "endorsement": ("signup.people", "matching.calls", "matching.intro_calls"),
}  # fmt: skip
# A timer that is due fires within a second or two; more late than this, it does not fire.
LATE_SECONDS = 30.0

LAST_OFFSETS = "SELECT partition, max(offset) FROM records WHERE topic = ? GROUP BY partition"
REACHED = "SELECT next_offset FROM inbox_offsets WHERE service = ? AND topic = ? AND partition = ?"
WAITING = "SELECT event_id, service, topic FROM outbox"
PARKED = """
    SELECT event_id, service, status, event_type FROM parked
    WHERE NOT EXISTS (SELECT 1 FROM expected WHERE kind = 'parked' AND id = parked.event_id)
"""
QUARANTINED = """
    SELECT topic || '/' || partition || '/' || record_offset, service, reason FROM quarantined
    WHERE NOT EXISTS (SELECT 1 FROM expected WHERE kind = 'quarantined'
                      AND id = topic || '/' || partition || '/' || record_offset)
"""
TIMERS = "SELECT id, service, kind, late, dead FROM timers WHERE dead OR late > ?"
# An unknown message that only an operator can settle has no due time: it may stay.
MESSAGES = """
    SELECT id, state, leased FROM notifications_messages
    WHERE state IN ('claimed', 'handing') OR leased OR (state IN ('queued', 'deferred', 'unknown') AND due_in < 0)
"""
REPLIES = "SELECT id FROM notifications_replies WHERE state = 'handing'"
LEASED = "SELECT id FROM endorsement_leased"


def at_rest(evidence: Evidence, check: Check) -> None:
    """L13."""
    if not evidence.at_rest:
        check.skip("the system is running (--running)")
        return
    check.each(evidence.rows(WAITING), "waits in the outbox of {1} for {2}")
    partitions = 0
    for service, topics in READS.items():
        for topic in topics:
            for partition, last in evidence.rows(LAST_OFFSETS, topic):
                partitions += 1
                row = evidence.db.execute(REACHED, (service, topic, partition)).fetchone()
                reached = int(row[0]) if row else 0
                if reached <= last:
                    check.found(f"{topic}/{partition}", f"{service} has taken it up to {reached}, it goes up to {last}")
    check.count(partitions, "partitions of consumers")
    check.each(evidence.rows(PARKED), "{2} in {1}: an event of type {3}")
    check.each(evidence.rows(QUARANTINED), "quarantined in {1}: {2}")
    for identity, service, kind, late, dead in evidence.rows(TIMERS, LATE_SECONDS):
        check.found(f"{service} timer {identity}", f"{kind} is dead" if dead else f"{kind} is {late:.0f} s late")
    check.count(evidence.count("SELECT count(*) FROM timers"), "timers")
    check.each(evidence.rows(MESSAGES), "the message is {1}, and something is still to be done with it")
    check.count(evidence.count("SELECT count(*) FROM notifications_messages"), "messages")
    check.each(evidence.rows(REPLIES), "the answer to an incoming text is still being handed over")
    check.each(evidence.rows(LEASED), "a webhook to this subscriber is still being sent")
    ahead = {round(row[0], 3) for row in evidence.rows("SELECT ahead FROM clock")}
    if len(ahead) > 1:
        check.found("business clock", f"the services' clocks are ahead by different spans: {sorted(ahead)} seconds")
