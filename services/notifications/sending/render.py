"""A message's words: one template per message for both forms of an e-mail, one for a text; a catalogue per language.

What the mails of many people have in common is rendered once and then filled in (`stencil`); the result is the same.

An e-mail's template says what is said, in parts (`p`, `button`, `facts`, `listing`); `parts.html` and `parts.txt`
say how a part looks in HTML and in plain text. So the two forms cannot drift apart.
"""

from __future__ import annotations

import datetime as dt
import re
from collections import OrderedDict
from collections.abc import Callable, Hashable, Mapping
from dataclasses import dataclass
from functools import cache, partial
from pathlib import Path
from typing import Any
from uuid import UUID
from zoneinfo import ZoneInfo

from babel.dates import format_date, format_datetime, format_time
from jinja2 import Environment, FileSystemLoader, StrictUndefined, Template

from services.notifications.domain.texts import in_gsm, segments
from services.notifications.domain.tokens import PURPOSES, Purpose, token_of
from services.notifications.domain.why import why
from services.notifications.sending.labels import eligibility_checks, filing_reason, follow_up, label_of, match_reason
from services.notifications.sending.stencil import (
    Body,
    Line,
    NoStencil,
    cut,
    cut_body,
    fits,
    mark,
    marks_in,
    may_be_taken_for_mark,
    values_of,
)
from shared.directory import Contact
from shared.messages import Data
from shared.program import Program
from shared.web.i18n import SHARED, load_translations, locale_of, translate
from shared.web.pages import local_date, local_time

HERE = Path(__file__).parent.parent
MAX_STENCILS = 200
"""What is kept of one renderer: about 20 KB each."""


@dataclass(frozen=True, slots=True)
class Rendered:
    """An e-mail's subject and both forms; or a text's body (`text`) and its segments.

    `encoded` has the two forms as quoted-printable lines where that was cheaper than encoding them anew.
    """

    language: str
    subject: str | None
    text: str
    html: str | None = None
    segments: int | None = None
    unsubscribe_url: str | None = None
    encoded: tuple[bytes, bytes] | None = None


@dataclass(frozen=True, slots=True)
class _Stencil:
    subject: Line
    text: Body
    html: Body
    purposes: tuple[Purpose | None, ...]
    """Of each of the message's own links, what it is for; None when these words do not show it."""


@dataclass(frozen=True, slots=True)
class _Tongue:
    html: Environment
    text: Environment


