"""L1 and L2: what was acknowledged is stored, once, as it was sent; nothing else is."""

import json

from cli.ledger.evidence import Evidence
from cli.ledger.report import Check

SIGNED_UP = "signup.signed_up.v1"
NO_JOURNAL = "the load client's journal is not given (--journals), so what people were told is not known"

# What an intent came to, of all its answers: an acknowledgement is final; a refusal (4xx) is, unless another try was
# left without an answer; everything else may or may not have been stored.
FATES = """
    CREATE TEMP TABLE fates AS
    SELECT intents.intent,
           CASE WHEN max(answers.outcome = 'ack') THEN 'acknowledged'
                WHEN min(answers.outcome = 'nack' AND answers.status BETWEEN 400 AND 499) THEN 'refused'
                ELSE 'unknown' END AS fate
    FROM (SELECT DISTINCT intent FROM intents) AS intents LEFT JOIN answers USING (intent)
    GROUP BY intents.intent
"""
LOST = """
    SELECT fates.intent FROM fates LEFT JOIN signup_signups AS stored ON stored.intent_id = fates.intent
    WHERE fate = 'acknowledged' AND stored.id IS NULL
"""
OTHER_ID = """
    SELECT DISTINCT answers.intent, answers.signup_id, stored.id FROM answers
    JOIN signup_signups AS stored ON stored.intent_id = answers.intent
    WHERE answers.outcome = 'ack' AND answers.signup_id IS NOT NULL
      AND NOT EXISTS (SELECT 1 FROM signup_signups WHERE intent_id = answers.intent AND id = answers.signup_id)
"""
UNASKED = """
    SELECT stored.id, stored.intent_id FROM signup_signups AS stored
    WHERE NOT EXISTS (SELECT 1 FROM intents WHERE intent = stored.intent_id)
"""
REFUSED = """
    SELECT fates.intent, stored.id FROM fates JOIN signup_signups AS stored ON stored.intent_id = fates.intent
    WHERE fate = 'refused'
"""
# An intent may be sent with one payload and, wrongly, with another: the stored one must be one that was sent.
NOT_AS_SENT = """
    SELECT stored.id, stored.intent_id FROM signup_signups AS stored
    WHERE EXISTS (SELECT 1 FROM intents WHERE intent = stored.intent_id)
      AND NOT EXISTS (SELECT 1 FROM intents WHERE intent = stored.intent_id AND form = stored.form
                      AND lower(trim(intents.email)) = stored.email)
"""
CONSENTS = """
    SELECT stored.id, json_group_array(intents.consents),
           (SELECT json_group_array(channel) FROM (SELECT DISTINCT channel FROM signup_consents
            WHERE signup_id = stored.id AND granted ORDER BY channel))
    FROM signup_signups AS stored JOIN intents ON intents.intent = stored.intent_id
    WHERE intents.consents IS NOT NULL GROUP BY stored.id
"""
NO_SOURCE = """
    SELECT id FROM signup_signups AS stored
    WHERE (SELECT count(*) FROM signup_sources WHERE signup_id = stored.id) <> 1
"""
NO_LINK = """
    SELECT id FROM signup_signups AS stored
    WHERE NOT EXISTS (SELECT 1 FROM signup_links WHERE signup_id = stored.id AND purpose = 'confirm')
"""
UNTOLD = f"""
    SELECT stored.id, coalesce(told.events, 0) FROM signup_signups AS stored
    LEFT JOIN (SELECT json_extract(payload, '$.signup_id') AS signup_id, count(*) AS events
               FROM records WHERE type = '{SIGNED_UP}' AND first GROUP BY 1) AS told ON told.signup_id = stored.id
    WHERE coalesce(told.events, 0) <> 1
"""  # noqa: S608 (our own constant)

