-- migrate:up

CREATE EXTENSION IF NOT EXISTS btree_gist;

-- What the solver and the pages need to know of a person, fetched from signup by reference. Stale while
-- `stale_version` is ahead of `fetched_version`: an event that arrives during a fetch is not lost.
CREATE TABLE people (
    person_id       uuid PRIMARY KEY,
    stale_version   bigint NOT NULL DEFAULT 1,
    fetched_version bigint NOT NULL DEFAULT 0,
    fetch_after     timestamptz NOT NULL DEFAULT '-infinity',
    first_name      text NOT NULL DEFAULT '',
    roles           text[] NOT NULL DEFAULT '{}',
    language        text NOT NULL DEFAULT 'en',
    languages       text[] NOT NULL DEFAULT '{}',
    time_zone       text,
    state           text,
    office          text,
    tracks          text[] NOT NULL DEFAULT '{}',
    -- domain.facts.Facts: whatever else the solver may weigh; an absent key is unknown and scores neutral.
    facts           jsonb NOT NULL DEFAULT '{}',
    signed_up_at    timestamptz,
    confirmed_at    timestamptz,
    -- When they were asked for their hours: once.
    hours_asked_at  timestamptz
);
CREATE INDEX people_stale_idx ON people (fetch_after) WHERE stale_version > fetched_version;
CREATE INDEX people_roles_idx ON people USING gin (roles);

-- Weekly hours as local wall clock in the person's IANA zone: an evening survives a clock change, an instant does
-- not. `own` is false while the hours are those of the sign-up form.
CREATE TABLE availability (
    person_id   uuid PRIMARY KEY REFERENCES people ON DELETE CASCADE,
    time_zone   text NOT NULL,
    weekly_cap  integer CONSTRAINT availability_weekly_cap_ck CHECK (weekly_cap BETWEEN 0 AND 40),
    paused      boolean NOT NULL DEFAULT false,
    own         boolean NOT NULL DEFAULT false,
    updated_at  timestamptz NOT NULL
);
CREATE INDEX availability_updated_at_idx ON availability (updated_at);
CREATE TABLE availability_windows (
    person_id  uuid NOT NULL REFERENCES availability ON DELETE CASCADE,
    dow        smallint NOT NULL CONSTRAINT availability_windows_dow_ck CHECK (dow BETWEEN 0 AND 6),
    starts     time NOT NULL,
    -- 00:00 is midnight at the end of the day.
    ends       time NOT NULL CONSTRAINT availability_windows_ends_ck CHECK (ends > starts OR ends = '00:00'),
    PRIMARY KEY (person_id, dow, starts, ends)
);
CREATE TABLE availability_exceptions (
    person_id  uuid NOT NULL REFERENCES availability ON DELETE CASCADE,
    away_on    date NOT NULL,
    PRIMARY KEY (person_id, away_on)
);

-- Who waits for a call. One row per person and purpose: a person's wait survives offers that come to nothing.
CREATE TABLE queue_entries (
    person_id     uuid NOT NULL REFERENCES people ON DELETE CASCADE,
    purpose       text NOT NULL CONSTRAINT queue_entries_purpose_ck CHECK (purpose IN ('one_on_one', 'mentoring')),
    state         text NOT NULL DEFAULT 'waiting' CONSTRAINT queue_entries_state_ck
                  CHECK (state IN ('waiting', 'held', 'booked', 'parked', 'done')),
    since         timestamptz NOT NULL,
    credit_hours  integer NOT NULL DEFAULT 0 CONSTRAINT queue_entries_credit_hours_ck CHECK (credit_hours >= 0),
    offers        integer NOT NULL DEFAULT 0,
    silences      integer NOT NULL DEFAULT 0,
    no_shows      integer NOT NULL DEFAULT 0,
    parked_reason text,
    -- When the entry last became waiting: what a round of matching has not looked at yet is new.
    waiting_since timestamptz NOT NULL,
    considered_at timestamptz,
    unmatched     jsonb,
    PRIMARY KEY (person_id, purpose)
);
CREATE INDEX queue_entries_waiting_idx ON queue_entries (purpose, since) WHERE state = 'waiting';

