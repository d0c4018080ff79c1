"""The intake's ceiling: a bare Starlette handler, one INSERT of the same row for each request.

Served as a web process is: `uvicorn tests.bench.ceilings.bare_insert:app`, with DATABASE_URL set.
"""

import os
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from uuid import UUID, uuid4

import asyncpg
import orjson
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import JSONResponse, RedirectResponse, Response
from starlette.routing import Route

INSERT = """
    INSERT INTO bare_signups (id, intent_id, person_id, form, role, legal_body, email, facts, known, program_version,
                              program_hash, created_at)
    VALUES ($1, $2, $3, $4, 'prospect', 'pac', $5, $6, false, '2025', 'hash', now())
"""


async def by_json(request: Request) -> Response:
    body = await request.json()
    signup_id, facts = uuid4(), orjson.dumps(body).decode()
    await request.app.state.pool.execute(
        INSERT, signup_id, UUID(body["intent_id"]), uuid4(), body["form"], body["email"], facts
    )
    return JSONResponse({"signup_id": str(signup_id), "intent_id": body["intent_id"]}, 202)


async def by_form(request: Request) -> Response:
    body = dict(await request.form())
    facts = orjson.dumps(body).decode()
    await request.app.state.pool.execute(
        INSERT, uuid4(), UUID(str(body["intent_id"])), uuid4(), "run", body["email"], facts
    )
    return RedirectResponse("/f/run/thank-you", 303)


@asynccontextmanager
async def lifespan(app: Starlette) -> AsyncIterator[None]:
    async with asyncpg.create_pool(os.environ["DATABASE_URL"], min_size=16, max_size=16) as app.state.pool:
        yield


app = Starlette(
    routes=[Route("/v1/signups", by_json, methods=["POST"]), Route("/f/run", by_form, methods=["POST"])],
    lifespan=lifespan,
)
