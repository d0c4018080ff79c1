"""Hosted and framed forms, as a browser without JavaScript sends them."""

import gzip
import re
from datetime import UTC, datetime, timedelta
from html import unescape
from typing import Any
from uuid import UUID

import httpx
import pytest

from services.signup.app import SERVICE
from services.signup.domain.submission import FIELDS
from services.signup.settings import Settings
from services.signup.web import formpage
from shared.service import Service
from tests.conftest import DatabaseFactory
from tests.harness import PROGRAM_2017, client_of, make_settings, running

HTML = {"Accept": "text/html"}


def hidden(page: str) -> dict[str, str]:
    """The hidden values of a form."""
    found = re.findall(r'<input type="hidden" name="([^"]+)" value="([^"]*)"', page)
    return {name: unescape(value) for name, value in found}


def filled(page: str, **changes: Any) -> dict[str, Any]:
    """What a browser would send after somebody filled the form `run` in."""
    typed = {"name": "Ana Ortiz", "email": "ana@example.org", "state": "TX", "spoken_languages": ["en"]}
    values = {**hidden(page), **typed, "website": "", **changes}
    return {name: value for name, value in values.items() if value is not None}


async def signups(service: Service) -> int:
    count: int = await service.context.pool.fetchval("SELECT count(*) FROM signups")
    return count


async def test_form_is_taken_once_however_often_it_is_sent(service: Service, client: httpx.AsyncClient) -> None:
    page = await client.get("/f/run?utm_source=tv&ref=teachers", headers=HTML)
    body = filled(
        page.text,
        consent_email_updates="yes",
        q_when="this_year",
        **{"availability-mon-1-start": "18:00", "availability-mon-1-end": "20:00"},
    )
    for _send in range(3):
        answer = await client.post("/f/run", data=body, headers=HTML)
        assert (answer.status_code, answer.headers["location"]) == (303, "/f/run/thank-you?lang=en")
    assert await signups(service) == 1
    source = await service.context.pool.fetchrow("SELECT utm_source, ref, page FROM sources")
    assert source is not None
    assert tuple(source) == ("tv", "teachers", "http://signup.test/f/run")
    consent = await service.context.pool.fetchrow("SELECT channel, wording_version FROM consents")
    assert consent is not None
    assert tuple(consent) == ("email", "2025.1")
    person = await service.context.pool.fetchrow("SELECT availability, answers FROM people")
    assert person is not None
    assert tuple(person) == ([{"dow": 0, "start": "18:00", "end": "20:00"}], {"when": "this_year"})


async def test_refused_form_keeps_what_was_typed(service: Service, client: httpx.AsyncClient) -> None:
    page = await client.get("/f/run", headers=HTML)
    body = filled(page.text, name="", zip="12", **{"availability-mon-1-start": "18:00"})
    answer = await client.post("/f/run", data=body, headers=HTML)
    assert answer.status_code == 422
    assert 'value="ana@example.org"' in answer.text
    assert re.findall(r'<a href="#([^"]+)">', answer.text)[:3] == ["name", "zip", "availability-mon-1-end"]
    assert hidden(answer.text)["intent_id"] == hidden(page.text)["intent_id"]
    assert await signups(service) == 0


async def test_corrected_form_after_sending_is_asked_for_once_more(service: Service, client: httpx.AsyncClient) -> None:
    page = await client.get("/f/run", headers=HTML)
    await client.post("/f/run", data=filled(page.text), headers=HTML)
    other = await client.post("/f/run", data=filled(page.text, state="OH"), headers=HTML)
    assert other.status_code == 422
    again = await client.post("/f/run", data=filled(other.text, state="OH"), headers=HTML)
    assert again.status_code == 303
    assert await signups(service) == 2


