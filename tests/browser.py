"""The browser that tests drive: the machine's own Chromium, never a downloaded one."""

import os
import shutil
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

from axe_playwright_python.base import AXE_FILE_PATH
from playwright.async_api import Browser, Page, async_playwright

_AXE = Path(AXE_FILE_PATH).read_text()
_NAMES = ("chromium", "chromium-browser", "google-chrome")


class NoBrowser(RuntimeError):
    """No Chromium was found: install Debian's package `chromium`, or set HUSTINGS_CHROMIUM to one's path."""

    def __init__(self) -> None:
        super().__init__(self.__doc__)


def find_chromium() -> str:
    """The path in HUSTINGS_CHROMIUM, or the first Chromium or Chrome on the PATH; `NoBrowser` tells the remedy."""
    named = os.environ.get("HUSTINGS_CHROMIUM")
    if named is not None:
        if not Path(named).is_file():
            raise NoBrowser
        return named
    found = next((path for name in _NAMES if (path := shutil.which(name))), None)
    if found is None:
        raise NoBrowser
    return found


@asynccontextmanager
async def launch_browser() -> AsyncIterator[Browser]:
    """A headless browser, closed with everything it started when the block ends."""
    path = find_chromium()
    async with async_playwright() as playwright:
        # Tests run as root in containers, where Chromium's own sandbox cannot start.
        browser = await playwright.chromium.launch(
            executable_path=path, args=["--no-sandbox", "--disable-dev-shm-usage"]
        )
        try:
            yield browser
        finally:
            await browser.close()


async def accessibility_findings(page: Page) -> list[tuple[str, list[str]]]:
    """What axe finds on the page as it stands: each rule with the elements that break it; [] is right.

    Evaluated by the debugger, so that neither the page's content policy nor switched-off scripts stand in the way.
    """
    result = await page.evaluate(f"async () => {{ {_AXE}\nreturn await axe.run(); }}")
    assert len(result["passes"]) > 5, "axe found nothing to look at"
    return [(found["id"], [node["html"] for node in found["nodes"]]) for found in result["violations"]]
