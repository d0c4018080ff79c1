"""Pages: one Jinja environment per language, the shared templates and stylesheet, the reader's language.

A service's templates come first and may extend or replace the shared ones. Every name a template uses has to
exist (StrictUndefined), everything shown is escaped, and nothing in a page needs an inline script or style, so
the strictest content security policy fits. `templates/README.md` lists the macros.
"""

from __future__ import annotations

import gzip
import hashlib
import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, date, datetime, timedelta
from decimal import Decimal
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any
from urllib.parse import urlencode
from zoneinfo import ZoneInfo

from babel.dates import format_date, format_datetime, format_time, format_timedelta, get_day_names
from babel.numbers import format_currency, format_decimal, format_percent
from jinja2 import (
    ChoiceLoader,
    Environment,
    FileSystemLoader,
    PackageLoader,
    PrefixLoader,
    StrictUndefined,
    Undefined,
)
from markupsafe import Markup
from starlette.requests import Request
from starlette.responses import HTMLResponse, Response
from starlette.routing import Route

from shared.web.fields import DAYS, WINDOWS_PER_DAY, chosen, value_of
from shared.web.i18n import load_translations, locale_of, translate
from shared.web.text import Message, Text, _

if TYPE_CHECKING:
    from shared.web.sessions import Principal

HERE = Path(__file__).parent
NEUTRAL_PAGE = "https://www.weather.gov/"
"""Where "Leave this page quickly" goes unless `links["leave"]` says otherwise."""

ROLES: tuple[tuple[str, Text], ...] = (
    ("admin", _("Administrator")),
    ("staff", _("Staff")),
    ("reviewer", _("Reviewer")),
)
"""What an account is called in the header, the foremost role first."""

_COMPONENTS = {
    "back_link": ("back-link", "govukBackLink"),
    "checkboxes": ("checkboxes", "govukCheckboxes"),
    "date_input": ("date-input", "govukDateInput"),
    "details": ("details", "govukDetails"),
    "error_summary": ("error-summary", "govukErrorSummary"),
    "input": ("input", "govukInput"),
    "inset_text": ("inset-text", "govukInsetText"),
    "pagination": ("pagination", "govukPagination"),
    "radios": ("radios", "govukRadios"),
    "select": ("select", "govukSelect"),
    "summary_list": ("summary-list", "govukSummaryList"),
    "tabs": ("tabs", "govukTabs"),
    "textarea": ("textarea", "govukTextarea"),
}
_MEDIA_TYPES = {".css": "text/css; charset=utf-8", ".js": "text/javascript; charset=utf-8", ".svg": "image/svg+xml"}


@dataclass(frozen=True, slots=True)
class NavigationItem:
    """An entry of the staff navigation. `key` names it for `current` and for its number in `counts`; only accounts
    with one of `roles` are shown it."""

    key: str
    label: Text
    href: str
    roles: frozenset[str] = frozenset({"staff", "admin"})


@dataclass(frozen=True, slots=True)
class AccountLinks:
    """What the header offers somebody who is signed in: their own page, and the way out.

    `sign_out` takes the press of a button where the session was opened (`posts`), else it leads to that button: a
    form of another origin would be refused. `role` is the account's foremost, None for a person without one.
    """

    home: str
    sign_out: str
    posts: bool
    role: Text | None


@dataclass(frozen=True, slots=True)
class LanguageLink:
    """The same page in another language, with the rest of its query kept."""

    code: str
    name: str
    href: str
    current: bool


@dataclass(frozen=True, slots=True)
class _Asset:
    body: bytes
    compressed: bytes
    digest: str
    media_type: str


@dataclass(frozen=True, slots=True)
class _Tongue:
    """Everything that depends on the language."""

    environment: Environment
    translate: Callable[[Text], str]


