-- migrate:up

-- The gauges count what is dead every few seconds, among whatever an outage piled up.
CREATE INDEX parked_dead_idx ON parked (id) WHERE status = 'dead';
CREATE INDEX timers_dead_idx ON timers (id) WHERE dead;

-- migrate:down
DROP INDEX timers_dead_idx, parked_dead_idx;
