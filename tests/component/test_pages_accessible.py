"""Every shared template, in both languages, on a phone and on a desk: no finding of axe, nothing sticks out."""

import re
from collections.abc import AsyncIterator
from pathlib import Path

import pytest
from axe_playwright_python.base import AXE_FILE_PATH
from playwright.async_api import Browser

from shared.web.pages import Pages
from tests.browser import launch_browser
from tests.unit.web.samples import make_pages, sample_pages

SAMPLES = sample_pages()
AXE = Path(AXE_FILE_PATH).read_text()
PHONE, SMALLEST, DESK = (390, 844), (320, 640), (1280, 900)
TARGETS_TOO_SMALL = """() => [...document.querySelectorAll("button, summary, .header a, .leave a, .footer-links a")]
  .filter(target => { const box = target.getBoundingClientRect(); return box.height < 24 || box.width < 24; })
  .map(target => target.outerHTML)"""


@pytest.fixture(scope="module")
async def browser() -> AsyncIterator[Browser]:
    async with launch_browser() as launched:
        yield launched


@pytest.fixture(scope="module")
def pages() -> Pages:
    return make_pages()


@pytest.mark.parametrize("size", [PHONE, DESK], ids=["phone", "desk"])
@pytest.mark.parametrize("language", ["en", "es"])
@pytest.mark.parametrize("name", SAMPLES)
async def test_page_has_no_accessibility_finding(
    browser: Browser, pages: Pages, name: str, language: str, size: tuple[int, int]
) -> None:
    page = await browser.new_page(viewport={"width": size[0], "height": size[1]})
    try:
        await page.set_content(_with_styles(pages, name, language))
        await page.add_script_tag(content=AXE)
        result = await page.evaluate("axe.run()")
        findings = [(found["id"], [node["html"] for node in found["nodes"]]) for found in result["violations"]]
        assert findings == []
        assert len(result["passes"]) > 10
        assert await page.evaluate(TARGETS_TOO_SMALL) == []
    finally:
        await page.close()


@pytest.mark.parametrize("name", SAMPLES)
async def test_page_fits_the_smallest_phone(browser: Browser, pages: Pages, name: str) -> None:
    page = await browser.new_page(viewport={"width": SMALLEST[0], "height": SMALLEST[1]})
    try:
        await page.set_content(_with_styles(pages, name, "es"))
        assert await page.evaluate("document.documentElement.scrollWidth") == SMALLEST[0]
    finally:
        await page.close()


async def test_every_error_leads_to_its_control(browser: Browser, pages: Pages) -> None:
    page = await browser.new_page()
    try:
        for name in ("form-errors", "availability-errors"):
            await page.set_content(_with_styles(pages, name, "en"))
            links = await page.eval_on_selector_all(
                ".govuk-error-summary a", "links => links.map(link => link.getAttribute('href'))"
            )
            assert links == [f"#{control}" for control in SAMPLES[name][1]["errors"]]
            for link in links:
                assert await page.locator(f'[id="{link[1:]}"]').count() == 1
    finally:
        await page.close()


async def test_keyboard_focus_is_seen(browser: Browser, pages: Pages) -> None:
    page = await browser.new_page()
    try:
        await page.set_content(_with_styles(pages, "form", "en"))
        unseen, reached = [], set()
        for _step in range(40):
            await page.keyboard.press("Tab")
            focused = await page.evaluate(
                """() => {
                  const focused = document.activeElement;
                  const drawn = focused.matches(".govuk-radios__input, .govuk-checkboxes__input")
                    ? getComputedStyle(focused.nextElementSibling, "::before") : getComputedStyle(focused);
                  return [focused.outerHTML, drawn.outlineStyle, parseFloat(drawn.outlineWidth)];
                }"""
            )
            if focused[0].startswith("<body"):
                break
            reached.add(focused[0])
            if focused[1] == "none" or focused[2] < 2:
                unseen.append(focused)
        assert unseen == []
        assert len(reached) > 20
    finally:
        await page.close()


def _with_styles(pages: Pages, name: str, language: str) -> str:
    template, context = SAMPLES[name]
    html = pages.render(template, language=language, **context)
    styles = pages.static_file("hustings.css").decode()
    return re.sub(r'<link rel="stylesheet"[^>]*>', lambda _match: f"<style>{styles}</style>", html)
