"""Language, escaping, headers, formats, budgets and contrasts of the shared pages."""

import gzip
import re
from collections.abc import Mapping
from datetime import UTC, date, datetime, timedelta
from pathlib import Path

import httpx
import pytest
from jinja2 import UndefinedError
from starlette.applications import Starlette
from starlette.requests import Request

import shared.web
from shared.web import pages as kit
from shared.web.pages import Pages, brand_css, contrast
from tests.unit.web.samples import Brand, Organization, Program, make_pages, sample_pages

WEB = Path(shared.web.__file__).parent
ROOT = WEB.parents[1]
SAMPLES = sample_pages()


@pytest.fixture(scope="module")
def pages() -> Pages:
    return make_pages()


def request_with(query: str = "", accept_language: str = "") -> Request:
    headers = [(b"accept-language", accept_language.encode())]
    return Request(
        {"type": "http", "method": "GET", "path": "/f/run", "query_string": query.encode(), "headers": headers}
    )


def visitor(pages: Pages) -> httpx.AsyncClient:
    application = httpx.ASGITransport(app=Starlette(routes=pages.routes()))
    return httpx.AsyncClient(transport=application, base_url="https://run.example")


@pytest.mark.parametrize(
    ("query", "session", "accept", "language"),
    [
        ("lang=es", "en", "en", "es"),
        ("lang=fr", "es", "en", "es"),
        ("", "es", "en", "es"),
        ("", None, "fr-FR,es-MX;q=0.8,en;q=0.5", "es"),
        ("", None, "es;q=0.1,en-US", "en"),
        ("", None, "es;q=0,fr", "en"),
        ("", None, "es;q=nonsense", "en"),
        ("", None, "", "en"),
    ],
)
def test_language_is_query_then_session_then_browser_then_program(
    pages: Pages, query: str, session: str | None, accept: str, language: str
) -> None:
    assert pages.page_language(request_with(query, accept), session) == language


def test_language_switch_keeps_the_query(pages: Pages) -> None:
    template, context = SAMPLES["message"]
    response = pages.response(request_with("source=a%26b&lang=en&ref=x"), template, **context)
    assert re.findall(r'<a href="(\?[^"]*)" lang="es"', bytes(response.body).decode()) == [
        "?source=a%26b&amp;ref=x&amp;lang=es"
    ]


def test_response_is_not_stored_unless_public(pages: Pages) -> None:
    template, context = SAMPLES["message"]
    response = pages.response(request_with("lang=es"), template, status=201, **context)
    assert (response.status_code, response.headers["cache-control"], response.headers["content-language"]) == (
        201,
        "no-store",
        "es",
    )
    public = pages.response(request_with(), template, public=True, **context)
    assert public.headers["cache-control"] == "no-cache"


@pytest.mark.parametrize("language", ["en", "es"])
@pytest.mark.parametrize("name", SAMPLES)
def test_page_has_nothing_inline_and_no_foreign_brand(pages: Pages, name: str, language: str) -> None:
    template, context = SAMPLES[name]
    html = pages.render(template, language=language, **context)
    assert f'<html lang="{language}">' in html
    assert re.findall(r"<style|\sstyle=|<script(?![^>]*\ssrc=)|\son\w+=|javascript:", html) == []
    assert re.findall(r"GOV\.UK|crown", html, re.IGNORECASE) == []


def test_what_people_typed_is_escaped(pages: Pages) -> None:
    template, context = SAMPLES["form-errors"]
    typed: Mapping[str, str] = {"name": '"><script>alert(1)</script>', "why": "</textarea><script>"}
    html = pages.render(template, language="en", **{**context, "values": typed})
    assert html.count("<script") == 1
    assert 'value="&#34;&gt;&lt;script&gt;alert(1)&lt;/script&gt;"' in html


def test_name_that_a_page_lacks_is_an_error(pages: Pages) -> None:
    with pytest.raises(UndefinedError, match="'title' is undefined"):
        pages.render("message.html", language="en")


def test_no_template_trusts_text() -> None:
    templates = [*WEB.glob("templates/*.html"), *ROOT.glob("services/*/templates/**/*.html")]
    assert templates != []
    assert [path.name for path in templates if re.search(r"\|\s*safe|autoescape\s+false", path.read_text())] == []


