"""A proxy is drained by its edge, and ended by it: new calls go elsewhere, what has begun is served."""

from __future__ import annotations

import asyncio
import contextlib
import os
import signal
import time
from typing import TYPE_CHECKING

import pytest
from signalbox_local.cluster import Cluster
from signalbox_local.layout import Options
from support.site import LINE_HOST, Site, eventually, kinds
from support.wire import Phone, connect

if TYPE_CHECKING:
    from collections.abc import Iterator

DRAIN_S = 60
SETTINGS = {"edge-1": {"edge": {"drain_s": DRAIN_S, "drain_min_s": 1.0, "kamailio": {"ends_with_edge": True}}}}


@pytest.fixture(scope="module")
def faulty_site(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Site]:
    """A cluster whose first edge drains its proxy and ends it."""
    with (
        Cluster(tmp_path_factory.mktemp("drain"), Options(name="drain", recorders=0, settings=SETTINGS)) as cluster,
        contextlib.closing(Site(cluster)) as site,
    ):
        yield site


@contextlib.asynccontextmanager
async def draining(site: Site):
    """Within: the first edge has SIGTERM, and its proxy is told; in the end both have ended."""
    stopping = asyncio.create_task(asyncio.to_thread(_stop, site))
    try:
        await eventually(lambda: site.cluster.facts("edge-1").get("draining"), "the edge drains")
        yield
    finally:
        await stopping
    await eventually(lambda: not site.cluster.pid("kamailio-1"), "the proxy has ended")


def _stop(site: Site) -> None:
    """SIGTERM alone: no SIGKILL after some seconds, as the cluster's runner has it."""
    pid = site.cluster.pid("edge-1")
    os.kill(pid, signal.SIGTERM)
    deadline = time.monotonic() + DRAIN_S + 20
    while site.cluster.pid("edge-1") == pid:
        assert time.monotonic() < deadline, "the edge did not end"
        time.sleep(0.05)


async def _refused(site: Site, number: str) -> int:
    """What a new call gets at the first proxy: the Retry-After of a 503."""
    with contextlib.closing(await Phone(site.sip(1)).start()) as probe:
        call = probe.call(number)
        probe.invite(call, body=probe.sdp())
        refusal = await probe.expect(503)
        probe.ack_failure(call, refusal)
        return int(refusal.get("Retry-After"))


async def test_a_call_that_rings_is_answered_while_new_ones_are_refused(site, caller, line):
    number = site.number([line.address], anchored=True)
    call = caller.call(number)
    caller.invite(call, body=caller.sdp())
    invite = await line.expect("INVITE")
    line.send(line.reply(invite, 180, "Ringing"))
    await caller.expect(180)
    async with draining(site):
        assert await _refused(site, number) > 0
        assert not site.cluster.is_ready("kamailio-1"), "OPTIONS is answered with 200"
        assert not site.cluster.is_ready("edge-1")
        line.send(line.reply(invite, 200, "OK", body=line.sdp()))
        answer = await caller.expect(200)
        caller.answered(call, answer)
        caller.send(caller.in_dialog(call, "ACK"))
        await line.expect("ACK")
    # The proxy is gone; its peer ends the call, and what the first one saw last was not lost.
    caller.outbound = line.outbound = site.sip(2)
    caller.send(caller.in_dialog(call, "BYE"))
    bye = await line.expect("BYE")
    line.send(line.reply(bye, 200, "OK"))
    await caller.expect(200, method="BYE")
    assert "answered" in kinds(await site.events_until(call.call_id, "hung_up"))


async def test_calls_that_are_connected_are_not_waited_for(site, caller, line):
    connected = await connect(caller, line, site.number([line.address], anchored=True))
    async with asyncio.timeout(DRAIN_S / 2):
        async with draining(site):
            pass
    caller.outbound = line.outbound = site.sip(2)
    await connected.reinvite()
    assert await connected.both_hear()
    await connected.hang_up()


async def test_a_proxy_whose_edge_is_killed_in_the_drain_takes_calls_again(site, phone):
    caller, line = await phone(), await phone(LINE_HOST)
    number = site.number([line.address])
    ringing = caller.call(number)
    caller.invite(ringing, body=caller.sdp())
    invite = await line.expect("INVITE")
    line.send(line.reply(invite, 180, "Ringing"))
    await caller.expect(180)
    os.kill(site.cluster.pid("edge-1"), signal.SIGTERM)
    await eventually(lambda: site.cluster.facts("edge-1").get("draining"), "the edge drains")
    site.cluster.kill("edge-1")
    site.cluster.start_process("edge-1")
    await eventually(lambda: site.cluster.is_ready("kamailio-1"), "OPTIONS is answered with 200 again")
    line.send(line.reply(invite, 200, "OK", body=line.sdp()))
    answer = await caller.expect(200)
    caller.answered(ringing, answer)
    caller.send(caller.in_dialog(ringing, "ACK"))
    await line.expect("ACK")
    caller.send(caller.in_dialog(ringing, "BYE"))
    bye = await line.expect("BYE")
    line.send(line.reply(bye, 200, "OK"))
    await caller.expect(200, method="BYE")
    await (await connect(caller, line, number)).hang_up()
