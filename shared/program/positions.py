"""Where each key of a TOML file stands: tomllib gives values without positions, tree-sitter positions."""

from __future__ import annotations

import tree_sitter_toml
from tree_sitter import Language, Node, Parser

from shared.program.vocabulary import Location

_PARSER = Parser(Language(tree_sitter_toml.language()))


class Positions:
    """Lines of keys and list items, counted from 1, by path: `("offices", 3, "level")`."""

    def __init__(self, content: bytes) -> None:
        """`content` is a TOML document that tomllib has accepted."""
        self._lines: dict[Location, int] = {(): 1}
        self._last_index: dict[Location, int] = {}
        for node in _PARSER.parse(content).root_node.named_children:
            if node.type == "pair":
                self._pair(node, ())
            elif node.type in ("table", "table_array_element"):
                self._table(node)

    def line(self, location: Location) -> int:
        """The line of the key, or of the closest section around it that is in the file."""
        while location not in self._lines:
            location = location[:-1]
        return self._lines[location]

    def _table(self, node: Node) -> None:
        header, *pairs = (child for child in node.named_children if child.type != "comment")
        path: Location = ()
        keys = _keys(header)
        for depth, key in enumerate(keys):
            path = (*path, key)
            self._lines.setdefault(path, _line(node))
            is_last = depth == len(keys) - 1
            if is_last and node.type == "table_array_element":
                self._last_index[path] = self._last_index.get(path, -1) + 1
            if path in self._last_index:
                path = (*path, self._last_index[path])
        self._lines[path] = _line(node)
        for pair in pairs:
            self._pair(pair, path)

    def _pair(self, node: Node, path: Location) -> None:
        key, value = (child for child in node.named_children if child.type != "comment")
        for part in _keys(key):
            path = (*path, part)
            self._lines.setdefault(path, _line(key))
        self._value(value, path)

    def _value(self, node: Node, path: Location) -> None:
        if node.type == "inline_table":
            for child in node.named_children:
                if child.type == "pair":
                    self._pair(child, path)
        elif node.type == "array":
            items = (child for child in node.named_children if child.type != "comment")
            for index, child in enumerate(items):
                self._lines[(*path, index)] = _line(child)
                self._value(child, (*path, index))


def _line(node: Node) -> int:
    return node.start_point.row + 1


def _keys(node: Node) -> list[str]:
    if node.type == "dotted_key":
        return [key for child in node.named_children for key in _keys(child)]
    text = (node.text or b"").decode()
    return [text[1:-1] if node.type == "quoted_key" else text]