-- Holds and calls. Time is exclusive for both parties while a row is held or confirmed; the database says so.
CREATE TABLE bookings (
    call_id         uuid PRIMARY KEY,
    purpose         text NOT NULL CONSTRAINT bookings_purpose_ck CHECK (purpose IN ('one_on_one', 'mentoring')),
    prospect_id     uuid NOT NULL REFERENCES people,
    volunteer_id    uuid NOT NULL REFERENCES people,
    during          tstzrange NOT NULL CONSTRAINT bookings_during_ck
                    CHECK (NOT isempty(during) AND lower_inc(during) AND NOT upper_inc(during)),
    -- ISO week of the start in the volunteer's zone at that time, e.g. 2027-W02: where the call counts.
    week            text NOT NULL,
    state           text NOT NULL CONSTRAINT bookings_state_ck CHECK (state IN
                    ('held', 'confirmed', 'completed', 'missed', 'declined', 'expired', 'cancelled')),
    hold_expires_at timestamptz NOT NULL,
    offered_at      timestamptz NOT NULL,
    confirmed_at    timestamptz,
    closed_at       timestamptz,
    closed_by       text CONSTRAINT bookings_closed_by_ck CHECK (closed_by IN ('prospect', 'volunteer', 'staff')),
    close_reason    text,
    missed_by       text CONSTRAINT bookings_missed_by_ck CHECK (missed_by IN ('prospect', 'volunteer')),
    outcome         text,
    follow_ups      text[] NOT NULL DEFAULT '{}',
    replaces        uuid REFERENCES bookings,
    replaced_by     uuid REFERENCES bookings DEFERRABLE INITIALLY DEFERRED,
    -- A moved call keeps its calendar entry: the same UID with a higher sequence.
    calendar_uid    uuid NOT NULL,
    sequence        integer NOT NULL DEFAULT 0,
    program_version text NOT NULL,
    program_hash    text NOT NULL,
    CONSTRAINT bookings_parties_ck CHECK (prospect_id <> volunteer_id),
    CONSTRAINT bookings_volunteer_time_ex EXCLUDE USING gist (volunteer_id WITH =, during WITH &&)
        WHERE (state IN ('held', 'confirmed')),
    CONSTRAINT bookings_prospect_time_ex EXCLUDE USING gist (prospect_id WITH =, during WITH &&)
        WHERE (state IN ('held', 'confirmed'))
);
CREATE UNIQUE INDEX bookings_one_active_uq ON bookings (prospect_id, purpose) WHERE state IN ('held', 'confirmed');
CREATE INDEX bookings_prospect_id_idx ON bookings (prospect_id);
CREATE INDEX bookings_volunteer_id_idx ON bookings (volunteer_id);
CREATE INDEX bookings_closed_at_idx ON bookings (closed_at);
CREATE INDEX bookings_during_idx ON bookings USING gist (during);

-- Calls that count against a volunteer's weekly cap; a booking that comes to nothing gives its place back.
CREATE TABLE volunteer_weeks (
    volunteer_id uuid NOT NULL REFERENCES people ON DELETE CASCADE,
    week         text NOT NULL,
    cap          integer NOT NULL,
    used         integer NOT NULL DEFAULT 0,
    CONSTRAINT volunteer_weeks_used_ck CHECK (used >= 0 AND used <= cap),
    PRIMARY KEY (volunteer_id, week)
);

-- Why this volunteer, at this time: parts of the score, rank among the feasible, price of the slot, and the
-- reasons as codes, kept per reader because not everybody may read everything.
CREATE TABLE match_explanations (
    call_id            uuid PRIMARY KEY REFERENCES bookings ON DELETE CASCADE,
    batch_id           uuid NOT NULL,
    parts              jsonb NOT NULL,
    utility            integer NOT NULL,
    rank               integer NOT NULL,
    feasible           integer NOT NULL,
    slot_price         integer,
    group_price        integer NOT NULL,
    for_prospect       jsonb NOT NULL,
    for_volunteer      jsonb NOT NULL,
    for_staff          jsonb NOT NULL
);

