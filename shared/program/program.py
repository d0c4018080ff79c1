"""The whole program file: its sections, what they owe each other, and look-ups."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import date, datetime, time, timedelta
from functools import cached_property
from zoneinfo import ZoneInfo

from pydantic import Field, PrivateAttr, ValidationInfo, model_validator

from shared.program.endorsement import (
    Application,
    ApplicationClass,
    Eligibility,
    Scorecard,
    StageReached,
)
from shared.program.intake import Channel, Form, Office, Track, Wording
from shared.program.messages import LINKS, Message, Privacy, Texting
from shared.program.organization import LegalBody, Organization, Shareable
from shared.program.pipeline import IntroCalls, OneOnOne, Stage
from shared.program.vocabulary import (
    LANGUAGE_NAMES,
    Language,
    Localized,
    Location,
    Misfit,
    Section,
    UnknownId,
    Version,
    check_known,
    check_unique,
    find,
    listed,
)


class Program(Section):
    """Everything that is policy of one organization. One installation runs one program."""

    version: Version
    """Named by consents, messages and events; change it with every change of the file."""
    languages: tuple[Language, ...] = Field(min_length=1)
    """Languages offered; every text of the file must be there in each."""
    default_language: Language
    """For people who have not chosen one."""
    organization: Organization
    """Who you are."""
    legal_bodies: tuple[LegalBody, ...] = Field(min_length=1)
    """Legal entities that share the installation."""
    offices: tuple[Office, ...] = Field(min_length=1)
    """Offices that people run for."""
    tracks: tuple[Track, ...]
    """Groups to join at sign-up; may be empty: `tracks = []`."""
    forms: tuple[Form, ...] = Field(min_length=1)
    """Public sign-up forms."""
    wordings: tuple[Wording, ...] = Field(min_length=1)
    """Texts that people consent to."""
    stages: tuple[Stage, ...] = Field(min_length=1)
    """The path, in the order in which people see it."""
    intro_calls: IntroCalls
    """Group calls."""
    one_on_one: OneOnOne
    """Calls between two people, and how they are matched."""
    eligibility: tuple[Eligibility, ...] = Field(min_length=1)
    """Versions in the order of their dates, without gap or overlap."""
    application: Application
    """What a candidate hands in, and when."""
    scorecard: Scorecard
    """How applications are scored and decided."""
    messages: tuple[Message, ...] = Field(min_length=1)
    """What is sent."""
    texting: Texting
    """When text messages may arrive."""
    privacy: Privacy
    """How long data is kept."""

    _content: bytes = PrivateAttr(default=b"")
    _content_hash: str = PrivateAttr(default="")

    @model_validator(mode="after")
    def _take_content(self, info: ValidationInfo) -> Program:
        if info.context is not None:
            self._content = info.context["content"]
            self._content_hash = info.context["content_hash"]
        return self

    @model_validator(mode="after")
    def _coherent(self) -> Program:
        self._check_languages()
        self._check_bodies()
        self._check_offices_and_tracks()
        self._check_wordings()
        self._check_forms()
        self._check_stages()
        self._check_eligibility()
        self._check_messages()
        return self

    @property
    def content(self) -> bytes:
        """The file as it was read."""
        return self._content

    @property
    def content_hash(self) -> str:
        """SHA-256 of the file in 64 hexadecimal digits."""
        return self._content_hash

    # Look-ups

    def form(self, form_id: str) -> Form:
        """The form, or `UnknownId`."""
        return find(self.forms, form_id, "form")

    def office(self, office_id: str) -> Office:
        """The office, or `UnknownId`."""
        return find(self.offices, office_id, "office")

    def track(self, track_id: str) -> Track:
        """The track, or `UnknownId`."""
        return find(self.tracks, track_id, "track")

    def legal_body(self, body_id: str) -> LegalBody:
        """The legal body, or `UnknownId`."""
        return find(self.legal_bodies, body_id, "legal body")

    def stage(self, stage_id: str) -> Stage:
        """The stage, or `UnknownId`."""
        return find(self.stages, stage_id, "stage")

    def message(self, kind: str) -> Message | None:
        """How a kind of message is sent; None when this program doesn't send it."""
        return self._messages_by_kind.get(kind)

    @cached_property
    def _messages_by_kind(self) -> dict[str, Message]:
        """Asked for every message of every batch: a private attribute would cost as much as the rest of its row."""
        return {message.kind: message for message in self.messages}

    def wording(self, channel: Channel, version: str | None, at: datetime, body: str | None = None) -> Wording:
        """The wording of a channel: that version, or with None the one in force at that time.

        `body` picks the legal body where several ask for consent; left out, all are looked through.
        Raises `UnknownId`.
        """
        matching = [
            wording
            for wording in self.wordings
            if wording.channel == channel and (body is None or wording.body == body)
        ]
        if version is None:
            in_force = [wording for wording in matching if wording.effective_from <= at]
            if in_force:
                return max(in_force, key=lambda wording: wording.effective_from)
        for wording in matching:
            if wording.version == version:
                return wording
        wanted = f'"{version}"' if version is not None else f"in force at {at.isoformat()}"
        versions = listed(wording.version for wording in matching)
        raise UnknownId(f"There is no {channel} wording {wanted}; the program has {versions}.")

    def wordings_of(self, form: Form, at: datetime) -> tuple[Wording, ...]:
        """The wordings that a form shows at that time, in the form's order."""
        shown = []
        for wording_id in form.consents:
            in_force = [
                wording for wording in self.wordings if wording.id == wording_id and wording.effective_from <= at
            ]
            if in_force:
                shown.append(max(in_force, key=lambda wording: wording.effective_from))
        return tuple(shown)

    def eligibility_at(self, day: date) -> Eligibility:
        """The rules for applications of that day, or `UnknownId`."""
        for rules in self.eligibility:
            if rules.covers(day):
                return rules
        raise UnknownId(
            f"No eligibility rules are in force on {day}; the program has {listed(self._eligibility_spans())}."
        )

    def eligibility_version(self, version: str) -> Eligibility:
        """The rules of that version, or `UnknownId`."""
        for rules in self.eligibility:
            if rules.version == version:
                return rules
        known = listed(rules.version for rules in self.eligibility)
        raise UnknownId(f'There is no eligibility version "{version}"; the program has {known}.')

    def classes_open_at(self, at: datetime) -> tuple[ApplicationClass, ...]:
        """Application classes open at that time, the next deadline first."""
        today = at.astimezone(ZoneInfo(self.organization.time_zone)).date()
        still_open = [entry for entry in self.application.classes if entry.opens <= today <= entry.closes]
        return tuple(sorted(still_open, key=lambda entry: entry.closes))

    def deadline(self, entry: ApplicationClass) -> datetime:
        """The first moment that is too late for a class, with the organization's offset."""
        return datetime.combine(entry.closes + timedelta(days=1), time(), ZoneInfo(self.organization.time_zone))

    def may_share(self, giver: str, receiver: str, data: Shareable) -> bool:
        """Whether one legal body may hand that kind of data to another. Within a body always."""
        if giver == receiver:
            return True
        shares = self.legal_body(giver).may_share_with
        return any(share.body == receiver and data in share.data for share in shares)

    def text(self, localized: Localized, language: str) -> str:
        """The text in that language, or in the program's default language."""
        text = localized.get(language) or localized.get(self.default_language)
        if text is None:
            raise ValueError(f"This text has no {self.default_language}; take texts from a loaded program.")
        return text

    # What sections owe each other. Each check raises Misfit at the first fault.

    def _check_languages(self) -> None:
        if self.default_language not in self.languages:
            raise Misfit(
                f'is "{self.default_language}"; use one of languages, {listed(self.languages)}',
                ("default_language",),
            )
        if len(set(self.languages)) != len(self.languages):
            raise Misfit("names a language twice; name each once", ("languages",))
        for location, localized in _localized(self, ()):
            for language in self.languages:
                if localized.get(language) is None:
                    raise Misfit(
                        f'is missing; add the {LANGUAGE_NAMES[language]} text as {language} = "..."',
                        (*location, language),
                    )

    def _check_bodies(self) -> None:
        bodies = [body.id for body in self.legal_bodies]
        check_unique(bodies, ("legal_bodies",))
        for at, body in enumerate(self.legal_bodies):
            for share_at, share in enumerate(body.may_share_with):
                location = ("legal_bodies", at, "may_share_with", share_at, "body")
                check_known(share.body, bodies, location)
                if share.body == body.id:
                    raise Misfit("is the body itself; name another one or remove it", location)
        check_known(self.application.body, bodies, ("application", "body"))

    def _check_offices_and_tracks(self) -> None:
        check_unique([office.id for office in self.offices], ("offices",))
        check_unique([track.id for track in self.tracks], ("tracks",))

    def _check_wordings(self) -> None:
        bodies = [body.id for body in self.legal_bodies]
        first: dict[str, Wording] = {}
        seen: set[tuple[str, object]] = set()
        for at, wording in enumerate(self.wordings):
            check_known(wording.body, bodies, ("wordings", at, "body"))
            original = first.setdefault(wording.id, wording)
            if original.channel != wording.channel:
                raise Misfit(
                    f'differs from the other versions of "{wording.id}"; give it another id',
                    ("wordings", at, "channel"),
                )
            if original.body != wording.body:
                raise Misfit(
                    f'differs from the other versions of "{wording.id}"; give it another id',
                    ("wordings", at, "body"),
                )
            for key, value in (("version", wording.version), ("effective_from", wording.effective_from)):
                # A channel's versions are told apart within a body, as a consent record names them.
                mark = (f"{wording.channel} {wording.body} {key}", value)
                if mark in seen:
                    raise Misfit(
                        f"repeats that of another {wording.channel} wording of {wording.body}; change it",
                        ("wordings", at, key),
                    )
                seen.add(mark)

    def _check_forms(self) -> None:
        bodies = [body.id for body in self.legal_bodies]
        offices = [office.id for office in self.offices]
        tracks = [track.id for track in self.tracks]
        channels = {wording.id: wording.channel for wording in self.wordings}
        check_unique([form.id for form in self.forms], ("forms",))
        for at, form in enumerate(self.forms):
            check_known(form.body, bodies, ("forms", at, "body"))
            for field_at, field in enumerate(form.fields):
                here: Location = ("forms", at, "fields", field_at)
                for item_at, office in enumerate(field.offices):
                    check_known(office, offices, (*here, "offices", item_at))
                for item_at, track in enumerate(field.tracks):
                    check_known(track, tracks, (*here, "tracks", item_at))
            for consent_at, wording in enumerate(form.consents):
                here = ("forms", at, "consents", consent_at)
                check_known(wording, channels, here)
                if channels[wording] == "sms" and form.field("phone") is None:
                    raise Misfit(f'"{wording}" is for texts, and the form asks for no phone; add the field', here)

    def _check_stages(self) -> None:
        ids = [stage.id for stage in self.stages]
        check_unique(ids, ("stages",))
        if ids[0] != "signed_up":
            raise Misfit(f'is "{ids[0]}"; begin with "signed_up"', ("stages", 0, "id"))
        for at, stage in enumerate(self.stages):
            for item_at, earlier in enumerate(stage.requires):
                here = ("stages", at, "requires", item_at)
                check_known(earlier, ids, here)
                if ids.index(earlier) >= at:
                    raise Misfit(f'"{earlier}" does not come before {stage.id}; reorder the stages', here)
        if self.one_on_one.promised_to_all and "one_on_one" not in ids:
            raise Misfit(
                'is true, and there is no stage "one_on_one"; add the stage or set false',
                ("one_on_one", "promised_to_all"),
            )

    def _check_eligibility(self) -> None:
        check_unique([rules.version for rules in self.eligibility], ("eligibility",), "version")
        stages = [stage.id for stage in self.stages]
        for at, rules in enumerate(self.eligibility):
            for rule_at, rule in enumerate(rules.rules):
                if isinstance(rule, StageReached):
                    check_known(rule.stage, stages, ("eligibility", at, "rules", rule_at, "stage"))
            if at:
                self._check_follows(self.eligibility[at - 1], rules, ("eligibility", at, "effective_from"))
        for at, entry in enumerate(self.application.classes):
            for key, day in (("opens", entry.opens), ("closes", entry.closes)):
                if not any(rules.covers(day) for rules in self.eligibility):
                    raise Misfit(
                        f"is {day}, when no eligibility rules are in force; they cover "
                        f"{listed(self._eligibility_spans())}",
                        ("application", "classes", at, key),
                    )

    def _check_follows(self, before: Eligibility, rules: Eligibility, location: Location) -> None:
        if before.effective_to is None or before.effective_to >= rules.effective_from:
            until = before.effective_to or "further notice"
            raise Misfit(
                f'is {rules.effective_from}, and version "{before.version}" is in force until {until}, '
                f"so the two overlap; end that one on {rules.effective_from - timedelta(days=1)}",
                location,
            )
        if before.effective_to + timedelta(days=1) != rules.effective_from:
            raise Misfit(
                f'is {rules.effective_from}, and version "{before.version}" ends on {before.effective_to}, '
                f"which leaves days without rules; begin on {before.effective_to + timedelta(days=1)}",
                location,
            )

    def _check_messages(self) -> None:
        kinds = [message.kind for message in self.messages]
        check_unique(kinds, ("messages",), "kind")
        for kind in LINKS:
            if kind not in kinds:
                raise Misfit(f'lacks "{kind}", without which nobody can confirm or sign in; add it', ("messages",))

    def _eligibility_spans(self) -> Iterator[str]:
        for rules in self.eligibility:
            yield f"{rules.version} ({rules.effective_from} to {rules.effective_to or 'further notice'})"


def _localized(node: object, location: Location) -> Iterator[tuple[Location, Localized]]:
    if isinstance(node, Localized):
        yield location, node
    elif isinstance(node, Section):
        for name in type(node).model_fields:
            yield from _localized(getattr(node, name), (*location, name))
    elif isinstance(node, tuple):
        for index, item in enumerate(node):
            yield from _localized(item, (*location, index))
