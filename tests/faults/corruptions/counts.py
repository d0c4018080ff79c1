"""L11: sums."""

from tests.faults.corruptions.making import Copy, corruption


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
