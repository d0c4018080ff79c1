"""Pages: the whole path by forms, in both languages, and what a refused form shows."""

import datetime as dt
from collections.abc import Mapping

import httpx
import pytest

from shared.service import Service
from shared.web.sessions import COOKIE, Principal
from tests.component.endorsement.scenes import (
    ADMIN,
    ANSWERS,
    CANDIDATE,
    INSIDER,
    OUTSIDER,
    SCORES,
    SECOND,
    STAFF,
    announced,
    applied,
    confirmed,
    drafted,
    opened,
    reviewed,
    today,
)
from tests.conftest import DatabaseFactory
from tests.harness import client_of, session_token


async def get(service: Service, principal: Principal | None, path: str, *, status: int = 200) -> str:
    async with client_of(service, principal, Accept="text/html") as client:
        answer = await client.get(path)
    assert answer.status_code == status, answer.text
    return answer.text


async def post(
    service: Service,
    principal: Principal,
    path: str,
    form: Mapping[str, str | list[str]] | None = None,
    *,
    status: int = 303,
) -> httpx.Response:
    async with client_of(service, principal, Accept="text/html") as client:
        answer = await client.post(path, data=dict(form or {}))
    assert answer.status_code == status, answer.text
    return answer


def as_form(answers: Mapping[str, object]) -> dict[str, str | list[str]]:
    """The typed form of `ANSWERS`."""
    return {
        "plan": str(answers["plan"]),
        "budget_cents": "12,500",
        "win_number": "4,200",
        "path_to_victory": str(answers["path_to_victory"]),
        "vision": str(answers["vision"]),
        "value_statements": ["neighbors", "honest", "results", "safe", "care"],
        "birth_year": "1995",
        "publish_consent": "yes",
    }


async def test_whole_path_by_forms(databases: DatabaseFactory) -> None:
    database = await databases("endorsement")
    async with opened(database) as service:
        day = await today(service)
        election = day + dt.timedelta(days=60)
        form = {
            "office": "city_council",
            "state": "WI",
            "district": "3",
            "term": "2026–2030",
            "ballot_name": "Ana Ruiz",
            "official_link": "https://elections.example.org/list",
            "election_date-year": str(election.year),
            "election_date-month": str(election.month),
            "election_date-day": str(election.day),
            "filed_on-year": str(day.year),
            "filed_on-month": str(day.month),
            "filed_on-day": str(day.day),
        }
        await post(service, CANDIDATE, "/candidacy/new", form)
        assert "Being checked" in await get(service, CANDIDATE, "/candidacy")
        candidacy_id = await service.context.pool.fetchval("SELECT id FROM candidacies")
        assert "Ana Ruiz" in await get(service, STAFF, "/endorsements/staff")
        await post(
            service, STAFF, f"/endorsements/filings/{candidacy_id}/return", {"reason": "other_name", "note": "Anna?"}
        )
        assert "Anna?" in await get(service, CANDIDATE, "/candidacy")
        assert "Ana Ruiz" in await get(service, CANDIDATE, f"/candidacy/{candidacy_id}/edit")
        await post(service, CANDIDATE, f"/candidacy/{candidacy_id}/edit", form | {"ballot_name": "Anna Ruiz"})
        await post(service, STAFF, f"/endorsements/filings/{candidacy_id}/confirm")

        begun = await post(service, CANDIDATE, "/applications", {"candidacy_id": str(candidacy_id)})
        path = begun.headers["location"]
        saved = await post(service, CANDIDATE, path, {"plan": "Half a plan", "act": "save"})
        assert saved.headers["location"] == f"{path}?saved=1"
        shown = await get(service, CANDIDATE, f"{path}?saved=1")
        assert "Half a plan" in shown
        assert "Your answers are kept" in shown
        refused = await post(service, CANDIDATE, path, {"plan": "Half a plan", "act": "submit"}, status=422)
        assert "There is a problem" in refused.text
        await post(service, CANDIDATE, path, as_form(ANSWERS) | {"act": "submit"})
        standing = await get(service, CANDIDATE, path)
        assert "We have your application" in standing
        assert "Rules of version 2025-age-40." in standing

        application_id = path.rpartition("/")[2]
        review = f"/reviews/{application_id}"
        for reviewer in (OUTSIDER, INSIDER):
            assert "Do you have a conflict of interest?" in await get(service, reviewer, review)
            await post(service, reviewer, f"{review}/declaration", {"conflict": "no"})
            assert "Sidewalks to every school." in await get(service, reviewer, review)
            incomplete = await post(service, reviewer, f"{review}/scorecard", {"score-plan": "4"}, status=422)
            assert "Choose a score from 1 to 5." in incomplete.text
            scores = {f"score-{name}": str(score) for name, score in SCORES.items()}
            await post(
                service, reviewer, f"{review}/scorecard", scores | {"recommendation": "endorse", "comment": "Yes."}
            )
        assert "2 of 2 scorecards are in." in await get(service, INSIDER, review)

        decide = f"/endorsements/decide/{application_id}"
        assert "2 of 2 scorecards are in, 1 of 1 from outside" in await get(service, STAFF, decide)
        assert "Write down why" in (await post(service, STAFF, decide, {"outcome": "endorse"}, status=422)).text
        await post(service, STAFF, decide, {"outcome": "endorse", "note": "Strong."})
        assert "in confidence" in await get(service, CANDIDATE, path)
        decision_id = await service.context.pool.fetchval("SELECT id FROM decisions")
        await post(service, SECOND, f"/endorsements/decisions/{decision_id}/announce", status=409)
        await database.advance_clock(dt.timedelta(hours=73))
        await post(service, SECOND, f"/endorsements/decisions/{decision_id}/announce")

        public = await get(service, None, "/endorsements?state=WI&office=city_council")
        assert "Anna Ruiz" in public
        assert "Anna Ruiz" not in await get(service, None, "/endorsements?state=OH")
        endorsement_id = await service.context.pool.fetchval("SELECT id FROM endorsements")
        assert "Anna Ruiz" in await get(service, None, f"/endorsements/{endorsement_id}")
        assert "You are endorsed" in await get(service, CANDIDATE, path)
        await post(
            service, STAFF, f"/endorsements/{endorsement_id}/rescind", {"reason": "left_race", "note": "Out of it."}
        )
        await post(service, SECOND, f"/endorsements/{endorsement_id}/confirm")
        taken = await get(service, None, f"/endorsements/{endorsement_id}")
        assert "This endorsement was taken back" in taken
        assert "Out of it" not in taken