-- Every round of matching, for the board and for measures.
CREATE TABLE match_batches (
    batch_id    uuid PRIMARY KEY,
    epoch       bigint NOT NULL,
    solved_at   timestamptz NOT NULL,
    method      text NOT NULL,
    candidates  integer NOT NULL,
    volunteers  integer NOT NULL,
    proposed    integer NOT NULL,
    committed   integer NOT NULL,
    utility     bigint NOT NULL,
    bound       bigint,
    detail      jsonb NOT NULL
);
CREATE INDEX match_batches_solved_at_idx ON match_batches (solved_at);

-- Pairs that are not proposed again, and by what event.
CREATE TABLE pairs (
    prospect_id  uuid NOT NULL REFERENCES people ON DELETE CASCADE,
    volunteer_id uuid NOT NULL REFERENCES people ON DELETE CASCADE,
    reason       text NOT NULL CONSTRAINT pairs_reason_ck CHECK (reason IN ('another_person', 'no_show')),
    since        timestamptz NOT NULL,
    PRIMARY KEY (prospect_id, volunteer_id)
);

-- Who must not talk with whom, either way round. A block is a person's, a conflict is found by staff; the reason is
-- staff's alone and is never told to either.
CREATE TABLE blocks (
    person_id  uuid NOT NULL REFERENCES people ON DELETE CASCADE,
    other_id   uuid NOT NULL REFERENCES people ON DELETE CASCADE,
    kind       text NOT NULL CONSTRAINT blocks_kind_ck CHECK (kind IN ('block', 'conflict')),
    note       text NOT NULL DEFAULT '',
    created_at timestamptz NOT NULL,
    created_by uuid NOT NULL,
    CONSTRAINT blocks_not_self_ck CHECK (person_id <> other_id),
    PRIMARY KEY (person_id, other_id)
);
CREATE INDEX blocks_other_id_idx ON blocks (other_id);

-- How a call went, in the volunteer's words. The free text stays here: it is on no event and in no log.
CREATE TABLE attestations (
    call_id     uuid PRIMARY KEY REFERENCES bookings ON DELETE CASCADE,
    attested_by uuid NOT NULL,
    attested_at timestamptz NOT NULL,
    result      text NOT NULL CONSTRAINT attestations_result_ck CHECK (result IN ('completed', 'missed')),
    notes       text NOT NULL DEFAULT '',
    concern     text,
    concern_closed_at timestamptz,
    concern_closed_by uuid
);
CREATE INDEX attestations_concern_idx ON attestations (attested_at) WHERE concern IS NOT NULL;

-- One leader solves at a time; the epoch fences one that lost its lock without noticing.
CREATE TABLE leadership (
    singleton boolean PRIMARY KEY DEFAULT true CONSTRAINT leadership_singleton_ck CHECK (singleton),
    epoch     bigint NOT NULL DEFAULT 0,
    taken_at  timestamptz
);
INSERT INTO leadership DEFAULT VALUES;

-- Privileged acts, each row carrying the hash of the one before.
CREATE TABLE audit_entries (
    id            bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    at            timestamptz NOT NULL,
    actor_id      uuid NOT NULL,
    account_id    uuid,
    action        text NOT NULL,
    subject       text NOT NULL,
    details       jsonb NOT NULL DEFAULT '{}',
    previous_hash bytea NOT NULL,
    hash          bytea NOT NULL CONSTRAINT audit_entries_hash_uq UNIQUE
);

-- migrate:down
DROP TABLE audit_entries, leadership, attestations, blocks, pairs, match_batches, match_explanations, volunteer_weeks,
    bookings, queue_entries, availability_exceptions, availability_windows, availability, people;
DROP EXTENSION btree_gist;
