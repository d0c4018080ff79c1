"""L9: one final decision per application version, one public endorsement per decision, in the right order and time."""

import json

from cli.ledger.evidence import Evidence, iso
from cli.ledger.report import Check

# Clocks of broker and database may differ by this much.
SKEW_SECONDS = 2.0

DECIDED_TWICE = """
    SELECT group_concat(id, ', '), application_id, count(*) FROM endorsement_decisions
    GROUP BY application_id HAVING count(*) > 1
"""
VERSION_TWICE = """
    SELECT group_concat(id, ', '), candidacy_id, version FROM endorsement_applications
    GROUP BY candidacy_id, version HAVING count(*) > 1
"""
OTHER_STATUS = """
    SELECT a.id, a.status, coalesce(d.outcome, 'no decision') FROM endorsement_applications AS a
    LEFT JOIN endorsement_decisions AS d ON d.application_id = a.id
    WHERE (a.status = 'endorsed') <> (coalesce(d.outcome, '') = 'endorse')
       OR (a.status = 'declined') <> (coalesce(d.outcome, '') = 'decline')
"""
ANNOUNCED_TWICE = """
    SELECT group_concat(id, ', '), decision_id, count(*) FROM endorsement_endorsements
    GROUP BY decision_id HAVING count(*) > 1
"""
UNDECIDED = """
    SELECT e.id, e.decision_id FROM endorsement_endorsements AS e
    LEFT JOIN endorsement_decisions AS d ON d.id = e.decision_id AND d.outcome = 'endorse' WHERE d.id IS NULL
"""
SAME_PERSON = """
    SELECT e.id, e.announced_by FROM endorsement_endorsements AS e
    JOIN endorsement_decisions AS d ON d.id = e.decision_id WHERE e.announced_by = d.decided_by
"""
EARLY = """
    SELECT e.id, e.announced_at, d.embargo_until FROM endorsement_endorsements AS e
    JOIN endorsement_decisions AS d ON d.id = e.decision_id WHERE e.announced_at < d.embargo_until
"""
RESCINDED = """
    SELECT e.id FROM endorsement_endorsements AS e
    LEFT JOIN endorsement_rescissions AS r ON r.endorsement_id = e.id AND r.confirmed_by IS NOT NULL
    WHERE (e.status = 'rescinded') <> (r.id IS NOT NULL) OR r.confirmed_by = r.requested_by
       OR e.rescinded_at < e.announced_at
"""
# Every public record with what it speaks of.
PUBLISHED = """
    SELECT r.event_id, r.type, r.time, r.at, r.sequence, json_extract(r.payload, '$.endorsement_id'),
           e.announced_at, e.rescinded_at, d.embargo_until
    FROM records AS r
    LEFT JOIN endorsement_endorsements AS e ON e.id = json_extract(r.payload, '$.endorsement_id')
    LEFT JOIN endorsement_decisions AS d ON d.id = e.decision_id
    WHERE r.topic IN ('endorsement.endorsements', 'endorsement.state') AND r.first
    ORDER BY r.topic, r.key, r.sequence
"""
ENDORSED, RESCINDED_TYPE = "endorsement.endorsed.v1", "endorsement.endorsement_rescinded.v1"
INTERNAL = """
    SELECT d.id, d.outcome, coalesce(told.events, 0) FROM endorsement_decisions AS d
    LEFT JOIN (SELECT json_extract(payload, '$.decision_id') AS decision_id, type, count(*) AS events FROM records
               WHERE type IN ('endorsement.endorsement_decided.v1', 'endorsement.endorsement_declined.v1') AND first
               GROUP BY 1, 2) AS told
         ON told.decision_id = d.id
        AND told.type = CASE d.outcome WHEN 'endorse' THEN 'endorsement.endorsement_decided.v1'
                        ELSE 'endorsement.endorsement_declined.v1' END
    WHERE coalesce(told.events, 0) <> 1
"""
ON_TOPIC = "SELECT count(*) FROM records WHERE event_id = ? AND topic = 'endorsement.endorsements'"
FEED = "SELECT cursor, event_id, endorsement_id, event FROM endorsement_feed ORDER BY cursor"
UNREACHED = """
    SELECT d.endorsement_id, d.subscriber_id FROM endorsement_deliveries AS d
    JOIN endorsement_endorsements AS e ON e.id = d.endorsement_id AND e.status = 'rescinded'
    WHERE d.event_type = 'endorsement.endorsed.v1'
      AND NOT EXISTS (SELECT 1 FROM endorsement_deliveries AS later
                      WHERE later.subscriber_id = d.subscriber_id AND later.endorsement_id = d.endorsement_id
                        AND later.event_type = 'endorsement.endorsement_rescinded.v1')
"""
# What reached anybody outside about an endorsement, by the receivers' journal.
RECEIVED = """
    SELECT h.webhook_id, h.at, min(d.embargo_until) FROM hooks AS h
    JOIN endorsement_deliveries AS w ON w.webhook_id = h.webhook_id
    JOIN endorsement_endorsements AS e ON e.id = w.endorsement_id
    JOIN endorsement_decisions AS d ON d.id = e.decision_id
    GROUP BY h.line
"""
# The mail of the announcement; the candidate's own notice of the decision goes before.
MAILED = """
    SELECT m.id, s.at, d.embargo_until FROM notifications_messages AS m
    JOIN notifications_message_steps AS s ON s.message_id = m.id AND s.state = 'handing'
    JOIN records AS r ON r.event_id = m.event_id AND r.first
    JOIN endorsement_decisions AS d ON d.id = json_extract(r.payload, '$.decision_id')
    WHERE m.template = 'endorsement_announced' AND s.at < d.embargo_until
"""


