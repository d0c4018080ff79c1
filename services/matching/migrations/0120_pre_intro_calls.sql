-- migrate:up

-- What inviting needs to know of a person, from the events that signup sends. `held_until` is in the future while
-- the person has an open invitation or a seat: the row is claimed by whoever moves it, so nobody is invited twice.
CREATE TABLE intro_people (
    person_id    uuid PRIMARY KEY,
    language     text NOT NULL,
    tracks       text[] NOT NULL DEFAULT '{}',
    time_zone    text,
    prospect     boolean NOT NULL,
    confirmed_at timestamptz NOT NULL,
    attended_at  timestamptz,
    held_until   timestamptz NOT NULL DEFAULT '-infinity',
    -- Invitations since the person last answered one.
    unanswered   smallint NOT NULL DEFAULT 0 CONSTRAINT intro_people_unanswered_ck CHECK (unanswered >= 0)
);
-- Who may be invited, by language.
CREATE INDEX intro_people_open_idx ON intro_people (language, person_id) WHERE prospect AND attended_at IS NULL;

-- Group calls. `going` counts the seats taken; the check is what keeps a call from being overbooked.
CREATE TABLE intro_calls (
    intro_call_id   uuid PRIMARY KEY,
    title           text NOT NULL,
    starts_at       timestamptz NOT NULL,
    ends_at         timestamptz NOT NULL,
    -- The zone that staff gave the time in.
    time_zone       text NOT NULL,
    minutes         integer NOT NULL CONSTRAINT intro_calls_minutes_ck CHECK (minutes BETWEEN 15 AND 240),
    capacity        integer NOT NULL CONSTRAINT intro_calls_capacity_ck CHECK (capacity BETWEEN 1 AND 5000),
    waiting_list    boolean NOT NULL,
    language        text NOT NULL,
    track           text,
    join_url        text NOT NULL CONSTRAINT intro_calls_join_url_ck CHECK (join_url LIKE 'https://%'),
    status          text NOT NULL DEFAULT 'scheduled' CONSTRAINT intro_calls_status_ck
                    CHECK (status IN ('scheduled', 'cancelled')),
    going           integer NOT NULL DEFAULT 0,
    created_at      timestamptz NOT NULL,
    created_by      uuid NOT NULL,
    program_version text NOT NULL,
    program_hash    text NOT NULL,
    CONSTRAINT intro_calls_ends_at_ck CHECK (ends_at > starts_at),
    CONSTRAINT intro_calls_going_ck CHECK (going BETWEEN 0 AND capacity)
);
CREATE INDEX intro_calls_starts_at_idx ON intro_calls (starts_at);

-- One row per call and person, from the invitation to the attendance. A guest came without holding a seat.
CREATE TABLE intro_seats (
    intro_call_id uuid NOT NULL REFERENCES intro_calls ON DELETE CASCADE,
    person_id     uuid NOT NULL REFERENCES intro_people ON DELETE CASCADE,
    state         text NOT NULL CONSTRAINT intro_seats_state_ck
                  CHECK (state IN ('invited', 'going', 'waiting', 'declined', 'dropped', 'guest')),
    -- What led to the row; an invitation that a missed call led to is said in the message about the missed call.
    origin        text NOT NULL CONSTRAINT intro_seats_origin_ck
                  CHECK (origin IN ('confirmed', 'scheduled', 'closed', 'cancelled', 'missed', 'staff', 'self')),
    attendance    text CONSTRAINT intro_seats_attendance_ck CHECK (attendance IN ('attended', 'missed')),
    -- Drawn under the lock of the call: the order of the waiting list.
    waiting_number bigint,
    -- Goes up with every change that the person's calendar has to learn of (iCalendar SEQUENCE).
    sequence      integer NOT NULL DEFAULT 0,
    created_at    timestamptz NOT NULL,
    changed_at    timestamptz NOT NULL,
    marked_at     timestamptz,
    marked_by     uuid,
    CONSTRAINT intro_seats_waiting_ck CHECK ((state = 'waiting') = (waiting_number IS NOT NULL)),
    PRIMARY KEY (intro_call_id, person_id)
);
CREATE SEQUENCE intro_seats_waiting_seq OWNED BY intro_seats.waiting_number;
CREATE INDEX intro_seats_person_id_idx ON intro_seats (person_id);
CREATE INDEX intro_seats_waiting_idx ON intro_seats (intro_call_id, waiting_number) WHERE state = 'waiting';

-- migrate:down
DROP TABLE intro_seats, intro_calls, intro_people;
