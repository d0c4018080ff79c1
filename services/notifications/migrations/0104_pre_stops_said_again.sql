-- migrate:up

-- A stop that holds and was said once more: a yes that was said before then must not lift it.
ALTER TABLE suppressions ADD COLUMN said_again_at timestamptz;

-- migrate:down
ALTER TABLE suppressions DROP COLUMN said_again_at;
