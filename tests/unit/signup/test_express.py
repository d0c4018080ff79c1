"""The routes that are answered without the framework are the documented ones."""

from functools import partial

from fastapi.routing import APIRoute

from services.signup.web import ROUTERS, express
from shared.program import load
from shared.web.express import Endpoint, Express
from tests.harness import PROGRAM_2025


def _function(route: Express) -> Endpoint:
    return route.endpoint.func if isinstance(route.endpoint, partial) else route.endpoint


def test_express_routes_are_the_documented_ones() -> None:
    program = load(PROGRAM_2025)
    documented = {
        (method, route.path): route.endpoint
        for router in ROUTERS
        for route in router.routes
        if isinstance(route, APIRoute)
        for method in route.methods or ()
    }
    taken = express(program)
    assert {(method, route.path): _function(route) for (method, _path), route in taken.items()} == {
        key: documented[key] for key in (("POST", "/v1/signups"), ("POST", "/f/{form_id}"))
    }
    assert {path for _method, path in taken} == {"/v1/signups", *(f"/f/{form.id}" for form in program.forms)}
