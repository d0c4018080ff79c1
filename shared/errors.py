"""The three fates of a piece of work that did not succeed.

    HustingsError
    ├── Rejected        a rule said no: answered 4xx (or a refusal event); what was decided is committed
    ├── Unprocessable   poison: the record can never be handled; kept with its raw bytes, the stream goes on
    └── TryAgain        transient: nothing was committed; tried again, a bounded number of times

Anything else is a bug: retried a bounded number of times, then parked for an operator.
Handlers never catch these; `shared.inbox` and `shared.web.problems` are the two places that do.
"""

from collections.abc import Mapping

from shared.web.text import Message, _


class HustingsError(Exception):
    """Base of every error that this system raises on purpose."""


class Rejected(HustingsError):
    """A rule said no.

    `code` is stable and for machines; `message` is a sentence that says what to do, translated where it is shown;
    `fields` maps a form field to the sentence shown beside it; `status` is the HTTP status of the answer.
    """

    def __init__(
        self,
        code: str,
        message: Message,
        *,
        status: int = 409,
        fields: Mapping[str, Message] | None = None,
    ) -> None:
        self.code = code
        self.message = message
        self.status = status
        self.fields = dict(fields or {})
        super().__init__(str(message))


class NotFound(Rejected):
    """There is nothing here, or nothing that this caller may see; the two look alike on purpose."""

    def __init__(self, message: Message | None = None) -> None:
        text = message or _("There is nothing at this address. Check the link and try again.")
        super().__init__("not_found", text, status=404)


class Forbidden(Rejected):
    """The caller is known and may not do this."""

    def __init__(self, message: Message | None = None) -> None:
        text = message or _("Your account may not do this. Ask an administrator for the role.")
        super().__init__("forbidden", text, status=403)


class Unprocessable(HustingsError):
    """This record can never be handled as it is; it is quarantined with its raw bytes."""


class TryAgain(HustingsError):
    """Something needed is not there yet or not reachable; the same work may succeed later."""
