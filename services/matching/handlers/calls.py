"""What happens to calls as time passes."""

from collections.abc import Mapping

from services.matching.actions import calls
from shared.timers import Action

CALL_TIMERS: Mapping[str, Action] = {
    calls.HOLD_EXPIRY: calls.on_hold_expiry,
    calls.REMINDER: calls.on_reminder,
    calls.ATTESTATION: calls.on_attestation,
}
