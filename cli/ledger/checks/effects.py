"""L5: every event had its effect in every service that reads it, once.

The tables below are stated here from the contract of the events (docs/contract), apart from the services' own.
"""

from collections.abc import Mapping, Sequence

from cli.ledger.evidence import Evidence
from cli.ledger.report import Check
from cli.ledger.topics import TOPICS

# The types that leave a step of the journey in signup, and of whom.
STEPS: Mapping[str, Sequence[str]] = {
    "matching.intro_call_invited.v1": ("person_id",),
    "matching.intro_call_attended.v1": ("person_id",),
    "matching.match_offered.v1": ("prospect_id",),
    "matching.call_booked.v1": ("prospect_id",),
    "matching.call_cancelled.v1": ("prospect_id",),
    "matching.call_completed.v1": ("prospect_id", "volunteer_id"),
    "matching.call_missed.v1": ("prospect_id",),
    "endorsement.candidacy_declared.v1": ("person_id",),
    "endorsement.filing_confirmed.v1": ("person_id",),
    "endorsement.application_submitted.v1": ("person_id",),
    "endorsement.eligibility_decided.v1": ("person_id",),
    "endorsement.endorsement_decided.v1": ("person_id",),
    "endorsement.endorsement_declined.v1": ("person_id",),
    "endorsement.endorsement_announced.v1": ("person_id",),
    "endorsement.endorsement_withdrawn.v1": ("person_id",),
}
# The types that cause messages, and to whom. What a program leaves out has a row that says so.
MESSAGES: Mapping[str, Sequence[str]] = {
    "signup.signed_up.v1": ("person_id",),
    "signup.person_confirmed.v1": ("person_id",),
    "signup.sign_in_requested.v1": ("person_id",),
    "matching.availability_requested.v1": ("person_id",),
    "matching.intro_call_invited.v1": ("person_id",),
    "matching.intro_call_answered.v1": ("person_id",),
    "matching.intro_call_promoted.v1": ("person_id",),
    "matching.intro_call_reminder_due.v1": ("person_id",),
    "matching.intro_call_missed.v1": ("person_id",),
    "matching.intro_call_dropped.v1": ("person_id",),
    "matching.match_offered.v1": ("prospect_id",),
    "matching.match_expired.v1": ("prospect_id",),
    "matching.call_booked.v1": ("prospect_id", "volunteer_id"),
    "matching.call_cancelled.v1": ("prospect_id", "volunteer_id"),
    "matching.call_reminder_due.v1": ("prospect_id", "volunteer_id"),
    "matching.attestation_due.v1": ("volunteer_id",),
    "matching.call_completed.v1": ("prospect_id",),
    "matching.call_missed.v1": ("prospect_id",),
    "endorsement.filing_confirmed.v1": ("person_id",),
    "endorsement.filing_returned.v1": ("person_id",),
    "endorsement.application_submitted.v1": ("person_id",),
    "endorsement.eligibility_decided.v1": ("person_id",),
    "endorsement.endorsement_decided.v1": ("person_id",),
    "endorsement.endorsement_declined.v1": ("person_id",),
    "endorsement.endorsement_announced.v1": ("person_id",),
    "endorsement.endorsement_withdrawn.v1": ("person_id",),
}
READS: Mapping[str, frozenset[str]] = {
    "signup": frozenset(
        {*STEPS, "notifications.contact_suppressed.v1", "notifications.contact_restored.v1"},
    ),
    "matching": frozenset({"signup.person_confirmed.v1", "signup.role_added.v1", "signup.profile_changed.v1"}),
    "notifications": frozenset({*MESSAGES, "signup.consent_changed.v1"}),
    "endorsement": frozenset(
        {"signup.account_changed.v1", "matching.call_completed.v1", "matching.intro_call_attended.v1"}
    ),
}
# Things that happen once to what the field names.
ONCE: Mapping[str, str] = {
    "signup.signed_up.v1": "signup_id",
    "signup.person_confirmed.v1": "person_id",
    "signup.sign_in_requested.v1": "link_id",
    "matching.intro_call_scheduled.v1": "intro_call_id",
    "matching.intro_call_cancelled.v1": "intro_call_id",
    "matching.match_offered.v1": "call_id",
    "matching.match_declined.v1": "call_id",
    "matching.match_expired.v1": "call_id",
    "matching.call_booked.v1": "call_id",
    "matching.call_cancelled.v1": "call_id",
    "matching.call_completed.v1": "call_id",
    "matching.call_missed.v1": "call_id",
    "notifications.message_sent.v1": "message_id",
    "endorsement.candidacy_declared.v1": "candidacy_id",
    "endorsement.filing_confirmed.v1": "candidacy_id",
    "endorsement.application_submitted.v1": "application_id",
    "endorsement.endorsement_announced.v1": "endorsement_id",
    "endorsement.endorsement_withdrawn.v1": "endorsement_id",
}