async def test_boxes_start_unticked_and_prefilled_values_are_shown(client: httpx.AsyncClient) -> None:
    page = (await client.get("/f/run?track=educators&name=Ana&email=ana@gmial.com&state=TX", headers=HTML)).text
    ticked = re.findall(r'name="([^"]+)" type="checkbox" value="([^"]+)" checked', page)
    assert ticked == [("tracks", "educators"), ("spoken_languages", "en")]
    assert 'value="ana@gmial.com"' in page
    assert "Did you mean an address at gmail.com?" in page
    assert page.count('name="consent_') == 4


@pytest.mark.parametrize("form", ["run", "volunteer", "mentor", "staff"])
@pytest.mark.parametrize("language", ["en", "es"])
async def test_form_page_is_small_and_in_the_reader_s_language(
    client: httpx.AsyncClient, form: str, language: str
) -> None:
    page = await client.get(f"/f/{form}", headers={**HTML, "Accept-Language": language})
    assert (page.status_code, page.headers["content-language"]) == (200, language)
    assert len(gzip.compress(page.content)) < 20_000


@pytest.mark.parametrize("form", ["run", "volunteer", "mentor", "staff"])
async def test_other_program_s_forms_are_shown(databases: DatabaseFactory, form: str) -> None:
    settings = make_settings(Settings, await databases("signup"), program=PROGRAM_2017)
    async with running(SERVICE, settings) as service, client_of(service) as client:
        assert (await client.get(f"/f/{form}", headers=HTML)).status_code == 200
        assert (await client.get("/f", headers=HTML)).status_code == 200


async def test_bare_address_shows_what_one_can_sign_up_for(client: httpx.AsyncClient) -> None:
    page = await client.get("/?utm_source=flyer", headers=HTML, follow_redirects=True)
    assert page.status_code == 200
    for form in ("run", "volunteer", "mentor"):
        assert re.search(rf'href="/f/{form}\?utm_source=flyer"', page.text)


async def test_interface_is_described(client: httpx.AsyncClient) -> None:
    document = (await client.get("/openapi.json")).json()
    assert [path for path, ways in document["paths"].items() for way in ways.values() if not way.get("summary")] == []
    schema = document["paths"]["/v1/signups"]["post"]["requestBody"]["content"]["application/json"]["schema"]
    assert set(schema["properties"]) == FIELDS


async def test_robot_is_asked_again_and_nothing_is_lost(service: Service, client: httpx.AsyncClient) -> None:
    page = await client.get("/f/run", headers=HTML)
    trapped = await client.post("/f/run", data=filled(page.text, website="http://spam"), headers=HTML)
    assert (trapped.status_code, "Not sent yet" in trapped.text) == (422, True)
    assert await signups(service) == 0
    again = await client.post("/f/run", data=filled(trapped.text), headers=HTML)
    assert again.status_code == 303


@pytest.mark.parametrize("stamp", ["", "1.abc", "x.y", "old", "future"])
async def test_form_with_a_bad_time_is_asked_for_again(service: Service, client: httpx.AsyncClient, stamp: str) -> None:
    now = datetime.now(UTC)
    stamps = {"old": now - timedelta(hours=25), "future": now + timedelta(hours=1)}
    sent = formpage.stamp("link-secret-of-tests", stamps[stamp]) if stamp in stamps else stamp
    page = await client.get("/f/run", headers=HTML)
    answer = await client.post("/f/run", data=filled(page.text, rendered=sent), headers=HTML)
    assert (answer.status_code, await signups(service)) == (422, 0)


async def test_correction_keeps_the_time_of_first_showing(service: Service, client: httpx.AsyncClient) -> None:
    shown = formpage.stamp("link-secret-of-tests", datetime.now(UTC) - timedelta(minutes=5))
    page = await client.get("/f/run", headers=HTML)
    answer = await client.post("/f/run", data=filled(page.text, rendered=shown, email="ana@"), headers=HTML)
    assert (answer.status_code, hidden(answer.text)["rendered"]) == (422, shown)
    corrected = await client.post("/f/run", data=filled(answer.text), headers=HTML)
    assert (corrected.status_code, await signups(service)) == (303, 1)


