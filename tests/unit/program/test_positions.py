from __future__ import annotations

from shared.program.positions import Positions

DOCUMENT = b"""\
title = "x"
a.b = 1
list = [
  # a comment
  1,
  { key = 2 },
]

[table]
"quoted key" = 1
text = \"\"\"
several
lines\"\"\"
after = 2

[[rows]]
id = "first"

[[rows]]
id = "second"
[[rows.inner]]
deep = 1
[[rows.inner]]
deep = 2
[rows.settings]
on = true
"""


def test_positions_of_keys_items_and_nested_tables() -> None:
    positions = Positions(DOCUMENT)
    expected = {
        (): 1,
        ("title",): 1,
        ("a", "b"): 2,
        ("list",): 3,
        ("list", 0): 5,
        ("list", 1, "key"): 6,
        ("table",): 9,
        ("table", "quoted key"): 10,
        ("table", "after"): 14,
        ("rows", 0): 16,
        ("rows", 0, "id"): 17,
        ("rows", 1, "id"): 20,
        ("rows", 1, "inner", 0, "deep"): 22,
        ("rows", 1, "inner", 1): 23,
        ("rows", 1, "inner", 1, "deep"): 24,
        ("rows", 1, "settings", "on"): 26,
    }
    assert {location: positions.line(location) for location in expected} == expected


def test_missing_key_has_the_line_of_its_section() -> None:
    positions = Positions(DOCUMENT)
    assert positions.line(("rows", 1, "label", "es")) == 19
    assert positions.line(("nothing",)) == 1
