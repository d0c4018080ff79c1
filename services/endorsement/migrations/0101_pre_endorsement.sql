-- migrate:up

-- A candidacy is a person, an office and district, an election and a term. Its row is the lock of everything that
-- happens to its applications, and the key of its events.
CREATE TABLE candidacies (
    id              uuid PRIMARY KEY,
    person_id       uuid NOT NULL,
    office          text NOT NULL,
    office_level    text NOT NULL,
    state           text NOT NULL CONSTRAINT candidacies_state_ck CHECK (state ~ '^[A-Z]{2}$'),
    district        text,
    election_date   date NOT NULL,
    term            text NOT NULL,
    ballot_name     text NOT NULL,
    official_link   text NOT NULL CONSTRAINT candidacies_official_link_ck CHECK (official_link ~ '^https://'),
    filed_on        date NOT NULL,
    language        text NOT NULL,
    status          text NOT NULL CONSTRAINT candidacies_status_ck
                    CHECK (status IN ('declared', 'returned', 'confirmed', 'withdrawn')),
    return_reason   text,
    return_note     text,
    verified_by     uuid,
    verified_at     timestamptz,
    program_version text NOT NULL,
    program_hash    text NOT NULL,
    declared_at     timestamptz NOT NULL,
    changed_at      timestamptz NOT NULL,
    CONSTRAINT candidacies_verified_ck CHECK ((status = 'confirmed') = (verified_by IS NOT NULL))
);
-- One active candidacy per person, office, district and election.
CREATE UNIQUE INDEX candidacies_active_uq
    ON candidacies (person_id, office, state, (coalesce(district, '')), election_date) WHERE status <> 'withdrawn';
CREATE INDEX candidacies_status_idx ON candidacies (status, changed_at);

-- One row per version of an application: applying again makes a new one.
CREATE TABLE applications (
    id                uuid PRIMARY KEY,
    candidacy_id      uuid NOT NULL REFERENCES candidacies,
    person_id         uuid NOT NULL,
    application_class text NOT NULL,
    version           integer NOT NULL CONSTRAINT applications_version_ck CHECK (version > 0),
    status            text NOT NULL CONSTRAINT applications_status_ck
                      CHECK (status IN ('draft', 'undetermined', 'in_review', 'ineligible', 'endorsed', 'declined')),
    answers           jsonb NOT NULL,
    birth_year        integer,
    birth_date        date,
    publish_consent   boolean NOT NULL DEFAULT false,
    legal_body        text NOT NULL,
    program_version   text NOT NULL,
    program_hash      text NOT NULL,
    created_at        timestamptz NOT NULL,
    saved_at          timestamptz NOT NULL,
    submitted_at      timestamptz,
    answer_by         date,
    CONSTRAINT applications_version_uq UNIQUE (candidacy_id, version),
    CONSTRAINT applications_submitted_ck CHECK ((status = 'draft') = (submitted_at IS NULL))
);
-- One application at a time.
CREATE UNIQUE INDEX applications_open_uq ON applications (candidacy_id)
    WHERE status IN ('draft', 'undetermined', 'in_review');
CREATE INDEX applications_person_id_idx ON applications (person_id);
CREATE INDEX applications_queue_idx ON applications (submitted_at) WHERE status IN ('undetermined', 'in_review');

-- Consent to publish the ballot name, each grant and withdrawal with the wording that was shown.
CREATE TABLE publish_consents (
    id              bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    application_id  uuid NOT NULL REFERENCES applications,
    person_id       uuid NOT NULL,
    granted         boolean NOT NULL,
    wording_version text NOT NULL,
    legal_body      text NOT NULL,
    program_version text NOT NULL,
    given_at        timestamptz NOT NULL
);

-- Every verdict of the eligibility rules with its inputs, so that it can be evaluated again. Append-only.
CREATE TABLE eligibility_verdicts (
    id             bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    application_id uuid NOT NULL REFERENCES applications,
    outcome        text NOT NULL CONSTRAINT eligibility_verdicts_outcome_ck
                   CHECK (outcome IN ('eligible', 'ineligible', 'undetermined')),
    rule_version   text NOT NULL,
    verdict        jsonb NOT NULL,
    sources        jsonb NOT NULL,
    program_hash   text NOT NULL,
    evaluated_at   timestamptz NOT NULL
);
CREATE INDEX eligibility_verdicts_application_id_idx ON eligibility_verdicts (application_id, id);

-- The organization's accounts, as signup tells of them; an older event never overwrites a newer one.
CREATE TABLE accounts (
    account_id uuid PRIMARY KEY,
    person_id  uuid NOT NULL,
    roles      text[] NOT NULL,
    outside    boolean NOT NULL,
    sequence   bigint NOT NULL
);

-- Who advised whom, from the first day. Append-only.
CREATE TABLE advisories (
    call_id    uuid PRIMARY KEY,
    advisor_id uuid NOT NULL,
    person_id  uuid NOT NULL,
    kind       text NOT NULL,
    known_at   timestamptz NOT NULL
);
CREATE INDEX advisories_advisor_id_idx ON advisories (advisor_id);
CREATE INDEX advisories_person_id_idx ON advisories (person_id);

