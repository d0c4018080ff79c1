"""L7: what the sinks were given is what the messages' classes allow.

| class | copies that a receiver may hold |
| --- | --- |
| link | one or two, with the same token |
| transactional e-mail | one or two, with the same Message-ID |
| bulk e-mail, every text | at most one |

An operator who has an unknown message sent again allows that many more. A copy is what the sink stored, whatever
it answered.
"""

import re
from collections import defaultdict

from cli.ledger.evidence import Evidence
from cli.ledger.report import Check

LINK = re.compile(r"https?://[^\s<>\"')\]]+")

# Every message with the copies that a receiver holds; `doubtful`: at one time nobody knew whether it was taken;
# `again`: how often an operator had it sent again.
MAKE_COPIES = """
    CREATE TEMP TABLE held AS
    SELECT m.id, m.channel, m.delivery, m.state, m.reason, m.person_id,
           coalesce(c.copies, 0) AS copies, coalesce(c.handed, 0) AS handed,
           EXISTS (SELECT 1 FROM notifications_message_steps AS s WHERE s.message_id = m.id AND s.state = 'unknown')
               AS doubtful,
           coalesce(o.again, 0) AS again
    FROM notifications_messages AS m
    LEFT JOIN (SELECT message AS id, 'email' AS channel, sum(stored) AS copies, count(*) AS handed FROM mails
               GROUP BY message
               UNION ALL SELECT reference, 'sms', sum(stored), count(*) FROM texts GROUP BY reference) AS c
           ON c.id = m.id AND c.channel = m.channel
    LEFT JOIN (SELECT subject AS id, sum(json_extract(details, '$.decision') = 'retry') AS again
               FROM notifications_audit WHERE action = 'message_settled' GROUP BY subject) AS o ON o.id = m.id
"""
TOO_MANY = """
    SELECT id, CASE channel WHEN 'sms' THEN 'text' ELSE delivery || ' mail' END, copies,
           CASE WHEN channel = 'email' AND delivery IN ('link', 'transactional') THEN 2 ELSE 1 END AS allowed
    FROM held
    WHERE copies > (1 + again)
                   * CASE WHEN channel = 'email' AND delivery IN ('link', 'transactional') THEN 2 ELSE 1 END
"""
LOST = """
    SELECT id, channel FROM held
    WHERE state = 'accepted' AND copies = 0 AND coalesce(reason, '') <> 'by_operator'
      AND channel IN (SELECT * FROM sinks)
"""
# Never in doubt, never accepted: then nobody may hold it.
UNTOLD = """
    SELECT id, channel, state, copies FROM held
    WHERE copies > 0 AND NOT doubtful AND state NOT IN ('accepted', 'unknown')
      AND NOT (state = 'handing' AND NOT ?)
"""
NO_HANDING = """
    SELECT id, channel, handed FROM held
    WHERE handed > 0 AND NOT EXISTS (SELECT 1 FROM notifications_message_steps AS s
                                     WHERE s.message_id = held.id AND s.state = 'handing')
"""
UNKNOWN_MAIL = """
    SELECT 'smtp.jsonl line ' || line, message_id FROM mails
    WHERE NOT EXISTS (SELECT 1 FROM notifications_messages AS m WHERE m.id = mails.message AND m.channel = 'email')
"""
UNKNOWN_TEXT = """
    SELECT 'sms.jsonl line ' || line, reference FROM texts
    WHERE NOT EXISTS (SELECT 1 FROM notifications_messages AS m WHERE m.id = texts.reference AND m.channel = 'sms')
      AND NOT EXISTS (SELECT 1 FROM notifications_replies AS r WHERE r.id = texts.reference)
"""
REPLIED_TWICE = """
    SELECT reference, sum(stored) FROM texts JOIN notifications_replies AS r ON r.id = texts.reference
    GROUP BY reference HAVING sum(stored) > 1
"""
# To an address of the person, under any id that they had.
STRANGERS_MAIL = """
    SELECT mails.message, 'smtp.jsonl line ' || mails.line FROM mails
    JOIN notifications_messages AS m ON m.id = mails.message
    LEFT JOIN aliases ON aliases.service = 'signup' AND aliases.alias_id = m.person_id
    WHERE NOT EXISTS (SELECT 1 FROM signup_emails AS e
                      WHERE e.person_id IN (m.person_id, coalesce(aliases.person_id, m.person_id))
                        AND e.email = mails.recipient)
      AND NOT EXISTS (SELECT 1 FROM tombstones AS t WHERE t.person_id = m.person_id)
"""
REPEATED_MAILS = """
    SELECT message, subject, text FROM mails
    WHERE stored AND message IN (SELECT message FROM mails WHERE stored GROUP BY message HAVING count(*) > 1)
      AND message IN (SELECT id FROM notifications_messages WHERE delivery = 'link')
"""


def classes(evidence: Evidence, check: Check) -> None:
    """L7."""
    sinks = {channel for channel, journal in (("email", "smtp"), ("sms", "sms")) if journal in evidence.has}
    for channel, journal in (("email", "smtp"), ("sms", "sms")):
        if channel not in sinks:
            check.skip(f"{channel}: the sink's journal {journal}.jsonl is not given")
    if not sinks:
        return
    db = evidence.db
    for name in ("held", "sinks"):
        db.execute(f"DROP TABLE IF EXISTS temp.{name}")
    db.execute("CREATE TEMP TABLE sinks (channel TEXT)")
    db.executemany("INSERT INTO sinks VALUES (?)", [(channel,) for channel in sorted(sinks)])
    db.execute(MAKE_COPIES)
    check.count(evidence.count("SELECT count(*) FROM held WHERE channel IN (SELECT * FROM sinks)"), "messages")
    check.count(evidence.count("SELECT (SELECT count(*) FROM mails) + (SELECT count(*) FROM texts)"), "hand-overs")
    check.each(evidence.rows(TOO_MANY), "{2} copies of a {1} are in the sink's hands; {3} is the most")
    if evidence.at_rest:
        check.each(evidence.rows(LOST), "accepted, says the database, and the sink ({1}) holds no copy")
    else:
        check.skip("messages that were accepted after the journals were read: the system is running")
    check.each(
        evidence.rows(UNTOLD, evidence.at_rest), "{2}, says the database, without ever doubting; the sink holds {3}"
    )
    check.each(evidence.rows(NO_HANDING), "handed over {2} times, and no step says so beforehand")
    check.each(evidence.rows(UNKNOWN_MAIL), "a mail with Message-ID {1}, which is no message's")
    check.each(evidence.rows(UNKNOWN_TEXT), "a text with reference {1}, which is no message's")
    check.each(evidence.rows(REPLIED_TWICE), "the answer to an incoming text was given {1} times")
    check.each(evidence.rows(STRANGERS_MAIL), "{1} went to an address that is not the person's")
    links: dict[str, set[frozenset[str]]] = defaultdict(set)
    for message, _, text in evidence.rows(REPEATED_MAILS):
        links[message].add(frozenset(LINK.findall(text or "")))
    for message, kinds in links.items():
        if len(kinds) > 1:
            check.found(message, "the copies of the link do not carry the same token")
    check.count(len(links), "repeated links")
