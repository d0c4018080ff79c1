-- migrate:up

-- What volunteers said last, for the board.
CREATE INDEX attestations_attested_at_idx ON attestations (attested_at DESC, call_id);

-- migrate:down
DROP INDEX attestations_attested_at_idx;
