from __future__ import annotations

import re

from shared.program.reference import reference
from tests.unit.program.files import ROOT


def test_reference_is_up_to_date() -> None:
    written = (ROOT / "docs" / "program-file.md").read_text(encoding="utf-8")
    assert written == reference(), "run: python -m shared.program.reference docs/program-file.md"


def test_reference_explains_every_key() -> None:
    rows = re.findall(r"^\| `(\w+)` \|.*\| (.*) \|$", reference(), re.MULTILINE)
    assert [key for key, meaning in rows if not meaning.strip()] == []
    assert len(rows) > 100
