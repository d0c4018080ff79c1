"""Seeded corruptions: what a broken system would have left, each made in a copy of a clean run's evidence.

A corruption names the check that must find it. `also` names other checks that rightly find it too: what is missing in
one place is missed in another. Every corruption returns a part of the id or the sentence that must be named.
"""

import datetime as dt
import json
import uuid
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import psycopg

Line = dict[str, Any]


@dataclass
class Copy:
    """A copy of the evidence. Databases are cloned when they are first written to; files when they are changed."""

    clone: Callable[[str], str]
    owner_dsns: dict[str, str]
    journals: Path
    topics: Path
    logs: Path
    cloned: list[str] = field(default_factory=list)

    def run(self, service: str, *statements: str) -> None:
        """Change a database, as its owner."""
        if service not in self.cloned:
            self.cloned.append(service)
            self.owner_dsns[service] = self.clone(service)
        with psycopg.connect(self.owner_dsns[service]) as connection:
            for statement in statements:
                done = connection.execute(statement.encode())
                assert done.rowcount != 0, f"nothing was changed by: {statement}"

    def rows(self, service: str, sql: str) -> list[tuple[Any, ...]]:
        """Rows of a database; ids as text."""
        with psycopg.connect(self.owner_dsns[service]) as connection:
            found = connection.execute(sql.encode()).fetchall()
        return [tuple(str(value) if isinstance(value, uuid.UUID) else value for value in row) for row in found]

    def one(self, service: str, sql: str) -> Any:
        """The first value of the first row; a run without any cannot show this corruption."""
        found = self.rows(service, sql)
        assert found, f"the clean run has no row for: {sql}"
        return found[0][0] if len(found[0]) == 1 else found[0]

    def lines(self, name: str) -> list[Line]:
        """A journal."""
        return [json.loads(line) for line in (self.journals / name).read_text().splitlines()]

    def write(self, name: str, lines: Iterable[Line]) -> None:
        """Replace a journal."""
        (self.journals / name).write_text("".join(json.dumps(line) + "\n" for line in lines))

    def records(self) -> list[Line]:
        """The archive of the topics."""
        return [json.loads(line) for line in self.topics.read_text().splitlines()]

    def write_records(self, lines: Iterable[Line]) -> None:
        """Replace the archive."""
        self.topics.write_text("".join(json.dumps(line) + "\n" for line in lines))

    def record(self, wanted: Callable[[Line], bool]) -> Line:
        """The first record that is wanted, from the archive as it is."""
        return next(line for line in self.records() if line["kind"] == "record" and wanted(line))

    def change_record(self, place: Line, change: Callable[[Line], Line | None]) -> None:
        """Replace a record, or take it away."""
        lines = []
        for line in self.records():
            changed = change(line) if place_of(line) == place_of(place) else line
            lines += [changed] if changed is not None else []
        self.write_records(lines)

    def free_place(self, topic: str, after: tuple[int, int] | None = None) -> tuple[int, int]:
        """A partition, and an offset in it that holds a transaction's marker, with a record behind it; `after` a
        record of that partition, or anywhere.
        """
        taken: dict[int, list[int]] = {}
        for line in self.records():
            if line["kind"] == "record" and line["topic"] == topic:
                taken.setdefault(line["partition"], []).append(line["offset"])
        for partition, offsets in sorted(taken.items()):
            least = 0 if after is None else after[1] + 1
            if after is not None and partition != after[0]:
                continue
            for offset in range(least, max(offsets)):
                if offset not in offsets:
                    return partition, offset
        raise AssertionError(f"{topic} has no place for another record after {after}")

    def add_record(self, line: Line) -> None:
        """Add a record in its place of the order."""
        lines = self.records()
        behind = (
            index
            for index, other in enumerate(lines)
            if other["kind"] == "record"
            and (other["topic"], other["partition"]) == (line["topic"], line["partition"])
            and other["offset"] > line["offset"]
        )
        index = next(behind, len(lines))
        self.write_records([*lines[:index], line, *lines[index:]])

    def append_properly(self, line: Line, service: str) -> None:
        """Add a record that the outbox has known: with its copy, counted in its stream."""
        payload = str(line["value"]).replace("'", "''")
        self.run(
            service,
            f"INSERT INTO ledger_outbox (topic, key, event_id, headers, payload) VALUES ('{line['topic']}',"
            f" '{line['key']}', '{header(line, 'ce_id')}', '', convert_to('{payload}', 'UTF8'))",
            f"UPDATE streams SET version = version + 1 WHERE topic = '{line['topic']}' AND key = '{line['key']}'",
        )
        self.add_record(line)


