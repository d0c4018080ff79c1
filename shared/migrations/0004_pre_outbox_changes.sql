-- migrate:up

-- What an operator shortened of an event that no broker takes: of which event, which fields, and why. The digests are
-- sha256 of key, a zero byte and payload, as the ledger computes them. No value is kept.
CREATE TABLE outbox_changes (
    id         bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    changed_at timestamptz NOT NULL DEFAULT clock_timestamp(),
    topic      text NOT NULL,
    key        text NOT NULL,
    event_id   uuid NOT NULL CONSTRAINT outbox_changes_event_uq UNIQUE,
    former     bytea NOT NULL,
    later      bytea NOT NULL,
    fields     text[] NOT NULL,
    reason     text NOT NULL
);
CREATE FUNCTION refuse_outbox_change() RETURNS trigger LANGUAGE plpgsql
AS $$ BEGIN RAISE EXCEPTION 'what was shortened stays written down'; END $$;
CREATE TRIGGER outbox_changes_append_only BEFORE UPDATE OR DELETE ON outbox_changes
    FOR EACH ROW EXECUTE FUNCTION refuse_outbox_change();

-- migrate:down
DROP TABLE outbox_changes;
DROP FUNCTION refuse_outbox_change();
