"""Callers who wait for a line: music, their place, and the ways out."""

from __future__ import annotations

import asyncio
import contextlib
from typing import TYPE_CHECKING

from signalbox.sip.ended import CallOverError
from signalbox.speech import spoken
from support.phone import WAIT_S
from support.site import eventually
from support.voice_site import dial, end, node

if TYPE_CHECKING:
    from typing import Any

    from signalbox.api.types.v1.flows_pb2 import FlowNode
    from support.phone import Phone, Talk
    from support.voice_site import VoiceSite


def waiting(line: str, **fields: Any) -> tuple[FlowNode, ...]:
    """A queue for a line."""
    given = {
        "dial": "dial", "music": "music", "announceEvery": "10s", "positionBefore": "before", "positionAfter": "after",
        "maxLength": 2, "full": "goodbye", "timedOut": "english", "leaveKeys": "*", "left": "nothing", **fields,
    }  # fmt: skip
    ends = (end(id=id, prompt=id) for id in ("goodbye", "english", "nothing"))
    return node("queue", "queue", **given), dial(line, busy="queue", noAnswer="queue", failed="nothing"), *ends


async def calls(site: VoiceSite, caller: Phone, number: str, **how: Any) -> Talk:
    """A caller whom the queue has answered."""
    talk = await caller.call(number, site.sip(), **how)
    await talk.answered()
    return talk


async def let_in(site: VoiceSite, caller: Phone, number: str) -> Talk:
    """Call until the queue has room: that somebody has left is told by the proxy, soon."""
    async with asyncio.timeout(WAIT_S):
        while True:
            with contextlib.suppress(CallOverError):
                return await calls(site, caller, number)


async def is_told(site: VoiceSite, talk: Talk, place: int) -> None:
    """Wait until the caller has heard the place, between the prompts."""
    said = [site.spoken[part] for part in spoken.number(place, "zh-CN") if part not in spoken.PAUSES]
    for one in (site.prompts["before"], *said, site.prompts["after"]):
        await talk.has_heard(one)
    assert talk.voice.heard_at(site.prompts["before"]) < talk.voice.heard_at(said[0])


async def test_callers_wait_in_their_order_and_are_told_their_place_until_the_line_is_free(
    site: VoiceSite, caller: Phone, line: Phone
) -> None:
    number = site.flow(*waiting(site.line(line, concurrent_calls=1)))
    first = await calls(site, caller, number)
    await first.hear_each_other(await line.rung())
    second = await calls(site, caller, number)
    await is_told(site, second, 1)
    await second.hears(site.prompts["music"])
    third = await calls(site, caller, number, protocol="tcp")
    await is_told(site, third, 2)
    fourth = await caller.call(number, site.sip())
    assert await fourth.refused() == 603
    assert fourth.voice.missing(site.prompts["goodbye"]) == []
    assert fourth.voice.times_heard(site.prompts["music"]) == 0
    first.hang_up()
    await second.hear_each_other(await line.rung(2))
    await third.press("*")
    await third.over()
    assert third.voice.missing(site.prompts["nothing"]) == []
    assert third.voice.times_heard(site.prompts["music"]) > 0
    assert second.voice.times_heard(site.prompts["nothing"]) == 0
    await eventually(lambda: len(line.talks) == 2, "two calls at the line")


async def test_a_caller_who_hangs_up_in_the_queue_makes_room(site: VoiceSite, caller: Phone, line: Phone) -> None:
    number = site.flow(*waiting(site.line(line, concurrent_calls=1), maxLength=1))
    first = await calls(site, caller, number)
    await first.hear_each_other(await line.rung())
    second = await calls(site, caller, number)
    await second.hears(site.prompts["music"])
    second.hang_up()
    left = asyncio.get_running_loop().time()
    third = await let_in(site, caller, number)
    # Soon, not only when nobody has asked for the other one for 15 s.
    assert asyncio.get_running_loop().time() < left + 10
    await third.hears(site.prompts["music"])
    first.hang_up()
    await third.hear_each_other(await line.rung(2))