TWICE = """
    SELECT intent_id, count(*), group_concat(id, ', ') FROM signup_signups GROUP BY intent_id HAVING count(*) > 1
"""
KEY_ELSEWHERE = """
    SELECT kept.intent_id, kept.signup_id FROM signup_intents AS kept
    WHERE NOT EXISTS (SELECT 1 FROM signup_signups WHERE id = kept.signup_id AND intent_id = kept.intent_id)
"""
TWO_ANSWERS = """
    SELECT intent, group_concat(DISTINCT signup_id) FROM answers
    WHERE outcome = 'ack' AND signup_id IS NOT NULL GROUP BY intent HAVING count(DISTINCT signup_id) > 1
"""
SHARED_ANSWER = """
    SELECT signup_id, group_concat(DISTINCT intent) FROM answers
    WHERE outcome = 'ack' AND signup_id IS NOT NULL GROUP BY signup_id HAVING count(DISTINCT intent) > 1
"""
# One address, one person: under any id that the person ever had.
TWO_PEOPLE = """
    SELECT group_concat(DISTINCT stored.id), count(DISTINCT coalesce(aliases.person_id, stored.person_id))
    FROM signup_signups AS stored
    LEFT JOIN aliases ON aliases.service = 'signup' AND aliases.alias_id = stored.person_id
    GROUP BY stored.email HAVING count(DISTINCT coalesce(aliases.person_id, stored.person_id)) > 1
"""
NOBODY = """
    SELECT id, person_id FROM signup_signups AS stored
    WHERE NOT EXISTS (SELECT 1 FROM signup_people WHERE id = stored.person_id)
      AND NOT EXISTS (SELECT 1 FROM tombstones WHERE person_id = stored.person_id)
"""


def acknowledged(evidence: Evidence, check: Check) -> None:
    """L1: acknowledged intents are sign-ups, and every sign-up is an intent's, whole and as it was sent."""
    check.count(evidence.count("SELECT count(*) FROM signup_signups"), "sign-ups")
    check.each(evidence.rows(NO_SOURCE), "the sign-up has not exactly one row in sources")
    check.each(evidence.rows(NO_LINK), "the sign-up has no confirmation link")
    if not evidence.kept_from_the_start("signup.people"):
        check.skip("the events of old sign-ups are past the topic's retention")
    elif evidence.at_rest:
        check.each(evidence.rows(UNTOLD), "the sign-up has {1} SignedUp events on signup.people, not one")
    else:
        check.skip("whether each sign-up has its event: the system is running")
    if "load" not in evidence.has:
        check.skip(NO_JOURNAL)
        return
    evidence.db.execute("DROP TABLE IF EXISTS fates")
    evidence.db.execute(FATES)
    number = "SELECT count(*) FROM fates WHERE fate = ?"
    check.count(evidence.count(number, "acknowledged"), "acknowledged intents")
    check.count(evidence.count(number, "refused"), "refused")
    check.each(evidence.rows(LOST), "the intent was acknowledged, and no sign-up is stored for it")
    check.each(evidence.rows(OTHER_ID), "the intent was answered with sign-up {1}, and {2} is stored for it")
    check.each(evidence.rows(UNASKED), "the sign-up is stored under intent {1}, which nobody sent")
    check.each(evidence.rows(REFUSED), "the intent was refused for good, and sign-up {1} is stored for it")
    check.each(evidence.rows(NOT_AS_SENT), "form or address of the sign-up are not those of intent {1}")
    for signup_id, sent, stored in evidence.rows(CONSENTS):
        if json.loads(stored) not in [json.loads(ticked) for ticked in json.loads(sent)]:
            check.found(signup_id, f"consent was given for {sent}, and is stored for {stored}")


def once(evidence: Evidence, check: Check) -> None:
    """L2: one row per key, one answer per intent, one person per address."""
    check.count(evidence.count("SELECT count(DISTINCT intent_id) FROM signup_signups"), "keys")
    check.count(evidence.count("SELECT count(DISTINCT email) FROM signup_signups"), "addresses")
    check.each(evidence.rows(TWICE), "the intent has {1} sign-ups: {2}")
    check.each(evidence.rows(KEY_ELSEWHERE), "the key stands for sign-up {1}, which is not stored under it")
    check.each(evidence.rows(TWO_PEOPLE), "these sign-ups have one address and belong to {1} people")
    check.each(evidence.rows(NOBODY), "the sign-up belongs to {1}, whom no row of people is about")
    if "load" not in evidence.has:
        check.skip(NO_JOURNAL)
        return
    check.count(evidence.count("SELECT count(*) FROM fates WHERE fate = 'unknown'"), "unknown intents")
    check.each(evidence.rows(TWO_ANSWERS), "the intent was answered with several sign-ups: {1}")
    check.each(evidence.rows(SHARED_ANSWER), "several intents were answered with this sign-up: {1}")
