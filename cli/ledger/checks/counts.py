"""L11: states add up to the input: nothing left a state without a trace, nothing is in two."""

import json

from cli.ledger.evidence import Evidence
from cli.ledger.report import Check

MESSAGE_STATES = ("queued", "deferred", "claimed", "handing", "accepted", "rejected", "unknown", "dropped")
OTHER_MESSAGE_STATE = """
    SELECT m.id, m.state, coalesce(last.state, 'nowhere') FROM notifications_messages AS m
    LEFT JOIN (SELECT message_id, state, max(id) FROM notifications_message_steps GROUP BY message_id) AS last
           ON last.message_id = m.id
    WHERE m.state <> coalesce(last.state, '')
"""
STEP_OF_NONE = """
    SELECT DISTINCT message_id FROM notifications_message_steps AS s
    WHERE NOT EXISTS (SELECT 1 FROM notifications_messages WHERE id = s.message_id)
"""
# What is said outside of each message, and of none other.
SENT_UNTOLD = """
    SELECT m.id FROM notifications_messages AS m
    WHERE m.state = 'accepted' AND NOT EXISTS (
        SELECT 1 FROM records WHERE type = 'notifications.message_sent.v1' AND first
          AND json_extract(payload, '$.message_id') = m.id)
      AND NOT EXISTS (SELECT 1 FROM tombstones WHERE person_id = m.person_id)
"""
SENT_OF_OTHERS = """
    SELECT json_extract(r.payload, '$.message_id'), coalesce(m.state, 'no message') FROM records AS r
    LEFT JOIN notifications_messages AS m ON m.id = json_extract(r.payload, '$.message_id')
    WHERE r.type = 'notifications.message_sent.v1' AND r.first AND coalesce(m.state, '') <> 'accepted'
"""
INDEX_SENT = """
    CREATE INDEX IF NOT EXISTS records_message_idx ON records (json_extract(payload, '$.message_id'), type)
    WHERE type = 'notifications.message_sent.v1'
"""
APPLIED_WITHOUT_CONFIRMATION = """
    SELECT s.id, s.person_id FROM signup_signups AS s LEFT JOIN signup_people AS p ON p.id = s.person_id
    LEFT JOIN aliases AS a ON a.service = 'signup' AND a.alias_id = s.person_id
    LEFT JOIN signup_people AS q ON q.id = a.person_id
    WHERE s.status = 'applied' AND coalesce(p.confirmed_at, q.confirmed_at) IS NULL
      AND NOT EXISTS (SELECT 1 FROM tombstones WHERE person_id = s.person_id)
"""
APPLIED_WITHOUT_ROLE = """
    SELECT s.id, s.role, s.person_id FROM signup_signups AS s
    LEFT JOIN aliases AS a ON a.service = 'signup' AND a.alias_id = s.person_id
    WHERE s.status = 'applied'
      AND NOT EXISTS (SELECT 1 FROM signup_roles AS r
                      WHERE r.person_id IN (s.person_id, coalesce(a.person_id, s.person_id)) AND r.role = s.role)
      AND NOT EXISTS (SELECT 1 FROM tombstones WHERE person_id = s.person_id)
"""
# Who confirmed by a sign-up's link is told of once; members of the organization sign in without one.
CONFIRMED_UNTOLD = """
    SELECT DISTINCT s.person_id FROM signup_signups AS s
    LEFT JOIN aliases AS a ON a.service = 'signup' AND a.alias_id = s.person_id
    WHERE s.status = 'applied'
      AND NOT EXISTS (SELECT 1 FROM records WHERE type = 'signup.person_confirmed.v1' AND first
                      AND key IN (s.person_id, coalesce(a.person_id, s.person_id)))
"""
CONFIRMED_BY_NONE = """
    SELECT r.key FROM records AS r WHERE r.type = 'signup.person_confirmed.v1' AND r.first
      AND NOT EXISTS (SELECT 1 FROM signup_signups AS s WHERE s.id = json_extract(r.payload, '$.signup_id')
                      AND s.status = 'applied')
"""
# Each state of a call with the event that leads to it.
CALL_STATES = {
    "completed": "matching.call_completed.v1",
    "missed": "matching.call_missed.v1",
    "declined": "matching.match_declined.v1",
    "expired": "matching.match_expired.v1",
    "cancelled": "matching.call_cancelled.v1",
}
CALL_UNTOLD = """
    SELECT b.call_id, b.state FROM matching_bookings AS b
    WHERE b.state = ?1 AND NOT EXISTS (SELECT 1 FROM records AS r WHERE r.key = b.call_id AND r.topic = 'matching.calls'
                                       AND r.type = ?2 AND r.first)
"""
CALL_OF_OTHERS = """
    SELECT r.key, r.type, coalesce(b.state, 'not there') FROM records AS r
    LEFT JOIN matching_bookings AS b ON b.call_id = r.key
    WHERE r.topic = 'matching.calls' AND r.type = ?2 AND r.first AND coalesce(b.state, '') <> ?1
"""
# Every call began with an offer, or in place of one that was moved.
CALL_FROM_NOTHING = """
    SELECT b.call_id FROM matching_bookings AS b
    WHERE NOT EXISTS (SELECT 1 FROM records AS r WHERE r.key = b.call_id AND r.topic = 'matching.calls' AND r.first
                      AND (r.type = 'matching.match_offered.v1' OR (r.type = 'matching.call_booked.v1'
                           AND json_extract(r.payload, '$.replaces') = b.replaces)))
"""
BOOKED_UNTOLD = """
    SELECT b.call_id FROM matching_bookings AS b
    WHERE b.state IN ('confirmed', 'completed', 'missed')
      AND NOT EXISTS (SELECT 1 FROM records AS r WHERE r.key = b.call_id AND r.topic = 'matching.calls' AND r.first
                      AND r.type = 'matching.call_booked.v1')
"""
# A person's place in the queue says what the bookings say.
QUEUE = """
    SELECT q.person_id, q.purpose, q.state, count(b.call_id) FROM matching_queue AS q
    LEFT JOIN matching_bookings AS b ON b.prospect_id = q.person_id AND b.purpose = q.purpose
         AND b.state = CASE q.state WHEN 'held' THEN 'held' WHEN 'booked' THEN 'confirmed' ELSE '' END
    WHERE q.state IN ('held', 'booked') GROUP BY q.person_id, q.purpose, q.state HAVING count(b.call_id) <> 1
"""
ACTIVE_WITHOUT_PLACE = """
    SELECT b.call_id, b.state FROM matching_bookings AS b
    WHERE b.state IN ('held', 'confirmed')
      AND NOT EXISTS (SELECT 1 FROM matching_queue AS q WHERE q.person_id = b.prospect_id AND q.purpose = b.purpose
                      AND q.state = CASE b.state WHEN 'held' THEN 'held' ELSE 'booked' END)
"""
SUBMITTED_UNTOLD = """
    SELECT a.id FROM endorsement_applications AS a
    WHERE a.status <> 'draft'
      AND NOT EXISTS (SELECT 1 FROM records AS r WHERE r.type = 'endorsement.application_submitted.v1' AND r.first
                      AND json_extract(r.payload, '$.application_id') = a.id)
"""
SUBMITTED_OF_NONE = """
    SELECT json_extract(r.payload, '$.application_id') FROM records AS r
    WHERE r.type = 'endorsement.application_submitted.v1' AND r.first
      AND NOT EXISTS (SELECT 1 FROM endorsement_applications AS a
                      WHERE a.id = json_extract(r.payload, '$.application_id') AND a.status <> 'draft')
"""
# What people were told was done, by the rows that it should have left.
CONFIRM_ACTS = """
    SELECT who FROM acts WHERE act = 'confirm' AND outcome = 'ack'
      AND NOT EXISTS (SELECT 1 FROM signup_signups AS s WHERE s.email = acts.who AND s.status = 'applied')
"""
# STOP by text is kept by the number's hash, which is known of a number that anybody was texted at.
STOP_ACTS = """
    SELECT DISTINCT acts.who, h.phone FROM acts JOIN signup_emails AS e ON e.email = acts.who
    JOIN signup_people AS h ON h.id = e.person_id
    LEFT JOIN aliases AS a ON a.service = 'notifications' AND a.alias_id = e.person_id
    WHERE acts.act = 'stop' AND acts.outcome = 'ack'
      AND NOT EXISTS (SELECT 1 FROM notifications_suppressions AS p
                      WHERE p.person_id IN (e.person_id, coalesce(a.person_id, e.person_id))
                        AND p.channel = coalesce(json_extract(acts.detail, '$.channel'), p.channel))
      AND NOT (json_extract(acts.detail, '$.by') = 'text' AND EXISTS (
                 SELECT 1 FROM notifications_suppressions AS p JOIN notifications_messages AS m USING (contact_hash)
                 JOIN texts ON texts.reference = m.id
                 WHERE texts.recipient = h.phone AND p.channel = 'sms' AND p.person_id IS NULL))
      AND (? <> 'sms') = (coalesce(json_extract(acts.detail, '$.channel'), 'email') <> 'sms' OR EXISTS (
              SELECT 1 FROM notifications_messages AS m WHERE m.person_id = e.person_id AND m.channel = 'sms'
                 AND m.contact_hash IS NOT NULL))
"""
# A number that was never written to is stopped by its hash alone; whose it is nobody can tell, but how many there are.
STOPPED_STRANGERS = """
    SELECT count(DISTINCT contact_hash) FROM notifications_suppressions AS p
    WHERE channel = 'sms' AND person_id IS NULL
      AND NOT EXISTS (SELECT 1 FROM notifications_messages AS m WHERE m.contact_hash = p.contact_hash)
"""
# (act, field of its detail, query that says whether it left a trace)
ACTS = (
    ("accept", "call_id", "SELECT count(*) FROM records WHERE key = ? AND type = 'matching.call_booked.v1'"),
    ("attest", "call_id", "SELECT count(*) FROM matching_attestations WHERE call_id = ?"),
    ("apply", "application_id", "SELECT count(*) FROM endorsement_applications WHERE id = ? AND status <> 'draft'"),
    ("decide", "decision_id", "SELECT count(*) FROM endorsement_decisions WHERE id = ?"),
    ("announce", "endorsement_id", "SELECT count(*) FROM endorsement_endorsements WHERE id = ?"),
    (
        "rescind",
        "endorsement_id",
        "SELECT count(*) FROM endorsement_endorsements WHERE id = ? AND status = 'rescinded'",
    ),
)


