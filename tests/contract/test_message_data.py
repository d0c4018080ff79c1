"""Every message, from its owner's answer to its words: the real owners and the tests' fake behind one suite."""

import re
from collections.abc import AsyncIterator
from uuid import uuid4

import pytest

from services.notifications.domain.plan import TEMPLATES_WITH_TEXT
from services.notifications.sending.render import Renderer
from services.notifications.sending.sources import Sources
from services.notifications.store.messages import Claimed
from shared.messages import Data
from shared.program import load
from tests.conftest import DatabaseFactory
from tests.contract.owners import Fake, Moment, Owners, real
from tests.harness import PROGRAM_2025
from tests.unit.notifications.test_rendering import check_words

RENDERER = Renderer(load(PROGRAM_2025), "https://messages.example", "secret")
LANGUAGES = ("en", "es")


@pytest.fixture(params=["real-en", "real-es", "fake"])
async def owners(request: pytest.FixtureRequest, databases: DatabaseFactory) -> AsyncIterator[Owners]:
    """Who answers."""
    kind, _, language = str(request.param).partition("-")
    if kind == "fake":
        yield Fake()
    else:
        async with real(databases, language) as services:
            yield services


def claimed(moment: Moment) -> Claimed:
    """The message as a sender holds it."""
    return Claimed(
        id=uuid4(),
        event_id=uuid4(),
        event_type="matching.call_booked.v1",
        person_id=moment.person_id,
        template=moment.template,
        channel="email",
        delivery="transactional",
        reference=moment.reference,
        expires_at=None,
        tries=0,
        hands=0,
        correlation_id=None,
    )


def without_addresses(text: str) -> str:
    """The words alone."""
    return re.sub(r"https?://\S+|\S+@\S+", "", text)


async def say(owners: Owners, moment: Moment) -> set[str]:
    """Ask for the facts of a message as a sender does, and put them into words; the words of each language."""
    message = claimed(moment)
    facts = await Sources(owners.clients).fetch([message])
    assert facts.away == set()
    answer, contact = facts.answers[message.id], facts.contacts[moment.person_id]
    assert (moment.template, answer.status, answer.reason) == (moment.template, "ok", None)
    data = Data.registry[moment.template].model_validate(answer.data)
    said = set()
    for language in LANGUAGES:
        to = contact.model_copy(update={"language": language})
        mail = RENDERER.email(
            message_id=message.id,
            template=moment.template,
            event_type=message.event_type,
            delivery="transactional",
            contact=to,
            data=data,
        )
        assert mail.html is not None
        words = [mail.subject or "", mail.text]
        if moment.template in TEMPLATES_WITH_TEXT:
            words.append(RENDERER.sms(template=moment.template, contact=to, data=data, first=True).text)
        for text in words:
            assert text.strip()
            check_words(without_addresses(text))
            assert re.findall(r"\w*[a-z]_[a-z]\w*", without_addresses(text)) == [], "a raw code"
        links = {str(value) for value in data.model_dump().values() if str(value).startswith("http")}
        assert not links or links & set(re.findall(r"https?://\S+", mail.text))
        said.add(without_addresses(mail.text))
    return said


async def test_every_template_is_said_in_every_language(owners: Owners) -> None:
    told = set()
    async for moment in owners.moments():
        assert len(await say(owners, moment)) == len(LANGUAGES)
        told.add(moment.template)
    assert told == set(Data.registry)


async def test_unknown_references_are_gone_and_lose_no_other_answer(owners: Owners) -> None:
    first = await anext(aiter(owners.moments()))
    known = claimed(first)
    unknown = [claimed(Moment(template, uuid4(), str(uuid4()))) for template in Data.registry]
    for message in unknown:
        owners.forget(message.reference)
    facts = await Sources(owners.clients).fetch([known, *unknown])
    assert facts.away == set()
    assert {message.template: facts.answers[message.id].status for message in unknown} == dict.fromkeys(
        Data.registry, "gone"
    )
    assert facts.answers[known.id].status == "ok"
    assert set(facts.contacts) == {first.person_id}


def test_marker_of_a_raw_code_is_found() -> None:
    assert re.findall(r"\w*[a-z]_[a-z]\w*", without_addresses("see other_name at https://a_b.example/x_y")) == [
        "other_name"
    ]
