"""What messages need to say, asked for by notifications at the moment of sending.

Each template has one function in `TEMPLATES` (this module's, and `INTRO_TEMPLATES` of the group calls).
"""

from collections.abc import Awaitable, Callable, Mapping
from typing import TypeAlias

from fastapi import Request

from shared.messages import Answer, Item

Teller: TypeAlias = Callable[[Request, list[Item]], Awaitable[list[Answer]]]
"""Answers the questions of one template, in their order; opens its own transactions."""

TEMPLATES: Mapping[str, Teller] = {}
