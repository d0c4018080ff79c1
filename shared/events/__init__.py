"""The contract: every event that crosses a service's border, its topic and its envelope. No I/O here."""

from shared.events import endorsement, matching, notifications, signup
from shared.events.base import Event
from shared.events.topics import ALL_TOPICS, Topic

__all__ = ["ALL_TOPICS", "Event", "Topic", "endorsement", "matching", "notifications", "signup"]