def counts(evidence: Evidence, check: Check) -> None:
    """L11."""
    _messages(evidence, check)
    if evidence.at_rest:
        _against_events(evidence, check)
    else:
        check.skip("states against the events that led to them: the system is running")
    check.each(evidence.rows(QUEUE), "{2} for {1} in the queue, with {3} such bookings")
    check.each(evidence.rows(ACTIVE_WITHOUT_PLACE), "the booking is {1}, and the queue does not say so")
    check.each(evidence.rows(APPLIED_WITHOUT_CONFIRMATION), "the sign-up was applied, and {1} is not confirmed")
    check.each(evidence.rows(APPLIED_WITHOUT_ROLE), "the sign-up was applied, and {2} lacks the role {1}")
    if "load" not in evidence.has:
        check.skip("what people were told was done: the load client's journal is not given (--journals)")
        return
    _sums(evidence, check)
    _acts(evidence, check)


def _messages(evidence: Evidence, check: Check) -> None:
    per_state: dict[str, int] = dict(evidence.rows("SELECT state, count(*) FROM notifications_messages GROUP BY state"))
    check.count(sum(per_state.values()), "messages")
    for state in sorted(set(per_state) - set(MESSAGE_STATES)):
        check.found(state, f"{per_state[state]} messages are in a state that is none")
    check.each(evidence.rows(OTHER_MESSAGE_STATE), "the message is {1}, and its last step led to {2}")
    check.each(evidence.rows(STEP_OF_NONE), "there are steps of this message, and it is not there")


