"""Rounds of matching: who leads, what a round read and decided, why."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import Any
from uuid import UUID

from shared.db import Connection, Pool

# A new leader's epoch is higher than any before; the row's lock orders rivals.
TAKE_EPOCH = "UPDATE leadership SET epoch = epoch + 1, taken_at = $1 RETURNING epoch"
# Shared: a commit that has checked its epoch holds off the next leader until it ends.
CHECK_EPOCH = "SELECT epoch FROM leadership FOR SHARE"
# Everybody who gives hours. Served by people_roles_idx.
FIND_VOLUNTEERS = """
    SELECT p.person_id, p.state, p.office, p.tracks, p.languages, p.language, p.facts
    FROM people p JOIN availability a USING (person_id)
    WHERE 'volunteer' = ANY(p.roles) AND p.confirmed_at IS NOT NULL AND NOT a.paused
      AND coalesce(a.weekly_cap, 1) > 0
      AND EXISTS (SELECT 1 FROM availability_windows w WHERE w.person_id = p.person_id)
      AND NOT EXISTS (SELECT 1 FROM tombstones t WHERE t.person_id = p.person_id)
      AND NOT EXISTS (SELECT 1 FROM person_aliases m WHERE m.alias_id = p.person_id)
    ORDER BY p.person_id
"""
GET_PAIRS = "SELECT prospect_id, volunteer_id FROM pairs"
GET_BLOCKS = "SELECT person_id, other_id, kind FROM blocks"
# Whatever forbids one of these pairs or changed the hours of one of them since the round read them.
FIND_SPOILED = """
    SELECT row.call_id FROM unnest($1::uuid[], $2::uuid[], $3::uuid[]) AS row (call_id, prospect_id, volunteer_id)
    WHERE EXISTS (SELECT 1 FROM pairs p WHERE p.prospect_id = row.prospect_id AND p.volunteer_id = row.volunteer_id)
       OR EXISTS (SELECT 1 FROM blocks b WHERE b.person_id = row.prospect_id AND b.other_id = row.volunteer_id)
       OR EXISTS (SELECT 1 FROM blocks b WHERE b.person_id = row.volunteer_id AND b.other_id = row.prospect_id)
       OR EXISTS (SELECT 1 FROM availability a
                  WHERE a.person_id IN (row.prospect_id, row.volunteer_id) AND (a.updated_at > $4 OR a.paused))
       OR EXISTS (SELECT 1 FROM tombstones t WHERE t.person_id IN (row.prospect_id, row.volunteer_id))
"""
INSERT_BATCH = """
    INSERT INTO match_batches (batch_id, epoch, solved_at, method, candidates, volunteers, proposed, committed, utility,
                               bound, detail)
    VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11)
"""
INSERT_EXPLANATIONS = """
    INSERT INTO match_explanations (batch_id, call_id, parts, utility, rank, feasible, slot_price, group_price,
                                    for_prospect, for_volunteer, for_staff)
    SELECT $1, call_id, parts, utility, rank, feasible, slot_price, group_price,
           said -> 'prospect', said -> 'volunteer', said -> 'staff'
    FROM unnest($2::uuid[], $3::jsonb[], $4::integer[], $5::integer[], $6::integer[], $7::integer[], $8::integer[],
                $9::jsonb[]) AS row (call_id, parts, utility, rank, feasible, slot_price, group_price, said)
"""
# A call that was moved is explained by the one it came from.
GET_EXPLANATIONS = "SELECT * FROM match_explanations WHERE call_id = ANY($1::uuid[])"
COPY_EXPLANATION = """
    INSERT INTO match_explanations
    SELECT $2, batch_id, parts, utility, rank, feasible, slot_price, group_price, for_prospect, for_volunteer, for_staff
    FROM match_explanations WHERE call_id = $1
"""
INSERT_PAIR = """
    INSERT INTO pairs (prospect_id, volunteer_id, reason, since) VALUES ($1, $2, $3, $4) ON CONFLICT DO NOTHING
"""
INSERT_BLOCK = """
    INSERT INTO blocks (person_id, other_id, kind, note, created_at, created_by) VALUES ($1, $2, $3, $4, $5, $6)
    ON CONFLICT DO NOTHING
"""
DELETE_BLOCK = "DELETE FROM blocks WHERE person_id = $1 AND other_id = $2"
FIND_BLOCKS = """
    SELECT b.*, p.first_name, o.first_name AS other_first_name FROM blocks b
    JOIN people p ON p.person_id = b.person_id JOIN people o ON o.person_id = b.other_id
    ORDER BY b.created_at DESC LIMIT $1
"""
GET_LAST_BATCH = "SELECT * FROM match_batches ORDER BY solved_at DESC, epoch DESC LIMIT 1"
INSERT_ATTESTATION = """
    INSERT INTO attestations (call_id, attested_by, attested_at, result, notes, concern) VALUES ($1, $2, $3, $4, $5, $6)
"""
FIND_CONCERNS = """
    SELECT t.call_id, t.attested_at, t.concern, b.prospect_id, b.volunteer_id FROM attestations t
    JOIN bookings b USING (call_id) WHERE t.concern IS NOT NULL AND t.concern_closed_at IS NULL ORDER BY t.attested_at
"""
# Served by attestations_attested_at_idx.
FIND_ATTESTED = """
    SELECT t.call_id, t.attested_at, t.notes, b.outcome, b.missed_by, b.follow_ups, b.prospect_id, b.volunteer_id
    FROM attestations t JOIN bookings b USING (call_id) ORDER BY t.attested_at DESC, t.call_id LIMIT $1
"""
CLOSE_CONCERN = """
    UPDATE attestations SET concern_closed_at = $2, concern_closed_by = $3
    WHERE call_id = $1 AND concern IS NOT NULL AND concern_closed_at IS NULL RETURNING call_id
"""


async def take_epoch(connection: Connection, now: datetime) -> int:
    """A new leader's epoch."""
    epoch: int = await connection.fetchval(TAKE_EPOCH, now)
    return epoch


async def insert_explanations(connection: Connection, batch_id: UUID, rows: Sequence[Mapping[str, Any]]) -> None:
    """One explanation per call that was committed; `said` holds the sentences for prospect, volunteer and staff."""
    names = ("call_id", "parts", "utility", "rank", "feasible", "slot_price", "group_price", "said")
    await connection.execute(INSERT_EXPLANATIONS, batch_id, *([row[name] for row in rows] for name in names))


async def get_explanations(connection: Connection | Pool, call_ids: Sequence[UUID]) -> dict[UUID, Mapping[str, Any]]:
    """Explanations by call, of those that have one."""
    return {row["call_id"]: row for row in await connection.fetch(GET_EXPLANATIONS, list(call_ids))}


async def insert_pair(
    connection: Connection, prospect_id: UUID, volunteer_id: UUID, reason: str, now: datetime
) -> None:
    """Never propose these two to each other again."""
    await connection.execute(INSERT_PAIR, prospect_id, volunteer_id, reason, now)
