"""L1 and L2: sign-ups."""

from tests.faults.corruptions.making import Copy, Line, corruption, fresh

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