-- Group calls that a person took part in: a stage that rules may ask for.
CREATE TABLE intro_attendances (
    person_id  uuid PRIMARY KEY,
    known_at   timestamptz NOT NULL
);

-- What reviewers say of conflicts of interest before a file opens. Append-only; a conflict, once declared, stays.
CREATE TABLE declarations (
    id             bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    application_id uuid NOT NULL REFERENCES applications,
    reviewer_id    uuid NOT NULL,
    has_conflict   boolean NOT NULL,
    note           text NOT NULL,
    declared_at    timestamptz NOT NULL
);
CREATE INDEX declarations_application_id_idx ON declarations (application_id);

CREATE TABLE scorecards (
    id             uuid PRIMARY KEY,
    application_id uuid NOT NULL REFERENCES applications,
    reviewer_id    uuid NOT NULL,
    account_id     uuid,
    outside        boolean NOT NULL,
    scores         jsonb NOT NULL,
    recommendation text NOT NULL CONSTRAINT scorecards_recommendation_ck
                   CHECK (recommendation IN ('endorse', 'decline', 'unsure')),
    comment        text NOT NULL,
    submitted_at   timestamptz NOT NULL,
    voided_at      timestamptz,
    void_reason    text,
    CONSTRAINT scorecards_reviewer_uq UNIQUE (application_id, reviewer_id)
);

-- Who may not judge an application, told once per reviewer. Append-only.
CREATE TABLE recusals (
    application_id uuid NOT NULL REFERENCES applications,
    reviewer_id    uuid NOT NULL,
    reason         text NOT NULL CONSTRAINT recusals_reason_ck CHECK (reason IN ('declared', 'advised', 'same_person')),
    recused_at     timestamptz NOT NULL,
    PRIMARY KEY (application_id, reviewer_id)
);

-- One final decision per version of an application. Append-only.
CREATE TABLE decisions (
    id              uuid PRIMARY KEY,
    application_id  uuid NOT NULL REFERENCES applications CONSTRAINT decisions_application_id_uq UNIQUE,
    candidacy_id    uuid NOT NULL REFERENCES candidacies,
    person_id       uuid NOT NULL,
    outcome         text NOT NULL CONSTRAINT decisions_outcome_ck CHECK (outcome IN ('endorse', 'decline')),
    reason          text,
    note            text NOT NULL,
    decided_by      uuid NOT NULL,
    decided_at      timestamptz NOT NULL,
    embargo_until   timestamptz,
    reapply_from    date,
    scorecards      integer NOT NULL,
    legal_body      text NOT NULL,
    program_version text NOT NULL,
    program_hash    text NOT NULL,
    CONSTRAINT decisions_shape_ck CHECK (
        (outcome = 'endorse' AND embargo_until IS NOT NULL AND reason IS NULL)
        OR (outcome = 'decline' AND embargo_until IS NULL AND reason IS NOT NULL))
);
CREATE INDEX decisions_candidacy_id_idx ON decisions (candidacy_id);

-- The second person's word, before the embargo has ended; a timer announces when it has.
CREATE TABLE announcement_approvals (
    decision_id uuid PRIMARY KEY REFERENCES decisions,
    approved_by uuid NOT NULL,
    approved_at timestamptz NOT NULL
);

-- What was announced, as it was announced.
CREATE TABLE endorsements (
    id              uuid PRIMARY KEY,
    decision_id     uuid NOT NULL REFERENCES decisions CONSTRAINT endorsements_decision_id_uq UNIQUE,
    candidacy_id    uuid NOT NULL REFERENCES candidacies,
    person_id       uuid NOT NULL,
    status          text NOT NULL CONSTRAINT endorsements_status_ck CHECK (status IN ('endorsed', 'rescinded')),
    ballot_name     text NOT NULL,
    office          text NOT NULL,
    office_label    text NOT NULL,
    office_level    text NOT NULL,
    state           text NOT NULL,
    district        text,
    election_date   date NOT NULL,
    organization    text NOT NULL,
    legal_body      text NOT NULL,
    program_version text NOT NULL,
    announced_by    uuid NOT NULL,
    announced_at    timestamptz NOT NULL,
    rescinded_at    timestamptz,
    CONSTRAINT endorsements_rescinded_ck CHECK ((status = 'rescinded') = (rescinded_at IS NOT NULL))
);
CREATE INDEX endorsements_announced_at_idx ON endorsements (announced_at DESC, id);

-- Taking an endorsement back: requested by one person, confirmed by another.
CREATE TABLE rescissions (
    id             uuid PRIMARY KEY,
    endorsement_id uuid NOT NULL REFERENCES endorsements CONSTRAINT rescissions_endorsement_id_uq UNIQUE,
    reason         text NOT NULL,
    note           text NOT NULL,
    requested_by   uuid NOT NULL,
    requested_at   timestamptz NOT NULL,
    confirmed_by   uuid,
    confirmed_at   timestamptz,
    CONSTRAINT rescissions_two_people_ck CHECK (confirmed_by <> requested_by)
);

