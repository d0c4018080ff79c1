"""Catalogues: English is the key, a `.po` file per language holds the rest, read as it is at start.

`python -m shared.web.i18n check` fails when a page or a sentence lacks a translation; `update` writes what is
missing into the catalogues, empty, for a person to fill. Each service keeps `services/<name>/locales/<lang>.po`
with what it alone says; `shared/web/locales/<lang>.po` holds what the shared kit says, for all.
"""

from __future__ import annotations

import argparse
import re
import sys
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from io import BytesIO
from pathlib import Path

from babel import Locale
from babel.messages.catalog import Catalog
from babel.messages.catalog import Message as Entry
from babel.messages.extract import extract
from babel.messages.mofile import write_mo
from babel.messages.pofile import PoFileError, read_po, write_po
from babel.support import Translations

from shared.web.text import Message, Text

ROOT = Path(__file__).resolve().parents[2]
SHARED = ROOT / "shared" / "web"
SOURCE_LANGUAGE = "en"
LOCALES = {"en": "en_US", "es": "es_US"}
"""Which regional formats (dates, money) a language takes in the United States."""

_KEYWORDS: Mapping[str, tuple[int, ...] | None] = {"_": None, "gettext": None, "ngettext": (1, 2)}
_TEMPLATE_OPTIONS = {"extensions": "jinja2.ext.do", "newstyle_gettext": "true", "trimmed": "true", "silent": "false"}
_PLACEHOLDER = re.compile(r"%\((\w+)\)[sd]")


def locale_of(language: str) -> Locale:
    """Babel's locale for one of the program's language codes; LookupError names a code that does not exist."""
    return Locale.parse(LOCALES.get(language, language))


def load_translations(language: str, locales: Sequence[Path]) -> Translations:
    """The catalogues `<folder>/<language>.po` of `locales`, merged; a later folder wins. Missing files are empty."""
    merged = Translations()
    for folder in locales:
        path = folder / f"{language}.po"
        if path.exists():
            compiled = BytesIO()
            write_mo(compiled, _read(path, language))
            compiled.seek(0)
            merged.merge(Translations(fp=compiled))
    return merged


def translate(text: Text, language: str, translations: Translations, default_language: str) -> str:
    """`text` in `language`; a program's text falls back to its default language, a message to English."""
    if isinstance(text, Message):
        translated = str(translations.gettext(text.english))
        values = {
            name: translate(value, language, translations, default_language)
            if isinstance(value, Message) or hasattr(value, "get")
            else value
            for name, value in text.values.items()
        }
        return translated % values if values else translated
    if isinstance(text, str):
        return text
    if not hasattr(text, "get"):  # a number in a table cell
        return str(text)
    found = text.get(language) or text.get(default_language)
    if found is None:
        raise LookupError(f"{text!r} is written neither in {language!r} nor in {default_language!r}: add it there")
    return str(found)


@dataclass(frozen=True, slots=True)
class Owner:
    """A folder that has a catalogue of its own: the shared kit, or one service."""

    folder: Path

    @property
    def name(self) -> str:
        return self.folder.relative_to(ROOT).as_posix() if self.folder.is_relative_to(ROOT) else str(self.folder)

    def catalogue(self, language: str) -> Path:
        return self.folder / "locales" / f"{language}.po"


def owners() -> list[Owner]:
    """The shared kit first, then every service."""
    services = sorted(path for path in (ROOT / "services").iterdir() if (path / "__init__.py").exists())
    return [Owner(SHARED), *(Owner(path) for path in services)]


def languages() -> list[str]:
    """The languages that the shared kit is translated into, so that every service has to be as well."""
    return sorted(path.stem for path in (SHARED / "locales").glob("*.po"))


def extract_messages(folder: Path) -> Catalog:
    """Every sentence under `folder`: `_()` in Python, `_()` and `{% trans %}` in its templates."""
    catalog = Catalog(charset="utf-8")
    for path in sorted(folder.rglob("*")):
        relative = path.relative_to(folder)
        if not path.is_file() or "node_modules" in relative.parts:
            continue
        if path.suffix == ".py":
            method, options = "python", {}
        elif "templates" in relative.parts[:-1] and path.suffix in {".html", ".txt", ".xml", ".svg"}:
            method, options = "jinja2.ext:babel_extract", _TEMPLATE_OPTIONS
        else:
            continue
        with path.open("rb") as source:
            found = extract(method, source, keywords=dict(_KEYWORDS), options=options)
            for _line, message, _comments, context in found:
                catalog.add(message, locations=[(relative.as_posix(), 1)], context=context)
    return catalog


