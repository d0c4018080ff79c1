"""How many people reached each stage, in all and by where they came from, their state or their age."""

import csv
import io
from typing import Annotated, Any, Literal

from fastapi import APIRouter, Depends, Request, Response

from services.signup.domain.journey import CONFIDENTIAL, STAGE_OF
from services.signup.domain.small_cells import SMALLEST, suppressed
from services.signup.store import staff as store
from services.signup.web.me import json_answer
from services.signup.web.requests import pages_of, program_of, workshop_of
from shared.program import Stage
from shared.web.sessions import Principal, require
from shared.web.text import Message, Text, _

router = APIRouter(tags=["funnel"])

Staff = Annotated[Principal, Depends(require("staff"))]
By = Literal["source", "state", "age"]
OPEN_STAGES = {step: stage for step, stage in STAGE_OF.items() if step not in CONFIDENTIAL}
SHOWN = frozenset({"signed_up", "confirmed", *OPEN_STAGES.values()})
GROUP_LABELS: dict[str, Message] = {"source": _("First touch"), "state": _("State"), "age": _("Age this year")}
UNKNOWN: dict[str, Message] = {"source": _("No code"), "state": _("Not given"), "age": _("Not given")}


async def _counts(request: Request, by: By | None) -> dict[str, dict[str, int | None]]:
    async with workshop_of(request).begin() as work:
        counts = await store.count_funnel(work.connection, OPEN_STAGES, by, work.now.year)
    # Who came through which link is no trait of a person; a state and an age are.
    return suppressed(counts) if by in ("state", "age") else {g: dict(c) for g, c in counts.items()}


def _stages(request: Request) -> list[Stage]:
    return [stage for stage in program_of(request).stages if stage.id in SHOWN]


@router.get("/v1/funnel", summary="People per stage", response_model=None)
async def funnel_json(request: Request, _principal: Staff, by: By | None = None) -> Response:
    """Counts per group and stage; null where there are fewer than ten in a demographic cut."""
    counts = await _counts(request, by)
    stages = [stage.id for stage in _stages(request)]
    groups = [
        {"group": group or None, **{s: found.get(s, 0) for s in stages}} for group, found in sorted(counts.items())
    ]
    return json_answer({"by": by, "stages": stages, "groups": groups, "smallest_cell": SMALLEST})


@router.get("/funnel.csv", summary="The funnel as CSV")
async def funnel_csv(request: Request, _principal: Staff, by: By | None = None) -> Response:
    """One line for each group."""
    counts = await _counts(request, by)
    stages = [stage.id for stage in _stages(request)]
    text = io.StringIO()
    writer = csv.writer(text)
    writer.writerow([by or "group", *stages])
    for group, found in sorted(counts.items()):
        writer.writerow([_harmless(group), *("" if (n := found.get(s, 0)) is None else n for s in stages)])
    return Response(
        text.getvalue(),
        media_type="text/csv; charset=utf-8",
        headers={"Cache-Control": "no-store", "Content-Disposition": 'attachment; filename="funnel.csv"'},
    )


def _harmless(text: str) -> str:
    """A cell that a spreadsheet does not run: a source is what somebody wrote into an address."""
    return f"'{text}" if text.startswith(("=", "+", "-", "@", "\t", "\r")) else text


@router.get("/funnel", summary="The funnel")
async def funnel_page(request: Request, principal: Staff, by: By | None = None) -> Response:
    """The chart with its table, and the cut that was chosen."""
    total = (await _counts(request, None)).get("", {})
    stages = _stages(request)
    cut = await _counts(request, by) if by else {}
    rows: list[dict[str, Any]] = [{"label": stage.label, "value": total.get(stage.id) or 0} for stage in stages]
    return pages_of(request).response(
        request,
        "funnel.html",
        language=pages_of(request).page_language(request, principal.language),
        title=_("Funnel"),
        current="funnel",
        rows=rows if total else [],
        finding=_finding(rows),
        by=by,
        cuts=GROUP_LABELS,
        cut_label=GROUP_LABELS[by] if by else None,
        columns=[
            {"label": GROUP_LABELS[by]}, *({"label": stage.label, "numeric": True} for stage in stages)
        ] if by else [],
        cut_rows=[
            [group or UNKNOWN[by or "source"], *(_cell(found.get(stage.id, 0)) for stage in stages)]
            for group, found in sorted(cut.items(), key=lambda item: -(item[1].get("signed_up") or 0))
        ],
        smallest=SMALLEST,
        is_demographic=by in ("state", "age"),
    )  # fmt: skip


def _cell(count: int | None) -> int | Text:
    return _("few") if count is None else count


def _finding(rows: list[dict[str, Any]]) -> Message:
    values = {str(n): row["value"] for n, row in enumerate(rows)}
    first, second = values.get("0", 0), values.get("1", 0)
    if not first:
        return _("Nobody has signed up to run yet.")
    return _("Of %(all)d people who signed up to run, %(confirmed)d confirmed their address.",
             all=first, confirmed=second)  # fmt: skip