@dataclass
class Pages:
    """Renders the pages of one service for one program.

    `links` maps a service's name to its public base URL; the keys `home`, `privacy` and `leave` may be added and
    appear in the footer. `navigation` is the staff menu, the same in every service.
    """

    service: str
    templates: Sequence[Path]
    locales: Sequence[Path]
    program: Any
    links: Mapping[str, str]
    navigation: Sequence[NavigationItem] = ()
    _tongues: dict[str, _Tongue] = field(init=False, repr=False)
    _assets: dict[str, _Asset] = field(init=False, repr=False)

    def __post_init__(self) -> None:
        self.languages = tuple(str(code) for code in self.program.languages)
        self.default_language = str(self.program.default_language)
        brand = brand_css(getattr(self.program.organization, "brand", None))
        self._assets = _load_assets({"hustings.css": brand})
        loader = ChoiceLoader([FileSystemLoader(path) for path in (*self.templates, HERE / "templates")])
        govuk = _govuk_macros()
        self._tongues = {code: self._tongue(code, loader, govuk) for code in self.languages}

    def render(self, template: str, *, language: str, **context: object) -> str:
        """The page as text. `language` is one of the program's; without a request, language links drop the query."""
        tongue = self._tongues[language]
        context.setdefault("languages", self._language_links(language, ()))
        return tongue.environment.get_template(template).render(language=language, **context)

    def response(
        self,
        request: Request,
        template: str,
        *,
        status: int = 200,
        language: str | None = None,
        public: bool = False,
        **context: object,
    ) -> HTMLResponse:
        """The page as an answer. Nothing is stored by browsers or proxies unless it is the same for all: `public`."""
        spoken = language if language is not None else self.page_language(request)
        context.setdefault("languages", self._language_links(spoken, request.query_params.multi_items()))
        principal = None if public else getattr(request.state, "principal", None)
        if principal is not None and "signup" in self.links:
            context.setdefault("account", self._account(principal))
            context.setdefault("navigation", [item for item in self.navigation if item.roles & principal.roles])
        return HTMLResponse(
            self.render(template, language=spoken, **context),
            status_code=status,
            headers={
                "Cache-Control": "no-cache" if public else "no-store",
                "Content-Language": spoken,
                "Vary": "Accept-Language, Cookie",
            },
        )

    def page_language(self, request: Request, session_language: str | None = None) -> str:
        """`lang` in the query, then the session's, then the browser's, then the program's; unknown ones are skipped."""
        wanted = (
            request.query_params.get("lang"),
            session_language,
            *_accepted_languages(request.headers.get("accept-language", "")),
        )
        for tag in wanted:
            code = (tag or "").lower().replace("_", "-").partition("-")[0]
            if code in self._tongues:
                return code
        return self.default_language

    def translate(self, text: Text, language: str) -> str:
        """A message or a program's text in one of the program's languages."""
        return self._tongues[language].translate(text)

    def asset(self, name: str) -> str:
        """The address of a static file, with its digest in the name so that it may be kept for ever."""
        stem, dot, suffix = name.rpartition(".")
        return f"/{self.service}/static/{stem}.{self._assets[name].digest}{dot}{suffix}"

    def static_file(self, name: str) -> bytes:
        """The bytes of a static file as they are served; KeyError when there is no such file."""
        return self._assets[name].body

    def routes(self) -> list[Route]:
        """The route that serves the static files, under the service's own prefix."""
        return [Route(f"/{self.service}/static/{{name}}", self._serve_asset, methods=["GET"])]

    async def _serve_asset(self, request: Request) -> Response:
        stem, _dot, suffix = request.path_params["name"].rpartition(".")
        plain, _dot, digest = stem.rpartition(".")
        asset = self._assets.get(f"{plain}.{suffix}")
        if asset is None:
            return Response("There is no such file.", status_code=404, media_type="text/plain")
        # During a rolling deploy the other version's digest may be asked for: answered, but not kept.
        headers = {
            "Cache-Control": "public, max-age=31536000, immutable" if digest == asset.digest else "no-cache",
            "Vary": "Accept-Encoding",
        }
        if "gzip" in request.headers.get("accept-encoding", ""):
            headers["Content-Encoding"] = "gzip"
            return Response(asset.compressed, headers=headers, media_type=asset.media_type)
        return Response(asset.body, headers=headers, media_type=asset.media_type)

    def _account(self, principal: Principal) -> AccountLinks:
        home = self.links["signup"]
        return AccountLinks(
            home=f"{home}/me",
            sign_out=f"{home}/account/sign-out",
            posts=self.service == "signup",
            role=next((label for role, label in ROLES if role in principal.roles), None),
        )

    def _language_links(self, current: str, query: Sequence[tuple[str, str]]) -> list[LanguageLink]:
        kept = [(key, value) for key, value in query if key != "lang"]
        return [
            LanguageLink(
                code=code,
                name=(locale_of(code).get_language_name(code) or code).capitalize(),
                href="?" + urlencode([*kept, ("lang", code)]),
                current=code == current,
            )
            for code in self.languages
        ]

    def _tongue(self, language: str, loader: ChoiceLoader, govuk: Mapping[str, Callable[..., Markup]]) -> _Tongue:
        translations = load_translations(language, (HERE / "locales", *self.locales))
        say = partial(translate, language=language, translations=translations, default_language=self.default_language)
        environment = Environment(
            loader=loader,
            autoescape=True,
            undefined=StrictUndefined,
            trim_blocks=True,
            lstrip_blocks=True,
            extensions=["jinja2.ext.i18n", "jinja2.ext.do"],
        )
        environment.policies["ext.i18n.trimmed"] = True
        environment.install_gettext_translations(translations, newstyle=True)  # type: ignore[attr-defined]
        locale = locale_of(language)
        environment.globals.update(
            organization=self.program.organization,
            program=self.program,
            service=self.service,
            links=dict(self.links),
            leave_url=self.links.get("leave", NEUTRAL_PAGE),
            navigation=tuple(self.navigation),
            asset=self.asset,
            govuk=govuk,
            value_of=value_of,
            chosen=chosen,
            week=[(key, get_day_names("wide", locale=locale)[day]) for day, key in enumerate(DAYS)],
            windows_per_day=WINDOWS_PER_DAY,
        )
        environment.filters.update(
            t=lambda text: say(text),
            local_time=partial(local_time, language=language),
            local_date=partial(local_date, language=language),
            money_cents=partial(money_cents, language=language),
            age=partial(age, language=language),
            duration=partial(duration, language=language),
            number=partial(format_decimal, locale=locale),
            percent=partial(format_percent, locale=locale),
        )
        return _Tongue(environment, lambda text: say(text))


