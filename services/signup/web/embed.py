"""Forms inside other sites' pages: a frame that sets no cookie, and the loader that puts it there."""

from pathlib import Path

from fastapi import APIRouter, Request, Response

from services.signup.web.forms import form_of, send_form, show_form, thanks

router = APIRouter(tags=["embeds"])

SCRIPTS = Path(__file__).parent / "scripts"
LOADER = (SCRIPTS / "loader.js").read_bytes()
FRAME = (SCRIPTS / "frame.js").read_bytes()
SCRIPT_HEADERS = {"Cache-Control": "public, max-age=3600", "Cross-Origin-Resource-Policy": "cross-origin"}


@router.get("/embed/loader.js", summary="The script that puts a form into a page")
async def loader() -> Response:
    """`<script src=".../embed/loader.js" data-form="run" async></script>`."""
    return Response(LOADER, media_type="text/javascript", headers=SCRIPT_HEADERS)


@router.get("/embed/frame.js", summary="Tells the page around how tall the form is")
async def frame() -> Response:
    """Runs inside the frame."""
    return Response(FRAME, media_type="text/javascript", headers=SCRIPT_HEADERS)


@router.get("/embed/{form_id}", summary="A sign-up form for a frame")
async def show(request: Request, form_id: str) -> Response:
    """The form without the site around it."""
    return await show_form(request, form_of(request, form_id), embedded=True)


@router.post("/embed/{form_id}", summary="Send a framed form", status_code=303)
async def send(request: Request, form_id: str) -> Response:
    """As the hosted form, and stays in the frame."""
    return await send_form(request, form_of(request, form_id), embedded=True)


@router.get("/embed/{form_id}/thank-you", summary="After a sign-up in a frame")
async def thank_you(request: Request, form_id: str) -> Response:
    """What happens next."""
    return thanks(request, form_of(request, form_id), embedded=True)
