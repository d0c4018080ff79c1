"""L3 and L4: everything that was appended to an outbox is on its topic, nothing else is, and in order."""

import json

from cli.ledger.evidence import Evidence, seconds
from cli.ledger.report import Check
from cli.ledger.topics import COMPACTED, TOPICS

SERVICE_OF = {topic: topic.partition(".")[0] for topic in TOPICS}
SETTLE_SECONDS = 60.0

UNREADABLE = """
    SELECT topic || '/' || partition || '/' || offset, problem FROM records
    WHERE problem IS NOT NULL
"""
# Records from before the watch are known by their number.
UNCOPIED = """
    SELECT r.event_id, r.topic, r.key FROM records AS r
    LEFT JOIN watch_streams AS w ON w.topic = r.topic AND w.key = r.key
    WHERE r.topic = ? AND r.first AND r.sequence > coalesce(w.version, 0)
      AND NOT EXISTS (SELECT 1 FROM copies WHERE copies.event_id = r.event_id AND copies.topic = r.topic)
"""
UNSENT = """
    SELECT copies.event_id, copies.topic, copies.key FROM copies
    WHERE copies.topic = ? AND copies.at < ?
      AND NOT EXISTS (SELECT 1 FROM records WHERE event_id = copies.event_id AND topic = copies.topic)
      AND NOT (? AND EXISTS (SELECT 1 FROM outbox WHERE outbox.event_id = copies.event_id))
"""
CHANGED = """
    SELECT r.event_id, r.topic, r.partition || '/' || r.offset FROM records AS r
    JOIN copies ON copies.event_id = r.event_id AND copies.topic = r.topic
    WHERE r.topic = ? AND (r.digest <> copies.digest OR r.key <> copies.key)
      AND NOT EXISTS (SELECT 1 FROM shortened AS s WHERE s.event_id = r.event_id AND s.topic = r.topic
                      AND s.former = copies.digest AND s.later = r.digest)
"""
COPIED_TWICE = "SELECT event_id, count(*) FROM copies WHERE topic = ? GROUP BY event_id HAVING count(*) > 1"
# Without copies the counters say how many there were.
MISCOUNTED = """
    SELECT s.topic || ' ' || s.key, s.version, coalesce(told.events, 0) FROM streams AS s
    LEFT JOIN (SELECT topic, key, count(*) AS events FROM records
               WHERE first GROUP BY topic, key) AS told ON told.topic = s.topic AND told.key = s.key
    WHERE s.topic = ? AND s.version <> coalesce(told.events, 0)
"""
UNCOUNTED = """
    SELECT DISTINCT r.event_id, r.topic, r.key FROM records AS r
    WHERE r.topic = ? AND r.first AND NOT EXISTS (SELECT 1 FROM streams WHERE topic = r.topic AND key = r.key)
"""
LAST_STATES = """
    SELECT key, payload FROM (
        SELECT key, payload, row_number() OVER (PARTITION BY key ORDER BY partition, offset DESC) AS back
        FROM records WHERE topic = 'endorsement.state' AND event_id IS NOT NULL AND problem IS NULL)
    WHERE back = 1
"""
ENDORSEMENTS = "SELECT id, status, public, announced_at, rescinded_at FROM endorsement_endorsements"


def outbox_and_topics(evidence: Evidence, check: Check) -> None:
    """L3: the ids that were appended are the ids on the topics; compacted topics end at what the database holds."""
    check.each(evidence.rows(UNREADABLE), "the record is none of ours: {1}")
    until = float("inf")
    if not evidence.at_rest:
        until = float(evidence.db.execute("SELECT min(wall) FROM clock").fetchone()[0]) - SETTLE_SECONDS
        check.skip(f"rows appended in the last {SETTLE_SECONDS:.0f} s, and counters: the system is running")
    for topic, service in SERVICE_OF.items():
        whole = evidence.kept_from_the_start(topic)
        if not whole and topic not in COMPACTED:
            check.skip(f"the part of {topic} that is past its retention")
        if f"outbox of {service}" in evidence.has:
            check.each(evidence.rows(UNCOPIED, topic), "on {1}, and never in the outbox of the service (key {2})")
            check.each(evidence.rows(CHANGED, topic), "the record {1}/{2} is not what was in the outbox")
            check.each(evidence.rows(COPIED_TWICE, topic), "{1} rows of the outbox had this event id")
            if whole and topic not in COMPACTED:
                check.each(
                    evidence.rows(UNSENT, topic, until, not evidence.at_rest),
                    "in the outbox once, and on no partition of {1} (key {2})",
                )
        else:
            check.skip(f"the outbox of {service} row by row: nobody watched it (hustings ledger watch-outbox)")
        if whole and evidence.at_rest and topic not in COMPACTED:
            check.each(
                evidence.rows(MISCOUNTED, topic), "the database counts {1} events of this key, the topic has {2}"
            )
            check.each(evidence.rows(UNCOUNTED, topic), "on {1} under key {2}, of which the database knows no event")
    check.count(evidence.count("SELECT count(*) FROM copies"), "copied outbox rows")
    check.count(evidence.count("SELECT count(*) FROM records WHERE first"), "events on topics")
    if shortened := evidence.count("SELECT count(*) FROM shortened"):
        check.count(shortened, "events that an operator shortened")
    if evidence.at_rest:
        _states(evidence, check)


