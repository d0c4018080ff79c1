"""A round of matching over the database: read, edges, solver in its child process, commit with explanations and events.

The optimum is not known for people who are made up by chance; the solver's bound, which its prices prove, stands for
it: what reaches a share of the bound reaches at least that share of the optimum.
"""

import time
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager

from services.matching.actions import rounds
from services.matching.leader import options_of, round_of
from services.matching.solver.batch import fallback, finish, starting_edges
from services.matching.solver.tables import Tables
from services.matching.store.rounds import take_epoch
from shared.db import create_pool
from shared.program import load
from shared.work import Workshop
from tests.bench.stage import Stage
from tests.bench.suite import Goal, Pair, Rounds, Sample, constant
from tests.harness import PROGRAM_2025, Database

PROSPECTS, VOLUNTEERS = 8_000, 2_000
PAIRS_PER_SECOND = 1_000
DEADLINE_SECONDS = 120.0
# People by chance, the same each time: states, offices, tracks, languages and two evenings a week.
FILL = """
    WITH people AS (
        INSERT INTO people (person_id, fetched_version, first_name, roles, language, languages, time_zone, state,
                            office, tracks, signed_up_at, confirmed_at)
        SELECT md5($1 || n)::uuid, 1, 'P' || n, ARRAY[$1], 'en',
               CASE WHEN n % 7 = 0 THEN ARRAY['en', 'es'] ELSE ARRAY['en'] END,
               (ARRAY['America/New_York', 'America/Chicago', 'America/Denver', 'America/Los_Angeles'])[1 + n % 4],
               (ARRAY['NY', 'TX', 'CO', 'CA'])[1 + n % 4],
               (ARRAY['school_board', 'city_council', 'state_house'])[1 + n / 4 % 3],
               CASE WHEN n % 5 = 0 THEN ARRAY['educators'] ELSE '{}' END,
               now() - n % 500 * interval '1 hour', now() - n % 500 * interval '1 hour'
        FROM generate_series(1, $2) AS n
        RETURNING person_id, time_zone),
    hours AS (
        INSERT INTO availability (person_id, time_zone, weekly_cap, own, updated_at)
        SELECT person_id, time_zone, CASE WHEN $1 = 'volunteer' THEN 5 END, true, now() - interval '2 hours'
        FROM people)
    INSERT INTO availability_windows (person_id, dow, starts, ends)
    SELECT person_id, (get_byte(uuid_send(person_id), evening) % 7)::smallint,
           make_time(16 + get_byte(uuid_send(person_id), 4 + evening) % 5, 0, 0),
           make_time(18 + get_byte(uuid_send(person_id), 4 + evening) % 5, 30, 0)
    FROM people, generate_series(0, 1) AS evening
    ON CONFLICT DO NOTHING
"""
QUEUE = """
    INSERT INTO queue_entries (person_id, purpose, state, since, waiting_since)
    SELECT person_id, 'one_on_one', $1, signed_up_at, signed_up_at FROM people WHERE roles = ARRAY['prospect']
    ON CONFLICT DO NOTHING
"""
UNDO = (
    "TRUNCATE bookings, volunteer_weeks, match_explanations, outbox, timers, pairs CASCADE",
    "UPDATE queue_entries SET state = 'waiting', considered_at = NULL, unmatched = NULL WHERE state = 'held'",
)


@asynccontextmanager
async def matching(stage: Stage) -> AsyncIterator[Sequence[Pair]]:
    """Three pairs: the utility against the bound and against greedy's, and the speed against a thousand a second."""
    async with stage.databases.clone("matching") as database:
        await fill(database, stage.count(PROSPECTS), stage.count(VOLUNTEERS))
        pool = await create_pool(database.dsn, service="bench", size=4)
        try:
            workshop = Workshop(pool, load(PROGRAM_2025), "matching")

            async def measure(side: str) -> dict[str, Sample]:
                return await (_round(workshop, database) if side == "ours" else _greedily(workshop))

            sides = Rounds(measure)
            size = f"{stage.count(PROSPECTS):,} × {stage.count(VOLUNTEERS):,}"
            yield [
                Pair(10, f"matching, {size}: utility against the proved bound", "points", sides.of("utility"),
                     sides.of("bound"), Goal("at least", 0.995)),
                Pair(10, f"matching, {size}: pairs edged, solved and committed", "pairs/s", sides.of("speed"),
                     constant(PAIRS_PER_SECOND), Goal("at least", 1.0)),
                Pair(10, f"matching, {size}: utility against greedy's on the same edges", "points",
                     sides.of("utility"), sides.of("utility", "greedy"), Goal("at least", 1.0)),
            ]  # fmt: skip
        finally:
            await pool.close()


async def fill(database: Database, prospects: int, volunteers: int) -> None:
    """People with hours; every prospect waits."""
    await database.execute(FILL, "prospect", prospects)
    await database.execute(FILL, "volunteer", volunteers)
    await database.execute(QUEUE, "waiting")


async def _round(workshop: Workshop, database: Database) -> dict[str, Sample]:
    async with workshop.begin() as work:
        epoch = await take_epoch(work.connection, work.now)
    began = time.perf_counter()
    _, solution, committed = await round_of(workshop, epoch, DEADLINE_SECONDS)
    seconds = time.perf_counter() - began
    assert solution.method == "flow", solution.method
    assert solution.bound is not None
    for statement in UNDO:
        await database.execute(statement)
    return {
        "utility": Sample(float(solution.utility)),
        "bound": Sample(float(solution.bound)),
        "speed": Sample(len(committed.held) / seconds),
    }


async def _greedily(workshop: Workshop) -> dict[str, Sample]:
    async with workshop.begin() as work:
        taken = await rounds.snapshot(work)
    options, tables = options_of(workshop.program), Tables(taken.problem)
    solution = finish(tables, fallback(tables, starting_edges(tables, options), options), {})
    return {"utility": Sample(float(solution.utility))}
