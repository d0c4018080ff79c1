"""Text messages: how many segments one is, and what somebody means who texts us."""

import re
import unicodedata
from typing import Literal

Intent = Literal["stop", "help", "start"]

# GSM 03.38 (3GPP TS 23.038), the basic table and its extension.
_GSM = frozenset(
    "@£$¥èéùìòÇ\nØø\rÅåΔ_ΦΓΛΩΠΨΣΘΞÆæßÉ !\"#¤%&'()*+,-./0123456789:;<=>?¡ABCDEFGHIJKLMNOPQRSTUVWXYZÄÖÑÜ§¿"
    "abcdefghijklmnopqrstuvwxyzäöñüà"
)
_GSM_EXTENDED = frozenset("^{}\\[~]|€\f")
_TYPOGRAPHIC = str.maketrans(
    {"’": "'", "‘": "'", "“": '"', "”": '"', "–": "-", "—": "-", "…": "...", "\u00a0": " ", "\u202f": " "}
)

_STOP = frozenset({"stop", "stopall", "unsubscribe", "cancel", "end", "quit", "revoke", "optout", "alto", "parar",
                   "cancelar", "baja", "basta"})  # fmt: skip
_STOP_PHRASES = ("remove me", "take me off", "wrong number", "do not text", "dont text", "stop texting", "stop sending",
                 "leave me alone", "no more texts", "no more messages", "opt out", "opt me out", "unsubscribe me",
                 "no mas", "dejen de", "deja de", "numero equivocado", "quitenme", "quitame", "borrenme", "borrame",
                 "no me escriban", "no me manden", "no me envien")  # fmt: skip
_HELP = frozenset({"help", "info", "ayuda"})
_START = frozenset({"start", "unstop", "yes", "si", "comenzar", "empezar"})


def in_gsm(body: str) -> str:
    """The body in GSM-7, without the typographic signs and accents that it lacks; as it is, where more is missing."""
    plain = "".join(
        sign if sign in _GSM else unicodedata.normalize("NFKD", sign)[:1] or sign
        for sign in body.translate(_TYPOGRAPHIC)
    )
    return plain if _is_gsm(plain) else body


def segments(body: str) -> int:
    """How many segments a provider counts: 160 or 153 GSM-7 characters, 70 or 67 UCS-2 units."""
    if _is_gsm(body):
        units, alone, joined = sum(2 if sign in _GSM_EXTENDED else 1 for sign in body), 160, 153
    else:
        units, alone, joined = len(body.encode("utf-16-be")) // 2, 70, 67
    return 1 if units <= alone else -(-units // joined)


def intent_of(body: str) -> Intent | None:
    """What an incoming text asks for. STOP wins over all else; case, accents and punctuation do not matter."""
    letters = unicodedata.normalize("NFKD", body).encode("ascii", "ignore").decode().lower().replace("'", "")
    words = re.findall(r"[a-z]+", letters)
    joined, sentence = "".join(words), " ".join(words)
    if joined in _STOP or (words and words[0] in _STOP and len(words) <= 3):
        return "stop"
    if any(re.search(rf"\b{phrase}\b", sentence) for phrase in _STOP_PHRASES):
        return "stop"
    if joined in _HELP:
        return "help"
    return "start" if joined in _START else None


def holds_contact(text: str) -> bool:
    """Whether a line holds an e-mail address or a telephone number."""
    return "@" in text or re.search(r"(?:\d[ ().\-]*){7,}", text) is not None


def _is_gsm(body: str) -> bool:
    return all(sign in _GSM or sign in _GSM_EXTENDED for sign in body)