class Renderer:
    """Renders every message in every language of the program. Templates are compiled once and kept."""

    def __init__(self, program: Program, public_url: str, link_secret: str) -> None:
        self._program = program
        self._public_url = public_url.rstrip("/")
        self._secret = link_secret
        self._tongues: dict[str, _Tongue] = {language: self._tongue(language) for language in program.languages}
        # None: seen once. Most words that are seen twice are seen often.
        self._stencils: OrderedDict[Hashable, _Stencil | NoStencil | None] = OrderedDict()

    def language_of(self, wanted: str) -> str:
        """One of the program's languages: the wanted one, or the default."""
        return wanted if wanted in self._tongues else str(self._program.default_language)

    def say(self, text: Any, language: str) -> str:
        """A message or a program's text, in a language."""
        shown: str = self._tongues[self.language_of(language)].text.filters["t"](text)
        return shown

    def link(self, purpose: Any, message_id: UUID) -> str:
        """The address of a message's link for a purpose."""
        path = {"unsubscribe": "unsubscribe", "preferences": "preferences", "why": "messages/why"}[purpose]
        return f"{self._public_url}/{path}/{token_of(self._secret, purpose, message_id)}"

    def email(
        self, *, message_id: UUID, template: str, event_type: str, delivery: str, contact: Contact, data: Data
    ) -> Rendered:  # fmt: skip
        """An e-mail to `contact`."""
        language = self.language_of(contact.language)
        addresses, rest = _fields(type(data))
        name = first_name(contact.name)
        zone = contact.time_zone or self._program.organization.time_zone
        given = [getattr(data, field) for field in addresses]
        shown = [name, *(value for value in given if value)]
        if all(map(fits, shown)):
            key = (template, event_type, delivery, language, zone, bool(name), tuple(map(bool, given)), rest(data))
            stencil = self._stencil(key, data, event_type, delivery, name)
            if stencil is not None:
                return self._filled(stencil, language, delivery, message_id, [name, *(value or "" for value in given)])
        return self._email(
            language, template, delivery,
            {
                "data": data, "name": name, "zone": zone, "why": why(event_type), "delivery": delivery,
                **{f"{purpose}_url": self.link(purpose, message_id) for purpose in PURPOSES},
            },
        )  # fmt: skip

    def _email(self, language: str, template: str, delivery: str, context: Mapping[str, Any]) -> Rendered:
        tongue = self._tongues[language]
        plain = tongue.text.get_template(f"email/{template}.html")
        return Rendered(
            language=language,
            subject=_block(plain, "subject", context),
            text=_tidy(plain.render(context)),
            html=tongue.html.get_template(f"email/{template}.html").render(context),
            unsubscribe_url=None if delivery == "link" else str(context["unsubscribe_url"]),
        )

    def _stencil(
        self, key: tuple[Any, ...], data: Data, event_type: str, delivery: str, name: str
    ) -> _Stencil | None:  # fmt: skip
        """The stencil for words that were seen before; None for others, and for words that cannot have one."""
        try:
            if key not in self._stencils:
                self._stencils[key] = None
                if len(self._stencils) > MAX_STENCILS:
                    self._stencils.popitem(last=False)
                return None
        except TypeError:
            # Lists of checks or reasons: they are one person's.
            return None
        found = self._stencils[key]
        if found is None:
            try:
                found = self._cut(key, data, event_type, delivery, name)
            except NoStencil as none:
                found = none
            self._stencils[key] = found
        self._stencils.move_to_end(key)
        return found if isinstance(found, _Stencil) else None

    def _cut(self, key: tuple[Any, ...], data: Data, event_type: str, delivery: str, name: str) -> _Stencil:
        template, _event_type, _delivery, language, zone, *_rest = key
        if may_be_taken_for_mark(key):
            raise NoStencil("The facts hold a sign that marks are made of.")
        addresses, _ = _fields(type(data))
        first = 1 + len(addresses)
        marked = {field: mark(number) for number, field in enumerate(addresses, 1) if getattr(data, field)}
        rendered = self._email(
            language, template, delivery,
            {
                "data": data.model_copy(update=marked), "name": mark(0) if name else name, "zone": zone,
                "why": why(event_type), "delivery": delivery,
                **{f"{purpose}_url": mark(number) for number, purpose in enumerate(PURPOSES, first)},
            },
        )  # fmt: skip
        count = first + len(PURPOSES)
        assert rendered.subject is not None
        assert rendered.html is not None
        used = marks_in(rendered.subject + rendered.text + rendered.html)
        return _Stencil(
            cut(rendered.subject, count),
            cut_body(rendered.text, count),
            cut_body(rendered.html, count),
            tuple(
                purpose if number in used or (purpose == "unsubscribe" and delivery != "link") else None
                for number, purpose in enumerate(PURPOSES, first)
            ),
        )

    def _filled(
        self, stencil: _Stencil, language: str, delivery: str, message_id: UUID, personal: list[str]
    ) -> Rendered:  # fmt: skip
        links = [self.link(purpose, message_id) if purpose else "" for purpose in stencil.purposes]
        values = values_of([*personal, *links])
        return Rendered(
            language=language,
            subject=stencil.subject.fill(values),
            text=stencil.text.words.fill(values),
            html=stencil.html.words.fill(values),
            unsubscribe_url=None if delivery == "link" else links[PURPOSES.index("unsubscribe")],
            encoded=(stencil.text.encode(values), stencil.html.encode(values)),
        )

    def sms(self, *, template: str, contact: Contact, data: Data, first: bool) -> Rendered:
        """A text to `contact`; the first one also says who we are, how often we write and how to stop."""
        language = self.language_of(contact.language)
        context = {**self._context(contact, data), "first": first, "frequency": self._program.texting.frequency}
        return self._sms(f"sms/{template}.txt", language, context)

    def reply(self, kind: str, language: str) -> Rendered:
        """The answer to an incoming STOP, HELP or START."""
        context = {"first": False, "frequency": self._program.texting.frequency}
        return self._sms(f"sms/reply_{kind}.txt", self.language_of(language), context)

    def _sms(self, name: str, language: str, context: Mapping[str, Any]) -> Rendered:
        body = in_gsm(" ".join(self._tongues[language].text.get_template(name).render(context).split()))
        return Rendered(language=language, subject=None, text=body, segments=segments(body))

    def _context(self, contact: Contact, data: Data) -> dict[str, Any]:
        zone = contact.time_zone or self._program.organization.time_zone
        return {"data": data, "name": first_name(contact.name), "zone": zone}

    def _tongue(self, language: str) -> _Tongue:
        return _Tongue(self._environment(language, "html"), self._environment(language, "txt"))

    def _environment(self, language: str, form: str) -> Environment:
        translations = load_translations(language, (SHARED / "locales", HERE / "locales"))
        say = partial(
            translate, language=language, translations=translations,
            default_language=str(self._program.default_language),
        )  # fmt: skip
        environment = Environment(
            loader=FileSystemLoader(HERE / "templates"),
            # Plain text has nothing to escape; the HTML form always escapes.
            autoescape=form == "html",  # noqa: S701
            undefined=StrictUndefined,
            trim_blocks=True,
            lstrip_blocks=True,
            extensions=["jinja2.ext.i18n", "jinja2.ext.do"],
            auto_reload=False,
        )
        environment.policies["ext.i18n.trimmed"] = True
        environment.install_gettext_translations(translations, newstyle=True)  # type: ignore[attr-defined]
        locale = locale_of(language)
        environment.globals.update(
            organization=self._program.organization, layout=f"email/layout.{form}", language=language
        )
        environment.filters.update(
            t=say,
            local_time=partial(local_time, language=language),
            local_date=partial(local_date, language=language),
            clock_time=lambda at, zone: _short(at, zone, locale),
            day=lambda at: format_date(at, "long", locale=locale),
            office=lambda office: say(label_of(self._program, "office", office)),
            track=lambda track: say(label_of(self._program, "track", track)),
            decline_reason=lambda reason: say(label_of(self._program, "decline_reason", reason)),
            form_title=lambda form_id: say(label_of(self._program, "form", form_id)),
            follow_up=lambda code: say(follow_up(code)),
            filing_reason=lambda code: say(filing_reason(code)),
            match_reason=lambda reason: say(match_reason(self._program, reason, locale)),
            eligibility_checks=lambda checks: eligibility_checks(checks, language),
            language_name=lambda code: locale.languages.get(code, code),
        )
        parts = environment.get_template(f"email/parts.{form}").module
        for part in ("p", "button", "facts", "listing"):
            environment.globals[part] = getattr(parts, part)
        return environment