def local_time(moment: datetime, zone: str | None = None, *, language: str) -> str:
    """`moment` with weekday, date, time and zone name as a person there reads it; `zone` is an IANA name."""
    if moment.tzinfo is None:
        raise ValueError("local_time needs an aware datetime: a naive one names no moment")
    locale = locale_of(language)
    local = moment.astimezone(ZoneInfo(zone) if zone else UTC)
    day = format_date(local, "full", locale=locale)
    return f"{day}, {format_time(local, 'short', locale=locale)} {format_datetime(local, 'zzz', locale=locale)}"


def local_date(day: date | datetime, zone: str | None = None, *, language: str) -> str:
    """A date in full. A datetime is first taken to `zone` (UTC when left out)."""
    if isinstance(day, datetime):
        if day.tzinfo is None:
            raise ValueError("local_date needs an aware datetime: a naive one names no moment")
        day = day.astimezone(ZoneInfo(zone) if zone else UTC).date()
    return format_date(day, "long", locale=locale_of(language))


def money_cents(cents: int, *, language: str) -> str:
    """US dollars from whole cents; cents are shown only where there are some."""
    shape = None if cents % 100 else "¤#,##0"
    return format_currency(
        Decimal(cents) / 100, "USD", format=shape, currency_digits=shape is None, locale=locale_of(language)
    )


def age(moment: datetime, now: datetime, *, language: str) -> str:
    """How long before (or after) `now`, in its largest unit: "3 hours ago", "hace 3 horas"."""
    return format_timedelta(moment - now, add_direction=True, threshold=1.2, locale=locale_of(language))


def duration(length: timedelta, *, language: str) -> str:
    """A length of time in its largest unit."""
    return format_timedelta(length, threshold=1.2, locale=locale_of(language))


def _accepted_languages(header: str) -> list[str]:
    """Tags of an Accept-Language header, the most wanted first; what is refused (q=0) or malformed is left out."""
    weighted: list[tuple[float, int, str]] = []
    for position, part in enumerate(header.split(",")[:20]):
        tag, _semicolon, parameter = part.strip().partition(";")
        weight = re.fullmatch(r"\s*q\s*=\s*([01](?:\.\d{0,3})?)\s*", parameter) if parameter else None
        if not tag or (parameter and weight is None):
            continue
        quality = float(weight.group(1)) if weight else 1.0
        if quality > 0:
            weighted.append((-quality, position, tag))
    return [tag for _quality, _position, tag in sorted(weighted)]