def decisions(evidence: Evidence, check: Check) -> None:
    """L9."""
    check.count(evidence.count("SELECT count(*) FROM endorsement_decisions"), "decisions")
    check.each(evidence.rows(DECIDED_TWICE), "{2} decisions on application {1}")
    check.each(evidence.rows(VERSION_TWICE), "two applications are version {2} of candidacy {1}")
    check.each(evidence.rows(OTHER_STATUS), "the application is {1}, and its decision is: {2}")
    check.count(evidence.count("SELECT count(*) FROM endorsement_endorsements"), "endorsements")
    check.each(evidence.rows(ANNOUNCED_TWICE), "{2} endorsements of decision {1}")
    check.each(evidence.rows(UNDECIDED), "announced, and decision {1} is not to endorse")
    check.each(evidence.rows(SAME_PERSON), "announced by {1}, who decided it")
    for identity, at, embargo in evidence.rows(EARLY):
        check.found(identity, f"announced at {iso(at)}, before its embargo ends at {iso(embargo)}")
    check.each(evidence.rows(RESCINDED), "its rescission is not one that a second person confirmed afterwards")
    if evidence.at_rest and evidence.kept_from_the_start("endorsement.candidacies"):
        check.each(evidence.rows(INTERNAL), "the decision ({1}) was told by {2} events, not one")
    elif not evidence.at_rest:
        check.skip("whether each decision has its event: the system is running")
    _published(evidence, check)
    _feed(evidence, check)
    check.each(evidence.rows(UNREACHED), "subscriber {1} was sent the endorsement, and not that it is rescinded")
    for identity, at, embargo in evidence.rows(MAILED):
        check.found(identity, f"the mail of an announcement was handed over at {iso(at)}, before {iso(embargo)}")
    for identity, at, embargo in evidence.rows(RECEIVED):
        ahead = evidence.ahead(at)
        if ahead is not None and embargo is not None and at + ahead[1] < embargo - SKEW_SECONDS:
            check.found(identity, f"received by a subscriber at {iso(at + ahead[1])}, before {iso(embargo)}")


def _published(evidence: Evidence, check: Check) -> None:
    endorsed: dict[str, list[tuple[str, int]]] = {}
    rescinded: dict[str, list[tuple[str, int]]] = {}
    published = 0
    for event_id, kind, time, at, sequence, identity, announced, taken_back, embargo in evidence.rows(PUBLISHED):
        published += 1
        if announced is None:
            check.found(event_id, f"published for endorsement {identity}, which was never announced")
            continue
        if embargo is not None and time < embargo:
            check.found(event_id, f"published at {iso(time)}, before its embargo ends at {iso(embargo)}")
        ahead = evidence.ahead(at)
        if ahead is None:
            check.skip("embargoes by the broker's clock: the business clock was moved, and no journal says when")
        elif embargo is not None and at + ahead[1] < embargo - SKEW_SECONDS:
            check.found(event_id, f"on the topic at {iso(at + ahead[1])}, before its embargo ends at {iso(embargo)}")
        if kind == ENDORSED:
            endorsed.setdefault(identity, []).append((event_id, sequence))
        elif kind == RESCINDED_TYPE:
            rescinded.setdefault(identity, []).append((event_id, sequence))
            if taken_back is None:
                check.found(event_id, f"a rescission of {identity}, which stands")
    check.count(published, "public records")
    for kinds, name in ((endorsed, "endorsed"), (rescinded, "rescinded")):
        for identity, events in kinds.items():
            if len(events) > 1:
                check.found(identity, f"{name} {len(events)} times on the public topic, with the ids {events}")
    for identity, events in rescinded.items():
        if identity not in endorsed or events[0][1] < endorsed[identity][0][1]:
            check.found(identity, "rescinded on the public topic before it was endorsed there")
    if not evidence.at_rest or not evidence.kept_from_the_start("endorsement.endorsements"):
        check.skip("whether each endorsement is published: the system is running, or the topic's retention has passed")
        return
    for identity, status in evidence.rows("SELECT id, status FROM endorsement_endorsements"):
        if identity not in endorsed:
            check.found(identity, "announced, and not on the public topic")
        if status == "rescinded" and identity not in rescinded:
            check.found(identity, "rescinded, and the public topic does not say so")


def _feed(evidence: Evidence, check: Check) -> None:
    row = evidence.db.execute("SELECT last_cursor, pruned_through FROM endorsement_feed_counter").fetchone()
    last, pruned = row or (0, 0)
    before, entries = pruned, 0
    must_be_there = evidence.at_rest and evidence.kept_from_the_start("endorsement.endorsements")
    for cursor, event_id, _endorsement_id, event in evidence.rows(FEED):
        entries += 1
        if cursor != before + 1:
            check.found(f"feed {cursor}", f"the cursor before it is {before}")
        before = cursor
        content = json.loads(event)
        if content.get("id") != event_id:
            check.found(f"feed {cursor}", f"its event is {content.get('id')}, its row says {event_id}")
        if must_be_there and not evidence.count(ON_TOPIC, event_id):
            check.found(f"feed {cursor}", f"its event {event_id} is not on the public topic")
    if before != last:
        check.found(f"feed {last}", f"the counter stands there, and the last entry is {before}")
    check.count(entries, "feed entries")