def _against_events(evidence: Evidence, check: Check) -> None:
    evidence.db.execute(INDEX_SENT)
    if evidence.kept_from_the_start("notifications.messages"):
        check.each(evidence.rows(SENT_UNTOLD), "accepted, and no MessageSent tells of it")
    else:
        check.skip("messages against their events: past the retention of notifications.messages")
    check.each(evidence.rows(SENT_OF_OTHERS), "MessageSent tells of it, and the message is: {1}")
    if evidence.kept_from_the_start("signup.people"):
        check.each(evidence.rows(CONFIRMED_UNTOLD), "a sign-up was applied, and no PersonConfirmed tells of the person")
    check.each(evidence.rows(CONFIRMED_BY_NONE), "PersonConfirmed tells of a sign-up that was not applied")
    if evidence.kept_from_the_start("matching.calls"):
        for state, event_type in CALL_STATES.items():
            check.each(evidence.rows(CALL_UNTOLD, state, event_type), "the call is {1}, and no event says so")
            check.each(evidence.rows(CALL_OF_OTHERS, state, event_type), "{1} tells of the call, which is {2}")
        check.each(evidence.rows(CALL_FROM_NOTHING), "nobody was offered the call, and it replaces none")
        check.each(evidence.rows(BOOKED_UNTOLD), "the call was confirmed, and no CallBooked says so")
    else:
        check.skip("calls against their events: past the retention of matching.calls")
    check.count(evidence.count("SELECT count(*) FROM matching_bookings"), "calls")
    if evidence.kept_from_the_start("endorsement.candidacies"):
        check.each(evidence.rows(SUBMITTED_UNTOLD), "submitted, and no ApplicationSubmitted says so")
    check.each(evidence.rows(SUBMITTED_OF_NONE), "ApplicationSubmitted tells of it, and it is a draft or not there")
    check.count(evidence.count("SELECT count(*) FROM endorsement_applications"), "applications")