@pytest.mark.parametrize("language", ["en", "es"])
async def test_every_page_renders_in_both_languages(databases: DatabaseFactory, language: str) -> None:
    database = await databases("endorsement")
    async with opened(database, webhook_allow_private=True) as service:
        made = await announced(service, database)
        in_review = await reviewed(service, Principal(CANDIDATE.person_id), district="4")
        draft = await drafted(service, await confirmed(service, district="5"))
        open_fact = await applied(service, district="6", birth_year=None)
        too_old = await applied(service, district="7", birth_year=1950)
        subscriber = (
            await service.context.pool.fetchrow(
                "INSERT INTO webhook_subscribers (id, url, description, status, created_by, created_at)"
                " VALUES (gen_random_uuid(), 'http://127.0.0.1:1/', 'Press', 'active', gen_random_uuid(), now())"
                " RETURNING id"
            )
        )["id"]
        pages = [
            (CANDIDATE, "/candidacy"),
            (CANDIDATE, "/candidacy/new"),
            (CANDIDATE, f"/applications/{draft}"),
            (CANDIDATE, f"/applications/{in_review}"),
            (CANDIDATE, f"/applications/{open_fact}"),
            (CANDIDATE, f"/applications/{too_old}"),
            (OUTSIDER, "/reviews"),
            (OUTSIDER, f"/reviews/{in_review}"),
            (STAFF, f"/reviews/{in_review}"),
            (STAFF, f"/endorsements/decide/{in_review}"),
            (STAFF, "/endorsements/staff"),
            (STAFF, "/endorsements/replay?version=2024-born-1984"),
            (None, "/endorsements"),
            (None, f"/endorsements/{made['endorsement_id']}"),
            (ADMIN, "/webhooks"),
            (ADMIN, f"/webhooks/{subscriber}"),
        ]
        for principal, path in pages:
            mark = "&" if "?" in path else "?"
            text = await get(service, principal, f"{path}{mark}lang={language}")
            assert f'<html lang="{language}">' in text
            assert "%(" not in text


async def test_refused_webhook_form_says_why_and_keeps_what_was_typed(databases: DatabaseFactory) -> None:
    async with opened(await databases("endorsement")) as service:
        form = {"url": "https://10.0.0.1/hook", "description": "Press list"}
        answer = await post(service, ADMIN, "/webhooks", form, status=422)
        assert "leads into a private network" in answer.text
        assert "Press list" in answer.text


async def test_webhook_page_shows_the_secret_once(databases: DatabaseFactory) -> None:
    async with opened(await databases("endorsement"), webhook_allow_private=True) as service:
        form = {"url": "http://127.0.0.1:9/hook", "description": "Press list"}
        made = await post(service, ADMIN, "/webhooks", form, status=200)
        assert "whsec_" in made.text
        subscriber = await service.context.pool.fetchval("SELECT id FROM webhook_subscribers")
        assert "whsec_" not in await get(service, ADMIN, f"/webhooks/{subscriber}")
        assert "whsec_" in (await post(service, ADMIN, f"/webhooks/{subscriber}/rotate", status=200)).text


async def test_cookie_post_from_another_site_is_refused(databases: DatabaseFactory) -> None:
    async with opened(await databases("endorsement")) as service:
        decision = f"/endorsements/filings/{await confirmed(service)}/confirm"
        async with client_of(service, Origin="https://evil.example", Accept="text/html") as client:
            client.cookies.set(COOKIE, session_token(STAFF))
            assert (await client.post(decision)).status_code == 403


async def test_signed_out_browser_is_sent_to_sign_in(databases: DatabaseFactory) -> None:
    async with opened(await databases("endorsement")) as service:
        async with client_of(service, Accept="text/html") as client:
            answer = await client.get("/candidacy")
        assert (answer.status_code, answer.headers["location"]) == (
            303,
            "http://signup.test/account/refresh?next=http%3A%2F%2Fendorsement.test%2Fcandidacy",
        )


async def test_every_route_for_programs_is_described(databases: DatabaseFactory) -> None:
    async with opened(await databases("endorsement")) as service:
        paths = service.web_app.openapi()["paths"]
        described = {
            (method, path): operation.get("summary", "")
            for path, operations in paths.items()
            for method, operation in operations.items()
            if path.startswith(("/v1/", "/internal/"))
        }
        assert [route for route, summary in described.items() if not summary] == []
        assert {path.split("/")[2] for _method, path in described} == {
            "applications",
            "candidacies",
            "decisions",
            "endorsements",
            "endorsements.csv",
            "message-data",
            "reviews",
            "webhooks",
        }
