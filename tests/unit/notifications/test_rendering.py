"""Every template in every language and channel, with data as the owners send it."""

import re
from html.parser import HTMLParser
from uuid import UUID

import pytest

from services.notifications.domain.names import TEMPLATES
from services.notifications.domain.plan import PLAN, TEMPLATES_WITH_TEXT
from services.notifications.domain.texts import segments
from services.notifications.domain.why import REASONS
from services.notifications.sending.render import Renderer
from shared.messages import Data
from shared.program import load
from tests.harness import PROGRAM_2017, PROGRAM_2025
from tests.unit.notifications.samples import SAMPLES, URL, contact

MESSAGE = UUID("0190a5c0-0000-7000-8000-0000000000aa")
RENDERERS = {
    path.stem: Renderer(load(path), "https://messages.example", "secret") for path in (PROGRAM_2017, PROGRAM_2025)
}
RENDERER = RENDERERS["org_2025"]


class Words(HTMLParser):
    """The words of an HTML mail and the addresses it links to."""

    def __init__(self) -> None:
        super().__init__()
        self.text = ""
        self.links: list[str] = []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:  # noqa: ARG002 (the library's signature)
        self.links += [value for name, value in attrs if name == "href" and value]

    def handle_data(self, data: str) -> None:
        self.text += data


def check_words(text: str) -> None:
    """Nothing that a template let through by mistake."""
    assert not re.search(r"\{\{|\{%|%\(|\bNone\b|\bUndefined\b|<Message|en=|Localized", text)


def test_samples_cover_every_template() -> None:
    assert {data.template for data in SAMPLES} == set(Data.registry)


def test_names_and_reasons_cover_every_template_and_event() -> None:
    assert set(TEMPLATES) == set(Data.registry)
    assert set(REASONS) == {event.type for event in PLAN}


@pytest.mark.parametrize("organization", sorted(RENDERERS))
@pytest.mark.parametrize("language", ["en", "es"])
@pytest.mark.parametrize("data", SAMPLES, ids=lambda data: data.template)
def test_email_renders_in_both_forms(data: Data, language: str, organization: str) -> None:
    rendered = RENDERERS[organization].email(
        message_id=MESSAGE,
        template=data.template,
        event_type="matching.call_booked.v1",
        delivery="transactional",
        contact=contact(language=language),
        data=data,
    )
    assert rendered.html is not None
    html = Words()
    html.feed(rendered.html)
    for words in (rendered.subject or "", rendered.text, html.text):
        check_words(words)
        assert words.strip()
    assert "\n" not in (rendered.subject or "\n")
    given = {str(value) for value in data.model_dump().values() if str(value).startswith("https://")}
    assert given <= set(html.links) | set(re.findall(r"https://\S+", html.text))
    assert given <= set(re.findall(r"https://\S+", rendered.text))
    for purpose in ("why", "preferences", "unsubscribe"):
        link = RENDERER.link(purpose, MESSAGE)
        assert link in html.links
        assert link in rendered.text
    assert f"({language})" not in rendered.text
    greeting = {"en": "Hi Ana,", "es": "Hola, Ana:"}[language]
    assert greeting in rendered.text
    assert greeting in html.text


@pytest.mark.parametrize("data", SAMPLES, ids=lambda data: data.template)
def test_spanish_email_shares_no_sentence_with_the_english_one(data: Data) -> None:
    texts = {
        language: RENDERER.email(
            message_id=MESSAGE,
            template=data.template,
            event_type="matching.call_booked.v1",
            delivery="transactional",
            contact=contact(language=language),
            data=data,
        ).text
        for language in ("en", "es")
    }
    sentences = {
        language: {line for line in text.splitlines() if len(line.split()) > 4 and "://" not in line}
        for language, text in texts.items()
    }
    postal = RENDERER._program.organization.postal_address
    assert sentences["en"] & sentences["es"] == {postal}


@pytest.mark.parametrize("language", ["en", "es"])
@pytest.mark.parametrize("first", [True, False])
@pytest.mark.parametrize("template", sorted(TEMPLATES_WITH_TEXT))
def test_text_renders_and_the_first_tells_how_to_stop(template: str, first: bool, language: str) -> None:
    data = next(data for data in SAMPLES if data.template == template)
    rendered = RENDERER.sms(template=template, contact=contact(language=language), data=data, first=first)
    check_words(rendered.text)
    assert rendered.text.startswith("Open Porch: ")
    assert ("STOP" in rendered.text) is first
    assert rendered.segments == segments(rendered.text)
    assert segments(rendered.text) <= 4
    assert rendered.text.isprintable()


def test_times_are_told_in_the_recipients_zone_with_its_name() -> None:
    data = next(data for data in SAMPLES if data.template == "call_reminder")
    told = {}
    for zone in ("America/Chicago", "America/Los_Angeles", None):
        told[zone] = RENDERER.sms(
            template="call_reminder", contact=contact(time_zone=zone), data=data, first=False
        ).text
    assert "1:30 PM CDT" in told["America/Chicago"].replace("\u202f", " ")
    assert "11:30 AM PDT" in told["America/Los_Angeles"].replace("\u202f", " ")
    assert told[None] == told["America/Chicago"]


def test_names_are_escaped_in_html_and_left_alone_in_plain_text() -> None:
    data = next(data for data in SAMPLES if data.template == "confirmed_welcome")
    rendered = RENDERER.email(
        message_id=MESSAGE,
        template="confirmed_welcome",
        event_type="signup.person_confirmed.v1",
        delivery="transactional",
        contact=contact(name="<script>alert(1)</script> Smith"),
        data=data,
    )
    assert rendered.html is not None
    assert "<script>" not in rendered.html
    assert "Hi <script>alert(1)</script>," in rendered.text


def test_link_mails_offer_no_unsubscribing() -> None:
    data = next(data for data in SAMPLES if data.template == "sign_in")
    rendered = RENDERER.email(
        message_id=MESSAGE,
        template="sign_in",
        event_type="signup.sign_in_requested.v1",
        delivery="link",
        contact=contact(),
        data=data,
    )
    assert rendered.unsubscribe_url is None
    assert "unsubscribe" not in rendered.text.lower()
    assert URL in rendered.text


@pytest.mark.parametrize("kind", ["stop", "help", "start"])
@pytest.mark.parametrize("language", ["en", "es"])
def test_replies_render(kind: str, language: str) -> None:
    rendered = RENDERER.reply(kind, language)
    check_words(rendered.text)
    assert rendered.text.startswith("Open Porch: ")