def place_of(line: Line) -> tuple[Any, ...]:
    """Where a record is."""
    return line["kind"], line["topic"], line["partition"], line.get("offset")


def header(line: Line, name: str) -> str:
    """A header's value."""
    return str(dict(line["headers"])[name])


def with_header(line: Line, name: str, value: str) -> Line:
    """The record with another value of a header, or one header more."""
    others = [pair for pair in line["headers"] if pair[0] != name]
    return {**line, "headers": [*others, [name, value]]}


def is_type(event_type: str) -> Callable[[Line], bool]:
    """Records of a type."""
    return lambda line: header(line, "ce_type") == event_type


def fresh() -> str:
    """An id that nothing has."""
    return str(uuid.uuid4())


def earlier(at: str, **span: float) -> str:
    """A journal's time, moved back."""
    return (dt.datetime.fromisoformat(at) - dt.timedelta(**span)).isoformat()


@dataclass(frozen=True)
class Corruption:
    """`check` must find it, and name what `make` returns; `also` may, for the reason given."""

    check: str
    make: Callable[[Copy], str]
    also: frozenset[str] = frozenset()
    why: str = ""

    @property
    def name(self) -> str:
        """As in the test's id."""
        return f"{self.check}-{self.make.__name__}"


CORRUPTIONS: list[Corruption] = []


def corruption(check: str, *also: str, why: str = "") -> Callable[[Callable[[Copy], str]], Callable[[Copy], str]]:
    """Register a corruption."""
    assert bool(also) == bool(why), "say why another check finds it too"

    def register(make: Callable[[Copy], str]) -> Callable[[Copy], str]:
        CORRUPTIONS.append(Corruption(check, make, frozenset(also), why))
        return make

    return register


# ---------------------------------------------------------------- L1 and L2: sign-ups

PENDING = "FROM signups WHERE status = 'pending' ORDER BY id LIMIT 1"
SUMS = "the sum of sign-ups no longer comes out"


def acknowledged_intent(copy: Copy) -> Line:
    """An answer of the journal that acknowledged a sign-up by its id."""
    return next(line for line in copy.lines("load.jsonl") if line.get("outcome") == "ack" and line.get("signup_id"))


@corruption("L1", "L11", why=SUMS)
def an_acknowledged_signup_is_lost(copy: Copy) -> str:
    signup, intent = copy.one("signup", f"SELECT id, intent_id {PENDING}")
    for table in ("consents", "links", "sources", "intents"):
        if copy.rows("signup", f"SELECT 1 FROM {table} WHERE signup_id = '{signup}'"):
            copy.run("signup", f"DELETE FROM {table} WHERE signup_id = '{signup}'")
    copy.run("signup", f"DELETE FROM signups WHERE id = '{signup}'")
    return str(intent)


@corruption("L1", "L11", why=SUMS)
def a_signup_nobody_sent(copy: Copy) -> str:
    intent = acknowledged_intent(copy)["intent"]
    copy.write("load.jsonl", (line for line in copy.lines("load.jsonl") if line.get("intent") != intent))
    return str(intent)


@corruption("L1")
def answered_with_another_id(copy: Copy) -> str:
    answer = acknowledged_intent(copy)
    wrong = fresh()
    copy.write(
        "load.jsonl",
        (
            {**line, "signup_id": wrong} if line.get("signup_id") == answer["signup_id"] else line
            for line in copy.lines("load.jsonl")
        ),
    )
    return str(answer["intent"])


@corruption("L1")
def stored_for_another_address(copy: Copy) -> str:
    signup = copy.one("signup", f"SELECT id {PENDING}")
    copy.run("signup", f"UPDATE signups SET email = 'else.' || email WHERE id = '{signup}'")
    return str(signup)