def _sums(evidence: Evidence, check: Check) -> None:
    """Sign-ups = acknowledged + those of unknown intents that were stored; no third kind."""
    stored = evidence.count("SELECT count(*) FROM signup_signups")
    acknowledged = evidence.count("SELECT count(*) FROM fates WHERE fate = 'acknowledged'")
    unknown = evidence.count(
        "SELECT count(*) FROM fates WHERE fate = 'unknown' AND intent IN (SELECT intent_id FROM signup_signups)"
    )
    check.count(stored, f"sign-ups = {acknowledged:,} acknowledged + {unknown:,} unknown and stored")
    if stored != acknowledged + unknown:
        check.found("sign-ups", f"{stored} are stored, {acknowledged} were acknowledged, {unknown} unknown are stored")


def _acts(evidence: Evidence, check: Check) -> None:
    check.count(evidence.count("SELECT count(*) FROM acts WHERE outcome = 'ack'"), "acts")
    check.each(evidence.rows(CONFIRM_ACTS), "told that the address is confirmed, and no sign-up of it is applied")
    check.each(evidence.rows(STOP_ACTS, ""), "told that it is stopped, and nothing is suppressed")
    strangers = {phone: who for who, phone in evidence.rows(STOP_ACTS, "sms")}
    if len(strangers) > (held := evidence.count(STOPPED_STRANGERS)):
        who = ", ".join(sorted(strangers.values()))
        check.found(who, f"told that texts are stopped; of these {len(strangers)} numbers {held} are suppressed")
    for act, field, query in ACTS:
        for (detail,) in evidence.rows("SELECT detail FROM acts WHERE act = ? AND outcome = 'ack'", act):
            identity = json.loads(detail).get(field) if detail else None
            if identity is not None and not evidence.count(query, identity):
                check.found(identity, f"told that `{act}` is done, and no row says so")
