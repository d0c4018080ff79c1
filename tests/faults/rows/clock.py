"""The business clock moves while people are under way."""

import datetime as dt
from collections.abc import AsyncIterator
from zoneinfo import ZoneInfo

from tests.faults.mail import lines
from tests.faults.rows import Scene, row
from tests.faults.stand import Broken

NEW_YORK = ZoneInfo("America/New_York")
# The program's hours for texts, in the recipient's own time.
OPENS, CLOSES = 8, 21
EARLY = """
    SELECT count(*) FROM endorsements e JOIN decisions d ON d.id = e.decision_id
    WHERE e.announced_at < d.embargo_until
"""
# Offers that were accepted, and links that were used, after they had expired. A moved call has its first one's offer.
LATE = {
    "matching": "SELECT count(*) FROM bookings WHERE replaces IS NULL AND confirmed_at >= hold_expires_at",
    "signup": "SELECT count(*) FROM links WHERE used_at >= expires_at",
}


def next_change(now: dt.datetime) -> dt.datetime:
    """The next moment (UTC) at which New York's offset changes."""
    moment = now.replace(minute=0, second=0, microsecond=0)
    offset = moment.astimezone(NEW_YORK).utcoffset()
    while moment.astimezone(NEW_YORK).utcoffset() == offset:
        moment += dt.timedelta(hours=1)
    return moment


@row()
async def clock_by_minutes(scene: Scene) -> None:
    """The clock is moved by a few minutes, ten times (three in CI), while people sign up and confirm."""
    for _ in range(int(scene.seconds(10, 3))):
        await scene.knock.keep_on(0.5)
        await scene.stand.advance(dt.timedelta(minutes=scene.rng.randint(2, 20)))
    await scene.goes_on()


@row()
async def clock_by_days(scene: Scene) -> AsyncIterator[None]:
    """The clock is moved by days, five times (twice in CI): holds expire, reminders and embargoes come due at once. No
    endorsement is announced before its embargo has ended, no offer or link is taken after its time."""
    for _ in range(int(scene.seconds(5, 2))):
        await scene.knock.keep_on(0.5)
        await scene.stand.advance(dt.timedelta(days=scene.rng.randint(1, 3)))
    await scene.goes_on()
    yield
    if early := await scene.stand.count("endorsement", EARLY):
        raise Broken(f"{early} endorsements were announced before their embargo had ended")
    for service, query in LATE.items():
        if late := await scene.stand.count(service, query):
            raise Broken(f"{late} offers or links of {service} were taken after they had expired")


@row()
async def clock_over_daylight_saving(scene: Scene) -> AsyncIterator[None]:
    """The clock is set to an hour before New York changes its offset, and then across the change, in steps of half an
    hour. Texts keep to the recipient's own hours on both sides (the ledger's L8), embargoes hold."""
    stand = scene.stand
    now = await stand.now()
    change = next_change(now)
    await stand.advance(change - now - dt.timedelta(hours=1))
    for _ in range(6):
        await scene.knock.keep_on(0.3)
        await stand.advance(dt.timedelta(minutes=30))
    stand.tell(f"New York's offset changed at {change.isoformat()}")
    await scene.goes_on()
    yield
    if early := await stand.count("endorsement", EARLY):
        raise Broken(f"{early} endorsements were announced before their embargo had ended")
    if not any(line["stored"] for line in lines(stand, "smtp")):
        raise Broken("no mail was taken at all")
