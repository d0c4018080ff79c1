"""The mail relay and the text provider: silent, slow, refusing, cut off in the middle."""

import asyncio
import time
from collections.abc import AsyncIterator

from tests.faults.crowd import percentile
from tests.faults.mail import lines, met
from tests.faults.rows import Scene, row
from tests.faults.stand import Broken, Stand

RETRY_AFTER_SECONDS = 900
# Texts that were put off because the provider asked for patience, and those of them for less than it asked.
PUT_OFF = """
    SELECT count(*), count(*) FILTER (WHERE due_at < handed_at + make_interval(secs => $1)) FROM messages
    WHERE channel = 'sms' AND state = 'queued' AND reason = 'http_429'
"""

ARE_MESSAGES = "SELECT count(*) FROM messages WHERE id = ANY ($1::uuid[])"


def copies(scene: Scene) -> dict[str, int]:
    """How often each mail is stored, by its Message-ID."""
    found: dict[str, int] = {}
    for line in lines(scene.stand, "smtp"):
        if line["stored"]:
            found[line["message_id"]] = found.get(line["message_id"], 0) + 1
    return found


@row()
async def smtp_silent(scene: Scene) -> AsyncIterator[None]:
    """The mail relay takes whole mails and never answers, for every second one. Sign-ups keep their latency; each
    mail is there once or, where its class allows one repeat, twice."""
    stand = scene.stand
    usual = percentile(await scene.knock.keep_on(2), 0.95)
    await stand.plan({"name": "silent", "sink": "smtp", "stage": "data", "every": 2, "act": "hang"})
    tries = await scene.knock.keep_on(scene.seconds(15, 4))
    await met(stand, "silent", times=2)
    meanwhile = percentile(tries, 0.95)
    await stand.plan()
    if meanwhile > max(0.5, 5 * usual):
        raise Broken(f"a silent mail relay made sign-ups slow: 95% within {meanwhile:.2f} s, before {usual:.2f} s")
    yield
    if too_many := [message for message, count in copies(scene).items() if count > 2]:
        raise Broken(f"{len(too_many)} mails are there more than twice, the first is {too_many[0]}")


@row()
async def smtp_refuses(scene: Scene) -> None:
    """The mail relay answers 451 to every third mail and cuts the connection in the middle of every fifth."""
    stand = scene.stand
    await stand.plan(
        {"name": "later", "sink": "smtp", "stage": "data", "every": 3, "act": "answer", "code": 451},
        {"name": "cut", "sink": "smtp", "stage": "body", "every": 5, "act": "close"},
    )
    await scene.knock.keep_on(scene.seconds(10, 3))
    await met(stand, "later")
    await met(stand, "cut")
    await stand.plan()


@row()
async def smtp_cut(scene: Scene) -> None:
    """Every connection to the mail relay is reset, again and again, in the middle of whatever it carries."""
    for _ in range((scene.brief and 4) or 10):
        tries = asyncio.create_task(scene.knock.keep_on(0.6, every=0.05))
        await asyncio.sleep(scene.rng.uniform(0.2, 0.6))
        await scene.stand.proxy.set("smtp", "cut")
        await scene.stand.proxy.set("smtp", "pass")
        await tries
    scene.stand.tell("connections to the mail relay were reset")
    await scene.goes_on(seconds=90)


@row()
async def smtp_half_closed(scene: Scene) -> None:
    """Our side of every connection to the mail relay is shut while mails are under way."""
    tries = asyncio.create_task(scene.knock.keep_on(2, every=0.05))
    await asyncio.sleep(0.7)
    await scene.stand.proxy.set("smtp", "half_close")
    await asyncio.sleep(scene.seconds(5, 2))
    await scene.stand.proxy.set("smtp", "pass")
    await tries
    await scene.goes_on(seconds=90)


