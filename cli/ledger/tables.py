"""Which of the services' tables the ledger reads, and what of them. The statements are the ledger's own.

Each is copied into a table of the store, named `<service>_<name>`, or `<name>` with a leading column `service` for
what every service has.
"""

from collections.abc import Callable, Iterator, Mapping
from typing import Any

import psycopg
from psycopg.types.string import TextLoader

from cli.ledger.databases import SERVICES, connect
from cli.ledger.errors import BadEvidence
from cli.ledger.evidence import CHUNK, Evidence, Row

# What every service's database has.
SHARED: Mapping[str, str] = {
    "clock": "SELECT extract(epoch FROM ahead)::float8 AS ahead, extract(epoch FROM now())::float8 AS wall FROM clock",
    "streams": "SELECT topic, key, version FROM streams",
    "outbox": "SELECT topic, key, event_id, extract(epoch FROM created_at)::float8 AS at FROM outbox",
    # What an operator shortened because no broker took it.
    "shortened": """
        SELECT topic, event_id, encode(former, 'hex') AS former, encode(later, 'hex') AS later FROM outbox_changes
    """,
    "inbox_offsets": "SELECT topic, partition, next_offset FROM inbox_offsets",
    "inbox_seen": "SELECT event_day::text AS event_day, event_id FROM inbox_seen",
    "parked": "SELECT topic, key, event_id, event_type, partition, record_offset, status FROM parked",
    "quarantined": "SELECT topic, partition, record_offset, reason FROM quarantined",
    "timers": """
        SELECT id, kind, owner_key, extract(epoch FROM business_now() - due_at)::float8 AS late, dead::int AS dead
        FROM timers
    """,
    "aliases": "SELECT alias_id, person_id FROM person_aliases",
    "tombstones": "SELECT person_id, extract(epoch FROM erased_at)::float8 AS erased_at FROM tombstones",
}
# Made by watch-outbox; absent when nobody watched.
WATCHED: Mapping[str, str] = {
    "copies": """
        SELECT topic, key, event_id, extract(epoch FROM at)::float8 AS at,
               encode(sha256(convert_to(key, 'UTF8') || '\\x00'::bytea || coalesce(payload, ''::bytea)), 'hex')
                   AS digest
        FROM ledger_outbox
    """,
    "watch_streams": "SELECT topic, key, version FROM ledger_streams",
}
OWN: Mapping[str, Mapping[str, str]] = {
    "signup": {
        "people": """
            SELECT id, time_zone, legal_body, phone, extract(epoch FROM confirmed_at)::float8 AS confirmed_at
            FROM people
        """,
        "emails": "SELECT email_key, person_id, lower(trim(email)) AS email FROM person_emails",
        "signups": """
            SELECT id, intent_id, person_id, form, role, lower(trim(email)) AS email, status, known::int AS known,
                   facts->>'time_zone' AS time_zone, extract(epoch FROM applied_at)::float8 AS applied_at
            FROM signups
        """,
        "intents": "SELECT intent_id, signup_id FROM intents",
        "sources": "SELECT signup_id, person_id FROM sources",
        "roles": "SELECT person_id, role, signup_id FROM roles",
        "consents": """
            SELECT id, person_id, signup_id, channel, granted::int AS granted, legal_body,
                   extract(epoch FROM given_at)::float8 AS given_at
            FROM consents
        """,
        "links": "SELECT id, purpose, person_id, signup_id FROM links",
        "accounts": "SELECT id, person_id, (closed_at IS NOT NULL)::int AS closed FROM accounts",
        "steps": "SELECT event_id, person_id, step FROM journey_steps",
        "audit": """
            SELECT id, to_char(at AT TIME ZONE 'UTC', 'YYYY-MM-DD"T"HH24:MI:SS.US') AS at,
                   actor_person AS actor, actor_account AS account, action, subject, details,
                   encode(previous_hash, 'hex') AS previous_hash, encode(hash, 'hex') AS hash
            FROM audit_entries ORDER BY id
        """,
    },
    "matching": {
        "people": "SELECT person_id FROM people",
        "bookings": """
            SELECT call_id, purpose, prospect_id, volunteer_id, extract(epoch FROM lower(during))::float8 AS starts,
                   extract(epoch FROM upper(during))::float8 AS ends, week, state,
                   extract(epoch FROM offered_at)::float8 AS offered_at, closed_by, replaces, replaced_by
            FROM bookings
        """,
        "weeks": "SELECT volunteer_id, week, cap, used FROM volunteer_weeks",
        "availability": """
            SELECT person_id, time_zone, extract(epoch FROM updated_at)::float8 AS updated_at FROM availability
        """,
        "windows": """
            SELECT person_id, dow, extract(epoch FROM starts)::int AS starts,
                   CASE ends WHEN '00:00' THEN 86400 ELSE extract(epoch FROM ends)::int END AS ends
            FROM availability_windows
        """,
        "away": "SELECT person_id, away_on::text AS away_on FROM availability_exceptions",
        "queue": "SELECT person_id, purpose, state FROM queue_entries",
        "intro_calls": "SELECT intro_call_id, capacity, going, status FROM intro_calls",
        "seats": """
            SELECT intro_call_id, person_id, state, attendance, (marked_by IS NOT NULL)::int AS marked FROM intro_seats
        """,
        "blocks": "SELECT person_id, other_id, kind FROM blocks",
        "attestations": """
            SELECT call_id, result, (concern_closed_at IS NOT NULL)::int AS concern_closed FROM attestations
        """,
        "audit": """
            SELECT id, to_char(at AT TIME ZONE 'UTC', 'YYYY-MM-DD"T"HH24:MI:SS.US') AS at,
                   actor_id AS actor, account_id AS account, action, subject, details,
                   encode(previous_hash, 'hex') AS previous_hash, encode(hash, 'hex') AS hash
            FROM audit_entries ORDER BY id
        """,
    },
    "notifications": {
        "messages": """
            SELECT id, event_id, person_id, template, channel, delivery, state, reason, hands,
                   encode(contact_hash, 'hex') AS contact_hash,
                   extract(epoch FROM due_at - business_now())::float8 AS due_in,
                   (lease_until IS NOT NULL)::int AS leased
            FROM messages
        """,
        "message_steps": """
            SELECT id, message_id, state, reason, extract(epoch FROM at)::float8 AS at FROM message_steps
        """,
        "suppressions": """
            SELECT channel, scope, reason, person_id, encode(contact_hash, 'hex') AS contact_hash,
                   extract(epoch FROM since)::float8 AS since, extract(epoch FROM lifted_at)::float8 AS lifted_at
            FROM suppressions
        """,
        "replies": "SELECT id, kind, state FROM text_replies",
        "audit": """
            SELECT id, to_char(at AT TIME ZONE 'UTC', 'YYYY-MM-DD"T"HH24:MI:SS.US') AS at,
                   actor, NULL AS account, action, subject, details,
                   encode(previous_hash, 'hex') AS previous_hash, encode(hash, 'hex') AS hash
            FROM audit_entries ORDER BY id
        """,
    },
    "endorsement": {
        "candidacies": "SELECT id, person_id, status, verified_by FROM candidacies",
        "applications": "SELECT id, candidacy_id, person_id, version, status FROM applications",
        "publish_consents": """
            SELECT id, application_id, granted::int AS granted, extract(epoch FROM given_at)::float8 AS given_at
            FROM publish_consents
        """,
        "decisions": """
            SELECT id, application_id, candidacy_id, outcome, decided_by,
                   extract(epoch FROM embargo_until)::float8 AS embargo_until
            FROM decisions
        """,
        "approvals": "SELECT decision_id, approved_by FROM announcement_approvals",
        "endorsements": """
            SELECT id, decision_id, status, announced_by, extract(epoch FROM announced_at)::float8 AS announced_at,
                   extract(epoch FROM rescinded_at)::float8 AS rescinded_at,
                   json_build_object('ballot_name', ballot_name, 'office', office, 'office_label', office_label,
                       'office_level', office_level, 'state', state, 'district', district,
                       'election_date', election_date::text, 'organization', organization, 'legal_body', legal_body,
                       'program_version', program_version) AS public
            FROM endorsements
        """,
        "rescissions": "SELECT id, endorsement_id, requested_by, confirmed_by FROM rescissions",
        "feed": "SELECT cursor, event_id, endorsement_id, event FROM feed_entries",
        "feed_counter": "SELECT last_cursor, pruned_through FROM feed_counter",
        "subscribers": """
            SELECT id, url, status, extract(epoch FROM created_at)::float8 AS created_at FROM webhook_subscribers
        """,
        "deliveries": """
            SELECT d.id, d.subscriber_id, d.webhook_id, d.endorsement_id, d.event_type, d.body, d.status, d.dead_reason,
                   extract(epoch FROM d.created_at)::float8 AS created_at,
                   (SELECT count(*) FROM webhook_attempts a WHERE a.delivery_id = d.id) AS attempts,
                   (SELECT count(*) FROM webhook_attempts a
                    WHERE a.delivery_id = d.id AND a.status_code BETWEEN 200 AND 299) AS taken
            FROM webhook_deliveries d
        """,
        "leased": "SELECT id FROM webhook_subscribers WHERE lease_until > clock_timestamp()",
        "accounts": "SELECT account_id, person_id FROM accounts",
        "advisories": "SELECT call_id, advisor_id, person_id FROM advisories",
        "attendances": "SELECT person_id FROM intro_attendances",
        "scorecards": "SELECT id, application_id, reviewer_id FROM scorecards",
        "head": "SELECT hash FROM audit_head",
        "audit": """
            SELECT id, to_char(at AT TIME ZONE 'UTC', 'YYYY-MM-DD"T"HH24:MI:SS.US') AS at,
                   person_id AS actor, account_id AS account, action, subject, details,
                   previous_hash, hash
            FROM audit_entries ORDER BY id
        """,
    },
}
INDEXES = """
    CREATE INDEX streams_idx ON streams (topic, key);
    CREATE INDEX shortened_idx ON shortened (event_id);
    CREATE INDEX seen_idx ON inbox_seen (event_id, service);
    CREATE INDEX parked_idx ON parked (event_id, service);
    CREATE INDEX aliases_idx ON aliases (alias_id);
    CREATE INDEX tombstones_idx ON tombstones (person_id);
    CREATE INDEX copies_idx ON copies (event_id);
    CREATE INDEX watch_streams_idx ON watch_streams (topic, key);
    CREATE INDEX signup_people_idx ON signup_people (id);
    CREATE INDEX signup_emails_idx ON signup_emails (person_id);
    CREATE INDEX signup_emails_email_idx ON signup_emails (email);
    CREATE INDEX signup_signups_idx ON signup_signups (id);
    CREATE INDEX signup_signups_intent_idx ON signup_signups (intent_id);
    CREATE INDEX signup_signups_person_idx ON signup_signups (person_id);
    CREATE INDEX signup_signups_email_idx ON signup_signups (email);
    CREATE INDEX signup_intents_idx ON signup_intents (intent_id);
    CREATE INDEX signup_sources_idx ON signup_sources (signup_id);
    CREATE INDEX signup_roles_idx ON signup_roles (person_id, role);
    CREATE INDEX signup_consents_idx ON signup_consents (person_id, channel);
    CREATE INDEX signup_consents_signup_idx ON signup_consents (signup_id);
    CREATE INDEX signup_links_idx ON signup_links (signup_id);
    CREATE INDEX signup_steps_idx ON signup_steps (event_id, person_id);
    CREATE INDEX matching_people_idx ON matching_people (person_id);
    CREATE INDEX matching_bookings_idx ON matching_bookings (call_id);
    CREATE INDEX matching_windows_idx ON matching_windows (person_id);
    CREATE INDEX messages_idx ON notifications_messages (id);
    CREATE INDEX messages_event_idx ON notifications_messages (event_id, person_id);
    CREATE INDEX messages_person_idx ON notifications_messages (person_id);
    CREATE INDEX message_steps_idx ON notifications_message_steps (message_id, id);
    CREATE INDEX advisories_idx ON endorsement_advisories (call_id);
    CREATE INDEX attendances_idx ON endorsement_attendances (person_id);
    CREATE INDEX deliveries_idx ON endorsement_deliveries (webhook_id);
"""