# ---------------------------------------------------------------- colours

_HEX = re.compile(r"#[0-9a-fA-F]{6}")
_INK = "#211a33"
_WHITE = "#ffffff"


def brand_css(brand: object) -> str:
    """Custom properties for the organization's colours, with every contrast that WCAG AA asks for made good.

    Reads `brand.primary`, `brand.accent` and `brand.text` (six-digit hex, each optional). Text on a colour is
    white or ink, whichever reads better; a primary too light to be text on white is darkened where it is text.
    """
    rules: dict[str, str] = {}
    primary = _colour(brand, "primary")
    accent = _colour(brand, "accent")
    if primary is not None:
        text = _darkened(primary, until=4.5)
        rules |= {
            "--brand": primary,
            "--on-brand": _readable_on(primary),
            "--brand-text": text,
            "--brand-strong": _mixed(primary, "#000000" if _readable_on(primary) == _WHITE else _WHITE, 0.28),
            "--ring": text,
        }
    if accent is not None:
        rules |= {"--accent": accent, "--on-accent": _readable_on(accent)}
    ink = _colour(brand, "text")
    if ink is not None:
        rules["--ink"] = ink
    return ":root{" + ";".join(f"{name}:{value}" for name, value in rules.items()) + "}" if rules else ""


def contrast(one: str, other: str) -> float:
    """WCAG's contrast ratio of two six-digit hex colours, from 1 to 21."""
    lighter, darker = sorted((_luminance(one), _luminance(other)), reverse=True)
    return (lighter + 0.05) / (darker + 0.05)


def _colour(brand: object, name: str) -> str | None:
    value = brand.get(name) if isinstance(brand, Mapping) else getattr(brand, name, None)
    if value is None:
        return None
    if not isinstance(value, str) or not _HEX.fullmatch(value):
        raise ValueError(f"organization.brand.{name} is {value!r}: write a colour as six hex digits, like #4a2396")
    return value.lower()


def _channels(colour: str) -> tuple[int, int, int]:
    return int(colour[1:3], 16), int(colour[3:5], 16), int(colour[5:7], 16)


def _luminance(colour: str) -> float:
    linear = [
        part / 12.92 if part <= 0.04045 else ((part + 0.055) / 1.055) ** 2.4
        for part in (channel / 255 for channel in _channels(colour))
    ]
    return 0.2126 * linear[0] + 0.7152 * linear[1] + 0.0722 * linear[2]


def _mixed(colour: str, other: str, share: float) -> str:
    pairs = zip(_channels(colour), _channels(other), strict=True)
    return "#" + "".join(f"{round(one * (1 - share) + two * share):02x}" for one, two in pairs)


def _darkened(colour: str, until: float) -> str:
    share = 0.0
    while contrast(_mixed(colour, "#000000", share), _WHITE) < until:
        share += 0.05
    return _mixed(colour, "#000000", share)


def _readable_on(colour: str) -> str:
    return _WHITE if contrast(colour, _WHITE) >= contrast(colour, _INK) else _INK


# ---------------------------------------------------------------- files and vendor macros


def _load_assets(appended: Mapping[str, str]) -> dict[str, _Asset]:
    assets = {}
    for path in sorted((HERE / "static").iterdir()):
        body = path.read_bytes() + appended.get(path.name, "").encode()
        assets[path.name] = _Asset(
            body=body,
            compressed=gzip.compress(body, 9, mtime=0),
            digest=hashlib.sha256(body).hexdigest()[:10],
            media_type=_MEDIA_TYPES[path.suffix],
        )
    return assets


def _govuk_macros() -> dict[str, Callable[..., Markup]]:
    """The form components by name, each taking one mapping.

    They rely on missing keys being falsy, so they live in an environment of their own and ours stays strict.
    """
    environment = Environment(
        loader=PrefixLoader({"govuk_frontend_jinja": PackageLoader("govuk_frontend_jinja")}),
        autoescape=True,
        undefined=Undefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    return {
        name: getattr(environment.get_template(f"govuk_frontend_jinja/components/{folder}/macro.html").module, macro)
        for name, (folder, macro) in _COMPONENTS.items()
    }


__all__ = ["LanguageLink", "Message", "NavigationItem", "Pages", "brand_css", "contrast"]