-- The counter is taken in the transaction that publishes, so cursors commit in order and have no gaps.
CREATE TABLE feed_counter (
    singleton      boolean PRIMARY KEY DEFAULT true CONSTRAINT feed_counter_singleton_ck CHECK (singleton),
    last_cursor    bigint NOT NULL DEFAULT 0,
    pruned_through bigint NOT NULL DEFAULT 0
);
INSERT INTO feed_counter DEFAULT VALUES;

-- Each public event as a structured CloudEvent, byte for byte as subscribers get it.
CREATE TABLE feed_entries (
    cursor         bigint PRIMARY KEY,
    event_id       uuid NOT NULL CONSTRAINT feed_entries_event_id_uq UNIQUE,
    endorsement_id uuid NOT NULL REFERENCES endorsements,
    event          text NOT NULL,
    published_at   timestamptz NOT NULL
);
CREATE INDEX feed_entries_published_at_idx ON feed_entries (published_at);

-- The secret is derived from the link secret, the id and the version, and is stored nowhere.
CREATE TABLE webhook_subscribers (
    id               uuid PRIMARY KEY,
    url              text NOT NULL,
    description      text NOT NULL,
    status           text NOT NULL CONSTRAINT webhook_subscribers_status_ck CHECK (status IN ('active', 'disabled')),
    disabled_reason  text,
    secret_version   integer NOT NULL DEFAULT 1,
    previous_until   timestamptz,
    created_by       uuid NOT NULL,
    created_at       timestamptz NOT NULL,
    lease_until      timestamptz NOT NULL DEFAULT '-infinity',
    lease_epoch      bigint NOT NULL DEFAULT 0
);

CREATE TABLE webhook_deliveries (
    id              bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    subscriber_id   uuid NOT NULL REFERENCES webhook_subscribers,
    webhook_id      text NOT NULL,
    endorsement_id  uuid REFERENCES endorsements,
    event_type      text NOT NULL,
    body            text NOT NULL,
    status          text NOT NULL CONSTRAINT webhook_deliveries_status_ck
                    CHECK (status IN ('pending', 'delivered', 'dead')),
    dead_reason     text,
    attempts        integer NOT NULL DEFAULT 0,
    next_attempt_at timestamptz NOT NULL,
    created_at      timestamptz NOT NULL,
    delivered_at    timestamptz,
    CONSTRAINT webhook_deliveries_webhook_id_uq UNIQUE (subscriber_id, webhook_id)
);
CREATE INDEX webhook_deliveries_pending_idx ON webhook_deliveries (subscriber_id, id) WHERE status = 'pending';
CREATE INDEX webhook_deliveries_log_idx ON webhook_deliveries (subscriber_id, id DESC);

CREATE TABLE webhook_attempts (
    id            bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    delivery_id   bigint NOT NULL REFERENCES webhook_deliveries,
    attempted_at  timestamptz NOT NULL,
    status_code   integer,
    error         text,
    duration_ms   integer NOT NULL
);
CREATE INDEX webhook_attempts_delivery_id_idx ON webhook_attempts (delivery_id, id);

-- Every privileged act, each row hashed over the one before. Append-only; the head row serializes writers.
CREATE TABLE audit_head (
    singleton boolean PRIMARY KEY DEFAULT true CONSTRAINT audit_head_singleton_ck CHECK (singleton),
    hash      text NOT NULL
);
INSERT INTO audit_head (hash) VALUES (repeat('0', 64));
CREATE TABLE audit_entries (
    id            bigint PRIMARY KEY GENERATED ALWAYS AS IDENTITY,
    at            timestamptz NOT NULL,
    person_id     uuid NOT NULL,
    account_id    uuid,
    action        text NOT NULL,
    subject       text NOT NULL,
    details       jsonb NOT NULL,
    previous_hash text NOT NULL,
    hash          text NOT NULL
);
CREATE INDEX audit_entries_subject_idx ON audit_entries (subject, id);

CREATE FUNCTION refuse_change() RETURNS trigger LANGUAGE plpgsql AS
$$ BEGIN RAISE EXCEPTION '% is append-only', TG_TABLE_NAME; END $$;
CREATE TRIGGER audit_entries_append_only BEFORE UPDATE OR DELETE ON audit_entries
    FOR EACH ROW EXECUTE FUNCTION refuse_change();
CREATE TRIGGER decisions_append_only BEFORE UPDATE OR DELETE ON decisions
    FOR EACH ROW EXECUTE FUNCTION refuse_change();
CREATE TRIGGER eligibility_verdicts_append_only BEFORE UPDATE OR DELETE ON eligibility_verdicts
    FOR EACH ROW EXECUTE FUNCTION refuse_change();

-- migrate:down
DROP TABLE audit_entries, audit_head, webhook_attempts, webhook_deliveries, webhook_subscribers, feed_entries,
    feed_counter, rescissions, endorsements, announcement_approvals, decisions, recusals, scorecards, declarations,
    intro_attendances, advisories, accounts, eligibility_verdicts, publish_consents, applications, candidacies;
DROP FUNCTION refuse_change();
