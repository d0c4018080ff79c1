"""HTTP in: pages and JSON of the signup service."""

from services.signup.web import internal, signups

ROUTERS = (signups.router, internal.router)
