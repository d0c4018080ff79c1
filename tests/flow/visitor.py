"""A person with a browser of their own, who fills forms, presses buttons and reads mail."""

import asyncio
import re
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import Any, TypeVar

from playwright.async_api import Browser, Page, Response, ViewportSize

from deploy.demo.mailbox import links
from tests.browser import accessibility_findings
from tests.flow.conftest import System

# What the default settings call too quick for a person (SIGNUP_FORM_MIN_SECONDS), with something to spare.
FORM_SECONDS = 2.1
PHONE, DESK = {"width": 390, "height": 844}, {"width": 1280, "height": 900}
T = TypeVar("T")


async def until(look: Callable[[], Awaitable[T]], what: str, *, seconds: float = 60) -> T:
    """Poll until `look` gives something true; the failure names what was awaited."""
    deadline = time.monotonic() + seconds
    while not (found := await look()):
        assert time.monotonic() < deadline, f"waited {seconds:.0f} s in vain for {what}"
        await asyncio.sleep(0.1)
    return found


@dataclass
class Visitor:
    """One person at one browser. Every page they come to is checked for accessibility."""

    system: System
    page: Page
    email: str
    language: str = "en"
    read: set[str] = field(default_factory=set)
    auditor: Page | None = None
    sent: str = ""
    """The body of the form that was sent last, as it went over the wire."""

    async def go(self, url: str, *, status: int = 200) -> None:
        """Open an address."""
        response = await self.page.goto(url)
        await self._arrive(response, status)

    async def press(self, selector: str, *, status: int = 200) -> None:
        """Press the one button (or link) that the selector means, and wait for the page that follows."""
        async with self.page.expect_navigation() as navigation:
            await self.page.locator(selector).click()
        response = await navigation.value
        first = response.request.redirected_from or response.request
        self.sent = first.post_data or ""
        await self._arrive(response, status)

    async def _arrive(self, response: Response | None, status: int) -> None:
        assert response is not None
        assert response.status == status, f"{self.page.url} answered {response.status}: {await self.text()}"
        findings = await accessibility_findings(await self._audited())
        assert findings == [], f"{self.page.url}: {findings}"

    async def _audited(self) -> Page:
        """The page itself; where scripts are off, axe cannot run either, so a copy of it where they are on."""
        if self.auditor is None:
            return self.page
        base = f'<head><base href="{self.page.url}">'
        await self.auditor.set_content((await self.page.content()).replace("<head>", base, 1))
        return self.auditor

    async def text(self) -> str:
        """The words of the page's main part, with single spaces."""
        return plain(await self.page.locator("main").inner_text())

    async def fill(self, **values: str | list[str]) -> None:
        """Fill the controls of the form by their names; a list means boxes, `__` stands for a hyphen."""
        for name, value in values.items():
            control = self.page.locator(f'main [name="{name.replace("__", "-")}"]:not([type=hidden])')
            kind = await control.first.evaluate("control => control.type || control.tagName")
            if kind in ("checkbox", "radio"):
                wanted = value if isinstance(value, list) else [value]
                for box in await control.all():
                    await box.set_checked((await box.get_attribute("value")) in wanted, force=True)
            elif kind == "select-one":
                await control.select_option(str(value))
            else:
                await control.fill(str(value))

    async def fill_date(self, name: str, day: Any) -> None:
        """Fill the three fields of a date."""
        for part in ("month", "day", "year"):
            await self.page.locator(f'main [name="{name}-{part}"]').fill(str(getattr(day, part)))

    async def old_enough(self) -> None:
        """Wait until the form has been open as long as a person needs to fill it."""
        shown_at = int(str(await self.page.locator("input[name=rendered]").get_attribute("value")).split(".")[0])

        async def is_old() -> bool:
            return time.time() - shown_at / 1000 > FORM_SECONDS

        await until(is_old, "the form to be old enough", seconds=10)

    async def mail(self, wanted: Callable[[dict[str, Any]], bool], what: str) -> dict[str, Any]:
        """The first mail for which `wanted` holds among those not read yet."""

        async def look() -> dict[str, Any] | None:
            messages = await asyncio.to_thread(self.system.mailbox.messages, self.email)
            fresh = [message for message in messages if message["id"] not in self.read and wanted(message)]
            return fresh[0] if fresh else None

        message = await until(look, f"mail to {self.email}: {what}")
        assert message is not None
        self.read.add(message["id"])
        return message

    async def mail_with(self, link: str) -> tuple[dict[str, Any], str]:
        """The first unread mail with a link of that kind, and the link; text and HTML carry the same one."""
        message = await self.mail(lambda found: bool(links(found, link)), f"a link {link}")
        address = links(message, link)[0]
        assert address.replace("&", "&amp;") in message["html"]
        return message, address

    async def sign_in(self, next_url: str | None = None) -> None:
        """By the mailed link: the form asks for the address, the mail brings a page with a button."""
        await self.go(next_url or self.system.url("signup", "/account/sign-in"))
        await self.fill(email=self.email)
        await self.press("main form button")
        _message, address = await self.mail_with("/account/sign-in/")
        await self.go(address)
        await self.press("main form button")

    async def sign_up(self, form: str, query: str = "", **values: str | list[str]) -> None:
        """Fill the hosted form and send it."""
        await self.go(self.system.url("signup", f"/f/{form}?lang={self.language}{query}"))
        await self.fill(email=self.email, **values)
        await self.old_enough()
        await self.press("main form button[type=submit]")
        assert f"/f/{form}/thank-you" in self.page.url, await self.text()

    async def confirm(self) -> None:
        """By the button of the mailed link."""
        _message, address = await self.mail_with("/confirm/")
        await self.go(address)
        await self.press("main form button")
        assert self.page.url == self.system.url("signup", "/me")

    async def person_id(self) -> str:
        """Their id, as their own page's JSON tells it."""
        return str((await self.json("signup", "/v1/me"))["person_id"])

    async def json(self, service: str, path: str) -> Any:
        """The JSON at an address, with this browser's session."""
        answer = await self.page.context.request.get(self.system.url(service, path))
        assert answer.status == 200, await answer.text()
        return await answer.json()


@asynccontextmanager
async def visiting(
    system: System,
    browser: Browser,
    email: str,
    *,
    language: str = "en",
    size: dict[str, int] = DESK,
    scripts: bool = True,
) -> AsyncIterator[Visitor]:
    """A visitor with a fresh browser profile; in the end no page has reported an error."""
    context_size = ViewportSize(width=size["width"], height=size["height"])
    context = await browser.new_context(
        viewport=context_size,
        java_script_enabled=scripts,
        locale="es-US" if language == "es" else "en-US",
        # axe would measure a colour in the middle of its transition.
        reduced_motion="reduce",
    )
    context.set_default_timeout(10_000)
    page = await context.new_page()
    auditor = None if scripts else await browser.new_page(viewport=context_size, reduced_motion="reduce")
    troubles: list[str] = []
    page.on("pageerror", lambda error: troubles.append(str(error)))
    try:
        yield Visitor(system, page, email, language, auditor=auditor)
        assert troubles == []
    finally:
        await context.close()
        if auditor is not None:
            await auditor.close()


def plain(text: str) -> str:
    """With single, ordinary spaces."""
    return re.sub(r"\s+", " ", text).strip()
