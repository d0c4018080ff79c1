-- migrate:up

-- The answer to an incoming text whose process died in the middle, or whose outcome could not be written down.
ALTER TABLE text_replies DROP CONSTRAINT text_replies_state_ck;
ALTER TABLE text_replies ADD CONSTRAINT text_replies_state_ck
    CHECK (state IN ('handing', 'accepted', 'failed', 'unknown'));
CREATE INDEX text_replies_handing_idx ON text_replies (created_at) WHERE state = 'handing';

-- migrate:down
DROP INDEX text_replies_handing_idx;
UPDATE text_replies SET state = 'failed' WHERE state = 'unknown';
ALTER TABLE text_replies DROP CONSTRAINT text_replies_state_ck;
ALTER TABLE text_replies ADD CONSTRAINT text_replies_state_ck CHECK (state IN ('handing', 'accepted', 'failed'));
