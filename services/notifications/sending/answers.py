"""What a provider said to one hand-over."""

from dataclasses import dataclass

from services.notifications.domain.sending import Outcome


@dataclass(frozen=True, slots=True)
class Answer:
    """`temporary` is certain not to have been taken; `unknown` may have been.

    `provider_failed` tells that it is the provider's doing, whatever the recipient.
    `reason` is a code; `bounced` tells that the address does not exist; `retry_after_seconds` is the provider's wish.
    """

    outcome: Outcome
    reason: str | None = None
    provider_id: str | None = None
    retry_after_seconds: int | None = None
    bounced: bool = False
    provider_failed: bool = False
