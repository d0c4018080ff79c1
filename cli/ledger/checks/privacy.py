"""L14: no personal data on internal topics or in logs; public topics carry what a candidate agreed to, and only that.

Looked for: the markers of the run (every piece of its personal data holds one), and, with or without them, every
address and telephone number that the signup service knows, and whatever else looks like an address.
"""

import json
import re
from collections.abc import Iterator
from pathlib import Path

from cli.ledger.evidence import Evidence
from cli.ledger.report import Check
from cli.ledger.topics import PUBLIC

ADDRESS = re.compile(r"[A-Za-z0-9._%+\-]+@[A-Za-z0-9\-]+(?:\.[A-Za-z0-9\-]+)+")
NUMBER = re.compile(r"\+[1-9][0-9]{9,14}")
PIECE = 1 << 20
OVERLAP = 512

# What a public record may say; the ballot name is the one thing that is personal, and needs the consent.
PUBLIC_FIELDS = frozenset(
    {
        "endorsement_id", "ballot_name", "office", "office_label", "office_level", "state", "district",
        "election_date", "organization", "legal_body", "program_version", "announced_at", "rescinded_at", "status",
    }
)  # fmt: skip
INTERNAL = """
    SELECT topic || '/' || partition || '/' || offset, coalesce(key, ''), headers, payload FROM records
    WHERE topic NOT IN (SELECT value FROM json_each(?))
"""
PUBLISHED = """
    SELECT r.topic || '/' || r.partition || '/' || r.offset, r.key, r.headers, r.payload,
           json_extract(e.public, '$.ballot_name'),
           (SELECT c.granted FROM endorsement_publish_consents AS c
            WHERE c.application_id = d.application_id AND c.given_at <= e.announced_at ORDER BY c.id DESC LIMIT 1)
    FROM records AS r
    LEFT JOIN endorsement_endorsements AS e ON e.id = json_extract(r.payload, '$.endorsement_id')
    LEFT JOIN endorsement_decisions AS d ON d.id = e.decision_id
    WHERE r.topic IN ('endorsement.endorsements', 'endorsement.state') AND r.event_id IS NOT NULL AND r.problem IS NULL
"""
KEPT_AFTER_ERASURE = """
    SELECT t.person_id, t.service FROM tombstones AS t
    WHERE t.service = 'signup' AND (EXISTS (SELECT 1 FROM signup_people WHERE id = t.person_id)
                                    OR EXISTS (SELECT 1 FROM signup_emails WHERE person_id = t.person_id))
"""
UUID = re.compile(r"[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}")


class Canaries:
    """Finds personal data in a text; what it names is cut to its first signs, so that a report is no leak itself."""

    def __init__(self, evidence: Evidence) -> None:
        self._markers = sorted({str(row[0]).lower() for row in evidence.rows("SELECT marker FROM markers")})
        self._numbers = {row[0] for row in evidence.rows("SELECT phone FROM signup_people WHERE phone IS NOT NULL")}
        self._addresses = {row[0] for row in evidence.rows("SELECT email FROM signup_emails")}

    def _marker_in(self, text: str) -> str | None:
        # Plain searches: an alternation without regard to case takes three times as long.
        lower = text.lower()
        return next((marker for marker in self._markers if marker in lower), None)

    def of_record(self, text: str) -> str | None:
        """What personal data the text of a record holds; None for none."""
        if (marker := self._marker_in(text)) is not None:
            return f"marker {marker!r}"
        if "@" in text and (address := ADDRESS.search(text)):
            return f"an address ({address[0][:3]}…)"
        if "+" in text and any(number in self._numbers for number in NUMBER.findall(text)):
            return "a telephone number"
        return None

    def of_log(self, text: str) -> str | None:
        """As `of_record`, but an address counts only if somebody signed up with it: logs name those of programs."""
        if (marker := self._marker_in(text)) is not None:
            return f"marker {marker!r}"
        if "@" in text:
            for address in ADDRESS.findall(text):
                if address.lower().rstrip(".") in self._addresses:
                    return f"somebody's address ({address[:3]}…)"
        if "+" in text and any(number in self._numbers for number in NUMBER.findall(text)):
            return "somebody's telephone number"
        return None


def privacy(evidence: Evidence, check: Check) -> None:
    """L14."""
    canaries = Canaries(evidence)
    if "markers" not in evidence.has:
        check.skip(
            "markers: the load client's journal with its markers is not given; addresses and numbers are searched"
        )
    records = 0
    for place, key, headers, payload in evidence.rows(INTERNAL, json.dumps(PUBLIC)):
        records += 1
        if (found := canaries.of_record(f"{key}\n{headers}\n{payload}")) is not None:
            check.found(place, f"holds {found}")
    check.count(records, "records of internal topics")
    _public(evidence, check, canaries)
    _logs(evidence, check, canaries)
    check.each(evidence.rows(KEPT_AFTER_ERASURE), "erased, and {1} still has name or address")


def _public(evidence: Evidence, check: Check, canaries: Canaries) -> None:
    records = 0
    for place, key, headers, payload, ballot_name, granted in evidence.rows(PUBLISHED):
        records += 1
        content = json.loads(payload)
        for name in sorted(set(content) - PUBLIC_FIELDS):
            check.found(place, f"publishes a field {name!r}, which nobody agreed to")
        if "ballot_name" in content:
            if not granted:
                check.found(place, "publishes a ballot name without the candidate's consent at the announcement")
            if content["ballot_name"] != ballot_name:
                check.found(place, "publishes another ballot name than the one that was announced")
        rest = json.dumps({k: v for k, v in content.items() if k != "ballot_name"}, ensure_ascii=False)
        if (found := canaries.of_record(f"{key}\n{headers}\n{rest}")) is not None:
            check.found(place, f"publishes {found}")
        for identity in set(UUID.findall(f"{rest}\n{key}\n{headers}")):
            if evidence.count("SELECT count(*) FROM signup_people WHERE id = ?", identity):
                check.found(place, f"publishes the person id {identity}")
    check.count(records, "public records")


def _logs(evidence: Evidence, check: Check, canaries: Canaries) -> None:
    spared = {row[0] for row in evidence.rows("SELECT id FROM expected WHERE kind = 'log'")}
    logs = [path for path in evidence.logs if path.name not in spared]
    if not logs:
        check.skip("logs: none were found beside the endpoints file; give --logs")
        return
    size = 0
    for path in logs:
        size += path.stat().st_size
        found = {what for piece in pieces(path) if (what := canaries.of_log(piece)) is not None}
        for what in sorted(found):
            check.found(path.name, f"the log holds {what}")
    check.count(len(logs), f"logs of {size / 1e6:.1f} MB")


def pieces(path: Path) -> Iterator[str]:
    """A file's text in pieces that overlap, so that nothing is cut in two unseen."""
    with path.open("rb") as file:
        before = b""
        while chunk := file.read(PIECE):
            yield (before + chunk).decode("utf-8", errors="replace")
            before = chunk[-OVERLAP:]
