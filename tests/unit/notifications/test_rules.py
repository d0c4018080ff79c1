"""The rules at the moment of sending, incoming texts, segments, tokens."""

import datetime as dt
from uuid import UUID
from zoneinfo import ZoneInfo

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from services.notifications.domain.plan import plan
from services.notifications.domain.sending import (
    MAX_TRIES,
    Defer,
    Drop,
    Next,
    Verdict,
    after,
    bulk_is_paused,
    may_send,
    texting_opens,
)
from services.notifications.domain.texts import in_gsm, intent_of, segments
from services.notifications.domain.tokens import contact_hash, message_of, token_of, without_tokens
from shared.directory import Contact
from shared.program import load
from tests.component.notifications.events import booked, invited, signed_up
from tests.harness import PROGRAM_2025
from tests.unit.notifications.samples import contact

TEXTING = load(PROGRAM_2025).texting
NOON = dt.datetime(2026, 3, 14, 17, 0, tzinfo=dt.UTC)
MESSAGE = UUID("0190a5c0-0000-7000-8000-0000000000aa")
ONE, TWO = UUID(int=1), UUID(int=2)


def verdict(
    delivery: str = "transactional", channel: str = "email", person: Contact | None = None,
    scopes: tuple[str, ...] = (), withdrawn: bool = False, expires_at: dt.datetime | None = None,
    now: dt.datetime = NOON,
) -> Verdict:  # fmt: skip
    return may_send(
        channel=channel,  # type: ignore[arg-type]
        delivery=delivery,  # type: ignore[arg-type]
        contact=person or contact(),
        scopes=scopes,
        withdrawn=withdrawn,
        expires_at=expires_at,
        texting=TEXTING,
        now=now,
    )


@pytest.mark.parametrize(
    ("scope", "delivery", "expected"),
    [
        ("bulk", "link", None),
        ("bulk", "transactional", None),
        ("bulk", "bulk", Drop("suppressed")),
        ("all", "link", None),
        ("all", "transactional", Drop("suppressed")),
        ("all", "bulk", Drop("suppressed")),
        ("address", "link", Drop("suppressed")),
        ("address", "transactional", Drop("suppressed")),
    ],
)
def test_suppression_stops_what_its_scope_says(scope: str, delivery: str, expected: Verdict) -> None:
    assert verdict(delivery, scopes=(scope,)) == expected


def test_unconfirmed_person_gets_links_only() -> None:
    nobody = contact(confirmed=False)
    assert verdict("link", person=nobody) is None
    assert verdict("transactional", person=nobody) == Drop("unconfirmed")
    assert verdict("bulk", person=nobody) == Drop("unconfirmed")


@pytest.mark.parametrize(
    ("channel", "delivery", "needs"),
    [("email", "link", False), ("email", "transactional", False), ("email", "bulk", True),
     ("sms", "transactional", True), ("sms", "bulk", True)],
)  # fmt: skip
def test_bulk_mail_and_every_text_need_consent(channel: str, delivery: str, needs: bool) -> None:
    without = contact(consents={})
    assert verdict(delivery, channel, without) == (Drop("no_consent") if needs else None)
    assert verdict(delivery, channel, withdrawn=True) == (Drop("no_consent") if needs else None)
    assert verdict(delivery, channel) is None


def test_message_that_comes_too_late_is_dropped() -> None:
    assert verdict(expires_at=NOON) == Drop("expired")
    assert verdict(expires_at=NOON + dt.timedelta(seconds=1)) is None


def test_text_at_night_waits_and_is_dropped_when_the_morning_is_too_late() -> None:
    night = dt.datetime(2026, 3, 14, 6, 0, tzinfo=dt.UTC)
    morning = dt.datetime(2026, 3, 14, 13, 0, tzinfo=dt.UTC)
    assert verdict(channel="sms", now=night) == Defer(morning)
    assert verdict(channel="sms", now=night, expires_at=morning) == Drop("expired")


