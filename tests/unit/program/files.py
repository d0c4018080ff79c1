"""The shipped program files, and edited copies of them."""

from __future__ import annotations

from pathlib import Path

from shared.program import Program, load, parse

ROOT = Path(__file__).resolve().parents[3]
PATHS = {year: ROOT / "programs" / f"org_{year}.toml" for year in (2017, 2025)}


def shipped(year: int) -> Program:
    return load(PATHS[year])


def edited(year: int, old: str, new: str, occurrence: int = 1) -> str:
    """The file with one occurrence of a text replaced."""
    parts = PATHS[year].read_text(encoding="utf-8").split(old)
    assert len(parts) > occurrence, f"the file has no {old!r} number {occurrence}"
    return old.join(parts[:occurrence]) + new + old.join(parts[occurrence:])


def parsed(text: str) -> Program:
    return parse(text.encode(), "programs/x.toml")
