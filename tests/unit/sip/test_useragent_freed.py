"""Calls that are over are freed at once: nothing of them waits for the collector of garbage."""

from __future__ import annotations

import gc
from collections import Counter
from typing import TYPE_CHECKING

import pytest
from signalbox.sip.headers import NameAddr
from signalbox.sip.outgoing import Invitation, OutgoingCall
from support.sip_calls import ANSWER, OFFER, Calls, described
from support.sip_world import THERE, of_invite

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

    from signalbox.sip.incoming import IncomingCall
    from signalbox.sip.sdp import SessionDescription

CALLS = 200
HOLD, HELD = described(4000, 2, "sendonly"), described(5000, 2, "recvonly")


def answers(call: IncomingCall | OutgoingCall) -> None:
    """Has a call take every offer, by a function that has the call."""

    async def on_offer(offer: SessionDescription) -> SessionDescription:
        assert call.ended is None
        return HELD

    call.on_offer = on_offer


async def answering(call: IncomingCall) -> None:
    answers(call)
    call.ring()
    await call.answer(ANSWER)
    await call.over()


async def comes(world: Calls, number: int, *headers: tuple[str, str]) -> None:
    """A call that comes in and stands."""
    world.handler = answering  # type: ignore[method-assign]
    await world.invited(headers, call_id=f"call-{number}")
    await world.asked("ACK")


async def goes(world: Calls, *headers: tuple[str, str], answered: bool = True) -> OutgoingCall:
    """A call of ours, that rings or stands."""
    caller, callee = NameAddr.parse("<sip:4001234567@example.com>"), NameAddr.parse("<sip:agent@example.com>")
    call = world.ua.call(Invitation("sip:agent@192.0.2.2", caller, callee, "udp", THERE, expires_s=60), OFFER)
    call.on_progress = lambda _: call.call_id
    answers(call)
    await world.replied(180)
    if answered:
        await world.replied(200, body=ANSWER.encode(), headers=headers)
        await call.answered()
    return call


async def ends_a_call_that_came(world: Calls, number: int) -> None:
    await comes(world, number)
    await world.asked("BYE")


async def is_left_by_us(world: Calls, number: int) -> None:
    await comes(world, number)
    world.call.hang_up()
    world.answered(200, method="BYE")


async def changes_a_call_that_has_a_time(world: Calls, number: int) -> None:
    await comes(world, number, ("Session-Expires", "1800;refresher=uas"), ("Supported", "timer"))
    await world.asked("INVITE", cseq=7, body=HOLD.encode())
    await world.asked("ACK", cseq=7)
    await world.asked("BYE", cseq=8)


async def has_early_media_acknowledged(world: Calls, number: int) -> None:
    async def handler(call: IncomingCall) -> None:
        call.ring(183, ANSWER)
        await call.answer(ANSWER)
        await call.over()

    world.handler = handler  # type: ignore[method-assign]
    await world.invited([("Require", "100rel")], call_id=f"call-{number}")
    rseq = world.last_response(183).headers.get("RSeq")
    await world.asked("PRACK", headers=[("RAck", f"{rseq} 1 INVITE")])
    await world.asked("ACK")
    await world.asked("BYE")


async def cancels(world: Calls, number: int) -> None:
    world.handler = lambda call: call.over()  # type: ignore[method-assign]
    invite = await world.invited(call_id=f"call-{number}")
    world.arrive(of_invite(invite, "CANCEL"))


async def is_refused(world: Calls, number: int) -> None:
    async def handler(call: IncomingCall) -> None:
        call.reject(486)

    world.handler = handler  # type: ignore[method-assign]
    await world.invited(call_id=f"call-{number}")


async def never_acknowledges(world: Calls, number: int) -> None:
    world.handler = answering  # type: ignore[method-assign]
    await world.invited(call_id=f"call-{number}")
    await world.after(33)


async def is_called_and_hangs_up(world: Calls, number: int) -> None:
    await goes(world)
    await world.callee_asks("BYE")


async def is_called_and_left(world: Calls, number: int) -> None:
    call = await goes(world, ("Session-Expires", "1800;refresher=uac"))
    call.hang_up()
    world.answered(200, method="BYE")


async def is_called_and_refuses(world: Calls, number: int) -> None:
    await goes(world, answered=False)
    await world.replied(603)


async def is_called_in_vain(world: Calls, number: int) -> None:
    call = await goes(world, answered=False)
    call.hang_up()
    world.answered(200, method="CANCEL")
    await world.replied(487)


PARTIES = [
    ends_a_call_that_came, is_left_by_us, changes_a_call_that_has_a_time, has_early_media_acknowledged, cancels,
    is_refused, never_acknowledges, is_called_and_hangs_up, is_called_and_left, is_called_and_refuses,
    is_called_in_vain,
]  # fmt: skip


@pytest.mark.parametrize("party", PARTIES)
async def test_nothing_of_calls_that_are_over_waits_for_the_collector(
    party: Callable[[Calls, int], Awaitable[None]],
) -> None:
    world = Calls()
    gc.collect()
    gc.disable()
    try:
        for number in range(CALLS):
            await party(world, number)
            world.taken.clear()
            world.carrier.sent.clear()
        await world.assert_nothing_left()
        gc.set_debug(gc.DEBUG_SAVEALL)
        gc.collect()
        ours = Counter(type(one).__name__ for one in gc.garbage if type(one).__module__.startswith("signalbox"))
        everything = len(gc.garbage)
    finally:
        gc.set_debug(0)
        gc.garbage.clear()
        gc.enable()
    assert ours == {}
    assert everything < CALLS
