"""Calls that a user agent answers."""

from __future__ import annotations

from typing import TYPE_CHECKING

from support.sip_calls import ANSWER, Calls

if TYPE_CHECKING:
    from signalbox.sip.incoming import IncomingCall


async def answering(call: IncomingCall) -> None:
    await call.answer(ANSWER)
    await call.over()


async def answered(world: Calls) -> None:
    """A call that stands."""
    world.handler = answering  # type: ignore[method-assign]
    await world.invited()
    await world.asked("ACK")
