"""HTTP in: pages and JSON of the signup service."""

from collections.abc import Mapping
from functools import partial

from services.signup.web import account, confirm, embed, forms, funnel, internal, links, me, people, signups
from shared.program import Program
from shared.web.express import Express

# `links` comes before `people`: /people/links is no person's page.
ROUTERS = (
    signups.router,
    forms.router,
    embed.router,
    confirm.router,
    account.router,
    me.router,
    links.router,
    people.router,
    funnel.router,
    internal.router,
)


def express(program: Program) -> Mapping[tuple[str, str], Express]:
    """What a surge meets: the sign-ups themselves, by JSON and by each hosted form."""
    by_form = {
        ("POST", f"/f/{form.id}"): Express("/f/{form_id}", partial(forms.send, form_id=form.id))
        for form in program.forms
    }
    return {("POST", "/v1/signups"): Express("/v1/signups", signups.sign_up), **by_form}
