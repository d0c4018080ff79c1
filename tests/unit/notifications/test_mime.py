"""Mails as bytes, read back by the standard library."""

import datetime as dt
import email
import email.policy
from email.header import decode_header, make_header
from email.message import EmailMessage
from email.utils import parseaddr
from typing import Any
from uuid import UUID

from hypothesis import given, settings
from hypothesis import strategies as st

from services.notifications.sending.mime import Envelope, Letter, one_line
from shared.messages import Attachment

MESSAGE = UUID("0190a5c0-0000-7000-8000-0000000000aa")
ENVELOPE = Envelope(sender_name="Open Porch", sender_address="hello@mail.example", reply_to="contact@example.org")
CALENDAR = Attachment(
    filename="call.ics", content_type="text/calendar; method=REQUEST", content="BEGIN:VCALENDAR\r\nEND:VCALENDAR\r\n"
)


def letter(**changes: Any) -> Letter:
    return Letter(
        **{
            "message_id": MESSAGE,
            "recipient": "ana@example.org",
            "recipient_name": "Ana Pérez",
            "subject": "Your call",
            "language": "en",
            "text": "Hi Ana,\n\n.a line that begins with a dot\n",
            "html": "<p>Hi Ana</p>",
            "date": dt.datetime(2026, 3, 14, 18, 30, tzinfo=dt.UTC),
            "unsubscribe_url": "https://m.example/unsubscribe/t",
            **changes,
        }
    )


def parsed(**changes: Any) -> EmailMessage:
    message = email.message_from_bytes(ENVELOPE.write(letter(**changes)).content, policy=email.policy.default)
    assert isinstance(message, EmailMessage)
    assert not message.defects
    return message


def test_mail_has_the_headers_that_providers_ask_for() -> None:
    message = parsed()
    assert dict(message.items()) == {
        "From": "Open Porch <hello@mail.example>",
        "Reply-To": "contact@example.org",
        "MIME-Version": "1.0",
        "Auto-Submitted": "auto-generated",
        "X-Auto-Response-Suppress": "All",
        "Date": "Sat, 14 Mar 2026 18:30:00 +0000",
        "Message-ID": f"<{MESSAGE}@mail.example>",
        "To": "Ana Pérez <ana@example.org>",
        "Subject": "Your call",
        "Content-Language": "en",
        "List-Unsubscribe": "<https://m.example/unsubscribe/t>",
        "List-Unsubscribe-Post": "List-Unsubscribe=One-Click",
        "Content-Type": f'multipart/alternative; boundary="=_a{MESSAGE.hex}"',
    }


def test_mail_without_attachment_is_text_and_html() -> None:
    message = parsed()
    assert [part.get_content_type() for part in message.iter_parts()] == ["text/plain", "text/html"]
    plain, html = (part.get_content() for part in message.iter_parts())
    assert plain == "Hi Ana,\r\n\r\n.a line that begins with a dot\r\n"
    assert html == "<p>Hi Ana</p>\r\n"


def test_calendar_file_is_attached_with_its_method() -> None:
    message = parsed(attachments=(CALENDAR,))
    alternatives, calendar = message.iter_parts()
    assert message.get_content_type() == "multipart/mixed"
    assert alternatives.get_content_type() == "multipart/alternative"
    assert calendar.get_content_type() == "text/calendar"
    assert calendar.get_filename() == "call.ics"
    assert calendar["Content-Type"].params["method"] == "REQUEST"
    assert calendar.get_payload(decode=True) == CALENDAR.content.encode()


def test_no_line_is_longer_than_the_limit() -> None:
    content = ENVELOPE.write(letter(text="ü" * 3000, html="x" * 3000, subject="é" * 300)).content
    assert max(len(line) for line in content.split(b"\r\n")) <= 78
    assert b"\n" not in content.replace(b"\r\n", b"")


# What a person may type into a form, surrogates aside, which no UTF-8 input can hold.
anything = st.text(st.characters(codec="utf-8"), max_size=200)


@settings(deadline=None)
@given(name=anything, subject=anything)
def test_names_and_subjects_never_make_a_header_of_their_own(name: str, subject: str) -> None:
    head = ENVELOPE.write(letter(recipient_name=name, subject=subject)).content.partition(b"\r\n\r\n")[0]
    lines = head.split(b"\r\n")
    names = [line.partition(b":")[0].decode() for line in lines if not line.startswith(b" ")]
    assert names == [
        "From", "Reply-To", "MIME-Version", "Auto-Submitted", "X-Auto-Response-Suppress", "Date", "Message-ID", "To",
        "Subject", "Content-Language", "List-Unsubscribe", "List-Unsubscribe-Post", "Content-Type",
    ]  # fmt: skip
    assert head.isascii()


def test_injected_header_ends_up_in_the_name() -> None:
    message = parsed(recipient_name="Ana\r\nBcc: all@example.org", subject="Hi\nX-Evil: 1")
    assert message["Bcc"] is None
    assert message["X-Evil"] is None
    assert message["To"].addresses[0].addr_spec == "ana@example.org"


@settings(deadline=None)
@given(text=anything)
def test_body_comes_back_as_it_was(text: str) -> None:
    message = parsed(text=text)
    (plain, _html) = message.iter_parts()
    assert plain.get_content().splitlines() == (text.splitlines() or [""])


@settings(deadline=None)
@given(name=anything)
def test_name_is_read_back_as_it_was_written(name: str) -> None:
    content = ENVELOPE.write(letter(recipient_name=name)).content
    (written,) = email.message_from_bytes(content).get_all("To", [])
    shown, address = parseaddr(written)
    assert (str(make_header(decode_header(shown))), address) == (one_line(name), "ana@example.org")
    assert max(len(line) for line in content.partition(b"\r\n\r\n")[0].split(b"\r\n")) <= 998


def test_line_with_an_encoded_name_keeps_to_its_limit() -> None:
    for name in ("Ана", "Ана-Мария Петрова", "Ана-Мария Петрова " * 9):
        content = ENVELOPE.write(letter(recipient_name=name, recipient="a" * 40 + "@example.org")).content
        lines = content.partition(b"\r\n\r\n")[0].split(b"\r\n")
        assert max(len(line) for line in lines) <= 76
