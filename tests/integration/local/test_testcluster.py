"""Calls through the carrier's switch into a one-machine cluster whose proxies die: what the callers see is counted."""

from __future__ import annotations

import asyncio
import contextlib
import time

from signalbox_local.rules import Rules
from signalbox_local.testcluster.calls import Kind
from signalbox_local.testcluster.load import Load, Sockets
from signalbox_local.testcluster.site import KINDS, write_rules
from signalbox_local.testcluster.switch import Switch
from signalbox_local.testcluster.tally import Outcome, Window, count
from support.cluster import own_cluster
from support.wait import until

__all__ = ["own_cluster"]

CALLER_HOST, SWITCH_HOST = "127.0.9.1", "127.0.9.2"
SHARE = 0.2
"""Ten calls a second: the machine is others', too."""
MANY = 8
"""Times as many long calls: about 15 are up when a media node is lost, of which chance must give it some."""


async def test_no_call_is_lost_with_a_proxy_and_silence_is_seen_when_media_are_away(own_cluster, tmp_path):
    cluster = own_cluster(voice_workers=1)
    kinds = [
        Kind(one.name, one.number, one.rate * (MANY if one.name == "long" else 1), min(one.hold_s, 8.0))
        for one in KINDS
    ]
    with contextlib.closing(Sockets.open(CALLER_HOST)) as sockets:
        proxies = [cluster.address(name, "sip") for name in cluster.names("kamailio")]
        with Switch(tmp_path / "switch", (SWITCH_HOST, 0), sockets.line_address, proxies) as switch:
            with Rules.of(cluster) as rules:
                etag = await asyncio.to_thread(write_rules, rules, switch.address)
                await asyncio.to_thread(cluster.wait_for_rules, etag)
            with Load(sockets, switch.address, kinds) as load:
                windows = await _break(cluster, load)
                load.stop()
                await until(lambda: not load.open(), 60.0)
            told = switch.told()
    proxy, media = count(load.records, windows)
    assert proxy.calls >= 20
    # One that was being answered may be silent until the line repeats its 200 by way of the proxy that is back.
    assert not proxy.failed + proxy.cut + proxy.left, proxy.whys
    assert any("proxy_down" in line or "next_proxy" in line for line in told)
    assert media.cut + media.silent > 0
    assert media.on_lost_node > 0
    kinds_seen = {one.kind for one in load.records if one.outcome is Outcome.OK}
    assert {"short", "voice", "long"} <= kinds_seen


async def _break(cluster, load):
    load.begin(SHARE)
    windows = []
    begin = time.monotonic()
    await until(lambda: load.open() > 3, 20.0)
    cluster.kill("kamailio-1")
    await until(lambda: time.monotonic() > begin + 6.0, 20.0)
    cluster.start_process("kamailio-1")
    windows.append(Window("proxy", begin, time.monotonic()))
    begin = time.monotonic()
    node = cluster.address("rtpengine-1", "rtp")
    cluster.kill("rtpengine-1")
    await until(lambda: time.monotonic() > begin + 4.0, 20.0)
    cluster.start_process("rtpengine-1")
    windows.append(Window("media", begin, time.monotonic(), frozenset({node})))
    return windows
