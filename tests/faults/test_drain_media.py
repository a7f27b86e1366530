"""A media node is drained by its sidecar and ended by it: calls that outlast the drain are ended, not left mute."""

from __future__ import annotations

import asyncio
import contextlib
import os
import signal
from typing import TYPE_CHECKING

import pytest
from signalbox_local.cluster import Cluster
from signalbox_local.layout import Options
from support.site import LINE_HOST, Site, eventually
from support.wire import Connected, connect, stream

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Iterator

DRAIN_S = 3.0


@pytest.fixture(scope="module")
def faulty_site(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Site]:
    """A cluster whose first media node is drained and ended by its sidecar."""
    directory = tmp_path_factory.mktemp("drain-media")
    media = {"drain_s": DRAIN_S, "daemon_pid_file": str(directory / "rtpengine-1.pid")}
    with (
        Cluster(directory, Options(name="drain", recorders=0, settings={"media-1": {"media": media}})) as cluster,
        contextlib.closing(Site(cluster)) as site,
    ):
        yield site


async def _at_node(site: Site, node: str, phone: Callable[..., Awaitable[object]], number: str, line) -> Connected:
    """A call whose media are at a node: the choice is the replicas', so it is tried until one is there."""
    host, caller = site.cluster.address(node, "rtp"), await phone()
    async with asyncio.timeout(60):
        while True:
            connected = await connect(caller, line, number)
            if stream(connected.answer.body).address.rpartition(":")[0] == host:
                return connected
            await connected.hang_up()


async def _ended(site: Site, rtpengine: int) -> None:
    """The server has ended by its sidecar, and the sidecar after it."""
    await eventually(lambda: site.cluster.pid("rtpengine-1") != rtpengine, "rtpengine has ended")
    await eventually(lambda: not site.cluster.pid("media-1"), "the sidecar has ended")


async def test_a_call_that_is_over_in_time_is_not_touched(site, phone):
    line = await phone(LINE_HOST)
    number = site.number([line.address], anchored=True)
    connected = await _at_node(site, "rtpengine-1", phone, number, line)
    pid = site.cluster.pid("rtpengine-1")
    os.kill(site.cluster.pid("media-1"), signal.SIGTERM)
    await eventually(lambda: site.cluster.facts("media-1").get("draining"), "the node drains")
    assert await connected.both_hear()
    # Replicas hear of it a moment after the sidecar says so.
    other = await _at_node(site, "rtpengine-2", phone, number, line)
    assert await other.both_hear()
    await connected.hang_up()
    await other.hang_up()
    await _ended(site, pid)


async def test_a_call_that_outlasts_the_drain_is_ended_on_both_sides(site, phone):
    line = await phone(LINE_HOST)
    number = site.number([line.address], anchored=True)
    connected = await _at_node(site, "rtpengine-1", phone, number, line)
    pid = site.cluster.pid("rtpengine-1")
    os.kill(site.cluster.pid("media-1"), signal.SIGTERM)
    for party in (connected.caller, connected.line):
        bye = await party.expect("BYE", within=DRAIN_S + 15)
        party.send(party.reply(bye, 200, "OK"))
    await _ended(site, pid)
