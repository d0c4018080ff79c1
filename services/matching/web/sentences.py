"""Codes into sentences: why these two, why still waiting, how a call stands."""

from collections.abc import Mapping
from typing import Any

from shared.program import Program
from shared.web.text import Message, Text, _

LANGUAGES: Mapping[str, Message] = {
    "en": _("English"),
    "es": _("Spanish"),
    "zh": _("Chinese"),
    "vi": _("Vietnamese"),
    "tl": _("Tagalog"),
    "ar": _("Arabic"),
    "fr": _("French"),
    "ht": _("Haitian Creole"),
    "ko": _("Korean"),
    "pt": _("Portuguese"),
    "ru": _("Russian"),
}
_PLAIN: Mapping[str, Message] = {
    "same_region": _("You live in the same part of the country."),
    "same_place": _("You live in the same kind of place."),
    "shared_lived": _("You share an experience that you asked for."),
    "experienced": _("They have the campaign experience you need."),
    "earliest_shared_time": _("This is the earliest time that you both have free."),
}
STATES: Mapping[str, Message] = {
    "held": _("Waiting for an answer"),
    "confirmed": _("Booked"),
    "completed": _("Took place"),
    "missed": _("Missed"),
    "declined": _("Declined"),
    "expired": _("Not answered in time"),
    "cancelled": _("Cancelled"),
}
WAITING: Mapping[str, Message] = {
    "add_hours": _("Add times when you are free in the next weeks, so that we can find somebody."),
    "no_shared_language": _("No volunteer who speaks your language has time yet. We keep looking."),
    "no_shared_hours": _("No volunteer has time when you do. More hours on your side help most."),
    "waiting_for_volunteers": _("We are waiting for more hours from volunteers."),
}
STAFF_WAITING: Mapping[str, Message] = {
    "no_hours": _("States no free hour in the weeks ahead"),
    "no_supply": _("No volunteer has room"),
    "no_shared_language": _("No volunteer with room shares a language"),
    "gender_requirement": _("Nobody meets the stated requirement"),
    "not_permitted": _("Blocks, conflicts or earlier pairings exclude everybody"),
    "no_shared_hours": _("No shared hours"),
    "all_taken": _("Every shared hour served others better"),
}
PARKED: Mapping[str, Message] = {
    "silence": _("We offered you two times and did not hear back, so we stopped asking."),
    "not_now": _("You told us that now is not a good time."),
    "cancelled": _("You cancelled your call."),
    "no_show": _("We missed you at two calls, so we stopped asking."),
}


def reason(said: Mapping[str, Any], program: Program) -> Message | None:
    """The sentence of one reason of a match; None for a code that this version does not say."""
    code = said["code"]
    if code == "same_state":
        return _("You both live in %(state)s.", state=said["state"])
    if code == "knows_office":
        return _("They know the office: %(office)s.", office=_label(program.offices, said["office"]))
    if code == "shared_track":
        return _("You share a track: %(track)s.", track=_label(program.tracks, said["track"]))
    if code == "speaks":
        language: Text = LANGUAGES.get(said["language"], said["language"])
        return _("You both speak %(language)s.", language=language)
    if code == "waited":
        return _("You have waited %(days)d days.", days=said["days"])
    if code == "rank":
        return _("Rank %(rank)d of %(of)d volunteers who could take it", rank=said["rank"], of=said["of"])
    if code == "slot_price":
        return _("Price of the time: %(points)d points", points=said["points"])
    return _PLAIN.get(code)


def reasons(said: list[dict[str, Any]], program: Program) -> list[Message]:
    """All that can be said, strongest first."""
    return [sentence for one in said if (sentence := reason(one, program)) is not None]


def _label(items: Any, identifier: str) -> Text:
    return next((item.label for item in items if item.id == identifier), identifier)
