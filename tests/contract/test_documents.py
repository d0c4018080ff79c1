"""Documents that are written from the code say what the code says."""

import re
from pathlib import Path

import pytest

from deploy import settings

ROOT = Path(__file__).parents[2]
LINK = re.compile(r"\]\((?!https?:|#|mailto:)([^)#\s]+)")


def test_settings_reference_is_current() -> None:
    assert settings.DOCUMENT.read_text(encoding="utf-8") == settings.document(), "run `make contract`"


@pytest.mark.parametrize(
    "page",
    [*ROOT.glob("*.md"), *ROOT.glob("docs/**/*.md")],
    ids=lambda path: str(path.relative_to(ROOT)),
)
def test_links_of_a_page_lead_somewhere(page: Path) -> None:
    broken = [link for link in LINK.findall(page.read_text(encoding="utf-8")) if not (page.parent / link).exists()]
    assert broken == []
