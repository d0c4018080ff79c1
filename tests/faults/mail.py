"""What the sinks hold, as the harness looks at it while a row runs."""

import json
from collections.abc import Iterator
from typing import Any

from tests.faults.stand import Stand


async def mailed(stand: Stand, to: str, *, seconds: float = 60) -> None:
    """Wait until a mail to that address is stored."""

    async def has_come() -> bool:
        answer = await stand.http.get(f"{stand.sinks['control']}/api/messages", params={"to": to})
        return bool(answer.json())

    await stand.until(has_come, f"a mail to {to}", seconds=seconds, every=0.2)


def lines(stand: Stand, sink: str) -> Iterator[dict[str, Any]]:
    """The journal of `smtp`, `sms` or `webhook` so far."""
    path = stand.journals / f"{sink}.jsonl"
    if not path.exists():
        return
    with path.open(encoding="utf-8") as journal:
        for line in journal:
            if line.endswith("\n"):
                yield json.loads(line)


async def used(stand: Stand, rule: str) -> int:
    """How often a rule of the sinks' plan has decided."""
    answer = await stand.http.get(f"{stand.sinks['control']}/plan")
    return sum(int(one["used"]) for one in answer.json()["rules"] if one["name"] == rule)


async def met(stand: Stand, rule: str, *, times: int = 1, seconds: float = 400) -> None:
    """Wait until a rule of the plan has decided so often: the fault has been met, not just prepared."""

    async def often_enough() -> bool:
        return await used(stand, rule) >= times

    await stand.until(often_enough, f"the fault {rule} to be met {times} times", seconds=seconds, every=0.3)
    stand.tell(f"{rule} was met")