def problems(owner: Owner, language: str, shared: Catalog | None = None) -> list[str]:
    """What keeps `owner`'s catalogue from being complete, one sentence each."""
    wanted = _wanted(owner, shared)
    path = owner.catalogue(language)
    if not path.exists():
        if not wanted:
            return []
        return [f"{owner.name}: {path.name} does not exist: run `python -m shared.web.i18n update {owner.name}`"]
    have = {_key(entry.id): entry for entry in _read(path, language) if entry.id}
    found = [f"{owner.name}: {key!r} is not in {path.name}" for key in wanted if key not in have]
    found += [
        f"{owner.name}: {key!r} in {path.name} is said nowhere any more: remove it" for key in have if key not in wanted
    ]
    for key, entry in have.items():
        translations = entry.string if isinstance(entry.string, (tuple, list)) else (entry.string,)
        if key not in wanted:
            continue
        if not all(translations) or entry.fuzzy:
            found.append(f"{owner.name}: {key!r} is not translated in {path.name}")
        elif any(_placeholders(str(text)) != _placeholders(key) for text in translations):
            found.append(f"{owner.name}: {key!r} has other %(names)s in {path.name} than in English")
    return found


def update(owner: Owner, language: str, shared: Catalog | None = None) -> int:
    """Bring `owner`'s catalogue to the sentences that are said; returns how many still need a translation."""
    path = owner.catalogue(language)
    wanted = _wanted(owner, shared)
    if not wanted and not path.exists():
        return 0
    old = {_key(entry.id): entry for entry in _read(path, language)} if path.exists() else {}
    catalog = Catalog(locale=locale_of(language).language, charset="utf-8")
    for key, entry in wanted.items():
        known = old.get(key)
        catalog.add(
            entry.id, string=known.string if known is not None else None, locations=entry.locations, flags=entry.flags
        )
    path.parent.mkdir(parents=True, exist_ok=True)
    body = BytesIO()
    write_po(body, catalog, width=100, omit_header=True, include_lineno=False, sort_by_file=True)
    header = (
        'msgid ""\nmsgstr ""\n"Content-Type: text/plain; charset=utf-8\\n"\n'
        f'"Language: {language}\\n"\n"Plural-Forms: {catalog.plural_forms}\\n"\n\n'
    )
    path.write_bytes(header.encode() + body.getvalue())
    return sum(not all(e.string if isinstance(e.string, (tuple, list)) else (e.string,)) for e in catalog if e.id)


def _wanted(owner: Owner, shared: Catalog | None) -> dict[str, Entry]:
    """A service need not repeat what the shared catalogue already says."""
    own = {_key(entry.id): entry for entry in extract_messages(owner.folder) if entry.id}
    if owner.folder == SHARED:
        return own
    said = shared if shared is not None else extract_messages(SHARED)
    for entry in said:
        own.pop(_key(entry.id), None)
    return own


def _placeholders(text: str) -> set[str]:
    return set(_PLACEHOLDER.findall(text))


def _key(identity: str | Sequence[str]) -> str:
    return identity if isinstance(identity, str) else identity[0]


def _read(path: Path, language: str) -> Catalog:
    try:
        with path.open("rb") as source:
            return read_po(source, locale=locale_of(language).language, abort_invalid=True)
    except PoFileError as error:
        raise ValueError(f"{path} is not a readable catalogue: {error}") from error


def _selected(paths: Iterable[str]) -> Iterator[Owner]:
    known = {owner.name: owner for owner in owners()}
    for name in paths:
        owner = known.get(name.rstrip("/"))
        if owner is None:
            raise SystemExit(f"{name} has no catalogue: choose among {', '.join(known)}")
        yield owner


def main(arguments: Sequence[str] | None = None, write: Callable[[str], object] = sys.stdout.write) -> int:
    """Exit status 0 when every catalogue is complete, 1 with one line per finding."""
    parser = argparse.ArgumentParser(prog="python -m shared.web.i18n", description=(__doc__ or "").splitlines()[0])
    parser.add_argument("command", choices=("check", "update"))
    parser.add_argument("paths", nargs="*", help="shared/web, services/signup, …; all when left out")
    chosen = parser.parse_args(arguments)
    selected = list(_selected(chosen.paths)) if chosen.paths else owners()
    shared = extract_messages(SHARED)
    status = 0
    for language in languages():
        for owner in selected:
            if chosen.command == "update":
                missing = update(owner, language, shared)
                if missing:
                    write(f"{owner.name}: {missing} to translate in {owner.catalogue(language).name}\n")
            else:
                for problem in problems(owner, language, shared):
                    write(problem + "\n")
                    status = 1
    return status


if __name__ == "__main__":
    raise SystemExit(main())
