"""Seeded corruptions: what a broken system would have left, each made in a copy of a clean run's evidence.

A corruption names the check that must find it. `also` names other checks that rightly find it too: what is missing in
one place is missed in another. Every corruption returns a part of the id or the sentence that must be named.
"""

from collections.abc import Sequence
from importlib import import_module

from tests.faults.corruptions.making import CORRUPTIONS, Copy, Corruption

# In the order of the checks, L1 to L14.
FAMILIES = (
    "intake",
    "streams",
    "effects",
    "bookings",
    "copies",
    "stops",
    "decisions",
    "webhooks",
    "counts",
    "audit",
    "rest",
    "privacy",
)

for _family in FAMILIES:
    import_module(f"{__name__}.{_family}")

ALL: Sequence[Corruption] = tuple(CORRUPTIONS)

__all__ = ["ALL", "Copy", "Corruption"]
