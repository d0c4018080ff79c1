"""Signing up: offices and tracks to choose from, forms, and the wordings people consent to."""

from __future__ import annotations

from datetime import datetime
from typing import Literal

from pydantic import Field, model_validator

from shared.program.vocabulary import Id, Localized, Misfit, Section, Version, check_unique

Level = Literal["local", "county", "state", "federal"]
Channel = Literal["email", "sms"]
FormId = Literal["run", "volunteer", "mentor", "staff"]
Role = Literal["prospect", "volunteer", "mentor", "campaign_staff"]
FieldName = Literal[
    "name",
    "email",
    "phone",
    "state",
    "zip",
    "birth_year",
    "office",
    "tracks",
    "spoken_languages",
    "time_zone",
    "availability",
]


class Office(Section):
    """An office that people run for."""

    id: Id
    """Named by forms and by sign-ups; keep it once it is in use."""
    label: Localized
    """As forms show it."""
    level: Level
    """Level of government, which eligibility rules ask for."""
    endorsable: bool | None = None
    """Whether candidates for it may be endorsed. Left out: yes, except for federal offices."""

    @property
    def is_endorsable(self) -> bool:
        """`endorsable`, with its default worked out."""
        return self.level != "federal" if self.endorsable is None else self.endorsable


class Track(Section):
    """A group with calls and material of its own, which people may join at sign-up."""

    id: Id
    """Named by forms and by sign-ups; keep it once it is in use."""
    label: Localized
    """As forms show it."""
    description: Localized
    """One sentence on who it is for."""


class FormField(Section):
    """One of the built-in fields, in the order in which the form shows them."""

    field: FieldName
    """Which one. `name` and `email` must be there and be required."""
    required: bool = False
    """Whether the form can be sent without it."""
    label: Localized | None = None
    """Instead of the built-in label."""
    help: Localized | None = None
    """A line under the label."""
    offices: tuple[Id, ...] = ()
    """For `field = "office"`: the offices offered; left out, all of them."""
    tracks: tuple[Id, ...] = ()
    """For `field = "tracks"`: the tracks offered; left out, all of them."""

    @model_validator(mode="after")
    def _choices_belong(self) -> FormField:
        if self.offices and self.field != "office":
            raise Misfit('is only for field = "office"; remove it here', ("offices",))
        if self.tracks and self.field != "tracks":
            raise Misfit('is only for field = "tracks"; remove it here', ("tracks",))
        return self


class Option(Section):
    """One answer of a question to choose from."""

    id: Id
    """Stored with the answer."""
    label: Localized
    """As the form shows it."""


class Question(Section):
    """A question of the organization's own, shown after the built-in fields."""

    id: Id
    """Stored with the answer."""
    kind: Literal["short_text", "long_text", "choice", "yes_no"]
    """What the answer looks like."""
    label: Localized
    """The question."""
    help: Localized | None = None
    """A line under the question."""
    required: bool = False
    """Whether the form can be sent without an answer."""
    max_length: int | None = Field(default=None, ge=1, le=5000)
    """Characters; left out, 200 for short_text and 2000 for long_text."""
    options: tuple[Option, ...] = ()
    """For `kind = "choice"`: at least two."""

    @model_validator(mode="after")
    def _fits_kind(self) -> Question:
        if self.kind == "choice" and len(self.options) < 2:
            raise Misfit("a choice needs at least two options; add them under options", ("options",))
        if self.kind != "choice" and self.options:
            raise Misfit('is only for kind = "choice"; remove it here', ("options",))
        if self.kind in ("choice", "yes_no") and self.max_length is not None:
            raise Misfit("is only for texts; remove it here", ("max_length",))
        check_unique([option.id for option in self.options], ("options",))
        return self

    @property
    def limit(self) -> int:
        """Most characters of a written answer."""
        return self.max_length or (200 if self.kind == "short_text" else 2000)


class Form(Section):
    """A public sign-up form."""

    id: FormId
    """Its page is `/f/<id>`."""
    title: Localized
    """Heading of the page."""
    intro: Localized
    """A few sentences under the heading."""
    role: Role
    """What the person becomes by sending it. `campaign_staff` works on campaigns; it opens no staff page."""
    body: Id
    """The legal body that collects the data."""
    fields: tuple[FormField, ...]
    """Built-in fields, in order."""
    questions: tuple[Question, ...] = ()
    """Questions of your own, in order."""
    consents: tuple[Id, ...]
    """Wordings offered, by id, each as a box of its own that starts unticked."""
    thank_you: Localized
    """Shown once the sign-up is stored; the person has still to confirm the address."""

    @model_validator(mode="after")
    def _complete(self) -> Form:
        check_unique([field.field for field in self.fields], ("fields",), "field")
        check_unique([question.id for question in self.questions], ("questions",))
        required = {field.field for field in self.fields if field.required}
        for name in ("name", "email"):
            if name not in required:
                raise Misfit(f'needs the field "{name}"; add {{ field = "{name}", required = true }}', ("fields",))
        return self

    def field(self, name: FieldName) -> FormField | None:
        """The built-in field of that name, or None when the form does not ask for it."""
        return next((field for field in self.fields if field.field == name), None)


class Wording(Section):
    """One version of a text that people consent to. Old versions stay, because consents name them."""

    id: Id
    """The same for every version of a text; named by forms."""
    channel: Channel
    """What people agree to receive."""
    version: Version
    """Kept with each consent."""
    body: Id
    """The legal body that is given consent."""
    effective_from: datetime
    """With its offset from UTC; this version is shown until the next one of the same id begins."""
    text: Localized
    """The words beside the box. A wording for texts must contain STOP and HELP."""

    @model_validator(mode="after")
    def _lawful(self) -> Wording:
        if self.effective_from.tzinfo is None:
            raise Misfit(
                'has no time zone; write it with a Z or an offset, such as "2025-01-20T00:00:00Z" unquoted',
                ("effective_from",),
            )
        if self.channel == "sms":
            for language in ("en", "es"):
                text = self.text.get(language)
                for word in ("STOP", "HELP"):
                    if text is not None and word not in text:
                        raise Misfit(f"lacks the word {word}; say how to stop and get help", ("text", language))
        return self
