"""What a check found, as lines for people and as JSON."""

from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Any, Literal

SHOWN = 20

Verdict = Literal["holds", "holds in part", "violated", "not checked"]


@dataclass(frozen=True, slots=True)
class Violation:
    """One thing that breaks a promise: its id, and a sentence."""

    id: str
    what: str


@dataclass(slots=True)
class Check:
    """One of L1 to L14 while it is being made."""

    name: str
    title: str
    compared: list[tuple[int, str]] = field(default_factory=list)
    violations: list[Violation] = field(default_factory=list)
    not_checked: list[str] = field(default_factory=list)

    def count(self, number: int, what: str) -> None:
        """Say how many things of a kind were looked at."""
        self.compared.append((number, what))

    def found(self, identity: object, what: str) -> None:
        """Name a violation."""
        self.violations.append(Violation(str(identity), what))

    def each(self, rows: Iterable[tuple[Any, ...]], what: str) -> None:
        """A violation per row: its first column is the id; `what` is a format of the columns."""
        for row in rows:
            self.found(row[0], what.format(*row))

    def skip(self, why: str) -> None:
        """Name a part that could not be checked, and why."""
        if why not in self.not_checked:
            self.not_checked.append(why)

    @property
    def verdict(self) -> Verdict:
        """A violation outweighs everything; what was not looked at is never called right."""
        if self.violations:
            return "violated"
        if not self.compared:
            return "not checked"
        return "holds in part" if self.not_checked else "holds"

    def lines(self) -> list[str]:
        """For people: the verdict with what was compared, then what was not checked, then the first offenders."""
        compared = ", ".join(f"{number:,} {what}" for number, what in self.compared) or "nothing compared"
        lines = [f"{self.name:<4}{self.verdict:<14}{self.title} ({compared})"]
        lines += [f"      not checked: {why}" for why in self.not_checked]
        lines += [f"      {violation.id}: {violation.what}" for violation in self.violations[:SHOWN]]
        if len(self.violations) > SHOWN:
            lines.append(f"      … and {len(self.violations) - SHOWN:,} more (all of them with --json)")
        return lines

    def as_json(self) -> dict[str, Any]:
        """All of it."""
        return {
            "check": self.name,
            "title": self.title,
            "verdict": self.verdict,
            "compared": [{"number": number, "what": what} for number, what in self.compared],
            "not_checked": self.not_checked,
            "violations": [{"id": violation.id, "what": violation.what} for violation in self.violations],
        }
