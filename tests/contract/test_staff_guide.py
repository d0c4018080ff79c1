"""docs/staff.md tells staff what is there: its addresses, who may open them, and its labels are the product's."""

import re
from collections.abc import Collection, Iterable
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import cast

import pytest
from fastapi.dependencies.models import Dependant
from fastapi.routing import APIRoute, iter_route_contexts

from shared.db import Pool
from shared.program import load
from shared.service import Context
from shared.web.i18n import SHARED, extract_messages
from shared.web.sessions import signed_in
from shared.work import Workshop
from tests.component.test_bad_bodies import DEFINITIONS
from tests.harness import ROOT, Database, make_settings

GUIDE = ROOT / "docs" / "staff.md"
SERVICES = ROOT / "services"
SUBJECTS = SERVICES / "notifications" / "templates" / "email"

CODE = re.compile(r"`[^`]*`")
PATH = re.compile(r"`(/[^`]*)`(?: \(([^)]*)\))?")
LABEL = re.compile(r"\*\*(.+?)\*\*")
MAIL = re.compile(r"\*([^*]+)\*")
PLACEHOLDER = re.compile(r"%\(\w+\)[sd]")
SUBJECT = re.compile(r"\{% block subject %\}(.*)\{% endblock %\}")
SENTENCE = re.compile(r'_\("([^"]+)"')
EXAMPLES = {"bold", "italic"}
"""Words of the guide's own first paragraph, which shows what its marks mean."""


def as_read(text: str) -> str:
    """A sentence as the guide writes it: an ellipsis where a name is filled in."""
    return PLACEHOLDER.sub("…", text)


@dataclass(frozen=True, slots=True)
class Page:
    """A GET route: whose it is, and who may open it."""

    service: str
    roles: frozenset[str]


@cache
def pages() -> dict[str, Page]:
    """Every page by its path, with `<>` for a part that differs."""
    found = {}
    nowhere = Database("postgresql://nobody@127.0.0.1:1/none", "postgresql://nobody@127.0.0.1:1/none")
    for definition, kind, changes in DEFINITIONS.values():
        settings = make_settings(kind, nowhere, **changes)
        program = load(settings.program)
        # Wiring asks the database nothing, so there is none.
        pool = cast(Pool, None)
        workshop = Workshop(pool, program, definition.name)
        context = Context(settings, program, definition.pages(settings, program), pool, workshop)
        for router in definition.wire(context).routers:
            for one in iter_route_contexts(router.routes):
                if isinstance(one.route, APIRoute) and "GET" in (one.route.methods or ()):
                    path = re.sub(r"\{\w+\}", "<>", one.route.path)
                    found[path] = Page(definition.name, roles_of(one.route.dependant))
    return found


def roles_of(dependant: Dependant) -> frozenset[str]:
    """The roles of which a route asks for one; `signed in` or `everybody` where it asks for none."""
    needed: set[str] = set()
    for inner in dependant.dependencies:
        if inner.call is signed_in:
            needed.add("signed in")
        needed |= getattr(inner.call, "required_roles", frozenset())
        needed |= roles_of(inner) - {"everybody"}
    return frozenset(needed or {"everybody"})


@cache
def labels_of(owner: Path) -> frozenset[str]:
    """What the templates and pages under a folder say in English."""
    return frozenset(as_read(message.id) for message in extract_messages(owner) if isinstance(message.id, str))


def labels(markdown: str) -> frozenset[str]:
    """What the services whose pages a section names say, and what all pages share."""
    services = {pages()[path].service for path, _roles in paths(markdown) if path in pages()}
    return labels_of(SHARED).union(*(labels_of(SERVICES / name) for name in services))


@cache
def subjects() -> frozenset[str]:
    """The subjects of mails, in English."""
    blocks = [SUBJECT.findall(path.read_text(encoding="utf-8")) for path in SUBJECTS.glob("*.html")]
    return frozenset(as_read(said) for found in blocks for block in found for said in SENTENCE.findall(block))


def plain(markdown: str) -> str:
    """One line of the guide's text, as marks may span two lines."""
    return " ".join(markdown.split())


def paths(markdown: str) -> list[tuple[str, frozenset[str]]]:
    """Each address that the guide names, with the roles in the brackets after it; none where there are no brackets."""
    return [
        (re.sub(r"<\w*>", "<>", path), frozenset(roles.split(", ")) if roles else frozenset())
        for path, roles in PATH.findall(plain(markdown))
    ]


def marked(markdown: str) -> tuple[set[str], set[str]]:
    """The labels (bold) and the subjects of mails (italic) that the guide names."""
    text = CODE.sub("", plain(markdown))
    return set(LABEL.findall(text)) - EXAMPLES, set(MAIL.findall(LABEL.sub("", text))) - EXAMPLES


def missing(named: Iterable[str], said: Collection[str]) -> list[str]:
    """What the guide names and the product does not say."""
    return sorted(set(named) - set(said))


@pytest.fixture(scope="module")
def guide() -> str:
    """The guide."""
    return GUIDE.read_text(encoding="utf-8")


def test_every_address_is_a_page_of_a_service(guide: str) -> None:
    named = [path for path, _roles in paths(guide)]
    assert len(named) > len(set(named)) > 30
    assert missing(named, pages()) == []


def test_every_bracket_names_the_roles_that_the_page_asks_for(guide: str) -> None:
    told = {(path, roles) for path, roles in paths(guide) if roles}
    assert told == {(path, pages()[path].roles) for path, _roles in told}
    # By a mail's link or signed in: the route itself looks which.
    assert {path for path, _roles in paths(guide)} - {path for path, _roles in told} == {"/availability"}


def test_every_label_is_said_by_a_service_of_its_section(guide: str) -> None:
    wrong, count = {}, 0
    for section in guide.split("\n## "):
        named, _mails = marked(section)
        count += len(named)
        if found := missing(named, labels(section)):
            wrong[section.partition("\n")[0]] = found
    assert wrong == {}
    assert count > 100


def test_every_mail_has_that_subject(guide: str) -> None:
    _labels, named = marked(guide)
    assert len(named) > 20
    assert missing(named, subjects()) == []


def test_changed_label_subject_and_address_are_noticed(guide: str) -> None:
    named, mails = marked(guide)
    assert missing(named, named - {"Schedule and invite"}) == ["Schedule and invite"]
    assert missing(mails, subjects() - {"… has time for you"}) == ["… has time for you"]
    assert missing((path for path, _roles in paths(guide)), set(pages()) - {"/people/links"}) == ["/people/links"]


def test_label_of_another_service_is_no_label_of_the_section() -> None:
    funnel, board = "`/funnel` **Compare**", "`/matching/board` **Compare**"
    assert missing(marked(funnel)[0], labels(funnel)) == []
    assert missing(marked(board)[0], labels(board)) == ["Compare"]


def test_marks_are_read_across_lines_and_not_in_code() -> None:
    text = "Press **Schedule\nand invite**, not `**this**`; then *a\nmail*. `/people/<id>` (staff,\nadmin)"
    assert marked(text) == ({"Schedule and invite"}, {"a mail"})
    assert paths(text) == [("/people/<>", frozenset({"staff", "admin"}))]
