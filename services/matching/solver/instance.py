"""The file format `hustings-match/1`: instances in, answer lines out."""

import json
from collections.abc import Iterable, Mapping
from datetime import UTC, datetime, time
from typing import Any
from zoneinfo import ZoneInfo

from services.matching.domain.availability import AvailabilityError, Window, zone_of
from services.matching.domain.fairness import with_groups
from services.matching.domain.model import (
    Assignment,
    Booking,
    Candidate,
    Horizon,
    Problem,
    ProblemError,
    Volunteer,
    Weights,
)

FORMAT = "hustings-match/1"


class InstanceError(ValueError):
    """An instance that cannot be read; the message says where and what to mend."""


def load_instance(raw: Mapping[str, Any]) -> Problem:
    """The problem in a parsed instance. Raises InstanceError.

    The cap counts over the whole horizon; groups are set from place, language, hours and state.
    """
    stated = raw.get("format") if isinstance(raw, Mapping) else None
    if stated != FORMAT:
        raise InstanceError(f"The instance says format {stated!r}: expected {FORMAT!r}.")
    try:
        horizon = Horizon(_instant(raw["horizon"]["start_utc"]), raw["horizon"]["days"], raw["horizon"]["slot_minutes"])
        zones: dict[str, ZoneInfo] = {}
        volunteers = tuple(_volunteer(v, zones) for v in raw["volunteers"])
        candidates = with_groups((_candidate(c, zones) for c in raw["candidates"]), volunteers)
        bookings = tuple(
            Booking(b["volunteer"], start := _instant(b["start_utc"]), start + horizon.step)
            for b in raw.get("booked", ())
        )
        return Problem(horizon, Weights.from_mapping(raw["weights"]), candidates, volunteers, bookings)
    except KeyError as error:
        raise InstanceError(f"The instance lacks the field {error.args[0]!r}: see format {FORMAT}.") from error
    except (AvailabilityError, ProblemError) as error:
        raise InstanceError(str(error)) from error
    except (TypeError, AttributeError, ValueError) as error:
        raise InstanceError(f"A field of the instance has the wrong form ({error}): see format {FORMAT}.") from error


def _instant(text: str) -> datetime:
    parsed = datetime.fromisoformat(text)
    if parsed.tzinfo is None:
        raise InstanceError(f"The instant {text!r} lacks its offset: write it in UTC, ending in Z.")
    return parsed.astimezone(UTC)


def _zone(name: str, zones: dict[str, ZoneInfo]) -> ZoneInfo:
    if name not in zones:
        zones[name] = zone_of(name)
    return zones[name]


def _windows(stated: Iterable[Mapping[str, Any]]) -> tuple[Window, ...]:
    """The format's windows lie on one date: one that does not end after it starts is empty."""
    spans = ((w["dow"], time.fromisoformat(w["start"]), time.fromisoformat(w["end"])) for w in stated)
    return tuple(Window(dow, start, end) for dow, start, end in spans if start < end)


def _candidate(raw: Mapping[str, Any], zones: dict[str, ZoneInfo]) -> Candidate:
    return Candidate(
        id=raw["id"],
        zone=_zone(raw["tz"], zones),
        windows=_windows(raw["avail"]),
        languages=frozenset(raw["langs"]),
        state=raw["state"],
        urbanicity=raw["urbanicity"],
        tracks=frozenset(raw["tracks"]),
        blocks=frozenset(raw["blocks"]),
        waiting_since=_instant(raw["signed_up_utc"]),
        district=raw["district"],
        office=raw["office"],
        wants_lived=frozenset(raw["wants_lived"]),
        needs_experience=raw["need_exp"],
        requires_gender=raw["require_gender"],
    )


def _volunteer(raw: Mapping[str, Any], zones: dict[str, ZoneInfo]) -> Volunteer:
    return Volunteer(
        id=raw["id"],
        zone=_zone(raw["tz"], zones),
        windows=_windows(raw["avail"]),
        languages=frozenset(raw["langs"]),
        state=raw["state"],
        urbanicity=raw["urbanicity"],
        tracks=frozenset(raw["tracks"]),
        weekly_cap=raw["weekly_cap"],
        gender=raw["gender"],
        offices=frozenset(raw["offices"]),
        lived=frozenset(raw["lived"]),
        experience=raw["exp"],
        conflict_districts=frozenset(raw["conflict_districts"]),
    )


def answer_line(match: Assignment) -> str:
    """One JSON line of an answer, without the line end."""
    start = match.start.astimezone(UTC).replace(tzinfo=None)
    return json.dumps(
        {
            "candidate": str(match.candidate_id),
            "volunteer": str(match.volunteer_id),
            "start_utc": start.isoformat(timespec="seconds") + "Z",
        }
    )
