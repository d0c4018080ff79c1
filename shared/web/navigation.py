"""The staff menu, the same in every service."""

from shared.settings import ServiceSettings
from shared.web.pages import NavigationItem
from shared.web.text import _


def staff_navigation(settings: ServiceSettings) -> list[NavigationItem]:
    """Where staff work, in the order of the pipeline. Addresses are absolute: services may have their own hosts."""
    entries = (
        ("people", _("People"), "signup", "/people"),
        ("funnel", _("Funnel"), "signup", "/funnel"),
        ("intro_calls", _("Intro calls"), "matching", "/intro-calls/staff"),
        ("matches", _("Matches"), "matching", "/matching/board"),
        ("messages", _("Messages"), "notifications", "/messages"),
        ("reviews", _("Reviews"), "endorsement", "/reviews"),
        ("endorsements", _("Endorsements"), "endorsement", "/endorsements/staff"),
    )
    reviewing = frozenset({"reviewer", "staff", "admin"})
    deciding = frozenset({"staff", "admin"})
    return [
        NavigationItem(
            key, label, settings.public_url(service) + path, roles=reviewing if key == "reviews" else deciding
        )
        for key, label, service, path in entries
    ]