@pytest.mark.parametrize(
    ("name", "budget"), [("form", 20_000), ("form-errors", 20_000), ("status", 25_000), ("staff", 80_000)]
)
@pytest.mark.parametrize("language", ["en", "es"])
async def test_page_with_its_files_fits_the_budget(pages: Pages, name: str, budget: int, language: str) -> None:
    template, context = SAMPLES[name]
    html = pages.render(template, language=language, **context)
    sizes = [len(gzip.compress(html.encode()))]
    async with visitor(pages) as client:
        for address in re.findall(r'(?:href|src)="(/signup/static/[^"]+)"', html):
            answer = await client.get(address)
            assert answer.headers["content-encoding"] == "gzip"
            sizes.append(int(answer.headers["content-length"]))
    assert len(sizes) == 3
    assert sum(sizes) <= budget


async def test_static_file_is_kept_only_under_its_own_digest(pages: Pages) -> None:
    async with visitor(pages) as client:
        current = await client.get(pages.asset("hustings.css"))
        other = await client.get("/signup/static/hustings.0123456789.css")
        missing = await client.get("/signup/static/secrets.0123456789.css")
    assert (current.headers["cache-control"], current.headers["content-type"]) == (
        "public, max-age=31536000, immutable",
        "text/css; charset=utf-8",
    )
    assert "--brand:#4a2396" in current.text
    assert (other.headers["cache-control"], other.text) == ("no-cache", current.text)
    assert missing.status_code == 404


def test_script_is_a_trifle() -> None:
    assert (WEB / "static" / "forms.js").stat().st_size < 2048


def test_moments_are_told_in_the_readers_zone_and_language() -> None:
    moment = datetime(2026, 3, 4, 23, 30, tzinfo=UTC)
    english = kit.local_time(moment, "America/Chicago", language="en").replace("\u202f", " ")
    spanish = kit.local_time(moment, "America/Chicago", language="es").replace("\u202f", " ").replace("\xa0", " ")
    assert english == "Wednesday, March 4, 2026, 5:30 PM CST"
    assert spanish == "miércoles, 4 de marzo de 2026, 5:30 p.m. CST"
    assert kit.local_date(datetime(2026, 3, 5, 2, tzinfo=UTC), "America/Chicago", language="en") == "March 4, 2026"
    assert kit.local_date(date(2026, 3, 5), language="es") == "5 de marzo de 2026"


def test_naive_moment_is_refused() -> None:
    naive = datetime(2026, 3, 4, 12, tzinfo=UTC).replace(tzinfo=None)
    with pytest.raises(ValueError, match="local_time needs an aware datetime"):
        kit.local_time(naive, "America/Chicago", language="en")
    with pytest.raises(ValueError, match="local_date needs an aware datetime"):
        kit.local_date(naive, "America/Chicago", language="en")


@pytest.mark.parametrize(("cents", "shown"), [(120_000, "$1,200"), (120_050, "$1,200.50"), (-5, "-$0.05"), (0, "$0")])
def test_money_shows_cents_only_where_there_are_some(cents: int, shown: str) -> None:
    assert kit.money_cents(cents, language="en") == shown


def test_age_is_told_in_its_largest_unit() -> None:
    now = datetime(2026, 3, 4, 12, tzinfo=UTC)
    assert kit.age(now - timedelta(hours=3), now, language="en") == "3 hours ago"
    assert kit.age(now - timedelta(days=2), now, language="es") == "hace 2 días"
    assert kit.age(now + timedelta(minutes=20), now, language="en") == "in 20 minutes"


def test_contrast_is_wcags() -> None:
    assert contrast("#000000", "#ffffff") == pytest.approx(21)
    assert contrast("#767676", "#ffffff") == pytest.approx(4.54, abs=0.01)


@pytest.mark.parametrize("primary", ["#4a2396", "#ffd166", "#00b3a4", "#888888", "#ffffff", "#000000"])
def test_any_brand_colour_becomes_readable(primary: str) -> None:
    rules = dict(re.findall(r"(--[\w-]+):(#\w{6})", brand_css(Brand(primary=primary))))
    assert rules["--brand"] == primary
    assert contrast(rules["--on-brand"], rules["--brand"]) >= 4.5
    assert contrast(rules["--on-brand"], rules["--brand-strong"]) >= 4.5
    assert contrast(rules["--brand-text"], "#ffffff") >= 4.5
    assert contrast(rules["--on-accent"], rules["--accent"]) >= 4.5


def test_brand_colour_that_is_no_colour_is_refused() -> None:
    with pytest.raises(ValueError, match=r"organization\.brand\.primary is 'red;}': write a colour as six hex digits"):
        make_pages(Program(organization=Organization(brand=Brand(primary="red;}"))))
