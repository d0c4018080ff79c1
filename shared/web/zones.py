"""The time zones of the United States as people call them."""

from collections.abc import Mapping

from shared.web.text import Message, Text, _

ZONE_NAMES: Mapping[str, Message] = {
    "America/New_York": _("Eastern (New York)"),
    "America/Chicago": _("Central (Chicago)"),
    "America/Denver": _("Mountain (Denver)"),
    "America/Phoenix": _("Arizona (Phoenix)"),
    "America/Los_Angeles": _("Pacific (Los Angeles)"),
    "America/Anchorage": _("Alaska (Anchorage)"),
    "Pacific/Honolulu": _("Hawaii (Honolulu)"),
    "America/Puerto_Rico": _("Puerto Rico and Virgin Islands"),
    "Pacific/Guam": _("Guam and Northern Mariana Islands"),
    "Pacific/Pago_Pago": _("American Samoa (Pago Pago)"),
}


def zone_name(zone: str) -> Text:
    """The name of an IANA zone; other countries' zones go by their own, with spaces."""
    return ZONE_NAMES.get(zone, zone.replace("_", " "))
