"""Calendar files (RFC 5545) of calls, in UTC: every calendar shows them in its owner's own zone."""

from datetime import datetime

from icalendar import Calendar, Event, vCalAddress, vText

from services.matching.store.bookings import Call
from shared.messages import Attachment

CONTENT_TYPE = "text/calendar"


def calendar_file(call: Call, *, summary: str, url: str, organizer: tuple[str, str], now: datetime) -> str:
    """The call as it stands: PUBLISH while it is expected, CANCEL once it is not.

    A moved call keeps its UID and has a higher SEQUENCE, so a calendar moves the entry. `organizer` is name and
    e-mail address of the organization: the other party's address is nobody's business.
    """
    cancelled = call.state in ("cancelled", "declined", "expired")
    calendar = Calendar()
    calendar.add("prodid", "-//Hustings//Calls//EN")
    calendar.add("version", "2.0")
    calendar.add("method", "CANCEL" if cancelled else "PUBLISH")
    event = Event()
    event.add("uid", f"{call.calendar_uid}@hustings")
    event.add("sequence", call.sequence)
    event.add("dtstamp", now)
    event.add("dtstart", call.starts_at)
    event.add("dtend", call.ends_at)
    event.add("summary", summary)
    event.add("url", url)
    event.add("status", "CANCELLED" if cancelled else "CONFIRMED")
    address = vCalAddress(f"mailto:{organizer[1]}")
    address.params["cn"] = vText(organizer[0])
    event["organizer"] = address
    calendar.add_component(event)
    return str(calendar.to_ical().decode())


def attachment(content: str) -> Attachment:
    """The file as it goes with a message."""
    method = "CANCEL" if "METHOD:CANCEL" in content else "PUBLISH"
    return Attachment(filename="call.ics", content_type=f"{CONTENT_TYPE}; method={method}", content=content)
