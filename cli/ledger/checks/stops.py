"""L8: nothing goes to those who stopped, were erased, did not consent or are asleep.

Judged by the moment at which a hand-off began, the step `handing` that is committed before it; a stop counts from
five seconds after it was given, so a hand-off that began earlier is none's fault. Links that somebody asks for are
sent whatever was stopped, but for an address that does not work. Times of signup and of notifications may differ by a
move of the clock that was under way, since one service's is moved after another's.
"""

import datetime as dt
import json
from collections import defaultdict
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

from cli.ledger.evidence import Evidence, iso
from cli.ledger.report import Check

GRACE_SECONDS = 5.0
OPEN_HOURS = (8, 21)
UNKNOWN_ZONE, UNKNOWN_HOURS = "America/New_York", (12, 21)

# Each hand-off in business time, with the person that the message's id stands for today.
MAKE_HANDOFFS = """
    CREATE TEMP TABLE handoffs AS
    SELECT m.id, m.channel, m.delivery, m.contact_hash, s.at, m.person_id,
           coalesce(a.person_id, m.person_id) AS current_id
    FROM notifications_message_steps AS s JOIN notifications_messages AS m ON m.id = s.message_id
    LEFT JOIN aliases AS a ON a.service = 'signup' AND a.alias_id = m.person_id
    WHERE s.state = 'handing'
"""
INDEX_HANDOFFS = """
    CREATE INDEX temp.handoffs_idx ON handoffs (current_id, channel);
    CREATE INDEX temp.handoffs_hash_idx ON handoffs (contact_hash, channel);
    CREATE INDEX temp.handoffs_id_idx ON handoffs (id);
"""
COVERS = """
    (p.scope = 'address' OR (p.scope = 'bulk' AND h.delivery = 'bulk') OR (p.scope = 'all' AND h.delivery <> 'link'))
    AND h.at > p.since + ?1 AND (p.lifted_at IS NULL OR h.at < p.lifted_at)
"""
SUPPRESSED = f"""
    SELECT DISTINCT h.id, h.at, p.scope, p.reason, p.since FROM notifications_suppressions AS p
    LEFT JOIN aliases AS a ON a.service = 'notifications' AND a.alias_id = p.person_id
    JOIN handoffs AS h ON h.current_id = coalesce(a.person_id, p.person_id) AND h.channel = p.channel
    WHERE p.person_id IS NOT NULL AND {COVERS}
    UNION
    SELECT h.id, h.at, p.scope, p.reason, p.since FROM notifications_suppressions AS p
    JOIN handoffs AS h ON h.contact_hash = p.contact_hash AND h.channel = p.channel
    WHERE p.contact_hash IS NOT NULL AND {COVERS}
"""  # noqa: S608 (our own constants)
ERASED = """
    SELECT h.id, h.at, t.person_id FROM tombstones AS t
    JOIN handoffs AS h ON t.person_id IN (h.current_id, h.person_id)
    WHERE h.at > t.erased_at + ? GROUP BY h.id
"""
UNCONFIRMED = """
    SELECT h.id, h.at, h.current_id, p.confirmed_at
    FROM handoffs AS h LEFT JOIN signup_people AS p ON p.id = h.current_id
    WHERE h.delivery <> 'link' AND (p.confirmed_at IS NULL OR p.confirmed_at > h.at + ?)
      AND NOT EXISTS (SELECT 1 FROM tombstones AS t WHERE t.person_id IN (h.current_id, h.person_id))
"""
# What needs consent, with the words that the person gave for their legal body, in order.
NEEDING = """
    SELECT h.id, h.at, h.current_id, h.channel FROM handoffs AS h
    WHERE (h.channel = 'sms' OR h.delivery = 'bulk')
      AND NOT EXISTS (SELECT 1 FROM tombstones AS t WHERE t.person_id IN (h.current_id, h.person_id))
"""
# A grant or withdrawal on a form holds from the moment that the form's link was used.
WORDS = """
    SELECT coalesce(a.person_id, c.person_id), c.channel,
           CASE WHEN c.signup_id IS NULL THEN c.given_at ELSE s.applied_at END AS held_at, c.granted
    FROM signup_consents AS c
    LEFT JOIN signup_signups AS s ON s.id = c.signup_id
    LEFT JOIN aliases AS a ON a.service = 'signup' AND a.alias_id = c.person_id
    JOIN signup_people AS p ON p.id = coalesce(a.person_id, c.person_id) AND p.legal_body = c.legal_body
    WHERE c.signup_id IS NULL OR s.applied_at IS NOT NULL
    ORDER BY 1, 2, held_at, c.id
"""
TEXTED = "SELECT id, at, current_id FROM handoffs WHERE channel = 'sms'"
# A person may have given several zones; quiet is what is quiet in all of them.
ZONES = """
    SELECT id, time_zone FROM signup_people
    UNION SELECT coalesce(a.person_id, s.person_id), s.time_zone FROM signup_signups AS s
          LEFT JOIN aliases AS a ON a.service = 'signup' AND a.alias_id = s.person_id
"""
STOPS = "SELECT who, at, detail FROM acts WHERE act = 'stop' AND outcome = 'ack' AND at IS NOT NULL ORDER BY at"
# Hand-offs of what a stopped address or number was given, by what the sinks saw.
HANDED_MAIL = """
    SELECT DISTINCT h.id, h.at, h.delivery FROM mails JOIN handoffs AS h ON h.id = mails.message
    WHERE mails.recipient = ? AND h.channel = 'email'
"""
# STOP by text is the number's, whoever has it; a choice on a page is that person's alone, and others of the household
# who gave the same number may go on getting texts there.
HANDED_TEXT = """
    SELECT DISTINCT h.id, h.at, h.delivery FROM signup_emails AS e
    JOIN signup_people AS p ON p.id = e.person_id
    JOIN texts ON texts.recipient = p.phone JOIN handoffs AS h ON h.id = texts.reference
    WHERE e.email = ?1 AND h.channel = 'sms' AND (?2 = 'text' OR h.current_id = p.id)
"""
RESTORED = """
    SELECT count(*) FROM notifications_suppressions AS p JOIN signup_emails AS e ON e.person_id = p.person_id
    WHERE e.email = ? AND p.channel = ? AND p.lifted_at IS NOT NULL AND p.lifted_at <= ?
"""


