"""L14: personal data."""

from tests.faults.corruptions.making import Copy, corruption, is_type, with_header


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
