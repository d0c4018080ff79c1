-- migrate:up

-- One row per event, person, template and channel: what the event caused, and where it stands.
-- due_at and expires_at are business time; lease_until is the wall clock's.
CREATE TABLE messages (
    id              uuid PRIMARY KEY,
    event_id        uuid NOT NULL,
    event_type      text NOT NULL,
    person_id       uuid NOT NULL,
    template        text NOT NULL,
    channel         text NOT NULL CONSTRAINT messages_channel_ck CHECK (channel IN ('email', 'sms')),
    delivery        text NOT NULL CONSTRAINT messages_delivery_ck CHECK (delivery IN ('link', 'transactional', 'bulk')),
    reference       text NOT NULL,
    state           text NOT NULL CONSTRAINT messages_state_ck CHECK (state IN
                    ('queued', 'deferred', 'claimed', 'handing', 'accepted', 'rejected', 'unknown', 'dropped')),
    reason          text,
    due_at          timestamptz,
    expires_at      timestamptz,
    tries           integer NOT NULL DEFAULT 0,
    hands           integer NOT NULL DEFAULT 0,
    claimed_by      text,
    lease_until     timestamptz,
    correlation_id  text,
    program_version text NOT NULL,
    program_hash    text NOT NULL,
    legal_body      text,
    language        text,
    contact_hash    bytea,
    subject         text,
    body            text,
    segments        integer,
    provider_id     text,
    created_at      timestamptz NOT NULL,
    handed_at       timestamptz,
    CONSTRAINT messages_once_uq UNIQUE (event_id, person_id, template, channel),
    CONSTRAINT messages_lease_ck CHECK ((state IN ('claimed', 'handing')) = (lease_until IS NOT NULL))
) WITH (autovacuum_vacuum_scale_factor = 0.05);
-- What a lane claims next.
CREATE INDEX messages_due_idx ON messages (channel, delivery, due_at, id) WHERE state IN ('queued', 'deferred');
CREATE INDEX messages_lease_idx ON messages (lease_until) WHERE state IN ('claimed', 'handing');
CREATE INDEX messages_unknown_idx ON messages (due_at) WHERE state = 'unknown';
CREATE INDEX messages_person_idx ON messages (person_id, created_at DESC);
CREATE INDEX messages_body_idx ON messages (handed_at) WHERE body IS NOT NULL;

-- Each step of each message, appended by trigger so that no path can forget it.
CREATE TABLE message_steps (
    id         bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    message_id uuid NOT NULL,
    state      text NOT NULL,
    reason     text,
    at         timestamptz NOT NULL
);
CREATE INDEX message_steps_message_id_idx ON message_steps (message_id, id);
CREATE FUNCTION append_message_step() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    IF TG_OP = 'INSERT' OR NEW.state IS DISTINCT FROM OLD.state OR NEW.reason IS DISTINCT FROM OLD.reason THEN
        INSERT INTO message_steps (message_id, state, reason, at)
        VALUES (NEW.id, NEW.state, NEW.reason, business_now());
    END IF;
    RETURN NULL;
END $$;
CREATE TRIGGER messages_steps_trg AFTER INSERT OR UPDATE ON messages
    FOR EACH ROW EXECUTE FUNCTION append_message_step();

-- Who must not be written to. Keyed by person and by a keyed hash of the contact, which outlives an erasure.
-- bulk: no bulk mail; all: nothing but the links that somebody asks for; address: nothing, it does not work.
CREATE TABLE suppressions (
    id           bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    channel      text NOT NULL CONSTRAINT suppressions_channel_ck CHECK (channel IN ('email', 'sms')),
    scope        text NOT NULL CONSTRAINT suppressions_scope_ck CHECK (scope IN ('bulk', 'all', 'address')),
    reason       text NOT NULL CONSTRAINT suppressions_reason_ck
                 CHECK (reason IN ('unsubscribed', 'stop', 'bounce', 'complaint', 'preference')),
    person_id    uuid,
    contact_hash bytea,
    since        timestamptz NOT NULL,
    lifted_at    timestamptz,
    CONSTRAINT suppressions_subject_ck CHECK (person_id IS NOT NULL OR contact_hash IS NOT NULL)
);
CREATE INDEX suppressions_person_id_idx ON suppressions (person_id, channel) WHERE lifted_at IS NULL;
CREATE INDEX suppressions_contact_hash_idx ON suppressions (contact_hash, channel) WHERE lifted_at IS NULL;

-- What signup last said of consent, by the order of its events.
CREATE TABLE consents (
    person_id uuid NOT NULL,
    channel   text NOT NULL CONSTRAINT consents_channel_ck CHECK (channel IN ('email', 'sms')),
    granted   boolean NOT NULL,
    sequence  bigint NOT NULL,
    PRIMARY KEY (person_id, channel)
);

-- Which people a contact belonged to when we last wrote to it: how a STOP finds its person.
CREATE TABLE contact_hashes (
    contact_hash bytea NOT NULL,
    person_id    uuid NOT NULL,
    language     text NOT NULL,
    seen_at      timestamptz NOT NULL,
    PRIMARY KEY (contact_hash, person_id)
);
CREATE INDEX contact_hashes_person_id_idx ON contact_hashes (person_id);

-- Answers to incoming texts (STOP, HELP, START): handed over at most once, by reference to the incoming one.
CREATE TABLE text_replies (
    id           uuid PRIMARY KEY,
    contact_hash bytea NOT NULL,
    kind         text NOT NULL CONSTRAINT text_replies_kind_ck CHECK (kind IN ('stop', 'help', 'start')),
    state        text NOT NULL CONSTRAINT text_replies_state_ck CHECK (state IN ('handing', 'accepted', 'failed')),
    created_at   timestamptz NOT NULL
);
CREATE INDEX text_replies_contact_hash_idx ON text_replies (contact_hash, kind, created_at);

-- What staff did, each row holding the hash of the one before.
CREATE TABLE audit_entries (
    id            bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    at            timestamptz NOT NULL,
    actor         uuid NOT NULL,
    action        text NOT NULL,
    subject       text NOT NULL,
    details       jsonb NOT NULL,
    previous_hash bytea NOT NULL,
    hash          bytea NOT NULL
);

-- migrate:down
DROP TABLE audit_entries, text_replies, contact_hashes, consents, suppressions, message_steps, messages;
DROP FUNCTION append_message_step();
