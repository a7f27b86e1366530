"""Both rtpengines stand still for a moment: what rings keeps its sound, and calls go on when they are back."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING

from support.site import LINE_HOST
from support.wait import until
from support.wire import connect, stream

if TYPE_CHECKING:
    from support.sip_agent import Message
    from support.wire import Phone

NODES = ("rtpengine-1", "rtpengine-2")
RINGING = 6
NOBODY = "0.0.0.0"
BACK_S = 1.5
"""Until the next second begins, and what a busy machine may add."""


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


async def test_a_second_after_they_are_back_calls_have_media(site, phone):
    caller, line, other = await phone(), await phone(LINE_HOST), await phone()
    number = site.number([line.address], anchored=True)
    await late(site, other, number)
    begun = time.monotonic()
    while not await rings(caller, line, number):
        assert time.monotonic() - begun < BACK_S
    print(f"media {(time.monotonic() - begun) * 1000:.0f} ms after the nodes are back")
    connected = await connect(caller, line, number)
    assert await connected.both_hear()
    await connected.hang_up()


async def rings(caller: Phone, line: Phone, number: str) -> bool:
    """Whether a call of now gets to the line, with media; it is refused in any case."""

    def refusals() -> list[Message]:
        return [message for message in caller.inbox if message.code >= 300]

    call = caller.call(number)
    caller.invite(call, body=caller.sdp())
    await until(lambda: bool(line.inbox or refusals()))
    if line.inbox:
        line.send(line.reply(await line.expect("INVITE"), 486, "Busy Here"))
        await until(lambda: bool(refusals()))
    refusal = refusals()[0]
    caller.send(caller.request(call, "ACK", branch=refusal.get("Via").partition("branch=")[2]))
    caller.inbox.clear()
    line.inbox.clear()
    return refusal.code == 486