MAKE_READS = "CREATE TEMP TABLE reads (service TEXT, type TEXT, PRIMARY KEY (service, type)) WITHOUT ROWID"
# Who each event should have touched, by service. Some cause no message: who declines an invitation is not told so,
# and a call that was moved is told as moved.
MAKE_DUE = "CREATE TEMP TABLE due (service TEXT, type TEXT, event_id TEXT, person_id TEXT)"
ADD_DUE = """
    INSERT INTO due SELECT ?1, r.type, r.event_id, json_extract(r.payload, '$.' || ?3) FROM records AS r
    WHERE r.type = ?2 AND r.first AND NOT (?1 = 'notifications' AND (
          (type = 'matching.intro_call_answered.v1' AND json_extract(payload, '$.answer') = 'declined')
          OR (type = 'matching.call_cancelled.v1' AND json_extract(payload, '$.replaced_by') IS NOT NULL)))
      AND EXISTS (SELECT 1 FROM inbox_seen WHERE service = ?1 AND event_id = r.event_id)
      AND NOT EXISTS (SELECT 1 FROM parked WHERE service = ?1 AND event_id = r.event_id)
"""

# Taken to effect, as the offset says, without being noted: passed over.
PASSED_OVER = """
    SELECT r.event_id, reads.service, r.type, r.topic || '/' || r.partition || '/' || r.offset
    FROM records AS r JOIN reads ON reads.type = r.type
    JOIN inbox_offsets AS o ON o.service = reads.service AND o.topic = r.topic AND o.partition = r.partition
    WHERE r.first AND r.offset < o.next_offset
      AND NOT EXISTS (SELECT 1 FROM inbox_seen AS s WHERE s.event_id = r.event_id AND s.service = reads.service)
      AND NOT EXISTS (SELECT 1 FROM quarantined AS q WHERE q.service = reads.service AND q.topic = r.topic
                      AND q.partition = r.partition AND q.record_offset = r.offset)
"""
SEEN_TWICE = """
    SELECT event_id, service, count(*) FROM inbox_seen GROUP BY service, event_id HAVING count(*) > 1
"""
SEEN_NOWHERE = """
    SELECT s.event_id, s.service FROM inbox_seen AS s
    WHERE NOT EXISTS (SELECT 1 FROM records WHERE records.event_id = s.event_id)
"""
NOT_ITS_OWN = """
    SELECT s.event_id, s.service, r.type FROM inbox_seen AS s JOIN records AS r ON r.event_id = s.event_id AND r.first
    WHERE NOT EXISTS (SELECT 1 FROM reads WHERE reads.service = s.service AND reads.type = r.type)
"""
MESSAGE_TWICE = """
    SELECT group_concat(id, ', '), event_id, person_id, channel, count(*) FROM notifications_messages
    GROUP BY event_id, person_id, channel HAVING count(*) > 1
"""
MESSAGE_WITHOUT_CAUSE = """
    SELECT m.id, m.event_id FROM notifications_messages AS m
    WHERE NOT EXISTS (SELECT 1 FROM inbox_seen WHERE event_id = m.event_id AND service = 'notifications')
       OR EXISTS (SELECT 1 FROM parked WHERE event_id = m.event_id AND service = 'notifications')
"""
NO_MESSAGE = """
    SELECT due.event_id, due.type, due.person_id FROM due
    WHERE due.service = 'notifications'
      AND NOT EXISTS (SELECT 1 FROM notifications_messages AS m
                      WHERE m.event_id = due.event_id AND m.person_id = due.person_id)
      AND NOT EXISTS (SELECT 1 FROM tombstones AS t WHERE t.person_id = due.person_id)
"""
STEP_TWICE = """
    SELECT event_id, person_id, count(*) FROM signup_steps GROUP BY event_id, person_id HAVING count(*) > 1
"""
STEP_WITHOUT_CAUSE = """
    SELECT st.event_id, st.person_id FROM signup_steps AS st
    WHERE NOT EXISTS (SELECT 1 FROM inbox_seen WHERE event_id = st.event_id AND service = 'signup')
"""
NO_STEP = """
    SELECT due.event_id, due.type, due.person_id FROM due
    WHERE due.service = 'signup'
      AND NOT EXISTS (SELECT 1 FROM signup_steps AS st
                      WHERE st.event_id = due.event_id AND st.person_id = due.person_id)
      AND NOT EXISTS (SELECT 1 FROM tombstones AS t WHERE t.person_id = due.person_id)
"""
NO_PROFILE = """
    SELECT due.event_id, due.person_id FROM due
    LEFT JOIN aliases ON aliases.service = 'matching' AND aliases.alias_id = due.person_id
    WHERE due.service = 'matching'
      AND NOT EXISTS (SELECT 1 FROM matching_people AS p
                      WHERE p.person_id IN (due.person_id, coalesce(aliases.person_id, due.person_id)))
      AND NOT EXISTS (SELECT 1 FROM tombstones AS t WHERE t.person_id = due.person_id)
"""
NO_ADVISORY = """
    SELECT r.event_id, json_extract(r.payload, '$.call_id') FROM records AS r
    WHERE r.type = 'matching.call_completed.v1' AND r.first
      AND EXISTS (SELECT 1 FROM inbox_seen AS s WHERE s.event_id = r.event_id AND s.service = 'endorsement')
      AND NOT EXISTS (SELECT 1 FROM parked AS p WHERE p.event_id = r.event_id AND p.service = 'endorsement')
      AND NOT EXISTS (SELECT 1 FROM endorsement_advisories AS a
                      WHERE a.call_id = json_extract(r.payload, '$.call_id')
                        AND a.advisor_id = json_extract(r.payload, '$.volunteer_id')
                        AND a.person_id = json_extract(r.payload, '$.prospect_id'))
      AND NOT EXISTS (SELECT 1 FROM tombstones AS t WHERE t.person_id IN (json_extract(r.payload, '$.volunteer_id'),
                                                                        json_extract(r.payload, '$.prospect_id')))
"""
NO_ATTENDANCE = """
    SELECT due.event_id, due.person_id FROM due
    WHERE due.service = 'endorsement'
      AND NOT EXISTS (SELECT 1 FROM endorsement_attendances AS a WHERE a.person_id = due.person_id)
      AND NOT EXISTS (SELECT 1 FROM tombstones AS t WHERE t.person_id = due.person_id)
"""
HAPPENED_TWICE = """
    SELECT json_extract(payload, '$.' || ?2), count(*), group_concat(event_id, ', ') FROM records
    WHERE type = ?1 AND first GROUP BY json_extract(payload, '$.' || ?2) HAVING count(*) > 1
"""