@pytest.mark.parametrize(
    ("zone", "now", "opens"),
    [
        # The night in which the clocks go forward: 8:00 is an hour closer.
        ("America/Chicago", "2026-03-08T05:00Z", "2026-03-08T13:00Z"),
        ("America/Chicago", "2026-03-07T05:00Z", "2026-03-07T14:00Z"),
        # The night in which they go back.
        ("America/Chicago", "2026-11-01T04:00Z", "2026-11-01T14:00Z"),
        ("America/Chicago", "2026-11-02T02:59Z", "2026-11-02T02:59Z"),
        ("America/Chicago", "2026-11-02T03:00Z", "2026-11-02T14:00Z"),
        (None, "2026-07-01T15:59Z", "2026-07-01T16:00Z"),
        ("Nowhere/Else", "2026-07-01T16:00Z", "2026-07-01T16:00Z"),
        (None, "2026-07-02T01:00Z", "2026-07-02T16:00Z"),
    ],
)
def test_quiet_hours_follow_the_recipients_clock(zone: str | None, now: str, opens: str) -> None:
    assert texting_opens(zone, TEXTING, dt.datetime.fromisoformat(now)) == dt.datetime.fromisoformat(opens)


@settings(deadline=None)
@given(
    at=st.datetimes(dt.datetime(2026, 1, 1), dt.datetime(2027, 12, 31), timezones=st.just(dt.UTC)),  # noqa: DTZ001
    zone=st.sampled_from(["America/New_York", "America/Phoenix", "Pacific/Honolulu", "America/St_Johns"]),
)
def test_text_never_arrives_at_night(at: dt.datetime, zone: str) -> None:
    opens = texting_opens(zone, TEXTING, at)
    assert opens >= at
    assert 8 <= opens.astimezone(ZoneInfo(zone)).hour < 21
    assert opens - at <= dt.timedelta(hours=12)


@pytest.mark.parametrize(
    ("channel", "delivery", "hands", "can_look_up", "due"),
    [
        ("email", "link", 1, True, NOON),
        ("email", "link", 2, True, None),
        ("email", "transactional", 1, True, NOON + dt.timedelta(minutes=15)),
        ("email", "transactional", 2, True, None),
        ("email", "bulk", 1, True, None),
        ("sms", "transactional", 1, True, NOON + dt.timedelta(minutes=5)),
        ("sms", "transactional", 1, False, None),
        ("sms", "bulk", 1, False, None),
    ],
)
def test_unknown_is_acted_on_by_class(
    channel: str, delivery: str, hands: int, can_look_up: bool, due: dt.datetime | None
) -> None:
    assert after(
        "unknown", "timeout", channel=channel, delivery=delivery, tries=1, hands=hands, now=NOON,  # type: ignore[arg-type]
        can_look_up=can_look_up,
    ) == Next("unknown", "timeout", due)  # fmt: skip


def test_temporary_refusals_are_tried_at_once_then_every_five_minutes_48_times() -> None:
    def wait(tries: int, retry_after_seconds: int | None = None) -> Next:
        return after("temporary", "smtp_451", channel="email", delivery="bulk", tries=tries, hands=1, now=NOON,
                     retry_after_seconds=retry_after_seconds)  # fmt: skip

    assert wait(1) == Next("queued", "smtp_451", NOON)
    assert wait(2) == Next("queued", "smtp_451", NOON + dt.timedelta(seconds=300))
    assert wait(MAX_TRIES) == Next("queued", "smtp_451", NOON + dt.timedelta(seconds=300))
    assert wait(MAX_TRIES + 1) == Next("rejected", "out_of_tries", None)
    assert wait(1, 120) == Next("queued", "smtp_451", NOON + dt.timedelta(seconds=120))


@pytest.mark.parametrize(
    ("sent", "bounced", "complained", "paused"),
    [(99, 99, 0, False), (100, 3, 0, False), (100, 4, 0, True), (2000, 0, 1, False), (2000, 0, 2, True)],
)
def test_bulk_pauses_at_the_promised_shares(sent: int, bounced: int, complained: int, paused: bool) -> None:
    assert bulk_is_paused(sent, bounced, complained) is paused


