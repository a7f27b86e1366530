"""The load of ``make bench-ivr``, a few calls: what goes all the way is counted so, and what does not as failed."""

from __future__ import annotations

import asyncio
import contextlib
from typing import TYPE_CHECKING

import pytest
from rich.console import Console
from signalbox_local.flow_load import FlowLoad, LoadError, Sockets
from signalbox_local.flow_rounds import Rounds
from signalbox_local.flow_site import PARTS, FlowSite
from support.site import LineAt, eventually
from support.voice_site import VoiceSite, dial, end, node

if TYPE_CHECKING:
    from collections.abc import Iterator

CALLS = 6
WITHIN_S = 60.0


@pytest.fixture
def sockets() -> Iterator[Sockets]:
    """Of callers and a line."""
    with contextlib.closing(Sockets.open()) as opened:
        yield opened


def menu_and_dial(site: VoiceSite, sockets: Sockets) -> str:
    """A number with the flow that the load is made for."""
    menu = node(
        "menu", "menu", prompt="welcome", branches=[{"digits": "1", "next": "dial"}], noInput="end", noMatch="end"
    )
    return site.flow(menu, dial(site.line_at(LineAt(sockets.line_address))), end(), limits={"concurrent_calls": 100})


async def over(load: FlowLoad, calls: int) -> None:
    """Wait until so many were begun and all of them are over."""

    def done() -> bool:
        counts = load.counts()
        return counts.begun == calls and not counts.open

    await eventually(done, "all calls over", load.counts, within=WITHIN_S)


async def test_calls_are_made_held_and_ended_and_nothing_is_left(site: VoiceSite, sockets: Sockets) -> None:
    number = await asyncio.to_thread(menu_and_dial, site, sockets)
    with FlowLoad(sockets, site.sip(), number) as load:
        here = FlowSite(site.cluster, load)
        rounds = Rounds(here, Console(quiet=True))
        level = await asyncio.to_thread(rounds.level, CALLS, 10.0, 0.5)
        assert (level.alive, level.failed, level.carried) == (CALLS, 0, True)
        assert level.rss_mb > 10
        assert set(level.cores) == {*PARTS, "load"}
        assert here.left()["rtpengine"] == CALLS
        assert here.left()["redis"] > 0
        counts = await asyncio.to_thread(rounds.hang_up, 20.0)
        assert (counts.begun, counts.done, counts.open, counts.failed) == (CALLS, CALLS, 0, {})
        assert {*counts.reached.values()} == {CALLS}
        assert len(counts.answered_s) == len(counts.connected_s) == CALLS
        left = await asyncio.to_thread(here.left_after, WITHIN_S)
        assert left == {"worker": 0, "rtpengine": 0, "redis": 0}


async def test_a_call_that_does_not_go_all_the_way_is_failed_and_ended(site: VoiceSite, sockets: Sockets) -> None:
    refusing = await asyncio.to_thread(
        site.flow, node("no", "announce", prompt="goodbye", answer=True, next="end"), end()
    )
    with FlowLoad(sockets, site.sip(), refusing) as load:
        load.begin(50.0, 0.0, 2)
        await over(load, 2)
        counts = load.counts()
    assert (counts.begun, counts.done, counts.failed.total()) == (2, 0, 2)
    assert all(why.startswith("the caller was ended: BYE ") for why in counts.failed)
    assert "BRIDGED" not in counts.reached


async def test_a_number_that_is_not_there_is_refused(site: VoiceSite, sockets: Sockets) -> None:
    with FlowLoad(sockets, site.sip(), "4009999999") as load:
        load.begin(50.0, 0.0, 2)
        await over(load, 2)
        assert load.counts().failed == {"INVITE: SIP/2.0 404 Not Found": 2}


def test_a_load_that_has_ended_says_so(sockets: Sockets) -> None:
    load = FlowLoad(sockets, ("127.0.0.1", 9), "4001234567")
    load.close()
    with pytest.raises(LoadError, match="has ended"):
        load.counts()
