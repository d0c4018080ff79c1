"""Topics as values: the one place where a topic's name, key, retention and audience are written down."""

from dataclasses import dataclass

DAY_MS = 24 * 60 * 60 * 1000


@dataclass(frozen=True, slots=True)
class Topic:
    """One topic of one aggregate, carrying several event types so that a key keeps its order.

    `retention_days` is ignored for a compacted topic, which keeps the latest record of each key.
    `public` topics may be read by anyone outside and carry only what a candidate consented to.
    """

    name: str
    key: str
    retention_days: int = 28
    compacted: bool = False
    public: bool = False

    @property
    def config(self) -> dict[str, str]:
        """Broker settings of this topic."""
        if self.compacted:
            return {"cleanup.policy": "compact", "delete.retention.ms": str(7 * DAY_MS)}
        return {"cleanup.policy": "delete", "retention.ms": str(self.retention_days * DAY_MS)}


SIGNUP_PEOPLE = Topic("signup.people", key="person_id")
MATCHING_PEOPLE = Topic("matching.people", key="person_id")
MATCHING_INTRO_CALLS = Topic("matching.intro_calls", key="intro_call_id")
MATCHING_CALLS = Topic("matching.calls", key="call_id")
NOTIFICATIONS_MESSAGES = Topic("notifications.messages", key="person_id")
ENDORSEMENT_CANDIDACIES = Topic("endorsement.candidacies", key="candidacy_id")
ENDORSEMENT_ENDORSEMENTS = Topic("endorsement.endorsements", key="endorsement_id", public=True)
ENDORSEMENT_STATE = Topic("endorsement.state", key="endorsement_id", compacted=True, public=True)

ALL_TOPICS: tuple[Topic, ...] = (
    SIGNUP_PEOPLE,
    MATCHING_PEOPLE,
    MATCHING_INTRO_CALLS,
    MATCHING_CALLS,
    NOTIFICATIONS_MESSAGES,
    ENDORSEMENT_CANDIDACIES,
    ENDORSEMENT_ENDORSEMENTS,
    ENDORSEMENT_STATE,
)
