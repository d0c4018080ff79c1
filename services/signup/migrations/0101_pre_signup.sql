-- migrate:up

-- One row per person, with what holds of them now. Facts of a sign-up that waits for its link are in signups.
CREATE TABLE people (
    id               uuid PRIMARY KEY,
    name             text NOT NULL,
    phone            text,
    state            text,
    zip              text,
    birth_year       smallint,
    office           text,
    tracks           text[] NOT NULL DEFAULT '{}',
    language         text NOT NULL,
    spoken_languages text[] NOT NULL DEFAULT '{}',
    time_zone        text,
    availability     jsonb NOT NULL DEFAULT '[]',
    answers          jsonb NOT NULL DEFAULT '{}',
    legal_body       text NOT NULL,
    stage            text NOT NULL DEFAULT 'signed_up',
    signed_up_at     timestamptz NOT NULL,
    confirmed_at     timestamptz
);
CREATE INDEX people_signed_up_at_idx ON people (signed_up_at DESC, id DESC);

-- An address belongs to one person: email_key is what identifies it, email is how it was typed. The person may be
-- written after the address within one transaction, so that the address alone decides who is new.
CREATE TABLE person_emails (
    email_key   text CONSTRAINT person_emails_email_key_uq PRIMARY KEY,
    person_id   uuid NOT NULL REFERENCES people DEFERRABLE INITIALLY DEFERRED,
    email       text NOT NULL,
    added_at    timestamptz NOT NULL,
    verified_at timestamptz
);
CREATE INDEX person_emails_person_id_idx ON person_emails (person_id);

-- The keys of POST /v1/signups, kept seven days: what was sent under a key, and its answer.
CREATE TABLE intents (
    intent_id    uuid PRIMARY KEY,
    payload_hash bytea NOT NULL,
    signup_id    uuid NOT NULL,
    created_at   timestamptz NOT NULL
);
CREATE INDEX intents_created_at_idx ON intents (created_at);

-- Every accepted form, as it was sent. `pending` until its own mailed link is used.
CREATE TABLE signups (
    id              uuid PRIMARY KEY,
    intent_id       uuid NOT NULL,
    person_id       uuid NOT NULL REFERENCES people,
    form            text NOT NULL,
    role            text NOT NULL,
    legal_body      text NOT NULL,
    email           text NOT NULL,
    facts           jsonb NOT NULL,
    known           boolean NOT NULL,
    status          text NOT NULL DEFAULT 'pending' CONSTRAINT signups_status_ck CHECK (status IN ('pending', 'applied')),
    program_version text NOT NULL,
    program_hash    text NOT NULL,
    created_at      timestamptz NOT NULL,
    applied_at      timestamptz
);
CREATE INDEX signups_person_id_idx ON signups (person_id, created_at);
CREATE INDEX signups_intent_id_idx ON signups (intent_id);

-- Where a sign-up came from. A person's first and last touch are the first and last of these rows.
CREATE TABLE sources (
    signup_id    uuid PRIMARY KEY REFERENCES signups,
    person_id    uuid NOT NULL REFERENCES people,
    utm_source   text,
    utm_medium   text,
    utm_campaign text,
    referrer     text,
    ref          text,
    page         text,
    at           timestamptz NOT NULL
);
CREATE INDEX sources_person_id_idx ON sources (person_id, at);

CREATE TABLE roles (
    person_id uuid NOT NULL REFERENCES people,
    role      text NOT NULL,
    signup_id uuid REFERENCES signups,
    since     timestamptz NOT NULL,
    PRIMARY KEY (person_id, role)
);

