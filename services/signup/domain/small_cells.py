"""Hiding small numbers: a count of few people may tell who they are."""

from collections.abc import Mapping

SMALLEST = 10


def suppressed(groups: Mapping[str, Mapping[str, int]]) -> dict[str, dict[str, int | None]]:
    """Counts per group and stage with every cell from 1 to 9 as None.

    Where exactly one cell of a stage is hidden, the total would give it back; the next smallest is hidden too.
    """
    stages = {stage for counts in groups.values() for stage in counts}
    shown: dict[str, dict[str, int | None]] = {
        group: {stage: None if 0 < count < SMALLEST else count for stage, count in counts.items()}
        for group, counts in groups.items()
    }
    for stage in stages:
        hidden = [group for group, counts in shown.items() if counts.get(stage, 0) is None]
        rest = [(count, group) for group, counts in shown.items() if (count := counts.get(stage))]
        if len(hidden) == 1 and rest:
            shown[min(rest)[1]][stage] = None
    return shown
