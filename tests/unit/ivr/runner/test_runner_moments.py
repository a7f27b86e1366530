"""Whenever a call in a flow ends, one end is told and nothing is left."""

from __future__ import annotations

import asyncio
import contextlib
from typing import TYPE_CHECKING

import pytest
from support.ivr_runner import asking
from support.voice_calls import World, announcing

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

    from signalbox.bencode import Encodable
    from signalbox.ng import Reply


async def caller_leaves(world: World) -> None:
    """By CANCEL or BYE, as the case is."""
    if world.taken[0].rings:
        await world.cancelled()
    else:
        await world.asked("ACK")
        await world.asked("BYE")


async def worker_ends(world: World) -> None:
    world.runs[0].cancel()


async def node_dies(world: World) -> None:
    for node in list(world.nodes.candidates()):
        node.lose_all("media node media-1 is gone")
    world.otherwise |= {name: {"result": "error"} for name in ("offer", "answer", "play media", "stop media")}


@pytest.mark.parametrize("leave", [caller_leaves, worker_ends, node_dies])
@pytest.mark.parametrize("moment", range(7))
async def test_whenever_a_call_ends_one_end_is_told_and_nothing_is_left(
    world: World, moment: int, leave: Callable[[World], Awaitable[None]]
) -> None:
    """``moment``: after so many questions to the media node, before the answer to the next; 6: when no more come."""
    reached = asyncio.Event()
    answer = world.fake.answer
    asked = 0

    def counting(request: Reply) -> Encodable | None:
        nonlocal asked
        asked += request["command"] != "ping"
        if asked > moment:
            reached.set()
        return answer(request)

    world.fake.answer = counting
    world.script(announcing("hello"), announcing("more", id="more", answer=True), asking(), prompts="hello more choose")
    await world.comes()
    acknowledging = asyncio.create_task(acknowledge(world))
    with contextlib.suppress(TimeoutError):
        async with asyncio.timeout(0.5 if moment == 6 else 15.0):
            await reached.wait()
    assert reached.is_set() == (moment < 6)
    if not world.ends:
        await leave(world)
    acknowledging.cancel()
    await world.over()
    assert len(world.ends) == 1
    assert all(not node.sessions and not node.players for node in world.nodes.candidates())
    await world.after(40)
    assert world.ua.sessions == {}


async def acknowledge(world: World) -> None:
    await world.acknowledged()
