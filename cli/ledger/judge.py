"""All checks over one body of evidence, in order."""

import sqlite3
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from cli.ledger.checks.audit import audit
from cli.ledger.checks.bookings import bookings
from cli.ledger.checks.counts import counts
from cli.ledger.checks.decisions import decisions
from cli.ledger.checks.effects import effects
from cli.ledger.checks.intake import acknowledged, once
from cli.ledger.checks.privacy import privacy
from cli.ledger.checks.rest import at_rest
from cli.ledger.checks.sending import classes
from cli.ledger.checks.stops import forbidden
from cli.ledger.checks.streams import order, outbox_and_topics
from cli.ledger.checks.webhooks import webhooks
from cli.ledger.evidence import INDEXES, Evidence, open_store
from cli.ledger.journals import load_journals
from cli.ledger.report import Check
from cli.ledger.tables import load_databases
from cli.ledger.topics import Partition, RawRecord, load_topics

CHECKS: Sequence[tuple[str, str, Callable[[Evidence, Check], None]]] = (
    ("L1", "what was acknowledged is stored, and nothing else", acknowledged),
    ("L2", "one sign-up per key, one person per address", once),
    ("L3", "what was appended is on its topic, and nothing else", outbox_and_topics),
    ("L4", "events of a key ascend without gaps", order),
    ("L5", "one effect per consumer and event", effects),
    ("L6", "time is given once, within hours and caps", bookings),
    ("L7", "copies as the message's class allows", classes),
    ("L8", "nothing to the suppressed, erased, unconsented, asleep", forbidden),
    ("L9", "one decision, one endorsement, not before the embargo", decisions),
    ("L10", "every subscriber got every event, signed, under one id", webhooks),
    ("L11", "states add up to the input", counts),
    ("L12", "one audit row per privileged act, the chain whole", audit),
    ("L13", "at rest nothing is left behind", at_rest),
    ("L14", "no personal data on internal topics or in logs", privacy),
)
Tell = Callable[[str], None]
# A record that the harness put on a topic on purpose counts for nothing but the end of its partition.
SET_ASIDE = """
    UPDATE records SET first = 0, problem = NULL, event_id = NULL, type = NULL, key = NULL, headers = '', payload = '{}'
    WHERE EXISTS (SELECT 1 FROM expected WHERE kind = 'record'
                  AND id IN (topic || '/' || partition || '/' || offset, event_id))
"""


@dataclass(frozen=True, slots=True)
class Sources:
    """Where the evidence is. `topics` yields partitions and records, from Kafka or from a file."""

    owner_dsns: Mapping[str, str]
    topics: Callable[[], Iterable[Partition | RawRecord]]
    journals: Path | None = None
    logs: Sequence[Path] = ()
    at_rest: bool = True


def gather(sources: Sources, store: Path | str, tell: Tell) -> Evidence:
    """Read everything into a store. Journals first, then topics, then databases: in a running system what comes
    earlier in time must be there later in the order of reading. Raises `BadEvidence`.
    """
    evidence = Evidence(open_store(store), sources.at_rest, logs=list(sources.logs))
    try:
        if sources.journals is not None:
            load_journals(evidence, sources.journals, tell)
        load_topics(evidence, sources.topics(), tell)
        evidence.db.executescript(INDEXES)
        evidence.db.execute(SET_ASIDE)
        load_databases(evidence, sources.owner_dsns, tell)
    except BaseException:
        evidence.db.close()
        raise
    return evidence


def judge(evidence: Evidence, tell: Callable[[Check], None], only: Sequence[str] = ()) -> list[Check]:
    """Make the checks (all, or those named) and tell each as it is done."""
    done = []
    # L2 and L11 go by the fates of intents, which L1 works out.
    for name, title, look in CHECKS:
        check = Check(name, title)
        look(evidence, check)
        if not only or name in only:
            done.append(check)
            tell(check)
    return done


def close(evidence: Evidence) -> None:
    """Give the store's file up."""
    db: sqlite3.Connection = evidence.db
    db.close()