-- What was agreed to or taken back, in which words, when and where; only ever appended to. A row with a sign-up
-- has its effect when that sign-up is applied.
CREATE TABLE consents (
    id              bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    person_id       uuid NOT NULL REFERENCES people,
    signup_id       uuid REFERENCES signups,
    channel         text NOT NULL CONSTRAINT consents_channel_ck CHECK (channel IN ('email', 'sms')),
    granted         boolean NOT NULL,
    wording_id      text NOT NULL,
    wording_version text NOT NULL,
    legal_body      text NOT NULL,
    reason          text NOT NULL,
    page            text,
    given_at        timestamptz NOT NULL,
    program_version text NOT NULL,
    program_hash    text NOT NULL
);
CREATE INDEX consents_person_id_idx ON consents (person_id, id);
CREATE INDEX consents_signup_id_idx ON consents (signup_id);

-- What holds now, per channel and legal body; consent_id is the row that made it so.
CREATE TABLE consent_states (
    person_id  uuid NOT NULL REFERENCES people,
    channel    text NOT NULL,
    legal_body text NOT NULL,
    granted    boolean NOT NULL,
    consent_id bigint NOT NULL REFERENCES consents,
    changed_at timestamptz NOT NULL,
    PRIMARY KEY (person_id, channel, legal_body)
);

-- Links in mails: only the hash of the token is here. Using one is an UPDATE, so a link works once.
CREATE TABLE links (
    id         uuid PRIMARY KEY,
    purpose    text NOT NULL CONSTRAINT links_purpose_ck CHECK (purpose IN ('confirm', 'sign_in')),
    token_hash bytea NOT NULL CONSTRAINT links_token_hash_uq UNIQUE,
    person_id  uuid NOT NULL REFERENCES people,
    signup_id  uuid REFERENCES signups,
    next_url   text,
    created_at timestamptz NOT NULL,
    expires_at timestamptz NOT NULL,
    used_at    timestamptz,
    CONSTRAINT links_signup_ck CHECK ((purpose = 'confirm') = (signup_id IS NOT NULL))
);
CREATE INDEX links_signup_id_idx ON links (signup_id, created_at);

-- Accounts of the organization. No roles and a closed_at: closed.
CREATE TABLE accounts (
    id         uuid PRIMARY KEY,
    person_id  uuid NOT NULL CONSTRAINT accounts_person_id_uq UNIQUE REFERENCES people,
    roles      text[] NOT NULL CONSTRAINT accounts_roles_ck CHECK (roles <@ ARRAY['staff', 'reviewer', 'admin']),
    outside    boolean NOT NULL,
    opened_at  timestamptz NOT NULL,
    changed_at timestamptz NOT NULL,
    closed_at  timestamptz
);

-- Browsers that stay signed in. Times are wall-clock times: moving the business clock must not sign anybody out.
CREATE TABLE sessions (
    id         uuid PRIMARY KEY,
    person_id  uuid NOT NULL REFERENCES people,
    token_hash bytea NOT NULL CONSTRAINT sessions_token_hash_uq UNIQUE,
    created_at timestamptz NOT NULL,
    expires_at timestamptz NOT NULL,
    revoked_at timestamptz
);
CREATE INDEX sessions_person_id_idx ON sessions (person_id);

-- What the other services told of a person, only ever appended to; the funnel and /me are read from here. A step
-- may arrive before its person is known here, so there is no reference. One event may be a step of two people.
CREATE TABLE journey_steps (
    event_id  uuid NOT NULL,
    person_id uuid NOT NULL,
    step      text NOT NULL,
    at        timestamptz NOT NULL,
    ref       uuid NOT NULL,
    with_id   uuid,
    PRIMARY KEY (event_id, person_id)
);
CREATE INDEX journey_steps_person_id_idx ON journey_steps (person_id, at);

-- Privileged acts, only ever appended to; each row's hash covers the one before it.
CREATE TABLE audit_entries (
    id            bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    at            timestamptz NOT NULL,
    actor_account uuid,
    actor_person  uuid,
    action        text NOT NULL,
    subject       text NOT NULL,
    details       jsonb NOT NULL,
    previous_hash bytea NOT NULL,
    hash          bytea NOT NULL
);

-- migrate:down
DROP TABLE audit_entries, journey_steps, sessions, accounts, links, consent_states, consents, roles, sources, signups,
    intents, person_emails, people;
