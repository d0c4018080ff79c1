"""L5: effects."""

import json

from tests.faults.corruptions.making import Copy, corruption, fresh, header, with_header


@corruption("L5")
def an_event_passed_over(copy: Copy) -> str:
    event = copy.one("notifications", "SELECT event_id FROM messages ORDER BY id LIMIT 1")
    copy.run("notifications", f"DELETE FROM inbox_seen WHERE event_id = '{event}'")
    return str(event)


@corruption("L5")
def an_event_noted_on_two_days(copy: Copy) -> str:
    event = copy.one("matching", "SELECT event_id FROM inbox_seen ORDER BY event_id LIMIT 1")
    copy.run(
        "matching",
        f"INSERT INTO inbox_seen SELECT event_day + 1, event_id, seen_at FROM inbox_seen WHERE event_id = '{event}'",
    )
    return str(event)


@corruption("L5")
def a_message_caused_twice(copy: Copy) -> str:
    event = copy.one("notifications", "SELECT event_id FROM messages WHERE state = 'accepted' ORDER BY id LIMIT 1")
    columns = "event_id, event_type, person_id, template, channel, delivery, reference, program_version, program_hash"
    copy.run(
        "notifications",
        "ALTER TABLE messages DROP CONSTRAINT messages_once_uq",
        f"INSERT INTO messages (id, {columns}, state, reason, created_at) "
        f"SELECT '{fresh()}', {columns}, 'dropped', 'gone', created_at FROM messages WHERE event_id = '{event}'",
    )
    return str(event)


@corruption("L5")
def an_event_without_its_message(copy: Copy) -> str:
    event = copy.one(
        "notifications",
        "SELECT min(event_id::text) FROM messages GROUP BY event_id HAVING count(*) = 1 AND min(state) = 'dropped'",
    )
    copy.run(
        "notifications",
        f"DELETE FROM message_steps WHERE message_id IN (SELECT id FROM messages WHERE event_id = '{event}')",
        f"DELETE FROM messages WHERE event_id = '{event}'",
    )
    return str(event)


@corruption("L5")
def an_event_without_its_journey_step(copy: Copy) -> str:
    event = copy.one("signup", "SELECT event_id FROM journey_steps ORDER BY event_id LIMIT 1")
    copy.run("signup", f"DELETE FROM journey_steps WHERE event_id = '{event}'")
    return str(event)


@corruption("L5")
def who_advised_whom_is_forgotten(copy: Copy) -> str:
    call = copy.one("endorsement", "SELECT call_id FROM advisories ORDER BY call_id LIMIT 1")
    copy.run("endorsement", f"DELETE FROM advisories WHERE call_id = '{call}'")
    return str(call)


@corruption("L5")
def a_message_is_reported_sent_twice(copy: Copy) -> str:
    sent = [line for line in copy.records() if line["kind"] == "record" and line["topic"] == "notifications.messages"]
    last = {line["key"]: line for line in sent}
    for model in last.values():
        if header(model, "ce_type") != "notifications.message_sent.v1":
            continue
        try:
            _, offset = copy.free_place(model["topic"], (model["partition"], model["offset"]))
        except (AssertionError, ValueError):
            continue
        number = int(header(model, "ce_sequence")) + 1
        line = with_header(with_header(model, "ce_id", fresh()), "ce_sequence", str(number).zfill(20))
        copy.append_properly({**line, "offset": offset}, "notifications")
        return str(json.loads(model["value"])["message_id"])
    raise AssertionError("no key has a place behind its last record")