@corruption("L1")
def the_consent_was_not_stored(copy: Copy) -> str:
    signup = copy.one(
        "signup", "SELECT signup_id FROM consents JOIN signups s ON s.id = signup_id AND s.status = 'pending'"
    )
    copy.run("signup", f"DELETE FROM consents WHERE signup_id = '{signup}'")
    return str(signup)


@corruption("L1", "L11", why=SUMS)
def refused_and_yet_stored(copy: Copy) -> str:
    intent = acknowledged_intent(copy)["intent"]
    copy.write(
        "load.jsonl",
        (
            {**line, "outcome": "nack", "status": 422, "signup_id": None}
            if line.get("kind") == "answer" and line.get("intent") == intent
            else line
            for line in copy.lines("load.jsonl")
        ),
    )
    return str(intent)


@corruption("L2", "L1", "L11", why="the second row has no event of its own, and the sum no longer comes out")
def two_signups_for_one_intent(copy: Copy) -> str:
    signup, intent = copy.one("signup", f"SELECT id, intent_id {PENDING}")
    columns = "intent_id, person_id, form, role, legal_body, email, facts, known, status, program_version, program_hash"
    second = fresh()
    copy.run(
        "signup",
        f"INSERT INTO signups (id, {columns}, created_at) SELECT '{second}', {columns}, created_at FROM signups "
        f"WHERE id = '{signup}'",
    )
    return str(intent)


@corruption("L2")
def a_key_that_leads_elsewhere(copy: Copy) -> str:
    one, other = (row[0] for row in copy.rows("signup", "SELECT signup_id FROM intents ORDER BY 1 LIMIT 2"))
    copy.run("signup", f"UPDATE intents SET signup_id = '{other}' WHERE signup_id = '{one}'")
    return str(copy.one("signup", f"SELECT intent_id FROM signups WHERE id = '{one}'"))


@corruption("L2", "L1", why="one of the two ids is not the stored one")
def one_intent_answered_with_two_ids(copy: Copy) -> str:
    answer = acknowledged_intent(copy)
    copy.write("load.jsonl", [*copy.lines("load.jsonl"), {**answer, "signup_id": fresh()}])
    return str(answer["intent"])


@corruption("L2", "L1", why="the address is not the one that was sent")
def one_address_and_two_people(copy: Copy) -> str:
    signup = copy.one("signup", f"SELECT id {PENDING}")
    copy.run(
        "signup",
        f"UPDATE signups SET email = (SELECT o.email FROM signups o WHERE o.person_id <> signups.person_id "
        f"ORDER BY o.id LIMIT 1) WHERE id = '{signup}'",
    )
    return str(signup)


# ---------------------------------------------------------------- L3 and L4: topics


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


# ---------------------------------------------------------------- L5: effects


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


# ---------------------------------------------------------------- L6: time


@corruption("L6", "L11", why="an active call needs its offer, and its place in the queue")
def two_active_matches(copy: Copy) -> str:
    call, prospect = copy.one("matching", "SELECT call_id, prospect_id FROM bookings ORDER BY call_id LIMIT 1")
    columns = (
        "purpose, prospect_id, volunteer_id, week, hold_expires_at, offered_at, program_version, program_hash, "
        "calendar_uid"
    )
    copy.run(
        "matching",
        "DROP INDEX bookings_one_active_uq",
        *(
            f"INSERT INTO bookings (call_id, {columns}, state, during) SELECT '{fresh()}', {columns}, 'held', "
            f"tstzrange(upper(during) + interval '{weeks} weeks', upper(during) + interval '{weeks} weeks 30 minutes') "
            f"FROM bookings WHERE call_id = '{call}'"
            for weeks in (30, 31)
        ),
    )
    return str(prospect)


@corruption("L6")
def a_volunteer_in_two_calls_at_once(copy: Copy) -> str:
    volunteer = copy.one(
        "matching",
        "SELECT volunteer_id FROM bookings WHERE state = 'completed' GROUP BY volunteer_id HAVING count(*) > 1 LIMIT 1",
    )
    calls = copy.rows(
        "matching",
        f"SELECT call_id FROM bookings WHERE volunteer_id = '{volunteer}' AND state = 'completed' ORDER BY call_id",
    )
    copy.run(
        "matching",
        f"UPDATE bookings SET during = (SELECT during FROM bookings WHERE call_id = '{calls[1][0]}') "
        f"WHERE call_id = '{calls[0][0]}'",
    )
    return str(volunteer)


