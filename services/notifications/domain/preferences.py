"""What somebody may choose, and how it maps to suppressions.

E-mail: everything; only about what one takes part in (no bulk); nothing but links that one asks for.
Texts: on or off.
"""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any, Literal

EmailChoice = Literal["everything", "taking_part", "nothing"]
SmsChoice = Literal["on", "off"]


@dataclass(frozen=True, slots=True)
class Preferences:
    """The choices that hold; `email_undeliverable` and `sms_undeliverable`: the address or number does not work.

    `sms_stopped_by_text`: STOP came from a number of theirs, which only START from there takes back.
    """

    email: EmailChoice
    sms: SmsChoice
    email_undeliverable: bool
    sms_undeliverable: bool
    sms_stopped_by_text: bool


def preferences_of(suppressions: Iterable[Mapping[str, Any]]) -> Preferences:
    """The choices that these suppressions amount to."""
    rows = list(suppressions)
    stopped = [row for row in rows if row["reason"] == "stop" and row["person_id"] is None]
    # A number's STOP is not the person's choice: they may have another number by now.
    held = {(row["channel"], row["scope"]) for row in rows if row not in stopped}
    email: EmailChoice = "everything"
    if ("email", "all") in held:
        email = "nothing"
    elif ("email", "bulk") in held:
        email = "taking_part"
    return Preferences(
        email=email,
        sms="off" if ("sms", "all") in held else "on",
        email_undeliverable=("email", "address") in held,
        sms_undeliverable=("sms", "address") in held,
        sms_stopped_by_text=bool(stopped),
    )
