"""How the crowd signs in by mailed links that get lost, run out, or were used already."""

from types import SimpleNamespace
from typing import Any

import pytest

from deploy.demo.client import Refused
from deploy.demo.journey import SIGN_IN_TRIES, sign_in

EMAIL = "ana@example.org"


class World:
    """A service that mails the links that it is told to mail, and refuses those that do not work."""

    def __init__(self, *mailed: str | None, works: str = "good") -> None:
        self.mailed, self.works = list(mailed), works
        self.asked = 0
        self.tried: list[str] = []
        self.link: str | None = None

    async def post(self, _service: str, path: str, body: dict[str, Any]) -> Any:
        if path == "/v1/account/sign-in":
            self.asked += 1
            self.arrive()
            return None
        self.tried.append(body["token"])
        if body["token"] != self.works:
            raise Refused(410, "used", "This link was used.")
        return {"session": "yes"}

    def arrive(self) -> None:
        """What the next mail has, if any comes."""
        token = self.mailed.pop(0) if self.mailed else None
        self.link = f"https://signup.example.org/account/sign-in/{token}" if token else self.link

    def newest_link(self, _email: str, _containing: str) -> str | None:
        return self.link

    def stage(self) -> Any:
        return SimpleNamespace(client=self, mail=self, patience_seconds=0.04)


async def test_link_that_does_not_come_is_asked_for_again() -> None:
    world = World(None, "good")
    assert await sign_in(world.stage(), EMAIL) == {"session": "yes"}
    assert world.asked == 2


async def test_link_that_was_used_is_not_tried_twice() -> None:
    world = World("used", None, "good")
    assert await sign_in(world.stage(), EMAIL) == {"session": "yes"}
    assert (world.asked, world.tried) == (3, ["used", "good"])


async def test_link_that_is_on_its_way_is_waited_for_first() -> None:
    world = World("good")
    world.arrive()
    assert await sign_in(world.stage(), EMAIL, asked=True) == {"session": "yes"}
    assert world.asked == 0


async def test_link_that_was_on_its_way_and_does_not_come_is_asked_for() -> None:
    world = World("good")
    assert await sign_in(world.stage(), EMAIL, asked=True) == {"session": "yes"}
    assert world.asked == 1


async def test_sign_in_without_any_mail_ends() -> None:
    world = World()
    with pytest.raises(TimeoutError, match="No sign-in link"):
        await sign_in(world.stage(), EMAIL)
    assert world.asked == SIGN_IN_TRIES