@corruption("L6")
def more_calls_counted_than_booked(copy: Copy) -> str:
    volunteer = copy.one("matching", "SELECT volunteer_id FROM volunteer_weeks ORDER BY 1 LIMIT 1")
    copy.run(
        "matching",
        "ALTER TABLE volunteer_weeks DROP CONSTRAINT volunteer_weeks_used_ck",
        f"UPDATE volunteer_weeks SET used = cap + 1 WHERE volunteer_id = '{volunteer}'",
    )
    return str(volunteer)


@corruption("L6")
def a_call_at_night(copy: Copy) -> str:
    call = copy.one("matching", "SELECT call_id FROM bookings WHERE state = 'completed' ORDER BY call_id LIMIT 1")
    copy.run(
        "matching",
        "UPDATE bookings SET during = tstzrange(lower(during) - interval '15 hours', "
        f"upper(during) - interval '15 hours') WHERE call_id = '{call}'",
    )
    return str(call)


@corruption("L6")
def an_overbooked_intro_call(copy: Copy) -> str:
    call = copy.one("matching", "SELECT intro_call_id FROM intro_calls WHERE going > 0 ORDER BY 1 LIMIT 1")
    copy.run(
        "matching",
        "ALTER TABLE intro_calls DROP CONSTRAINT intro_calls_going_ck, DROP CONSTRAINT intro_calls_capacity_ck",
        f"UPDATE intro_calls SET capacity = going - 1 WHERE intro_call_id = '{call}'",
    )
    return str(call)


# ---------------------------------------------------------------- L7: copies


def mail_of(copy: Copy, delivery: str) -> Line:
    """A stored mail of a class, whose message was handed over once."""
    known = {
        row[0]
        for row in copy.rows(
            "notifications",
            f"SELECT id FROM messages WHERE channel = 'email' AND delivery = '{delivery}' AND state = 'accepted'",
        )
    }
    return next(line for line in copy.lines("smtp.jsonl") if line["stored"] and message_of(line) in known)


def message_of(line: Line) -> str:
    """The message that a mail's Message-ID names."""
    return str(line["message_id"]).strip("<>").partition("@")[0]


@corruption("L7")
def a_transactional_mail_three_times(copy: Copy) -> str:
    mail = mail_of(copy, "transactional")
    copy.write("smtp.jsonl", [*copy.lines("smtp.jsonl"), mail, mail])
    return message_of(mail)


@corruption("L7")
def a_bulk_mail_twice(copy: Copy) -> str:
    mail = mail_of(copy, "bulk")
    copy.write("smtp.jsonl", [*copy.lines("smtp.jsonl"), mail])
    return message_of(mail)


@corruption("L7")
def a_text_twice(copy: Copy) -> str:
    text = next(line for line in copy.lines("sms.jsonl") if line["stored"])
    copy.write("sms.jsonl", [*copy.lines("sms.jsonl"), text])
    return str(text["reference"])


@corruption("L7")
def a_link_resent_with_another_token(copy: Copy) -> str:
    mail = mail_of(copy, "link")
    copy.write(
        "smtp.jsonl", [*copy.lines("smtp.jsonl"), {**mail, "text": mail["text"].replace("/confirm/", "/confirm/x")}]
    )
    return message_of(mail)


@corruption("L7")
def accepted_and_never_handed_over(copy: Copy) -> str:
    mail = mail_of(copy, "transactional")
    copy.write("smtp.jsonl", (line for line in copy.lines("smtp.jsonl") if line["message_id"] != mail["message_id"]))
    return message_of(mail)


