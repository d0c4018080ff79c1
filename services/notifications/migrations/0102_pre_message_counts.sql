-- migrate:up

-- The log by state or by template, and the numbers of each state: the pages and gauges that staff look at while an
-- outage piles messages up must not read all of them.
CREATE INDEX messages_state_idx ON messages (state, id);
CREATE INDEX messages_template_idx ON messages (template, id);
-- The last day's bulk mail, which is looked at before each batch, without a look at the table.
CREATE INDEX messages_recent_bulk_idx ON messages (handed_at) INCLUDE (state, reason, contact_hash)
    WHERE channel = 'email' AND delivery = 'bulk' AND state IN ('accepted', 'rejected');

-- migrate:down
DROP INDEX messages_recent_bulk_idx, messages_template_idx, messages_state_idx;
