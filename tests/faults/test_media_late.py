"""Both rtpengines stand still for a moment: what rings keeps its sound, and calls go on as soon as they are back."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING

from support.site import LINE_HOST
from support.wire import connect, stream

if TYPE_CHECKING:
    from support.wire import Phone

NODES = ("rtpengine-1", "rtpengine-2")
RINGING = 6
NOBODY = "0.0.0.0"
BACK_S = 0.8
"""Less than the 2 s in which a late node is asked by few."""


async def ring(caller: Phone, line: Phone, number: str):
    """A call whose line has not answered yet: the caller's side of it, and the INVITE at the line."""
    call = caller.call(number)
    caller.invite(call, body=caller.sdp())
    return call, await line.expect("INVITE")


async def late(site, caller: Phone, number: str) -> None:
    """Both nodes stand still while a call comes, which is refused."""
    with site.paused(*NODES):
        call = caller.call(number)
        caller.invite(call, body=caller.sdp())
        refusal = await caller.expect(503)
        caller.send(caller.request(call, "ACK", branch=refusal.get("Via").partition("branch=")[2]))


async def test_lines_that_ring_meanwhile_are_answered_with_sound(site, phone):
    caller, line = await phone(), await phone(LINE_HOST)
    number = site.number([line.address], anchored=True)
    calls = [await ring(caller, line, number) for _ in range(RINGING)]
    other = await phone()
    await late(site, other, number)
    for _, invite in calls:
        line.send(line.reply(invite, 200, "OK", body=line.sdp()))
    for _ in calls:
        answer = await caller.expect(200)
        call = next(call for call, _ in calls if call.call_id == answer.get("Call-ID"))
        caller.answered(call, answer)
        caller.send(caller.in_dialog(call, "ACK"))
        assert not stream(answer.body).address.startswith(NOBODY)
        await line.expect("ACK")
    for call, _ in calls:
        caller.send(caller.in_dialog(call, "BYE"))
        bye = await line.expect("BYE")
        line.send(line.reply(bye, 200))
        await caller.expect(200, method="BYE")


async def test_the_first_call_after_they_are_back_has_media(site, phone):
    caller, line, other = await phone(), await phone(LINE_HOST), await phone()
    number = site.number([line.address], anchored=True)
    await late(site, other, number)
    begun = time.monotonic()
    connected = await connect(caller, line, number)
    assert time.monotonic() - begun < BACK_S
    assert await connected.both_hear()
    await connected.hang_up()


async def test_while_both_stand_still_calls_without_media_go_on(site, phone):
    caller, line, other = await phone(), await phone(LINE_HOST), await phone()
    anchored, bypass = site.number([line.address], anchored=True), site.number([line.address])
    with site.paused(*NODES):
        waiting = [other.call(anchored) for _ in range(20)]
        for call in waiting:
            other.invite(call, body=other.sdp())
        begun = time.monotonic()
        connected = await connect(caller, line, bypass)
        took = time.monotonic() - begun
        refusals = [await other.expect(503, within=10.0) for _ in waiting]
    await connected.hang_up()
    print(f"a call without media took {took * 1000:.0f} ms; {len(refusals)} with media were refused")
    assert took < BACK_S
