"""HTTP in: pages and JSON of the signup service."""

from services.signup.web import account, confirm, embed, forms, funnel, internal, links, me, people, signups

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