@corruption("L7")
def dropped_and_yet_handed_over(copy: Copy) -> str:
    person = copy.rows(
        "notifications",
        "SELECT id, person_id FROM messages WHERE state = 'dropped' AND channel = 'email' AND handed_at IS NULL",
    )
    emails = dict(copy.rows("signup", "SELECT person_id, email FROM person_emails"))
    message, to = next((m, emails[p]) for m, p in person if p in emails)
    model = mail_of(copy, "transactional")
    line = {**model, "message_id": model["message_id"].replace(message_of(model), message), "to": [to]}
    copy.write("smtp.jsonl", [*copy.lines("smtp.jsonl"), line])
    return str(message)


@corruption("L7")
def a_mail_that_no_message_caused(copy: Copy) -> str:
    model, wrong = mail_of(copy, "transactional"), fresh()
    line = {**model, "message_id": model["message_id"].replace(message_of(model), wrong)}
    copy.write("smtp.jsonl", [*copy.lines("smtp.jsonl"), line])
    return wrong


@corruption("L7")
def a_mail_to_a_stranger(copy: Copy) -> str:
    mail = mail_of(copy, "transactional")
    copy.write(
        "smtp.jsonl",
        (
            {**line, "to": ["somebody.else@example.org"]} if line["message_id"] == mail["message_id"] else line
            for line in copy.lines("smtp.jsonl")
        ),
    )
    return message_of(mail)


# ---------------------------------------------------------------- L8: stops, consent, hours


def handed(copy: Copy, condition: str) -> tuple[str, str, dt.datetime]:
    """Message, person and time of a hand-off."""
    row = copy.one(
        "notifications",
        "SELECT m.id, m.person_id, s.at FROM messages m JOIN message_steps s ON s.message_id = m.id "
        f"AND s.state = 'handing' WHERE {condition} ORDER BY m.id DESC LIMIT 1",
    )
    return row[0], row[1], row[2]


@corruption("L8")
def handed_over_after_a_stop(copy: Copy) -> str:
    message, person, at = handed(copy, "m.delivery = 'transactional' AND m.channel = 'email'")
    copy.run(
        "notifications",
        "INSERT INTO suppressions (channel, scope, reason, person_id, since) "
        f"VALUES ('email', 'all', 'unsubscribed', '{person}', '{at - dt.timedelta(seconds=6)}')",
    )
    return message


@corruption("L8")
def handed_over_to_a_dead_address(copy: Copy) -> str:
    message, _, at = handed(copy, "m.delivery = 'link' AND m.contact_hash IS NOT NULL")
    copy.run(
        "notifications",
        "INSERT INTO suppressions (channel, scope, reason, contact_hash, since) "
        f"SELECT 'email', 'address', 'bounce', contact_hash, '{at - dt.timedelta(minutes=1)}' FROM messages "
        f"WHERE id = '{message}'",
    )
    return message


@corruption("L8")
def a_stop_that_people_gave_was_not_obeyed(copy: Copy) -> str:
    """The stop was given before everything: whatever of that class was handed over since was forbidden."""
    lines = copy.lines("load.jsonl")
    first = min(line["at"] for line in lines)
    stopped = next(
        line
        for line in lines
        if line.get("act") == "stop"
        and line.get("outcome") == "ack"
        and isinstance(line.get("detail"), dict)
        and line["detail"].get("channel", "email") == "email"
        and _has_covered_mail(copy, line)
    )
    copy.write(
        "load.jsonl", ({**line, "at": earlier(first, seconds=30)} if line == stopped else line for line in lines)
    )
    return "after a stop"


def _has_covered_mail(copy: Copy, stop: Line) -> bool:
    classes = ("bulk",) if stop["detail"].get("scope", "bulk") == "bulk" else ("bulk", "transactional")
    known = {
        row[0] for row in copy.rows("notifications", f"SELECT id FROM messages WHERE delivery IN {(*classes, '')}")
    }
    return any(
        message_of(line) in known and stop["who"].lower() in [to.lower() for to in line["to"]]
        for line in copy.lines("smtp.jsonl")
    )


@corruption("L8")
def a_text_in_the_night(copy: Copy) -> str:
    message, _, _ = handed(copy, "m.channel = 'sms'")
    copy.run(
        "notifications",
        # The night before: three in the morning by New York's clock is night everywhere that the crowd lives.
        "UPDATE message_steps SET at = date_trunc('day', at - interval '8 hours') + interval '8 hours' "
        f"WHERE message_id = '{message}' AND state = 'handing'",
    )
    return message