def _states(evidence: Evidence, check: Check) -> None:
    states = {str(key): json.loads(payload) for key, payload in evidence.rows(LAST_STATES)}
    known = {row[0]: row for row in evidence.rows(ENDORSEMENTS)}
    check.count(len(known), "states")
    for identity in sorted(set(known) - set(states)):
        check.found(identity, "the endorsement has no record on endorsement.state")
    for identity, state in sorted(states.items()):
        if identity not in known:
            check.found(identity, "on endorsement.state, and the database has no such endorsement")
            continue
        _, status, public, announced_at, rescinded_at = known[identity]
        held = {**json.loads(public), "status": status, "endorsement_id": identity}
        differs = sorted(name for name, value in held.items() if state.get(name) != value)
        for name, moment in (("announced_at", announced_at), ("rescinded_at", rescinded_at)):
            if not _same_moment(state.get(name), moment):
                differs.append(name)
        if differs:
            check.found(identity, f"the last record on endorsement.state differs from the database in {differs}")


def _same_moment(text: object, moment: float | None) -> bool:
    if text is None or moment is None:
        return text is None and moment is None
    return abs(seconds(str(text), "endorsement.state") - moment) < 0.001


ORDERED = """
    SELECT topic, partition, key, event_id, sequence, offset FROM records WHERE first ORDER BY topic, partition, offset
"""
REPEATS = """
    SELECT event_id, count(DISTINCT digest), count(DISTINCT topic || '/' || partition) FROM records
    WHERE problem IS NULL AND event_id IS NOT NULL GROUP BY event_id
    HAVING count(*) > 1 AND (count(DISTINCT digest) > 1 OR count(DISTINCT topic || '/' || partition) > 1)
"""
SPREAD = """
    SELECT topic || ' ' || key, count(DISTINCT partition) FROM records WHERE first GROUP BY topic, key
    HAVING count(DISTINCT partition) > 1
"""


def order(evidence: Evidence, check: Check) -> None:
    """L4: per topic and key, first occurrences ascend, and by one where nothing was removed."""
    whole = {(t, p): low == 0 for t, p, low in evidence.rows("SELECT topic, partition, low FROM partitions")}
    last: dict[str, int] = {}
    place, compared, keys = ("", -1), 0, 0
    for topic, partition, key, event_id, sequence, offset in evidence.rows(ORDERED):
        if (topic, partition) != place:
            place, last = (topic, partition), {}
        compared += 1
        before = last.get(key)
        keys += before is None
        last[key] = max(sequence, before or 0)
        if before is not None and sequence <= before:
            check.found(
                event_id, f"number {sequence} of key {key} at {topic}/{partition}/{offset} comes after {before}"
            )
        elif topic in COMPACTED or (before is None and not whole.get(place, True)):
            continue
        elif sequence != (before or 0) + 1:
            check.found(
                event_id,
                f"number {sequence} of key {key} at {topic}/{partition}/{offset} comes after {before or 'none'}",
            )
    check.count(compared, "events")
    check.count(keys, "keys")
    check.each(evidence.rows(REPEATS), "repeats of the event differ: {1} contents in {2} partitions")
    check.each(evidence.rows(SPREAD), "the key is in {1} partitions")
    if not all(whole.values()):
        check.skip("how the keys began whose first events are past the retention")
