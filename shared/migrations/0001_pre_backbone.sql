-- migrate:up

-- The business clock: every rule about time reads business_now(). Only the owning role may move it, and a
-- service in production refuses to start while it is moved.
CREATE TABLE clock (
    singleton   boolean PRIMARY KEY DEFAULT true CONSTRAINT clock_singleton_ck CHECK (singleton),
    ahead       interval NOT NULL DEFAULT '0'
);
INSERT INTO clock DEFAULT VALUES;
DO $$
DECLARE run_role text;
BEGIN
    FOR run_role IN SELECT DISTINCT grantee FROM information_schema.role_table_grants
                    WHERE table_name = 'clock' AND grantee <> current_user
    LOOP
        EXECUTE format('REVOKE INSERT, UPDATE, DELETE ON clock FROM %I', run_role);
    END LOOP;
END $$;

CREATE FUNCTION business_now() RETURNS timestamptz LANGUAGE sql STABLE AS
$$ SELECT now() + ahead FROM clock $$;

-- The content of every program file this database has run under, so that a record's program hash stays readable.
CREATE TABLE programs (
    content_hash  text PRIMARY KEY,
    version       text NOT NULL,
    content       text NOT NULL,
    first_seen_at timestamptz NOT NULL DEFAULT now()
);

-- Events per topic and key, counted: the row is the lock that keeps one key's events in commit order.
CREATE TABLE streams (
    topic   text NOT NULL,
    key     text NOT NULL,
    version bigint NOT NULL,
    PRIMARY KEY (topic, key)
);

-- A row exists if and only if the change that it tells of has committed; the relay deletes it after the broker's
-- acknowledgement.
CREATE TABLE outbox (
    shard       smallint NOT NULL CONSTRAINT outbox_shard_ck CHECK (shard BETWEEN 0 AND 15),
    id          bigint GENERATED ALWAYS AS IDENTITY,
    topic       text NOT NULL,
    key         text NOT NULL,
    event_id    uuid NOT NULL,
    headers     text NOT NULL,
    payload     bytea,
    created_at  timestamptz NOT NULL DEFAULT clock_timestamp(),
    PRIMARY KEY (shard, id)
) WITH (autovacuum_vacuum_scale_factor = 0.02, autovacuum_vacuum_threshold = 2000);

-- Four groups of four shards; a group is leased by one relay and fenced by one transactional id.
CREATE TABLE outbox_groups (
    grp         smallint PRIMARY KEY CONSTRAINT outbox_groups_grp_ck CHECK (grp BETWEEN 0 AND 3),
    owner       text,
    lease_until timestamptz NOT NULL DEFAULT '-infinity',
    epoch       bigint NOT NULL DEFAULT 0
);
INSERT INTO outbox_groups (grp) SELECT generate_series(0, 3);

-- How far each partition was taken to effect; written in the transaction of the effect.
CREATE TABLE inbox_offsets (
    topic       text NOT NULL,
    partition   integer NOT NULL,
    cluster_id  text NOT NULL,
    next_offset bigint NOT NULL,
    updated_at  timestamptz NOT NULL DEFAULT now(),
    PRIMARY KEY (topic, partition)
);

-- Which events have had their effect. The UTC day of the event's own time leads the key, so that new rows land
-- together; rows are kept longer than any topic (seen_at is wall-clock time) and then removed a few at a time.
CREATE TABLE inbox_seen (
    event_day date NOT NULL,
    event_id  uuid NOT NULL,
    seen_at   timestamptz NOT NULL DEFAULT now(),
    PRIMARY KEY (event_day, event_id)
);
CREATE INDEX inbox_seen_seen_at_idx ON inbox_seen USING brin (seen_at);

-- Records that failed, queued per key: the head is tried again, later events of the key wait behind it.
CREATE TABLE parked (
    id            bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    topic         text NOT NULL,
    key           text NOT NULL,
    event_id      uuid NOT NULL CONSTRAINT parked_event_id_uq UNIQUE,
    event_type    text NOT NULL,
    partition     integer NOT NULL,
    record_offset bigint NOT NULL,
    headers       jsonb NOT NULL,
    value         bytea,
    status        text NOT NULL DEFAULT 'parked' CONSTRAINT parked_status_ck CHECK (status IN ('parked', 'dead')),
    attempts      integer NOT NULL DEFAULT 0,
    error         text NOT NULL,
    retry_at      timestamptz NOT NULL DEFAULT now(),
    parked_at     timestamptz NOT NULL DEFAULT now()
);
CREATE INDEX parked_topic_key_idx ON parked (topic, key, id);
CREATE INDEX parked_retry_at_idx ON parked (retry_at) WHERE status = 'parked';

-- Records that can never be handled as they are, with their raw bytes.
CREATE TABLE quarantined (
    topic         text NOT NULL,
    partition     integer NOT NULL,
    record_offset bigint NOT NULL,
    key           bytea,
    headers       jsonb NOT NULL,
    value         bytea,
    reason        text NOT NULL,
    quarantined_at timestamptz NOT NULL DEFAULT now(),
    PRIMARY KEY (topic, partition, record_offset)
);

-- What is to happen later. A row is deleted by the transaction that acts on it.
CREATE TABLE timers (
    id          bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    kind        text NOT NULL,
    dedupe_key  text NOT NULL CONSTRAINT timers_dedupe_key_uq UNIQUE,
    owner_key   text NOT NULL,
    due_at      timestamptz NOT NULL,
    payload     jsonb NOT NULL DEFAULT '{}',
    correlation_id text,
    attempts    integer NOT NULL DEFAULT 0,
    dead        boolean NOT NULL DEFAULT false,
    error       text
);
CREATE INDEX timers_due_at_idx ON timers (due_at) WHERE NOT dead;
CREATE INDEX timers_owner_key_idx ON timers (owner_key);

-- A merged person keeps the old id; it resolves to the one that lives on. Unmerging deletes the row.
CREATE TABLE person_aliases (
    alias_id   uuid PRIMARY KEY,
    person_id  uuid NOT NULL,
    merged_at  timestamptz NOT NULL,
    CONSTRAINT person_aliases_not_self_ck CHECK (alias_id <> person_id)
);
CREATE INDEX person_aliases_person_id_idx ON person_aliases (person_id);

-- Erased people: a late or repeated event must not bring them back.
CREATE TABLE tombstones (
    person_id  uuid PRIMARY KEY,
    erased_at  timestamptz NOT NULL,
    receipt_id uuid NOT NULL
);

-- Who asked for personal data over the internal interface, for what, how much.
CREATE TABLE internal_accesses (
    id             bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    caller         text NOT NULL,
    scope          text NOT NULL,
    items          integer NOT NULL,
    correlation_id text,
    accessed_at    timestamptz NOT NULL DEFAULT now()
);

-- Token buckets for the public interfaces; the key is a keyed hash, never an address.
CREATE TABLE rate_buckets (
    bucket      text PRIMARY KEY,
    tokens      double precision NOT NULL,
    refilled_at timestamptz NOT NULL
);
CREATE INDEX rate_buckets_refilled_at_idx ON rate_buckets (refilled_at);

-- migrate:down
DROP TABLE rate_buckets, internal_accesses, tombstones, person_aliases, timers, quarantined, parked, inbox_seen,
    inbox_offsets, outbox_groups, outbox, streams, programs;
DROP FUNCTION business_now();
DROP TABLE clock;
