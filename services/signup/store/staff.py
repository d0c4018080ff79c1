"""Statements behind the staff's pages: the list of people, and the funnel."""

from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import Any
from uuid import UUID

from shared.db import Connection

Row = Mapping[str, Any]

# One page, newest first, after a cursor of (signed_up_at, id). Served by people_signed_up_at_idx; the search reads on
# until the page is full.
LIST_PEOPLE = """
    SELECT people.id, people.name, emails.email, people.state, people.stage, people.signed_up_at, people.confirmed_at,
           ARRAY(SELECT role FROM roles WHERE roles.person_id = people.id ORDER BY since, role) AS roles
    FROM people
    LEFT JOIN LATERAL (SELECT email FROM person_emails WHERE person_emails.person_id = people.id
                       ORDER BY added_at LIMIT 1) AS emails ON true
    WHERE ($1::timestamptz IS NULL OR (people.signed_up_at, people.id) < ($1, $2::uuid))
      AND ($3::text IS NULL OR strpos(lower(people.name), lower($3)) > 0
           OR EXISTS (SELECT 1 FROM person_emails WHERE person_emails.person_id = people.id
                      AND strpos(email_key, lower($3)) > 0))
      AND ($4::text IS NULL OR EXISTS (SELECT 1 FROM roles WHERE roles.person_id = people.id AND role = $4))
      AND ($5::text IS NULL OR people.state = $5)
      AND ($6::text IS NULL OR people.stage = $6)
      AND NOT EXISTS (SELECT 1 FROM person_aliases WHERE alias_id = people.id)
    ORDER BY people.signed_up_at DESC, people.id DESC LIMIT $7
"""

# Everybody who came as a prospect, with the stages they reached and the group they are counted under. Confidential
# steps are not in $1. A withdrawn endorsement is no endorsement.
FUNNEL = """
    WITH prospects AS (
        SELECT people.id, people.state, people.birth_year, people.confirmed_at FROM people
        WHERE EXISTS (SELECT 1 FROM signups WHERE signups.person_id = people.id AND signups.role = 'prospect')
          AND NOT EXISTS (SELECT 1 FROM person_aliases WHERE alias_id = people.id)),
    grouped AS (
        SELECT prospects.id, prospects.confirmed_at, CASE $3::text
            WHEN 'source' THEN coalesce(touch.ref, touch.utm_source, '')
            WHEN 'state' THEN coalesce(prospects.state, '')
            WHEN 'age' THEN CASE WHEN birth_year IS NULL THEN ''
                 WHEN $4::int - birth_year < 30 THEN '18-29' WHEN $4::int - birth_year < 40 THEN '30-39'
                 WHEN $4::int - birth_year < 50 THEN '40-49' ELSE '50+' END
            ELSE '' END AS grp
        FROM prospects
        LEFT JOIN LATERAL (SELECT ref, utm_source FROM sources WHERE sources.person_id = prospects.id
                           ORDER BY at, signup_id LIMIT 1) AS touch ON true),
    steps AS (
        SELECT DISTINCT coalesce(person_aliases.person_id, journey_steps.person_id) AS id, stages.stage
        FROM journey_steps
        JOIN unnest($1::text[], $2::text[]) AS stages (step, stage) ON stages.step = journey_steps.step
        LEFT JOIN person_aliases ON person_aliases.alias_id = journey_steps.person_id
        WHERE stages.stage <> 'endorsed' OR NOT EXISTS (
            SELECT 1 FROM journey_steps AS later WHERE later.ref = journey_steps.ref
              AND later.step = 'endorsement_withdrawn' AND later.at >= journey_steps.at)),
    reached AS (
        SELECT id, 'signed_up' AS stage FROM grouped
        UNION ALL SELECT id, 'confirmed' FROM grouped WHERE confirmed_at IS NOT NULL
        UNION ALL SELECT id, stage FROM steps)
    SELECT grp, stage, count(*) AS people FROM reached JOIN grouped USING (id) GROUP BY grp, stage
"""


async def list_people(
    connection: Connection,
    *,
    after: tuple[datetime, UUID] | None,
    search: str | None,
    role: str | None,
    state: str | None,
    stage: str | None,
    limit: int,
) -> Sequence[Row]:
    """A page of people, newest first."""
    at, person_id = after or (None, None)
    rows: Sequence[Row] = await connection.fetch(LIST_PEOPLE, at, person_id, search, role, state, stage, limit)
    return rows


async def count_funnel(
    connection: Connection, stage_of: Mapping[str, str], by: str | None, year: int
) -> dict[str, dict[str, int]]:
    """People per group and stage; one group, "", without `by` ("source", "state" or "age")."""
    rows = await connection.fetch(FUNNEL, list(stage_of), list(stage_of.values()), by, year)
    counts: dict[str, dict[str, int]] = {}
    for row in rows:
        counts.setdefault(row["grp"], {})[row["stage"]] = row["people"]
    return counts