@cache
def _fields(kind: type[Data]) -> tuple[tuple[str, ...], Callable[[Data], Hashable]]:
    """A template's fields that hold an address with the recipient's own token, and how to read all the others."""
    addresses = tuple(name for name in kind.model_fields if name.endswith("_url"))
    others = tuple(name for name in kind.model_fields if name not in addresses)
    return addresses, lambda data: tuple(getattr(data, name) for name in others)


def first_name(name: str) -> str:
    """What we call somebody: the first word of the name, at most 40 characters, on one line."""
    words = name.split()
    return words[0][:40] if words else ""


def _short(at: dt.datetime, zone: str, locale: Any) -> str:
    """A time for a text message: short weekday, date, time and zone."""
    local = at.astimezone(ZoneInfo(zone))
    day = format_datetime(local, "EEE d MMM" if locale.language == "es" else "EEE MMM d", locale=locale)
    return f"{day}, {format_time(local, 'short', locale=locale)} {format_datetime(local, 'zzz', locale=locale)}"


def _block(template: Template, name: str, context: Mapping[str, Any]) -> str:
    return " ".join("".join(template.blocks[name](template.new_context(dict(context)))).split())


def _tidy(text: str) -> str:
    return re.sub(r"\n{3,}", "\n\n", "\n".join(line.rstrip() for line in text.strip().splitlines())) + "\n"
