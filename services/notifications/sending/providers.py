"""The providers of one lane, best first. One that is slow or failing is demoted, and asked now and then how it is.

While another is well, that one is used. While none is, the lane hands over one message every `PROBE_SECONDS`: a
provider that takes mail and never answers must not turn a whole queue into hand-overs whose end nobody knows.
"""

import time
from collections import deque
from collections.abc import Awaitable, Callable, Sequence
from typing import TYPE_CHECKING

from services.notifications import metrics
from services.notifications.domain.sending import LOOK_BACK, is_demoted, is_slow
from services.notifications.sending.answers import Answer
from shared.log import get_logger

if TYPE_CHECKING:
    from services.notifications.sending.sender import Ready

log = get_logger("notifications.providers")

PROBE_SECONDS = 15.0

HandOver = Callable[["Ready"], Awaitable[Answer]]


class Provider:
    """One way to hand a lane's messages over, and how the last of them went."""

    def __init__(self, name: str, hand_over: HandOver) -> None:
        self.name = name
        self.hand_over = hand_over
        self.demoted = False
        self.probed_at = 0.0
        self._failed: deque[bool] = deque(maxlen=LOOK_BACK)

    def note(self, *, failed: bool) -> bool:
        """Write down one hand-over; true when that changed whether the provider is demoted."""
        before = self.demoted
        if before and not failed:
            self._failed.clear()
        self._failed.append(failed)
        self.demoted = is_demoted(self._failed) if not before else failed
        return self.demoted != before


class Providers:
    """Chooses for each message. `clock` counts seconds."""

    def __init__(
        self, lane: str, providers: Sequence[Provider], *, timeout_seconds: float,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:  # fmt: skip
        self._lane = lane
        self._providers = providers
        self._timeout_seconds = timeout_seconds
        self._clock = clock

    def room(self, batch: int) -> int:
        """How many messages may be taken now: a batch, one to probe with, or none yet."""
        if any(not provider.demoted for provider in self._providers):
            return batch
        last = max(provider.probed_at for provider in self._providers)
        return 1 if self._clock() - last >= PROBE_SECONDS else 0

    async def hand_over(self, ready: "Ready") -> Answer:
        """Hand one message over to the best provider; never raises for what it does."""
        provider = self._choose()
        if provider is None:
            # It was claimed before the last provider was demoted.
            return Answer("temporary", "provider_demoted")
        began = self._clock()
        answer = await provider.hand_over(ready)
        failed = answer.provider_failed or is_slow(self._clock() - began, self._timeout_seconds)
        if provider.note(failed=failed):
            log.warning("provider_demoted" if provider.demoted else "provider_back", lane=self._lane,
                        provider=provider.name, reason=answer.reason)  # fmt: skip
        if provider.demoted:
            provider.probed_at = self._clock()
        metrics.DEMOTED.labels(self._lane, provider.name).set(provider.demoted)
        return answer

    def _choose(self) -> Provider | None:
        for provider in self._providers:
            if not provider.demoted:
                return provider
        # The one that was not asked for longest; marked at once, so that no other message goes along.
        now = self._clock()
        provider = min(self._providers, key=lambda each: each.probed_at)
        if now - max(each.probed_at for each in self._providers) < PROBE_SECONDS:
            return None
        provider.probed_at = now
        return provider
