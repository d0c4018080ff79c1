"""The form in somebody else's page, on another origin: framed by the loader, or pasted as a plain form."""

import threading
import time
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any
from urllib.parse import urlsplit
from uuid import uuid4

import pytest
from playwright.async_api import Browser, Page

from tests.flow.conftest import System
from tests.flow.visitor import FORM_SECONDS, Visitor, until, visiting

CAMPAIGN = "utm_source=town+paper&utm_medium=article&utm_campaign=spring_27&ref=campus"
STORED = """
    SELECT c.utm_source, c.utm_medium, c.utm_campaign, c.ref, c.page, c.referrer
    FROM sources c JOIN signups s ON s.id = c.signup_id WHERE s.email = $1
"""
FACTS = (
    "SELECT p.name, p.state, s.form, p.language FROM signups s JOIN people p ON p.id = s.person_id WHERE s.email = $1"
)


@dataclass
class Host:
    """A site of somebody else: its address, and its pages by path."""

    origin: str
    pages: dict[str, str] = field(default_factory=dict)

    def publish(self, path: str, snippet: str) -> str:
        """Put a snippet into a page of the site; its address."""
        body = f'<h1>Our town</h1><div id="join">{snippet}</div>'
        self.pages[path] = f'<!doctype html><html lang="en"><title>Our town</title><body>{body}</body></html>'
        return f"{self.origin}{path}"


@contextmanager
def hosting() -> Iterator[Host]:
    """Serve pages from an origin of their own."""
    host = Host("")

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            page = host.pages.get(urlsplit(self.path).path)
            self.send_response(404 if page is None else 200)
            self.send_header("Content-Type", "text/html; charset=utf-8")
            self.end_headers()
            self.wfile.write((page or "").encode())

        def log_message(self, *_arguments: Any) -> None:
            """Say nothing."""

    with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        host.origin = f"http://127.0.0.1:{server.server_port}"
        thread = threading.Thread(target=server.serve_forever, daemon=True)
        thread.start()
        try:
            yield host
        finally:
            server.shutdown()
            thread.join()


@pytest.fixture
def host() -> Iterator[Host]:
    """A site on another origin than the system's."""
    with hosting() as site:
        yield site


async def snippet(system: System, browser: Browser, label: str, query: str = "") -> str:
    """What the staff's page of links offers to copy under that label."""
    email = f"{uuid4().hex}@example.org"
    await system.command("staff", "add", "--name", "Dee Ruiz", "--email", email, "--role", "staff")
    async with visiting(system, browser, email) as staff:
        await staff.sign_in()
        await staff.go(system.url("signup", f"/people/links?form=run&lang_of_form=en{query}"))
        return await staff.page.get_by_label(label).input_value()


@asynccontextmanager
async def reader(system: System, browser: Browser, *, scripts: bool = True) -> AsyncIterator[Visitor]:
    """A reader of the site, new to the system, who is left without a cookie of it."""
    async with visiting(system, browser, f"{uuid4().hex}@example.org", scripts=scripts) as visitor:
        yield visitor
        assert await visitor.page.context.cookies() == []


async def test_framed_form_takes_a_signup_and_tells_where_it_stood(
    system: System, browser: Browser, host: Host
) -> None:
    loader = await snippet(system, browser, "Frame for another site")
    address = host.publish("/join/us", loader)
    async with reader(system, browser) as visitor:
        page = visitor.page
        await page.goto(f"{address}?{CAMPAIGN}&secret=1#top", referer="https://news.example.org/story")
        frame = page.frame_locator("#join iframe")
        for name, value in (("name", "Ada Frame"), ("email", visitor.email), ("birth_year", "1996")):
            await frame.locator(f"main [name={name}]").fill(value)
        await frame.locator("main [name=state]").select_option("OH")
        await frame.locator('main [name=spoken_languages][value="en"]').check(force=True)
        shown_at = int(str(await frame.locator("[name=rendered]").get_attribute("value")).split(".")[0])

        async def is_old() -> bool:
            return time.time() - shown_at / 1000 > FORM_SECONDS

        async def is_tall() -> bool:
            room = await page.locator("#join iframe").evaluate("frame => frame.clientHeight")
            return bool(room >= await frame.locator("html").evaluate("page => page.scrollHeight"))

        await until(is_old, "the form to be old enough", seconds=10)
        await until(is_tall, "the frame to be as tall as its form", seconds=10)
        await frame.locator("main form button[type=submit]").click()
        await frame.get_by_role("heading", name="Almost there").wait_for()
        assert page.url.startswith(address), "the site's page stays where it is"
        await visitor.mail_with("/confirm/")
    assert await system.fetch("signup", FACTS, visitor.email) == [("Ada Frame", "OH", "run", "en")]
    assert await system.fetch("signup", STORED, visitor.email) == [
        ("town paper", "article", "spring_27", "campus", "http://127.0.0.1/join/us", "https://news.example.org/story")
    ]


async def test_codes_of_the_loader_hold_where_the_address_has_none(
    system: System, browser: Browser, host: Host
) -> None:
    loader = await snippet(system, browser, "Frame for another site", f"&{CAMPAIGN}")
    address = host.publish("/", loader)
    async with reader(system, browser) as visitor:
        await visitor.page.goto(f"{address}?utm_source=flyer")
        found = await hidden(visitor.page, ("utm_source", "utm_medium", "utm_campaign", "ref", "page"))
    assert found == {
        "utm_source": "flyer",
        "utm_medium": "article",
        "utm_campaign": "spring_27",
        "ref": "campus",
        "page": f"{host.origin}/",
    }


async def hidden(page: Page, names: tuple[str, ...]) -> dict[str, str | None]:
    """Hidden values of the framed form."""
    frame = page.frame_locator("#join iframe")
    return {name: await frame.locator(f"[name={name}]").get_attribute("value") for name in names}


@pytest.mark.parametrize("scripts", [True, False], ids=["scripts", "no scripts"])
async def test_plain_form_takes_a_signup_with_the_codes_that_were_built_in(
    system: System, browser: Browser, host: Host, scripts: bool
) -> None:
    form = await snippet(system, browser, "Plain form for another site", f"&{CAMPAIGN}")
    assert "<script" not in form
    address = host.publish("/plain", form)
    async with reader(system, browser, scripts=scripts) as visitor:
        page = visitor.page
        await page.goto(address)
        for name, value in (("name", "Ada Plain"), ("email", visitor.email), ("birth_year", "1996")):
            await page.locator(f"#join [name={name}]").fill(value)
        await page.locator("#join select[name=state]").select_option("OH")
        await page.locator('#join [name=spoken_languages][value="en"]').check()
        await visitor.press("#join form button")
        assert page.url == system.url("signup", "/f/run/thank-you?lang=en")
        await visitor.mail_with("/confirm/")
    assert await system.fetch("signup", FACTS, visitor.email) == [("Ada Plain", "OH", "run", "en")]
    # Without a script, a form knows nothing of the page around it: the codes say which site it was made for.
    assert await system.fetch("signup", STORED, visitor.email) == [
        ("town paper", "article", "spring_27", "campus", None, None)
    ]