@row()
async def slow_relay_holds_up_no_link(scene: Scene) -> None:
    """The mail relay takes 2 s for every mail that is no link; a link arrives meanwhile as fast as before."""
    # Every mail but a link can be unsubscribed from, and says so in its head.
    stand = scene.stand
    began = time.monotonic()
    await scene.goes_on()
    usual = time.monotonic() - began
    await stand.plan(
        {"name": "slow", "sink": "smtp", "stage": "data", "head": "(?mi)^List-Unsubscribe:", "act": "late",
         "delay_seconds": 2}
    )  # fmt: skip
    await met(stand, "slow")
    began = time.monotonic()
    await scene.goes_on()
    meanwhile = time.monotonic() - began
    await stand.plan()
    stand.tell(f"a link took {meanwhile:.1f} s while others were slow, {usual:.1f} s before")
    if meanwhile > max(8.0, 4 * usual):
        raise Broken(f"a slow mail relay held up a link: {meanwhile:.1f} s, before {usual:.1f} s")


async def asked_for_messages(stand: Stand) -> bool:
    """Whether the provider was asked to send a message, and not only answers to what people had texted."""
    asked = [line["reference"] for line in lines(stand, "sms") if line["answer"] == "429"]
    [(count,)] = await stand.fetch("notifications", ARE_MESSAGES, asked)
    return bool(count)


@row(lane="texts", walkers=True)
async def sms_too_many(scene: Scene) -> None:
    """The text provider answers 429 with Retry-After. Nobody is asked again before that time has passed."""
    stand = scene.stand
    await stand.plan(
        {"name": "patience", "sink": "sms", "act": "answer", "code": 429, "retry_after_seconds": RETRY_AFTER_SECONDS}
    )
    # An answer to HELP meets it at once, so that it is never in vain.
    await scene.knock.ask_for_help()
    await met(stand, "patience")
    try:
        what = "another text than an answer to what somebody texted"
        await stand.until(lambda: asked_for_messages(stand), what, seconds=scene.seconds(90, 0))
    except Broken:
        # Such an answer is sent once or not at all, so that nothing is put off; of a few hundred people few get others.
        stand.tell("only answers to what people texted met the provider's 429")
        await stand.plan()
        return

    async def put_off() -> bool:
        return int((await stand.fetch("notifications", PUT_OFF, RETRY_AFTER_SECONDS))[0][0]) > 0

    await stand.until(put_off, "a text that was put off", seconds=400)
    ((count, early),) = await stand.fetch("notifications", PUT_OFF, RETRY_AFTER_SECONDS)
    if early:
        raise Broken(f"{early} of {count} texts are due again before the {RETRY_AFTER_SECONDS} s that were asked for")
    await stand.plan()


@row(lane="texts", walkers=True)
async def sms_fails(scene: Scene) -> None:
    """The text provider answers 500: to half of the texts it took, to half it did not. None is sent a second time
    unless the provider says that it never had it."""
    stand = scene.stand
    await stand.plan(
        {"name": "lost it", "sink": "sms", "act": "answer", "code": 502, "stored": False, "every": 2, "times": 6},
        {"name": "took it", "sink": "sms", "act": "answer", "code": 500, "stored": True, "times": 6},
    )
    await met(stand, "lost it")
    if not scene.brief:
        # A second text may be long in coming.
        await met(stand, "took it")
    await asyncio.sleep(scene.seconds(20, 2))
    await stand.plan()


@row(lane="texts", walkers=True)
async def sms_hangs(scene: Scene) -> AsyncIterator[None]:
    """The text provider never answers, three times, then closes. No text is stored twice."""
    stand = scene.stand
    await stand.plan(
        {"name": "hang", "sink": "sms", "act": "hang", "times": 3},
        {"name": "cut", "sink": "sms", "act": "close", "times": 2},
    )
    # Of the few texts that a small crowd gets another one may be long in coming; an answer to HELP is a text as well.
    helped = [asyncio.create_task(scene.knock.ask_for_help())] if scene.brief else []
    await met(stand, "hang")
    await asyncio.sleep(4)
    await stand.plan()
    await asyncio.gather(*helped)
    yield
    stored: dict[str, int] = {}
    for line in lines(stand, "sms"):
        if line["stored"]:
            stored[line["reference"]] = stored.get(line["reference"], 0) + 1
    if doubled := [reference for reference, count in stored.items() if count > 1]:
        raise Broken(f"{len(doubled)} texts are stored more than once, the first is {doubled[0]}")
