"""What is counted and told of calls that are ended from outside."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Any, cast

import pytest
from signalbox.edge import ender as module
from signalbox.edge.dialogs import Dialog, DialogsUnavailableError, Ending
from signalbox.edge.ender import MAX_DUE, MAX_TRIES, Ender
from structlog.testing import capture_logs

if TYPE_CHECKING:
    from collections.abc import Iterable


def ending(id: str = "edge-1-1-1-1", *tags: str, tries: int = 1) -> Ending:
    dialogs = (Dialog(id, tag, "a@b", "<f>", "<t>", "sip:c", "sip:l", (), 1, 1) for tag in tags or ("line",))
    return Ending(id, "max_duration", tuple(dialogs), tries)


class World:
    """An ender; ``codes`` are what the next BYEs get, ``due`` what is due."""

    def __init__(self) -> None:
        self.codes: list[int] = []
        self.due_now: list[Ending] = []
        self.looks: list[float] = []
        self.over: list[str] = []
        self.lost: list[str] = []
        self.away = False
        parts = cast("Any", self)
        self.ender = Ender(parts, parts, parts, lambda: True)

    behind = 0

    async def send(self, request: str) -> int:
        """As ByeSender."""
        return self.codes.pop(0)

    async def due(self, limit: int, why: str) -> list[Ending]:
        """As Dialogs."""
        self.looks.append(asyncio.get_running_loop().time())
        found, self.due_now = self.due_now[:limit], self.due_now[limit:]
        return found

    async def ended(self, dialog: Dialog) -> None:
        """As Dialogs."""
        self.over.append(dialog.line_tag)

    async def given_up(self, call_id: str) -> None:
        """As Dialogs."""
        if self.away:
            raise DialogsUnavailableError("away")
        self.lost.append(call_id)

    async def end(self, codes: Iterable[int], what: Ending | None = None) -> list[str]:
        """Events logged while a call is ended."""
        self.codes = list(codes)
        with capture_logs() as log:
            await self.ender._begin(what or ending())
        return [line["event"] for line in log]


@pytest.fixture
async def world() -> World:
    return World()


async def test_a_call_is_ended_when_both_parties_have_replied(world: World) -> None:
    assert await world.end([200, 481]) == ["call_ended"]
    assert (world.ender.ended, world.over) == (1, ["line"])


@pytest.mark.parametrize("codes", [(0, 0), (200, 0), (0, 481)])
async def test_one_without_replies_is_told_once_and_counted_when_it_is_ended(
    world: World, codes: tuple[int, int]
) -> None:
    assert await world.end(codes) == ["call_not_ended"]
    assert await world.end(codes) == []
    assert (world.ender.ended, world.over) == (0, [])
    assert await world.end([200, 200]) == ["call_ended"]
    assert (world.ender.ended, world.over) == (1, ["line"])
    assert await world.end(codes) == ["call_not_ended"], "it is another story now"


async def test_a_call_of_two_dialogs_is_ended_when_both_are(world: World) -> None:
    both = ending("edge-1-1-1-2", "a", "b")
    assert await world.end([200, 200, 200, 0], both) == ["call_ended", "call_not_ended"]
    assert (world.ender.ended, world.over) == (0, ["a"])


async def test_a_call_that_cannot_be_ended_is_given_up_after_an_hour_and_told(world: World) -> None:
    assert await world.end([0, 0], ending(tries=MAX_TRIES - 1)) == ["call_not_ended"]
    assert (world.ender.given_up, world.lost) == (0, [])
    world.away = True
    assert await world.end([200, 0], ending(tries=MAX_TRIES)) == ["dialogs_unavailable"]
    world.away = False
    assert await world.end([0, 200], ending(tries=MAX_TRIES + 1)) == ["call_given_up"]
    assert (world.ender.given_up, world.ender.ended, world.lost) == (1, 0, ["edge-1-1-1-1"])


async def test_the_last_try_may_succeed(world: World) -> None:
    assert await world.end([200, 200], ending(tries=MAX_TRIES)) == ["call_ended"]
    assert (world.ender.given_up, world.ender.ended, world.lost) == (0, 1, [])


async def test_what_is_remembered_of_calls_without_replies_is_bounded(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "MAX_STUCK", 2)
    for n in (1, 2, 3, 1):
        assert await world.end([0, 0], ending(f"edge-1-1-1-{n}")) == ["call_not_ended"]


async def test_while_many_are_due_one_looks_again_sooner(world: World) -> None:
    world.due_now = [ending(f"edge-1-1-1-{n}") for n in range(2 * MAX_DUE)]
    world.codes = 4 * MAX_DUE * [200]
    watching = asyncio.create_task(world.ender.watch())
    async with asyncio.timeout(3):
        while world.ender.ended < 2 * MAX_DUE or len(world.looks) < 3:  # noqa: ASYNC110, the looks are a list
            await asyncio.sleep(0.01)
    watching.cancel()
    assert world.looks[2] - world.looks[0] == pytest.approx(2 * module.NEXT_S, abs=0.15)
