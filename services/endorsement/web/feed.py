"""The public interface: feed with a gapless cursor, snapshot of the current state, CSV and Atom. No sign-in."""

import csv
import io
import json
from datetime import UTC
from typing import Annotated, Any
from uuid import UUID
from xml.etree import ElementTree

from fastapi import APIRouter, Query, Request
from fastapi.responses import JSONResponse, Response

from services.endorsement.actions.publishing import state_event
from services.endorsement.store import decisions
from services.endorsement.store import publication as store
from services.endorsement.web.requests import MAX_ID, begin, program_of
from services.endorsement.web.views import endorsement_json
from shared.web.problems import problem

router = APIRouter(tags=["endorsements"])

ATOM = "http://www.w3.org/2005/Atom"
SNAPSHOT_LIMIT = 10_000
PUBLIC = {"Access-Control-Allow-Origin": "*", "Cache-Control": "no-cache"}
FORMULA_STARTS = ("=", "+", "-", "@", "\t", "\r")


@router.get("/v1/endorsements/feed", summary="Public events in order; continue with the returned cursor")
async def feed(
    request: Request,
    cursor: Annotated[int, Query(ge=0, le=MAX_ID, description="The last cursor you have; 0 begins.")] = 0,
    limit: Annotated[int, Query(ge=1, le=500)] = 100,
) -> Response:
    """Entries after `cursor` as structured CloudEvents, with `next_cursor` for the next call."""
    async with begin(request) as work:
        rows = await store.find_entries(work.connection, cursor, limit)
        # Read after the entries: what retention removed meanwhile is noticed.
        last, pruned_through = await store.get_counter(work.connection)
    if cursor < pruned_through:
        snapshot = f"{request.app.state.public_url}/v1/endorsements"
        detail = (
            f"Events up to {pruned_through} are no longer kept. Take the snapshot at {snapshot}, then go on with its"
            " cursor."
        )
        return problem(410, "cursor_expired", detail, headers={**PUBLIC, "Link": f'<{snapshot}>; rel="alternate"'})
    events = [{"cursor": row["cursor"], "event": json.loads(row["event"])} for row in rows]
    next_cursor: int = rows[-1]["cursor"] if rows else min(cursor, last)
    return JSONResponse({"events": events, "next_cursor": next_cursor, "more": next_cursor < last}, headers=PUBLIC)


@router.get("/v1/endorsements", summary="Snapshot: the current state of every endorsement, and the feed's cursor")
async def snapshot(request: Request) -> Response:
    """The cursor is read before the states, so nothing falls between snapshot and feed; an event may be in both."""
    async with begin(request) as work:
        last, _pruned = await store.get_counter(work.connection)
        rows = await decisions.find_endorsements(work.connection, limit=SNAPSHOT_LIMIT)
    body = {"cursor": last, "endorsements": [state_event(row).model_dump(mode="json") for row in rows]}
    return JSONResponse(body, headers=PUBLIC)


COLUMNS = (
    "endorsement_id", "status", "ballot_name", "office", "office_label", "office_level", "state", "district",
    "election_date", "organization", "legal_body", "announced_at", "rescinded_at",
)  # fmt: skip


@router.get("/v1/endorsements.csv", summary="The snapshot as CSV")
async def snapshot_csv(request: Request) -> Response:
    async with begin(request) as work:
        rows = await decisions.find_endorsements(work.connection, limit=SNAPSHOT_LIMIT)
    sheet = io.StringIO()
    writer = csv.writer(sheet)
    writer.writerow(COLUMNS)
    for row in rows:
        values = state_event(row).model_dump(mode="json")
        writer.writerow([safe_cell(values[name]) for name in COLUMNS])
    headers = PUBLIC | {"Content-Disposition": 'attachment; filename="endorsements.csv"'}
    return Response(sheet.getvalue(), media_type="text/csv; charset=utf-8", headers=headers)


def safe_cell(value: object) -> str:
    """A cell that no spreadsheet takes for a formula: a quote goes before what would start one."""
    text = "" if value is None else str(value)
    return f"'{text}" if text.startswith(FORMULA_STARTS) else text


@router.get("/v1/endorsements/{endorsement_id}", summary="The current state of one endorsement")
async def one(request: Request, endorsement_id: UUID) -> dict[str, Any]:
    async with begin(request) as work:
        return endorsement_json(await decisions.get_endorsement(work.connection, endorsement_id))


@router.get("/endorsements/feed.atom", summary="The latest events as Atom")
async def atom(request: Request) -> Response:
    """One entry per event; a rescission is an entry of its own."""
    program = program_of(request)
    base = request.app.state.public_url
    async with begin(request) as work:
        rows = await store.find_latest(work.connection, 50)
        now = work.now
        known = {}
        for row in rows:
            event = json.loads(row["event"])
            endorsement_id = UUID(event["data"]["endorsement_id"])
            known[row["cursor"]] = (event, await decisions.get_endorsement(work.connection, endorsement_id))
    ElementTree.register_namespace("", ATOM)
    root = ElementTree.Element(f"{{{ATOM}}}feed")
    _child(root, "title", f"{program.organization.name}: endorsements")
    _child(root, "id", f"{base}/endorsements/feed.atom")
    _child(root, "updated", (rows[0]["published_at"] if rows else now).astimezone(UTC).isoformat())
    for href, rel in ((f"{base}/endorsements/feed.atom", "self"), (f"{base}/endorsements", "alternate")):
        ElementTree.SubElement(root, f"{{{ATOM}}}link", href=href, rel=rel)
    author = ElementTree.SubElement(root, f"{{{ATOM}}}author")
    _child(author, "name", program.organization.name)
    for event, endorsement in known.values():
        entry = ElementTree.SubElement(root, f"{{{ATOM}}}entry")
        rescinded = event["type"].endswith("endorsement_rescinded.v1")
        place = ", ".join(filter(None, (endorsement.office_label, endorsement.district, endorsement.state)))
        _child(entry, "title", f"{'Rescinded' if rescinded else 'Endorsed'}: {endorsement.ballot_name}, {place}")
        _child(entry, "id", f"urn:uuid:{event['id']}")
        _child(entry, "updated", event["time"])
        ElementTree.SubElement(entry, f"{{{ATOM}}}link", href=f"{base}/endorsements/{endorsement.id}", rel="alternate")
    body = ElementTree.tostring(root, encoding="utf-8", xml_declaration=True)
    return Response(body, media_type="application/atom+xml", headers=PUBLIC)


def _child(parent: ElementTree.Element, name: str, text: str) -> None:
    ElementTree.SubElement(parent, f"{{{ATOM}}}{name}").text = text