@corruption("L8")
def bulk_without_consent(copy: Copy) -> str:
    """A consent on a form holds from the use of the form's link."""
    message, person, at = handed(copy, "m.delivery = 'bulk'")
    copy.run(
        "signup",
        f"UPDATE signups SET applied_at = '{at + dt.timedelta(minutes=1)}' WHERE person_id = '{person}'",
        f"UPDATE consents SET given_at = '{at + dt.timedelta(minutes=1)}' WHERE person_id = '{person}'",
    )
    return message


@corruption("L8")
def handed_over_before_the_address_was_confirmed(copy: Copy) -> str:
    message, person, at = handed(copy, "m.delivery = 'transactional'")
    copy.run("signup", f"UPDATE people SET confirmed_at = '{at + dt.timedelta(minutes=1)}' WHERE id = '{person}'")
    return message


@corruption("L8")
def handed_over_after_the_erasure(copy: Copy) -> str:
    message, person, at = handed(copy, "m.delivery = 'transactional'")
    copy.run(
        "notifications",
        "INSERT INTO tombstones (person_id, erased_at, receipt_id) "
        f"VALUES ('{person}', '{at - dt.timedelta(seconds=10)}', '{fresh()}')",
    )
    return message


# ---------------------------------------------------------------- L9: decisions and endorsements

STANDING = "SELECT id FROM endorsements WHERE status = 'endorsed' ORDER BY id LIMIT 1"


@corruption("L9", "L12", why="nobody is on record for the second decision")
def two_decisions_on_one_application(copy: Copy) -> str:
    columns = (
        "application_id, candidacy_id, person_id, outcome, reason, note, decided_by, decided_at, embargo_until, "
        "reapply_from, scorecards, legal_body, program_version, program_hash"
    )
    application = copy.one("endorsement", "SELECT application_id FROM decisions ORDER BY id LIMIT 1")
    copy.run(
        "endorsement",
        "ALTER TABLE decisions DROP CONSTRAINT decisions_application_id_uq",
        f"INSERT INTO decisions (id, {columns}) SELECT '{fresh()}', {columns} FROM decisions "
        f"WHERE application_id = '{application}'",
    )
    return str(application)


@corruption("L9")
def announced_before_the_embargo(copy: Copy) -> str:
    endorsement = copy.one("endorsement", STANDING)
    copy.run(
        "endorsement",
        "ALTER TABLE decisions DISABLE TRIGGER USER",
        "UPDATE decisions SET embargo_until = embargo_until + interval '30 days' "
        f"WHERE id = (SELECT decision_id FROM endorsements WHERE id = '{endorsement}')",
    )
    return str(endorsement)


@corruption("L9")
def announced_by_who_decided(copy: Copy) -> str:
    endorsement = copy.one("endorsement", STANDING)
    copy.run(
        "endorsement",
        "UPDATE endorsements SET announced_by = (SELECT decided_by FROM decisions WHERE decisions.id = decision_id) "
        f"WHERE id = '{endorsement}'",
    )
    return str(endorsement)


@corruption("L9", "L10", why="the second announcement has no delivery")
def one_endorsement_announced_under_two_ids(copy: Copy) -> str:
    """Behind the last record of its partition: nothing that consumes the public topic could lag."""
    published = [line for line in copy.records() if line["topic"] == "endorsement.endorsements" and "offset" in line]
    keys = [line["key"] for line in published]
    model = next(line for line in published if keys.count(line["key"]) == 1)
    line = with_header(with_header(model, "ce_id", fresh()), "ce_sequence", "2".zfill(20))
    copy.append_properly({**line, "offset": max(other["offset"] for other in published) + 10}, "endorsement")
    return str(model["key"])