def effects(evidence: Evidence, check: Check) -> None:
    """L5: noted once per consumer, and what it should have left is there once."""
    db = evidence.db
    db.execute("DROP TABLE IF EXISTS temp.reads")
    db.execute("DROP TABLE IF EXISTS temp.due")
    db.execute(MAKE_READS)
    db.executemany("INSERT INTO reads VALUES (?, ?)", [(s, t) for s, types in READS.items() for t in sorted(types)])
    db.execute(MAKE_DUE)
    for service, table in (("notifications", MESSAGES), ("signup", STEPS)):
        for event_type, fields in table.items():
            for field in fields:
                db.execute(ADD_DUE, (service, event_type, field))
    for event_type in READS["matching"]:
        db.execute(ADD_DUE, ("matching", event_type, "person_id"))
    db.execute(ADD_DUE, ("endorsement", "matching.intro_call_attended.v1", "person_id"))

    check.count(evidence.count("SELECT count(*) FROM inbox_seen"), "events noted by consumers")
    check.count(evidence.count("SELECT count(*) FROM due"), "effects due")
    check.each(evidence.rows(PASSED_OVER), "{1} took its offset past {2} at {3} without noting it")
    check.each(evidence.rows(SEEN_TWICE), "{1} noted the event {2} times")
    check.each(evidence.rows(NOT_ITS_OWN), "{1} noted an event of type {2}, which it does not read")
    if not evidence.at_rest:
        check.skip("events noted that are not on the topics as they were read: the system is running")
    elif not all(evidence.kept_from_the_start(topic) for topic in TOPICS):
        check.skip("whether what consumers noted long ago was on a topic: past the retention")
    else:
        check.each(evidence.rows(SEEN_NOWHERE), "{1} noted an event that is on no topic")
    check.count(evidence.count("SELECT count(*) FROM notifications_messages"), "messages")
    check.each(evidence.rows(MESSAGE_TWICE), "event {1} caused {4} messages to {2} by {3}")
    check.each(evidence.rows(MESSAGE_WITHOUT_CAUSE), "the message is caused by {1}, which notifications never took")
    check.each(evidence.rows(NO_MESSAGE), "{1} caused no message to {2}")
    check.count(evidence.count("SELECT count(*) FROM signup_steps"), "journey steps")
    check.each(evidence.rows(STEP_TWICE), "the event is {2} steps of {1}")
    check.each(evidence.rows(STEP_WITHOUT_CAUSE), "a step of {1} stems from this event, which signup never took")
    check.each(evidence.rows(NO_STEP), "{1} left no step of {2}")
    check.each(evidence.rows(NO_PROFILE), "matching does not know {1}, of whom this event tells")
    check.each(evidence.rows(NO_ADVISORY), "endorsement does not know who advised in call {1}")
    check.each(evidence.rows(NO_ATTENDANCE), "endorsement does not know that {1} took part")
    for event_type, field in ONCE.items():
        check.each(evidence.rows(HAPPENED_TWICE, event_type, field), f"{event_type} happened {{1}} times: {{2}}")
