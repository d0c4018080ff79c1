"""L8: stops, consent, hours."""

import datetime as dt

from tests.faults.corruptions.copies import message_of
from tests.faults.corruptions.making import Copy, Line, corruption, earlier, fresh

# No move of the clock spans that much.
LATER = dt.timedelta(days=4000)


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


def somebody_else_stops_the_number(copy: Copy, *, by: str) -> str:
    """Somebody with the same number stopped it a minute before a text was handed over; the text's message."""
    message, person, _ = handed(copy, "m.channel = 'sms'")
    text = next(line for line in copy.lines("sms.jsonl") if line["reference"] == message)
    other, email = copy.one(
        "signup",
        "SELECT p.id, e.email FROM people p JOIN person_emails e ON e.person_id = p.id "
        f"WHERE p.id <> '{person}' AND p.phone IS NULL ORDER BY p.id LIMIT 1",
    )
    copy.run("signup", f"UPDATE people SET phone = '{text['to']}' WHERE id = '{other}'")
    stop = {"at": earlier(text["at"], minutes=1), "kind": "act", "act": "stop", "who": email, "person_id": str(other),
            "outcome": "ack", "detail": {"channel": "sms", "scope": "all", "by": by}}  # fmt: skip
    copy.write("load.jsonl", (*copy.lines("load.jsonl"), stop))
    return message


@corruption("L8", "L11", why="told that texts are stopped, and nothing is suppressed")
def a_text_to_a_number_that_somebody_else_stopped(copy: Copy) -> str:
    return somebody_else_stops_the_number(copy, by="text")


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
        f"UPDATE signups SET applied_at = '{at + LATER}' WHERE person_id = '{person}'",
        f"UPDATE consents SET given_at = '{at + LATER}' WHERE person_id = '{person}'",
    )
    return message


@corruption("L8")
def handed_over_before_the_address_was_confirmed(copy: Copy) -> str:
    message, person, at = handed(copy, "m.delivery = 'transactional'")
    copy.run("signup", f"UPDATE people SET confirmed_at = '{at + LATER}' WHERE id = '{person}'")
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
