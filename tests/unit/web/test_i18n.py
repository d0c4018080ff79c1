"""Every catalogue is complete, and the check that says so can fail."""

from pathlib import Path

import pytest

from shared.web.i18n import Owner, extract_messages, languages, load_translations, main, owners, problems, update
from shared.web.i18n import translate as say
from shared.web.text import _

EMPTY = extract_messages(Path(__file__).parent / "locales")


@pytest.mark.parametrize("owner", owners(), ids=lambda owner: owner.name)
def test_catalogue_is_complete(owner: Owner) -> None:
    assert languages() == ["es"]
    assert [problem for language in languages() for problem in problems(owner, language)] == []


@pytest.fixture
def service(tmp_path: Path) -> Owner:
    templates = tmp_path / "templates"
    templates.mkdir()
    (templates / "page.html").write_text(
        "<h1>{{ _('Good morning') }}</h1>\n"
        "{% trans count=3 %}{{ count }} call{% pluralize %}{{ count }} calls{% endtrans %}\n"
    )
    (tmp_path / "domain.py").write_text("from shared.web.text import _\nWRONG = _('Call %(name)s')\n")
    return Owner(tmp_path)


def test_update_writes_what_is_said_and_check_wants_it_translated(service: Owner) -> None:
    assert problems(service, "es", EMPTY) == [
        f"{service.name}: es.po does not exist: run `python -m shared.web.i18n update {service.name}`"
    ]
    assert update(service, "es", EMPTY) == 3
    assert problems(service, "es", EMPTY) == [
        f"{service.name}: {said!r} is not translated in es.po"
        for said in ("Call %(name)s", "Good morning", "%(count)s call")
    ]


def test_translated_catalogue_passes_and_serves(service: Owner) -> None:
    write_catalogue(
        service,
        'msgid "Good morning"\nmsgstr "Buenos días"\n\n'
        'msgid "Call %(name)s"\nmsgstr "Llame a %(name)s"\n\n'
        'msgid "%(count)s call"\nmsgid_plural "%(count)s calls"\n'
        'msgstr[0] "%(count)s llamada"\nmsgstr[1] "%(count)s llamadas"\n',
    )
    assert problems(service, "es", EMPTY) == []
    translations = load_translations("es", [service.folder / "locales"])
    assert say(_("Call %(name)s", name="Ada"), "es", translations, "en") == "Llame a Ada"


def test_check_names_lost_placeholders_and_obsolete_sentences(service: Owner) -> None:
    write_catalogue(
        service,
        'msgid "Good morning"\nmsgstr "Buenos días"\n\n'
        'msgid "Call %(name)s"\nmsgstr "Llame"\n\n'
        'msgid "%(count)s call"\nmsgid_plural "%(count)s calls"\n'
        'msgstr[0] "%(count)s llamada"\nmsgstr[1] "%(count)s llamadas"\n\n'
        'msgid "Good night"\nmsgstr "Buenas noches"\n',
    )
    assert problems(service, "es", EMPTY) == [
        f"{service.name}: 'Good night' in es.po is said nowhere any more: remove it",
        f"{service.name}: 'Call %(name)s' has other %(names)s in es.po than in English",
    ]


def test_update_keeps_translations_and_drops_what_is_no_longer_said(service: Owner) -> None:
    write_catalogue(
        service, 'msgid "Good morning"\nmsgstr "Buenos días"\n\nmsgid "Good night"\nmsgstr "Buenas noches"\n'
    )
    assert update(service, "es", EMPTY) == 2
    written = service.catalogue("es").read_text()
    assert "Buenos días" in written
    assert "Good night" not in written
    assert update(service, "es", EMPTY) == 2
    assert service.catalogue("es").read_text() == written


def test_service_need_not_repeat_the_shared_catalogue(service: Owner) -> None:
    (service.folder / "templates" / "page.html").write_text("{{ _('Sign out') }}")
    (service.folder / "domain.py").write_text("")
    assert problems(service, "es") == []


def test_program_text_falls_back_to_the_default_language() -> None:
    none = load_translations("es", [])
    assert say({"en": "Mayor", "es": "Alcaldía"}, "es", none, "en") == "Alcaldía"
    assert say({"en": "Mayor"}, "es", none, "en") == "Mayor"
    with pytest.raises(LookupError, match="neither in 'es' nor in 'en'"):
        say({"fr": "Maire"}, "es", none, "en")


def test_command_refuses_a_folder_without_catalogue() -> None:
    with pytest.raises(SystemExit, match="nowhere has no catalogue: choose among shared/web, "):
        main(["check", "nowhere"])


def write_catalogue(service: Owner, entries: str) -> None:
    path = service.catalogue("es")
    path.parent.mkdir()
    header = (
        'msgid ""\nmsgstr ""\n"Content-Type: text/plain; charset=utf-8\\n"\n'
        '"Language: es\\n"\n"Plural-Forms: nplurals=2; plural=(n != 1);\\n"\n\n'
    )
    path.write_text(header + entries)
