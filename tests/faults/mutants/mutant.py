"""What a mutant is, and how it is put into a tree and taken out again."""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TypeAlias


class Stale(Exception):
    """A mutant no longer fits the code: the sentence says which text of which file has changed."""


@dataclass(frozen=True, slots=True)
class Edit:
    """In `file` (from the repository's root) the text `old`, which is there exactly once, becomes `new`."""

    file: str
    old: str
    new: str


@dataclass(frozen=True, slots=True)
class Suite:
    """Tests that must fail by an assertion of theirs. `says` (a regular expression) must be in what one of them says,
    so that a mutant that merely crashes is no catch. `seconds` bounds the run.
    """

    ids: tuple[str, ...]
    says: str
    seconds: float = 240.0

    @property
    def name(self) -> str:
        """For the table."""
        return ", ".join(self.ids)


@dataclass(frozen=True, slots=True)
class Rows:
    """Rows of the fault table after which the ledger's check must name a violation; `check` is `L1` to `L14`.

    Outages are as short as in continuous integration if `brief`.
    """

    rows: tuple[str, ...]
    check: str
    brief: bool = True
    seconds: float = 900.0

    @property
    def says(self) -> str:
        """How the ledger says it."""
        return rf"(?m)^{self.check} +violated\b.*(\n +not checked: .*)*(\n +\S.*)?"

    @property
    def name(self) -> str:
        """For the table."""
        return f"{self.check} of the ledger after {', '.join(self.rows)}"


Catcher: TypeAlias = "Suite | Rows"


@dataclass(frozen=True, slots=True)
class Mutant:
    """One way to break the product: `breaks` says how, `promise` what may then happen. Every catcher must see it."""

    name: str
    promise: str
    breaks: str
    edits: tuple[Edit, ...]
    catchers: tuple[Catcher, ...]


def mutated(mutant: Mutant, root: Path) -> dict[Path, str]:
    """The new contents of the files that the mutant changes; raises `Stale`."""
    texts: dict[Path, str] = {}
    for edit in mutant.edits:
        path = root / edit.file
        if not path.is_file():
            raise Stale(f"{mutant.name}: {edit.file} is gone; say in the table where the code is now.")
        text = texts.get(path) or path.read_text(encoding="utf-8")
        if (count := text.count(edit.old)) != 1:
            raise Stale(
                f"{mutant.name}: {edit.file} has this text {count} times, not once; mend the table.\n{edit.old}"
            )
        texts[path] = text.replace(edit.old, edit.new)
    return texts


@contextmanager
def broken(mutant: Mutant, root: Path) -> Iterator[None]:
    """The tree with the mutant in it, while the block lasts."""
    texts = mutated(mutant, root)
    before = {path: path.read_bytes() for path in texts}
    try:
        for path, text in texts.items():
            path.write_text(text, encoding="utf-8")
        yield
    finally:
        for path, content in before.items():
            path.write_bytes(content)


def chosen(table: Sequence[Mutant], names: Sequence[str]) -> list[Mutant]:
    """Mutants by name, or by the beginning of their names with a `*`; all if none is named. Raises `LookupError`."""
    if not names:
        return list(table)
    found: list[Mutant] = []
    for name in names:
        matching = [m for m in table if m.name == name or (name.endswith("*") and m.name.startswith(name[:-1]))]
        if not matching:
            raise LookupError(f"There is no mutant {name}; --list names them.")
        found += [mutant for mutant in matching if mutant not in found]
    return found
