"""L13: rest."""

from tests.faults.corruptions.making import Copy, corruption, fresh


@corruption("L13")
def a_row_left_in_the_outbox(copy: Copy) -> str:
    event = fresh()
    copy.run(
        "signup",
        "ALTER TABLE outbox DISABLE TRIGGER USER",
        "INSERT INTO outbox (shard, topic, key, event_id, headers, payload) "
        f"SELECT 3, topic, key, '{event}', headers, payload FROM ledger_outbox LIMIT 1",
    )
    return event


@corruption("L13")
def a_consumer_that_lags(copy: Copy) -> str:
    topic, partition = copy.one("matching", "SELECT topic, partition FROM inbox_offsets WHERE next_offset > 3 LIMIT 1")
    copy.run(
        "matching",
        f"UPDATE inbox_offsets SET next_offset = next_offset - 2 WHERE topic = '{topic}' AND partition = {partition}",
    )
    return f"{topic}/{partition}"


@corruption("L13")
def a_parked_record(copy: Copy) -> str:
    event = fresh()
    copy.run(
        "endorsement",
        "INSERT INTO parked (topic, key, event_id, event_type, partition, record_offset, headers, error, status) "
        f"VALUES ('signup.people', 'k', '{event}', 'signup.account_changed.v1', 0, 1, '[]', 'KeyError', 'dead')",
    )
    return event


@corruption("L13")
def a_quarantined_record(copy: Copy) -> str:
    copy.run(
        "signup",
        "INSERT INTO quarantined (topic, partition, record_offset, headers, reason) "
        "VALUES ('matching.calls', 1, 987654, '[]', 'header ce_type is missing')",
    )
    return "matching.calls/1/987654"


@corruption("L13")
def a_dead_timer(copy: Copy) -> str:
    copy.run(
        "endorsement",
        "INSERT INTO timers (kind, dedupe_key, owner_key, due_at, dead) "
        "VALUES ('announce', 'x', 'x', now() + interval '1 year', true)",
    )
    return "endorsement timer"


@corruption("L13")
def clocks_that_differ(copy: Copy) -> str:
    copy.run("matching", "UPDATE clock SET ahead = ahead + interval '1 hour'")
    return "business clock"
