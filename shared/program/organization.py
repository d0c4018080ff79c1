"""Who the organization is: name, brand, addresses, and the legal bodies that share the installation."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import StringConstraints, field_validator

from shared.program.vocabulary import Email, Id, Line, Localized, Misfit, Section, Url, Zone

Colour = Annotated[str, StringConstraints(pattern=r"^#[0-9a-fA-F]{6}$")]
"""A colour as #rrggbb."""

MIN_CONTRAST = 4.5
"""WCAG 2.2, success criterion 1.4.3: normal text against its background."""


def contrast_with_white(colour: str) -> float:
    """WCAG 2.2 contrast ratio of #rrggbb against white, from 1 (none) to 21 (black)."""

    def linear(channel: int) -> float:
        share = channel / 255
        return share / 12.92 if share <= 0.04045 else float(((share + 0.055) / 1.055) ** 2.4)

    red, green, blue = (linear(int(colour[at : at + 2], 16)) for at in (1, 3, 5))
    return 1.05 / (0.2126 * red + 0.7152 * green + 0.0722 * blue + 0.05)


class Brand(Section):
    """Colours of pages and mails. Each must stand out from white by 4.5 to 1 or more."""

    primary: Colour
    """Buttons and links, with white text on it or on white."""
    accent: Colour
    """Headings and highlights."""
    text: Colour = "#1a1a1a"
    """Body text."""

    @field_validator("primary", "accent", "text")
    @classmethod
    def _readable(cls, colour: str) -> str:
        if (ratio := contrast_with_white(colour)) < MIN_CONTRAST:
            raise Misfit(f"its contrast with white is {ratio:.2f}; choose a darker colour with at least {MIN_CONTRAST}")
        return colour


class Organization(Section):
    """The organization as people see it."""

    name: Line
    """The name, the same in every language; text messages begin with it."""
    tagline: Localized
    """One sentence under the name."""
    brand: Brand
    """Colours."""
    website: Url
    """The organization's own site."""
    contact_email: Email
    """Where people write with questions; printed in mails and on pages."""
    sender_name: Line
    """Name in the From header."""
    sender_address: Email
    """Address in the From header; its domain is the one to authenticate (SPF, DKIM, DMARC)."""
    postal_address: Line
    """Printed under every bulk mail, as US law requires."""
    safety_contact: Email
    """Where a threat or harassment is reported, read at all hours."""
    time_zone: Zone
    """The organization's own zone: deadlines end at midnight there."""


Shareable = Literal["contact", "source", "roles", "stage", "answers", "endorsement"]


class Share(Section):
    """What one legal body may hand to another. What is not listed stays."""

    body: Id
    """The legal body that receives."""
    data: tuple[Shareable, ...]
    """Kinds of data it may receive."""


class LegalBody(Section):
    """A legal entity that collects data or endorses in its own name."""

    id: Id
    """Named by forms, wordings and the application."""
    name: Line
    """Full legal name, printed beside consents."""
    kind: Literal["527", "501c3", "501c4", "pac", "party_committee", "llc", "other"]
    """Legal form under US law."""
    may_share_with: tuple[Share, ...] = ()
    """What it may hand to the others; left out, nothing."""
