"""What routes share: who asks, the transaction of a request, and bodies that refuse unknown fields."""

from collections.abc import Mapping
from contextlib import AbstractAsyncContextManager
from typing import Annotated, Any

from fastapi import Depends, Request
from fastapi.responses import RedirectResponse, Response
from pydantic import BaseModel, ConfigDict

from shared.errors import Rejected
from shared.program import Program
from shared.web.pages import Pages
from shared.web.sessions import Principal, require, signed_in
from shared.web.text import Message, _
from shared.work import Work

SignedIn = Annotated[Principal, Depends(signed_in)]
Reviewing = Annotated[Principal, Depends(require("reviewer", "staff"))]
Deciding = Annotated[Principal, Depends(require("staff"))]
Administering = Annotated[Principal, Depends(require("admin"))]

MAX_ID = 2**63 - 1
"""The database's ids and cursors end there."""


class Body(BaseModel):
    """A JSON body; a field that is not in it is refused."""

    model_config = ConfigDict(frozen=True, extra="forbid")


def begin(request: Request) -> AbstractAsyncContextManager[Work]:
    """The transaction of this request."""
    work: AbstractAsyncContextManager[Work] = request.app.state.workshop.begin(request.state.correlation_id)
    return work


def program_of(request: Request) -> Program:
    """The organization's program."""
    program: Program = request.app.state.program
    return program


def pages_of(request: Request) -> Pages:
    """The service's pages."""
    pages: Pages = request.app.state.pages
    return pages


def language_of(request: Request, principal: Principal | None = None) -> str:
    """The language of the page that the request is for."""
    return pages_of(request).page_language(request, principal.language if principal else None)


def page(
    request: Request, template: str, principal: Principal | None = None, *, status: int = 200, **context: Any
) -> Response:
    """A page in the reader's language."""
    language = language_of(request, principal)
    return pages_of(request).response(request, template, status=status, language=language, **context)


def see_other(path: str) -> Response:
    """Send the browser on after a POST."""
    return RedirectResponse(path, status_code=303)


async def form_of(request: Request) -> Mapping[str, Any]:
    """The posted form; files are refused, since nothing here takes any."""
    form = await request.form()
    if any(not isinstance(value, str) for value in form.values()):
        raise Rejected("no_files", _("Files are not taken here. Remove the file and send the form again."),
                       status=415)  # fmt: skip
    return form


def field_errors(no: Rejected) -> dict[str, Message]:
    """The refusal's fields, for the form to be shown again; raises the refusal when it names none."""
    if not no.fields:
        raise no
    return dict(no.fields)