@pytest.mark.parametrize(
    "body",
    ["STOP", "stop", " Stop. ", "S T O P", "STOPALL", "Unsubscribe!", "cancel", "END", "quit", "Revoke", "opt out",
     "OPT-OUT", "please remove me", "Wrong number", "no más", "NO MAS", "ya no me escriban por favor", "stop please",
     "Dejen de escribirme", "Don't text me", "número equivocado"],
)  # fmt: skip
def test_stop_is_understood(body: str) -> None:
    assert intent_of(body) == "stop"


@pytest.mark.parametrize(
    ("body", "intent"),
    [("HELP", "help"), ("ayuda?", "help"), ("Info", "help"), ("START", "start"), ("unstop", "start"),
     ("thanks, see you there", None), ("", None), ("👍", None), ("I can't wait to help you campaign", None),
     ("I will start the call late", None), ("At the end of the week", None)],
)  # fmt: skip
def test_other_texts_are_told_apart(body: str, intent: str | None) -> None:
    assert intent_of(body) == intent


@pytest.mark.parametrize(
    ("body", "count"),
    [("a" * 160, 1), ("a" * 161, 2), ("a" * 306, 2), ("a" * 307, 3), ("€" * 80, 1), ("€" * 81, 2),
     ("í" * 70, 1), ("í" * 71, 2), ("😀" * 35, 1), ("😀" * 36, 2), ("ñ" * 160, 1)],
)  # fmt: skip
def test_segments_are_counted_as_providers_do(body: str, count: int) -> None:
    assert segments(body) == count


def test_typographic_signs_are_put_into_gsm_only_where_that_fits() -> None:
    assert in_gsm("We’ll “see” – sí") == 'We\'ll "see" - si'
    assert in_gsm("We’ll see 😀") == "We’ll see 😀"


def test_token_opens_its_own_purpose_only() -> None:
    token = token_of("secret", "why", MESSAGE)
    assert message_of("secret", "why", token) == MESSAGE
    assert message_of("secret", "unsubscribe", token) is None
    assert message_of("other", "why", token) is None
    assert message_of("secret", "why", token[:-1] + ("A" if token[-1] != "A" else "B")) is None


@settings(deadline=None)
@given(st.text(max_size=60))
def test_made_up_tokens_open_nothing(token: str) -> None:
    assert message_of("secret", "why", token) is None


def test_kept_words_hold_no_token() -> None:
    kept = without_tokens("See https://a.example/call/s3cret?x=1\nand http://b.example:80/t, or write to us.")
    assert kept == "See https://a.example/…\nand http://b.example:80/… or write to us."


def test_contact_hash_ignores_how_a_contact_is_written() -> None:
    assert contact_hash("k", "email", " Ana@Example.org") == contact_hash("k", "email", "ana@example.org")
    assert contact_hash("k", "sms", "(316) 555-0123") == contact_hash("k", "sms", "+13165550123")
    assert contact_hash("k", "sms", "+13165550123") != contact_hash("l", "sms", "+13165550123")


def test_booking_tells_both_and_a_moved_one_follows_the_programs_word_on_moved_calls() -> None:
    event = booked(ONE, TWO)
    assert [(p.template, p.person_id, p.kind) for p in plan(event)] == [
        ("call_booked", ONE, "call_booked"),
        ("call_booked_volunteer", TWO, "call_booked_volunteer"),
    ]
    assert [p.kind for p in plan(booked(ONE, TWO, replaces=UUID(int=9)))] == ["call_rescheduled", "call_rescheduled"]


def test_known_address_gets_another_mail() -> None:
    assert [p.template for p in plan(signed_up(ONE))] == ["welcome_confirm"]
    assert [p.template for p in plan(signed_up(ONE, known=True))] == ["already_known"]


def test_invitation_expires_with_the_call() -> None:
    event = invited(ONE)
    (planned,) = plan(event)
    assert (planned.reference, planned.expires_at) == (str(event.intro_call_id), event.starts_at)