@corruption("L9", "L10", why="the delivery is missing")
def a_rescission_that_did_not_reach_a_subscriber(copy: Copy) -> str:
    endorsement = copy.one(
        "endorsement",
        "SELECT endorsement_id FROM webhook_deliveries WHERE event_type = 'endorsement.endorsement_rescinded.v1'",
    )
    copy.run(
        "endorsement",
        "DELETE FROM webhook_attempts WHERE delivery_id IN (SELECT id FROM webhook_deliveries WHERE event_type = "
        f"'endorsement.endorsement_rescinded.v1' AND endorsement_id = '{endorsement}')",
        "DELETE FROM webhook_deliveries WHERE event_type = 'endorsement.endorsement_rescinded.v1' "
        f"AND endorsement_id = '{endorsement}'",
    )
    return str(endorsement)


@corruption("L9")
def a_gap_in_the_feed(copy: Copy) -> str:
    last = copy.one("endorsement", "SELECT max(cursor) FROM feed_entries")
    copy.run(
        "endorsement",
        f"UPDATE feed_entries SET cursor = cursor + 1 WHERE cursor = {last}",
        "UPDATE feed_counter SET last_cursor = last_cursor + 1",
    )
    return f"feed {last + 1}"


# ---------------------------------------------------------------- L10: webhooks


@corruption("L10")
def a_delivery_that_was_never_made(copy: Copy) -> str:
    delivery, webhook = copy.one(
        "endorsement",
        "SELECT d.id, d.webhook_id FROM webhook_deliveries d JOIN endorsements e ON e.id = d.endorsement_id "
        "WHERE e.status = 'endorsed' ORDER BY d.id LIMIT 1",
    )
    copy.run(
        "endorsement",
        f"DELETE FROM webhook_attempts WHERE delivery_id = {delivery}",
        f"DELETE FROM webhook_deliveries WHERE id = {delivery}",
    )
    return str(webhook)


@corruption("L10")
def delivered_and_never_received(copy: Copy) -> str:
    webhook = next(line for line in copy.lines("webhook.jsonl") if str(line["answer"]).startswith("2"))["webhook_id"]
    copy.write("webhook.jsonl", (line for line in copy.lines("webhook.jsonl") if line["webhook_id"] != webhook))
    return str(webhook)


@corruption("L10")
def a_forged_signature(copy: Copy) -> str:
    lines = copy.lines("webhook.jsonl")
    lines[-1]["signature"] = "v1,AAAA" + lines[-1]["signature"][7:]
    copy.write("webhook.jsonl", lines)
    return str(lines[-1]["webhook_id"])


@corruption("L10")
def one_event_under_a_second_webhook_id(copy: Copy) -> str:
    lines = copy.lines("webhook.jsonl")
    wrong = fresh()
    copy.write("webhook.jsonl", [*lines, {**lines[-1], "webhook_id": wrong}])
    return wrong


@corruption("L10")
def a_delivery_left_waiting(copy: Copy) -> str:
    delivery = copy.one("endorsement", "SELECT min(id) FROM webhook_deliveries WHERE status = 'delivered'")
    copy.run("endorsement", f"UPDATE webhook_deliveries SET status = 'pending' WHERE id = {delivery}")
    return str(delivery)


# ---------------------------------------------------------------- L11: sums


@corruption("L11")
def a_message_that_changed_without_a_step(copy: Copy) -> str:
    message = copy.one("notifications", "SELECT id FROM messages WHERE state = 'dropped' ORDER BY id LIMIT 1")
    copy.run(
        "notifications",
        "ALTER TABLE messages DISABLE TRIGGER USER",
        f"UPDATE messages SET state = 'rejected' WHERE id = '{message}'",
    )
    return str(message)


@corruption("L11")
def a_call_in_a_state_that_nobody_told(copy: Copy) -> str:
    call = copy.one("matching", "SELECT call_id FROM bookings WHERE state = 'completed' ORDER BY call_id LIMIT 1")
    copy.run("matching", f"UPDATE bookings SET state = 'missed', missed_by = 'prospect' WHERE call_id = '{call}'")
    return str(call)


@corruption("L11")
def booked_in_the_queue_and_nowhere_else(copy: Copy) -> str:
    person = copy.one("matching", "SELECT person_id FROM queue_entries WHERE state = 'done' ORDER BY 1 LIMIT 1")
    copy.run("matching", f"UPDATE queue_entries SET state = 'booked' WHERE person_id = '{person}'")
    return str(person)