async def test_snippet_of_the_link_builder_signs_up_from_another_site(
    service: Service, client: httpx.AsyncClient, staff_client: httpx.AsyncClient
) -> None:
    page = (await staff_client.get("/people/links?form=run&ref=partner&track=women", headers=HTML)).text
    assert "http://signup.test/f/run?ref=partner&amp;track=women" in page
    assert "data:image/svg+xml" in page
    blocks = [unescape(block) for block in re.findall(r"<textarea[^>]*>(.*?)</textarea>", page, re.DOTALL)]
    assert blocks[0].startswith('<script src="http://signup.test/embed/loader.js" data-form="run" data-ref="partner"')
    body = {
        **hidden(blocks[1]),
        "name": "Ana",
        "email": "ana@example.org",
        "state": "TX",
        "spoken_languages": "en",
        "tracks": "women",
    }
    for _click in range(2):
        answer = await client.post("/f/run", data=body, headers={**HTML, "Origin": "https://partner.example"})
        assert answer.status_code == 303
    assert await signups(service) == 1
    assert await service.context.pool.fetchval("SELECT ref FROM sources") == "partner"


async def test_unknown_field_is_refused_by_name(service: Service, client: httpx.AsyncClient) -> None:
    page = await client.get("/f/run", headers=HTML)
    answer = await client.post("/f/run", data=filled(page.text, street="Main St"), headers=HTML)
    assert (answer.status_code, 'href="#street"' in answer.text) == (422, True)


async def test_form_takes_no_files(client: httpx.AsyncClient) -> None:
    answer = await client.post("/f/run", data={"name": "x"}, files={"f": b"x"}, headers=HTML)
    assert answer.status_code == 415


async def test_frame_may_be_framed_and_sets_no_cookie(service: Service, client: httpx.AsyncClient) -> None:
    page = await client.get("/embed/run?page=https://partner.example/join&lang=es", headers=HTML)
    assert "frame-ancestors *" in page.headers["content-security-policy"]
    assert "x-frame-options" not in page.headers
    answer = await client.post("/embed/run", data=filled(page.text), headers=HTML)
    assert answer.headers["location"] == "/embed/run/thank-you?lang=es"
    thanks = await client.get(answer.headers["location"], headers=HTML)
    assert (thanks.status_code, [r for r in (page, answer, thanks) if "set-cookie" in r.headers]) == (200, [])
    hosted = await client.get("/f/run", headers=HTML)
    assert hosted.headers["x-frame-options"] == "DENY"
    assert await service.context.pool.fetchval("SELECT page FROM sources") == "https://partner.example/join"


async def test_loader_is_under_two_kilobytes(client: httpx.AsyncClient) -> None:
    script = await client.get("/embed/loader.js")
    assert script.headers["content-type"].startswith("text/javascript")
    assert len(script.content) < 2048


async def test_thank_you_page_repeats_only_known_domains(client: httpx.AsyncClient) -> None:
    known = await client.get("/f/run/thank-you?meant=gmail.com", headers=HTML)
    foreign = await client.get("/f/run/thank-you?meant=evil.example", headers=HTML)
    assert ("gmail.com" in known.text, "evil.example</" in foreign.text) == (True, False)


async def test_landing_page_names_every_form(client: httpx.AsyncClient) -> None:
    page = await client.get("/f?ref=partner", headers=HTML)
    forms = [form for form in ("run", "volunteer", "mentor", "staff") if f'href="/f/{form}?ref=partner"' in page.text]
    assert (page.status_code, forms) == (200, ["run", "volunteer", "mentor", "staff"])
    assert (await client.get("/f/nope", headers=HTML)).status_code == 404


async def test_intent_of_the_page_is_a_uuid(client: httpx.AsyncClient) -> None:
    first, second = [hidden((await client.get("/f/run", headers=HTML)).text)["intent_id"] for _n in range(2)]
    assert UUID(first) != UUID(second)
