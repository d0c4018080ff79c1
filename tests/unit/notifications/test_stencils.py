"""Words that are filled in are those that would have been rendered, sign by sign."""

import dataclasses
from collections.abc import Sequence
from typing import Any
from uuid import UUID, uuid5

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from services.notifications.sending.render import MAX_STENCILS, Rendered, Renderer
from services.notifications.sending.stencil import NoStencil, cut, mark, quoted_printable, values_of
from shared.messages import Data, SignIn, WelcomeConfirm
from shared.program import load
from tests.harness import PROGRAM_2025
from tests.unit.notifications.samples import AT, SAMPLES, URL, contact

MESSAGE = UUID("0190a5c0-0000-7000-8000-0000000000aa")
RENDERER = Renderer(load(PROGRAM_2025), "https://messages.example", "secret")

# What a person may type into a form, with the signs that templates, HTML, formats and stencils give a meaning to.
signs = st.one_of(st.sampled_from("\ue000\ue001&<>'\"%s{}=. \t\n\r\x85\u2028\u200b"), st.characters(codec="utf-8"))
anything = st.text(signs, max_size=60)


def rendered(data: Data, *, name: str, number: int, delivery: str, language: str) -> Rendered:
    """A mail to recipient `number`."""
    return RENDERER.email(
        message_id=uuid5(MESSAGE, str(number)),
        template=data.template,
        event_type="matching.call_booked.v1",
        delivery=delivery,
        contact=contact(name=name, language=language),
        data=data,
    )


def both(
    data: Data, others: Sequence[Data], *, name: str, delivery: str = "transactional", language: str = "en"
) -> tuple[Rendered, Rendered]:
    """The same mail rendered plainly, and after `others` were rendered."""
    RENDERER._stencils.clear()
    plain = rendered(data, name=name, number=0, delivery=delivery, language=language)
    assert plain.encoded is None
    RENDERER._stencils.clear()
    for number, other in enumerate(others, 1):
        rendered(other, name=f"N{number}", number=number, delivery=delivery, language=language)
    return plain, rendered(data, name=name, number=0, delivery=delivery, language=language)


def check_same(plain: Rendered, other: Rendered) -> None:
    """Equal words; equal lines, where they are encoded already."""
    assert dataclasses.replace(other, encoded=None) == plain
    if other.encoded is not None:
        assert plain.html is not None
        assert other.encoded == (quoted_printable(plain.text), quoted_printable(plain.html))


def with_addresses(data: Data, address: str) -> Data:
    """The same facts with other personal links."""
    links: dict[str, Any] = {
        name: address for name in type(data).model_fields if name.endswith("_url") and getattr(data, name)
    }
    return data.model_copy(update=links)


@pytest.mark.parametrize("delivery", ["link", "transactional", "bulk"])
@pytest.mark.parametrize("language", ["en", "es"])
@pytest.mark.parametrize("number", range(len(SAMPLES)), ids=lambda number: f"{number}-{SAMPLES[number].template}")
def test_every_template_filled_in_is_what_it_renders(number: int, language: str, delivery: str) -> None:
    data = SAMPLES[number]
    other = with_addresses(data, "https://other.example/?q=<'\">&amp;%s")
    plain, filled = both(data, [other, other], name="Zoë", delivery=delivery, language=language)
    check_same(plain, filled)
    # Checks and reasons are one person's: such mails are rendered each for itself.
    alone = data.template in ("match_offer", "eligibility_result")
    assert (filled.encoded is None) is alone


@settings(deadline=None, max_examples=300)
@given(
    data=st.sampled_from(SAMPLES),
    name=anything,
    address=anything,
    other=anything,
    language=st.sampled_from(["en", "es"]),
)
def test_no_name_and_no_address_makes_a_difference(
    data: Data, name: str, address: str, other: str, language: str
) -> None:
    mine, theirs = with_addresses(data, address), with_addresses(data, other)
    check_same(*both(mine, [theirs, data, data], name=name, language=language))


@settings(deadline=None, max_examples=100)
@given(state=anything, district=anything, name=anything)
def test_facts_that_look_like_marks_make_no_difference(state: str, district: str, name: str) -> None:
    data = next(data for data in SAMPLES if data.template == "filing_confirmed").model_copy(
        update={"state": state + mark(1), "district": district}
    )
    check_same(*both(data, [data, data], name=name))


def test_words_seen_once_are_rendered_and_those_seen_again_filled_in() -> None:
    RENDERER._stencils.clear()
    data = WelcomeConfirm(confirm_url=URL, form="run")
    told = [rendered(data, name="Ana", number=n, delivery="link", language="en").encoded is None for n in range(3)]
    assert told == [True, False, False]


def test_rare_words_do_not_push_out_those_that_come_often() -> None:
    RENDERER._stencils.clear()
    often = WelcomeConfirm(confirm_url=URL, form="run")
    for number in range(2 * MAX_STENCILS):
        rare = SignIn(sign_in_url=URL, expires_at=AT.replace(year=2027 + number))
        assert rendered(rare, name="Ana", number=number, delivery="link", language="en").encoded is None
        rendered(often, name="Ana", number=number, delivery="link", language="en")
    assert rendered(often, name="Ana", number=0, delivery="link", language="en").encoded is not None
    assert len(RENDERER._stencils) == MAX_STENCILS


def test_value_that_the_words_change_leaves_no_stencil() -> None:
    for changed in (mark(0)[1:], mark(0).replace("&", "&amp;amp;"), mark(0).upper().replace("0", "zero")):
        with pytest.raises(NoStencil):
            cut(f"Hi {changed}", 1)
    with pytest.raises(NoStencil):
        cut(mark(3), 3)


def test_value_is_escaped_where_its_mark_was() -> None:
    line = cut(f"100% {mark(0)} <b title='&#39;'>\ue000&amp;&lt;&gt;&#39;&#34;0\ue001</b>", 1)
    assert line.fill(values_of(["O'Neil & %s"])) == "100% O'Neil & %s <b title='&#39;'>O&#39;Neil &amp; %s</b>"