@corruption("L11")
def a_confirmation_without_effect(copy: Copy) -> str:
    email = copy.one(
        "signup",
        "SELECT email FROM signups WHERE status = 'pending' AND NOT EXISTS "
        "(SELECT 1 FROM signups o WHERE o.person_id = signups.person_id AND o.status = 'applied') LIMIT 1",
    )
    model = next(line for line in copy.lines("load.jsonl") if line.get("act") == "confirm")
    copy.write("load.jsonl", [*copy.lines("load.jsonl"), {**model, "who": email, "outcome": "ack"}])
    return str(email).lower()


@corruption("L11")
def a_role_that_was_not_given(copy: Copy) -> str:
    person, signup = copy.one("signup", "SELECT person_id, signup_id FROM roles WHERE signup_id IS NOT NULL LIMIT 1")
    copy.run("signup", f"DELETE FROM roles WHERE person_id = '{person}'")
    return str(signup)


# ---------------------------------------------------------------- L12: audit

APPEND_ONLY = "ALTER TABLE audit_entries DISABLE TRIGGER USER"


@corruption("L12")
def an_audit_row_altered(copy: Copy) -> str:
    row = copy.one("signup", "SELECT min(id) FROM audit_entries")
    copy.run("signup", f"UPDATE audit_entries SET details = details || '{{\"x\": 1}}' WHERE id = {row}")
    return f"signup audit {row}"


@corruption("L12")
def an_audit_row_removed(copy: Copy) -> str:
    row = copy.one("matching", "SELECT min(id) FROM audit_entries")
    following = copy.one("matching", f"SELECT min(id) FROM audit_entries WHERE id > {row}")
    copy.run("matching", f"DELETE FROM audit_entries WHERE id = {row}")
    return f"matching audit {following}"


@corruption("L12")
def the_last_audit_row_removed(copy: Copy) -> str:
    copy.run("endorsement", APPEND_ONLY, "DELETE FROM audit_entries WHERE id = (SELECT max(id) FROM audit_entries)")
    return "endorsement audit head"


@corruption("L12")
def an_account_that_nobody_opened(copy: Copy) -> str:
    account = copy.one("signup", "SELECT id FROM accounts ORDER BY id LIMIT 1")
    copy.run("signup", f"UPDATE audit_entries SET subject = '{fresh()}' WHERE subject = '{account}'")
    return str(account)


# ---------------------------------------------------------------- L13: rest


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


# ---------------------------------------------------------------- L14: personal data


def marker(copy: Copy) -> str:
    """A string that the run's personal data holds."""
    return str(next(line for line in copy.lines("load.jsonl") if line["kind"] == "run")["markers"][0])


@corruption("L14")
def a_name_on_an_internal_topic(copy: Copy) -> str:
    record = copy.record(is_type("matching.intro_call_invited.v1"))
    copy.change_record(record, lambda line: with_header(line, "x-debug", f"for {marker(copy)}"))
    return f"{record['topic']}/{record['partition']}/{record['offset']}"


@corruption("L14")
def an_address_on_an_internal_topic(copy: Copy) -> str:
    record = copy.record(is_type("matching.intro_call_invited.v1"))
    copy.change_record(record, lambda line: with_header(line, "x-debug", "mail to jo@mail.example"))
    return f"{record['topic']}/{record['partition']}/{record['offset']}"


@corruption("L14")
def an_address_in_a_log(copy: Copy) -> str:
    email = copy.one("signup", "SELECT email FROM person_emails LIMIT 1")
    (copy.logs / "signup.log").write_text(f'{{"event": "sent", "to": "{email}"}}\n')
    return "signup.log"


@corruption("L14")
def a_ballot_name_without_consent(copy: Copy) -> str:
    copy.run("endorsement", "UPDATE publish_consents SET granted = false")
    return "without the candidate's consent"


@corruption("L14")
def a_person_id_on_a_public_topic(copy: Copy) -> str:
    record = copy.record(is_type("endorsement.endorsed.v1"))
    person = copy.one("signup", "SELECT id FROM people LIMIT 1")
    copy.change_record(record, lambda line: with_header(line, "ce_person", person))
    return str(person)


ALL: Sequence[Corruption] = tuple(CORRUPTIONS)
