"""Networks that lose every twentieth datagram, between callers and the proxy and between the proxy and workers, whoever
of them asks."""

from __future__ import annotations

import asyncio
import contextlib
from collections import Counter
from typing import TYPE_CHECKING

import pytest
from signalbox_local.cluster import Cluster
from signalbox_local.layout import Options
from support.lossy import Loss, LossyTransports, Relay
from support.phone import Phone
from support.ports import free_port
from support.site import CALLER_HOST, LINE_HOST
from support.voice_site import VoiceSite, dial, node

if TYPE_CHECKING:
    from collections.abc import Iterator

    from support.phone import Talk

CALLS = 300
AT_ONCE = 25
SHARE = 0.05
REACHED_S = 60.0
WORKERS = {1: "127.0.0.21", 2: "127.0.0.22"}


@pytest.fixture(scope="module")
def addresses() -> dict[int, tuple[int, int]]:
    """Ports of the workers: at which they listen, and at which proxies find them."""
    return {n: (free_port(host), free_port(host)) for n, host in WORKERS.items()}


@pytest.fixture(scope="module")
def lossy_site(tmp_path_factory: pytest.TempPathFactory, addresses: dict[int, tuple[int, int]]) -> Iterator[VoiceSite]:
    """A cluster whose workers are behind relays."""
    settings = {
        f"ivr-{n}": {"ivr": {"listen": f"{host}:{addresses[n][0]}", "advertise": f"{host}:{addresses[n][1]}"}}
        for n, host in WORKERS.items()
    }
    options = Options(
        name="lossy", replicas=1, proxies=1, media_nodes=1, recorders=0, voice_workers=2, settings=settings
    )  # fmt: skip
    directory = tmp_path_factory.mktemp("lossy")
    with Cluster(directory, options) as cluster, contextlib.closing(VoiceSite(cluster, free_port())) as site:
        yield site


def who(talk: Talk) -> str:
    """The number of who calls a line."""
    return talk.incoming.request.from_.uri.user or ""


async def test_every_call_reaches_its_line_once(lossy_site: VoiceSite, addresses: dict[int, tuple[int, int]]) -> None:
    site, outside, inside = lossy_site, Loss(SHARE, 1), Loss(SHARE, 2)
    callers = [f"0281{n:07d}" for n in range(CALLS)]
    async with contextlib.AsyncExitStack() as stack:
        relays = []
        for n, host in WORKERS.items():
            listens, found = addresses[n]
            relay = Relay.open((host, found), site.sip(), (host, listens), inside)
            relays.append(await stack.enter_async_context(relay))
        line = await stack.enter_async_context(Phone.open(LINE_HOST))
        caller = await stack.enter_async_context(Phone.open(CALLER_HOST, transports=LossyTransports(outside)))
        menu = node(
            "menu", "menu", prompt="welcome", branches=[{"digits": "1", "next": "dial"}], repeats=9,
            noInput="menu", noMatch="menu",
        )  # fmt: skip
        number = site.flow(menu, dial(site.line(line)), limits={"concurrent_calls": 0})
        turns = asyncio.Semaphore(AT_ONCE)
        reached = {one: asyncio.Event() for one in callers}

        async def behave(talk: Talk) -> None:
            await talk.answer()
            reached[who(talk)].set()

        line.behave = behave

        async def call(one: str) -> None:
            async with turns:
                talk = await caller.call(number, site.sip(), caller=one)
                await talk.connected()
                await talk.press("1")
                await asyncio.wait_for(reached[one].wait(), REACHED_S)
                talk.hang_up()

        await asyncio.gather(*map(call, callers))
        assert Counter(map(who, line.talks)) == Counter(callers)
    assert min(outside.lost, inside.lost) > CALLS * SHARE
    # INVITE and ACK of each line at least.
    assert sum(relay.requests for relay in relays) >= 2 * CALLS
    await site.nothing_left()
