"""Statements of the journey: an append-only projection of what other services told."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any
from uuid import UUID

from shared.db import Connection

# A repeat meets its primary key.
INSERT_STEPS = """
    INSERT INTO journey_steps (event_id, person_id, step, at, ref, with_id)
    SELECT * FROM unnest($1::uuid[], $2::uuid[], $3::text[], $4::timestamptz[], $5::uuid[], $6::uuid[])
    ON CONFLICT DO NOTHING
"""
# Served by journey_steps_person_id_idx.
GET_STEPS = """
    SELECT person_id, step, at, ref, with_id FROM journey_steps WHERE person_id = ANY($1::uuid[]) ORDER BY at, event_id
"""
# Only ever forward in the given order of stages, except back from a withdrawn endorsement. Locks the people in
# order of their ids, merges resolved.
ADVANCE_STAGES = """
    WITH reached AS (
        SELECT coalesce(person_aliases.person_id, batch.person_id) AS id,
               max(array_position($3::text[], batch.stage)) AS position
        FROM unnest($1::uuid[], $2::text[]) AS batch (person_id, stage)
        LEFT JOIN person_aliases ON person_aliases.alias_id = batch.person_id
        GROUP BY 1),
    locked AS (
        SELECT people.id, reached.position FROM people JOIN reached USING (id)
        WHERE reached.position > coalesce(array_position($3::text[], people.stage), 0)
        ORDER BY people.id FOR UPDATE OF people)
    UPDATE people SET stage = ($3::text[])[locked.position] FROM locked WHERE people.id = locked.id
"""
WITHDRAW_STAGES = """
    UPDATE people SET stage = $2 WHERE stage = 'endorsed' AND id IN (
        SELECT coalesce(person_aliases.person_id, asked.id) FROM unnest($1::uuid[]) AS asked (id)
        LEFT JOIN person_aliases ON person_aliases.alias_id = asked.id)
"""


@dataclass(frozen=True, slots=True)
class NewStep:
    """A step to append; `event_id` and person make it one."""

    event_id: UUID
    person_id: UUID
    step: str
    at: datetime
    ref: UUID
    with_id: UUID | None = None


async def insert_steps(connection: Connection, steps: Sequence[NewStep]) -> None:
    """Append steps; repeats change nothing."""
    await connection.execute(
        INSERT_STEPS,
        [step.event_id for step in steps],
        [step.person_id for step in steps],
        [step.step for step in steps],
        [step.at for step in steps],
        [step.ref for step in steps],
        [step.with_id for step in steps],
    )


async def get_steps(connection: Connection, person_ids: Sequence[UUID]) -> Sequence[Mapping[str, Any]]:
    """The steps of these people, oldest first."""
    rows: Sequence[Mapping[str, Any]] = await connection.fetch(GET_STEPS, person_ids)
    return rows


async def advance_stages(connection: Connection, stages: Sequence[tuple[UUID, str]], order: Sequence[str]) -> None:
    """Move people on to the stages that they reached, never back."""
    await connection.execute(ADVANCE_STAGES, [p for p, _stage in stages], [s for _p, s in stages], order)


async def withdraw_stages(connection: Connection, person_ids: Sequence[UUID], back_to: str) -> None:
    """Take people whose endorsement was withdrawn back to an earlier stage."""
    await connection.execute(WITHDRAW_STAGES, person_ids, back_to)