def load_databases(evidence: Evidence, owner_dsns: Mapping[str, str], tell: Callable[[str], None]) -> None:
    """Copy what the checks need of each service's database, each in one snapshot."""
    if missing := sorted(set(SERVICES) - set(owner_dsns)):
        raise BadEvidence(f"The endpoints file names no database of {', '.join(missing)}: write it anew (`make up`).")
    for service in SERVICES:
        with connect(service, owner_dsns[service]) as connection:
            # Ids and JSON stay the text that they are compared and hashed as.
            for kind in ("uuid", "json", "jsonb"):
                connection.adapters.register_loader(kind, TextLoader)
            copied = sum(
                _copy(evidence, connection, name, sql, service) for name, sql in _shared(connection, service, evidence)
            )
            copied += sum(
                _copy(evidence, connection, f"{service}_{name}", sql, None) for name, sql in OWN[service].items()
            )
        tell(f"database of {service}: {copied:,} rows")
    for name in WATCHED:
        _make(evidence, name, _WATCHED_COLUMNS[name])
    evidence.db.executescript(INDEXES)


_WATCHED_COLUMNS = {
    "copies": ["service", "topic", "key", "event_id", "at", "digest"],
    "watch_streams": ["service", "topic", "key", "version"],
}


def _shared(connection: psycopg.Connection[Any], service: str, evidence: Evidence) -> Iterator[tuple[str, str]]:
    yield from SHARED.items()
    row = connection.execute("SELECT to_regclass('public.ledger_outbox') IS NOT NULL").fetchone()
    if row and row[0]:
        evidence.has.add(f"outbox of {service}")
        yield from WATCHED.items()


def _make(evidence: Evidence, name: str, columns: list[str]) -> None:
    evidence.db.execute(f"CREATE TABLE IF NOT EXISTS {name} ({', '.join(columns)})")


def _copy(evidence: Evidence, connection: psycopg.Connection[Any], name: str, sql: str, service: str | None) -> int:
    with connection.cursor(name="ledger") as cursor:
        cursor.itersize = CHUNK
        cursor.execute(sql.encode())
        assert cursor.description is not None
        columns = [column.name for column in cursor.description]
        _make(evidence, name, ([] if service is None else ["service"]) + columns)
        rows: Iterator[Row] = iter(cursor)
        return evidence.insert(name, rows if service is None else ((service, *row) for row in rows))
