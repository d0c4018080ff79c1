"""L3 and L4: topics."""

import json

from tests.faults.corruptions.making import Copy, Line, corruption, fresh, header, is_type, place_of, with_header


@corruption("L3")
def appended_and_never_sent(copy: Copy) -> str:
    event = fresh()
    copy.run(
        "matching",
        f"INSERT INTO ledger_outbox (topic, key, event_id, headers, payload) "
        f"SELECT topic, key, '{event}', headers, payload FROM ledger_outbox LIMIT 1",
    )
    return event


@corruption("L3")
def a_record_that_nobody_appended(copy: Copy) -> str:
    model = copy.record(is_type("notifications.message_sent.v1"))
    partition, offset = copy.free_place(model["topic"])
    event, key = fresh(), fresh()
    line = with_header(with_header(model, "ce_id", event), "ce_sequence", "1".zfill(20))
    line = with_header(line, "ce_type", "notifications.message_failed.v1")
    copy.add_record({**line, "partition": partition, "offset": offset, "key": key})
    return event


@corruption("L3")
def a_record_altered_on_its_way(copy: Copy) -> str:
    record = copy.record(is_type("matching.intro_call_scheduled.v1"))
    copy.change_record(record, lambda line: {**line, "value": line["value"].replace("capacity", "Capacity")})
    return header(record, "ce_id")


@corruption("L3")
def a_record_shortened_otherwise_than_was_written_down(copy: Copy) -> str:
    record = copy.record(is_type("matching.intro_call_scheduled.v1"))
    copy.change_record(record, lambda line: {**line, "value": line["value"].replace("capacity", "Capacity")})
    copy.run(
        "matching",
        "INSERT INTO outbox_changes (topic, key, event_id, former, later, fields, reason) "
        "SELECT topic, key, event_id, sha256(convert_to(key, 'UTF8') || '\\x00'::bytea || payload), sha256('another'), "
        f"'{{title}}', 'Too large' FROM ledger_outbox WHERE event_id = '{header(record, 'ce_id')}'",
    )
    return header(record, "ce_id")


@corruption("L3")
def one_event_id_appended_twice(copy: Copy) -> str:
    event = copy.one("signup", "SELECT event_id FROM ledger_outbox ORDER BY event_id LIMIT 1")
    copy.run(
        "signup",
        f"INSERT INTO ledger_outbox SELECT * FROM ledger_outbox WHERE event_id = '{event}'",
    )
    return str(event)


@corruption("L3")
def the_compacted_topic_ends_at_an_older_state(copy: Copy) -> str:
    states = [line for line in copy.records() if line["kind"] == "record" and line["topic"] == "endorsement.state"]
    # A small crowd may have rescinded nothing; then the topic ends with no state of a candidate at all.
    rescinded = [line for line in states if json.loads(line["value"])["status"] == "rescinded"]
    record = (rescinded or states)[-1]
    copy.change_record(record, lambda _: None)
    return str(record["key"])


@corruption("L3")
def a_record_missing_where_nobody_watched(copy: Copy) -> str:
    record = copy.record(is_type("matching.intro_call_scheduled.v1"))
    copy.run("matching", f"UPDATE streams SET version = version + 1 WHERE key = '{record['key']}'")
    return str(record["key"])


def two_of_a_key(copy: Copy) -> tuple[Line, Line]:
    """Two records of one key that follow each other, neither of which is the key's first on signup.people."""
    last: dict[str, Line] = {}
    for line in copy.records():
        if line["kind"] != "record" or line["topic"] != "signup.people":
            continue
        if (before := last.get(line["key"])) is not None and header(before, "ce_type") != header(line, "ce_type"):
            return before, line
        last[line["key"]] = line
    raise AssertionError("no key of the run has two records")


@corruption("L4")
def two_events_of_a_key_in_the_wrong_order(copy: Copy) -> str:
    first, second = two_of_a_key(copy)

    def swapped(line: Line) -> Line:
        places = {place_of(first): second, place_of(second): first}
        other = places.get(place_of(line))
        return line if other is None else {**other, "offset": line["offset"], "at": line["at"]}

    copy.write_records([swapped(line) for line in copy.records()])
    return header(first, "ce_id")


@corruption("L4")
def a_gap_in_a_key(copy: Copy) -> str:
    _, second = two_of_a_key(copy)
    last = [line for line in copy.records() if line.get("key") == second["key"] and line["topic"] == second["topic"]][
        -1
    ]
    number = int(header(last, "ce_sequence")) + 1
    copy.change_record(last, lambda line: with_header(line, "ce_sequence", str(number).zfill(20)))
    return header(last, "ce_id")


@corruption("L4", "L3", why="one of the two is not what was appended")
def a_repeat_with_other_content(copy: Copy) -> str:
    model = copy.record(is_type("notifications.message_sent.v1"))
    _, offset = copy.free_place(model["topic"], (model["partition"], model["offset"]))
    copy.add_record({**model, "offset": offset, "value": model["value"].replace("template", "Template")})
    return header(model, "ce_id")


@corruption("L4")
def a_key_in_two_partitions(copy: Copy) -> str:
    sent = [line for line in copy.records() if line["kind"] == "record" and line["topic"] == "notifications.messages"]
    last = {line["key"]: line for line in sent}
    model = next(line for line in last.values() if int(header(line, "ce_sequence")) > 1)
    for partition in range(6):
        if partition == model["partition"]:
            continue
        try:
            _, offset = copy.free_place(model["topic"], (partition, -1))
        except (AssertionError, ValueError):
            continue
        break
    copy.change_record(model, lambda _: None)
    copy.add_record({**model, "partition": partition, "offset": offset})
    return str(model["key"])