def forbidden(evidence: Evidence, check: Check) -> None:
    """L8."""
    db = evidence.db
    db.execute("DROP TABLE IF EXISTS temp.handoffs")
    db.execute(MAKE_HANDOFFS)
    db.executescript(INDEX_HANDOFFS)
    check.count(evidence.count("SELECT count(*) FROM handoffs"), "hand-offs")
    check.count(evidence.count("SELECT count(*) FROM notifications_suppressions"), "suppressions")
    for identity, at, scope, reason, since in evidence.rows(SUPPRESSED, GRACE_SECONDS):
        check.found(identity, f"handed over at {iso(at)}, and {scope} is suppressed ({reason}) since {iso(since)}")
    for identity, at, person_id in evidence.rows(ERASED, GRACE_SECONDS):
        check.found(identity, f"handed over at {iso(at)} to {person_id}, who was erased before")
    for identity, at, person_id, confirmed_at in evidence.rows(UNCONFIRMED, GRACE_SECONDS):
        if confirmed_at is not None and confirmed_at <= at + GRACE_SECONDS + evidence.skew(at):
            continue
        check.found(identity, f"handed over at {iso(at)} to {person_id}, whose address was not confirmed then")
    _consents(evidence, check)
    _quiet_hours(evidence, check)
    _told_to_stop(evidence, check)


def _consents(evidence: Evidence, check: Check) -> None:
    words: dict[tuple[str, str], list[tuple[float, bool]]] = defaultdict(list)
    for person_id, channel, held_at, granted in evidence.rows(WORDS):
        words[person_id, channel].append((held_at, bool(granted)))
    judged = 0
    for identity, at, person_id, channel in evidence.rows(NEEDING):
        judged += 1
        held = False
        for held_at, granted in words[person_id, channel]:
            if held_at <= at - GRACE_SECONDS:
                held = granted
            elif held_at <= at + GRACE_SECONDS + evidence.skew(at):
                # Given or taken back in these seconds: either may have been seen.
                held = held or granted
        if not held:
            check.found(identity, f"handed over at {iso(at)} by {channel} without the consent of {person_id}")
    check.count(judged, "that need consent")


def _quiet_hours(evidence: Evidence, check: Check) -> None:
    zones: dict[str, set[str | None]] = defaultdict(set)
    for person_id, zone in evidence.rows(ZONES):
        zones[person_id].add(zone)
    judged = 0
    for identity, at, person_id in evidence.rows(TEXTED):
        judged += 1
        known: set[str | None] = {zone for zone in zones[person_id] if zone} or {None}
        if not any(_is_open(at, zone) for zone in known):
            names = ", ".join(sorted(str(zone or "no zone known") for zone in known))
            check.found(identity, f"a text was handed over at {iso(at)}, quiet hours for the recipient ({names})")
    check.count(judged, "texts")


def _is_open(at: float, zone: str | None) -> bool:
    try:
        local, (start, end) = ZoneInfo(zone or ""), OPEN_HOURS
    except (ValueError, ZoneInfoNotFoundError):
        local, (start, end) = ZoneInfo(UNKNOWN_ZONE), UNKNOWN_HOURS
    return start <= dt.datetime.fromtimestamp(at, local).hour < end


def _told_to_stop(evidence: Evidence, check: Check) -> None:
    """Apart from what the database says of suppressions: what people told us, and what the sinks were given after."""
    stops = list(evidence.rows(STOPS))
    if "load" not in evidence.has:
        check.skip("stops as people gave them: the load client's journal is not given (--journals)")
        return
    check.count(len(stops), "stops as people gave them")
    for who, at, detail in stops:
        told = json.loads(detail) if detail else {}
        channel, scope = told.get("channel", "email"), told.get("scope", "bulk")
        ahead = evidence.ahead(at)
        if ahead is None:
            check.skip("stops as people gave them: the business clock was moved, and no journal says when")
            return
        # While the clock is being moved the stop is taken at the later of the two times.
        since = at + ahead[1] + GRACE_SECONDS
        handed = (
            evidence.rows(HANDED_MAIL, who) if channel == "email" else evidence.rows(HANDED_TEXT, who, told.get("by"))
        )
        for identity, handed_at, delivery in handed:
            covered = delivery == "bulk" if scope == "bulk" else delivery != "link"
            if not covered or handed_at <= since or evidence.count(RESTORED, who, channel, handed_at):
                continue
            check.found(identity, f"handed over at {iso(handed_at)}, after a stop ({channel}) at {iso(since)}")
