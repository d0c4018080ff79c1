"""L7: copies."""

from tests.faults.corruptions.making import Copy, Line, corruption, fresh


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
