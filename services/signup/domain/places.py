"""Closed lists that a form offers: states and territories, time zones of the United States, spoken languages."""

from collections.abc import Mapping
from functools import cache
from zoneinfo import available_timezones

STATES: Mapping[str, str] = {
    "AL": "Alabama", "AK": "Alaska", "AZ": "Arizona", "AR": "Arkansas", "CA": "California", "CO": "Colorado",
    "CT": "Connecticut", "DE": "Delaware", "DC": "District of Columbia", "FL": "Florida", "GA": "Georgia",
    "HI": "Hawaii", "ID": "Idaho", "IL": "Illinois", "IN": "Indiana", "IA": "Iowa", "KS": "Kansas", "KY": "Kentucky",
    "LA": "Louisiana", "ME": "Maine", "MD": "Maryland", "MA": "Massachusetts", "MI": "Michigan", "MN": "Minnesota",
    "MS": "Mississippi", "MO": "Missouri", "MT": "Montana", "NE": "Nebraska", "NV": "Nevada", "NH": "New Hampshire",
    "NJ": "New Jersey", "NM": "New Mexico", "NY": "New York", "NC": "North Carolina", "ND": "North Dakota",
    "OH": "Ohio", "OK": "Oklahoma", "OR": "Oregon", "PA": "Pennsylvania", "RI": "Rhode Island",
    "SC": "South Carolina", "SD": "South Dakota", "TN": "Tennessee", "TX": "Texas", "UT": "Utah", "VT": "Vermont",
    "VA": "Virginia", "WA": "Washington", "WV": "West Virginia", "WI": "Wisconsin", "WY": "Wyoming",
    "AS": "American Samoa", "GU": "Guam", "MP": "Northern Mariana Islands", "PR": "Puerto Rico",
    "VI": "U.S. Virgin Islands",
}  # fmt: skip
"""USPS codes of the states, the District of Columbia and the territories, with their names."""

US_TIME_ZONES = (
    "America/New_York",
    "America/Chicago",
    "America/Denver",
    "America/Phoenix",
    "America/Los_Angeles",
    "America/Anchorage",
    "Pacific/Honolulu",
    "America/Puerto_Rico",
    "Pacific/Guam",
    "Pacific/Pago_Pago",
)
"""Offered by the form; the JSON interface takes every IANA zone."""

SPOKEN_LANGUAGES = (
    "en", "es", "ar", "zh", "fr", "de", "gu", "ht", "hi", "it", "ja", "ko", "fa", "pl", "pt", "pa", "ru", "so", "tl",
    "te", "ur", "vi", "ase",
)  # fmt: skip
"""ISO 639 codes of languages that calls may be held in; `ase` is American Sign Language."""


SIGN_LANGUAGE = {"en": "American Sign Language", "es": "Lengua de señas americana"}
"""The name of `ase`, which locale data lack in Spanish."""

FORM_LANGUAGES = ("en", "es", "ase", "ar", "zh", "fr", "ht", "ko", "pt", "ru", "tl", "vi")
"""Those of them that a form shows, the most spoken ones; the others come in by JSON."""


@cache
def time_zones() -> frozenset[str]:
    """Every IANA zone that a person can live in."""
    return frozenset(name for name in available_timezones() if "/" in name and not name.startswith("Etc/"))
