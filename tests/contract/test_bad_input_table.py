"""Each line of `docs/bad-input.md` names a test that exists."""

import ast
import re
from pathlib import Path

LINE = re.compile(r"^\| (.+) \| (.+) \| `(tests/\S+\.py)::(test_\w+)` \|$")


def test_every_line_names_a_test_that_exists(repository: Path) -> None:
    lines = [line for line in (repository / "docs" / "bad-input.md").read_text("utf-8").splitlines() if "|" in line]
    named = [(line, LINE.match(line)) for line in lines[2:]]
    assert [line for line, match in named if match is None] == []
    missing = []
    for _line, match in named:
        assert match is not None
        tree = ast.parse((repository / match[3]).read_text("utf-8"))
        functions = {node.name for node in tree.body if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef)}
        if match[4] not in functions:
            missing.append(f"{match[3]}::{match[4]}")
    assert missing == []
    assert len(named) >= 40
