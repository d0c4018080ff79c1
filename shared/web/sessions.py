"""Who is asking: short sessions that signup signs (Ed25519, JWT) and every service verifies by public key.

A browser holds the token in the cookie `hustings_session`; a program sends it as a bearer. A session lasts
`SESSION_MINUTES` by the wall clock, not the business clock: moving the business clock must not sign people out.
A browser whose token has run out is sent to signup, which renews it or asks for a sign-in; a form that it sent is kept
in a page meanwhile.
"""

import datetime as dt
from collections.abc import Callable
from dataclasses import dataclass
from urllib.parse import urlencode, urlsplit
from uuid import UUID

import jwt
from fastapi import Request
from starlette.exceptions import HTTPException

from shared.errors import Forbidden
from shared.web.problems import SignedOut, wants_html

COOKIE = "hustings_session"
SESSION_MINUTES = 30
ISSUER = "hustings.signup"
AUDIENCE = "hustings"


@dataclass(frozen=True, slots=True)
class Principal:
    """A signed-in person: the id, the account and its roles (none for prospects and volunteers), the language.

    `outside` marks a reviewer who is not of the staff.
    """

    person_id: UUID
    roles: frozenset[str] = frozenset()
    account_id: UUID | None = None
    outside: bool = False
    language: str | None = None


def issue(principal: Principal, private_key: str, *, now: dt.datetime, minutes: int = SESSION_MINUTES) -> str:
    """A signed session token. `now` is wall-clock time; only signup holds the key."""
    claims = {
        "iss": ISSUER,
        "aud": AUDIENCE,
        "sub": str(principal.person_id),
        "iat": int(now.timestamp()),
        "exp": int((now + dt.timedelta(minutes=minutes)).timestamp()),
        "roles": sorted(principal.roles),
        "acc": str(principal.account_id) if principal.account_id else None,
        "out": principal.outside,
        "lang": principal.language,
    }
    return jwt.encode(claims, private_key, algorithm="EdDSA")


def verify(token: str, public_key: str) -> Principal | None:
    """The principal of a token, or None when it is altered, foreign or over."""
    try:
        claims = jwt.decode(
            token,
            public_key,
            algorithms=["EdDSA"],
            audience=AUDIENCE,
            issuer=ISSUER,
            options={"require": ["exp", "sub"]},
        )
        return Principal(
            person_id=UUID(claims["sub"]),
            roles=frozenset(claims.get("roles") or ()),
            account_id=UUID(claims["acc"]) if claims.get("acc") else None,
            outside=bool(claims.get("out")),
            language=claims.get("lang"),
        )
    except (jwt.InvalidTokenError, ValueError, KeyError):
        return None


def current(request: Request) -> Principal | None:
    """Who is asking, if anyone; set for every request by `shared.web.app`."""
    principal: Principal | None = request.state.principal
    return principal


def signed_in(request: Request) -> Principal:
    """Dependency: any signed-in person; a browser is sent to sign in, a program gets 401."""
    principal = current(request)
    if principal is None:
        _ask_to_sign_in(request)
    assert principal is not None
    return principal


def require(*roles: str) -> Callable[[Request], Principal]:
    """Dependency: a signed-in account with one of these roles; `admin` may do what `staff` may."""
    allowed = set(roles) | ({"admin"} if "staff" in roles else set())

    def check(request: Request) -> Principal:
        principal = signed_in(request)
        if not allowed & principal.roles:
            raise Forbidden
        return principal

    check.required_roles = frozenset(allowed)  # type: ignore[attr-defined]
    return check


def _ask_to_sign_in(request: Request) -> None:
    if wants_html(request):
        refresh = f"{request.app.state.settings.public_url('signup')}/account/refresh"
        # Only what a page of our own sent: to keep a foreign form would be to sign it for its author.
        if request.method == "POST" and same_origin(request, request.app.state.public_url):
            raise SignedOut(refresh)
        here = f"{request.app.state.public_url}{request.url.path}"
        if request.method == "GET" and request.url.query:
            here += f"?{request.url.query}"
        raise HTTPException(303, headers={"Location": f"{refresh}?{urlencode({'next': here})}"})
    raise HTTPException(
        401, detail="Sign in first: this needs a session token.", headers={"WWW-Authenticate": "Bearer"}
    )


def token_of(request: Request) -> str | None:
    """The session token that came with a request; a bearer goes before the cookie."""
    return _bearer(request) or request.cookies.get(COOKIE)


def has_bearer(request: Request) -> bool:
    """Whether a program sent its token itself; any other `Authorization` a browser may add on its own."""
    return _bearer(request) is not None


def _bearer(request: Request) -> str | None:
    scheme, _, value = request.headers.get("authorization", "").partition(" ")
    return value if scheme.lower() == "bearer" and value else None


def same_origin(request: Request, own_url: str) -> bool:
    """Whether a state-changing request that rides on a cookie comes from a page of this service.

    Browsers send `Origin` with every POST; one that lacks it, with a cookie, is refused.
    """
    origin = request.headers.get("origin")
    if origin is None:
        return False
    wanted, got = urlsplit(own_url), urlsplit(origin)
    return (wanted.scheme, wanted.netloc) == (got.scheme, got.netloc)
