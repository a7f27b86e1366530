"""Calls through the peers of `make bench-peers`: each brings them to the line and ends them."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from signalbox_local import bench_peers
from signalbox_local.bench_edge import CALLED
from signalbox_local.peers import process
from signalbox_local.rules import Rules
from signalbox_local.sipp import Sipp, SippOptions, SippResult, free_port
from support.cluster import own_cluster
from support.wait import until

if TYPE_CHECKING:
    from collections.abc import Callable

    from signalbox_local.cluster import Cluster
    from signalbox_local.peers.process import Peer

__all__ = ["own_cluster"]

HOST = "127.0.0.1"
CALLS = 20
needs_python = pytest.mark.skipif(
    not list(Path("/usr/lib").glob("*/kamailio/modules/app_python3.so")),
    reason="kamailio-python3-modules is not installed: make bench-peers brings it",
)


async def calls(peer: Peer, line: int, workdir: Path, called: str) -> SippResult:
    """Made through a peer that is started for them, each of which the line has to hear the end of."""
    calling, answering = bench_peers.scenarios(workdir)
    options = SippOptions(
        calling, workdir, "callers", target=peer.address, service=called, rate=20, calls=CALLS, hold_ms=50,
        timeout_s=20, keys={"caller": "13800001234"},
    )  # fmt: skip
    with peer:
        async with await Sipp.start(SippOptions(answering, workdir, "line", port=line, timeout_s=0)) as lines:
            async with await Sipp.start(options) as callers:
                result = await callers.wait()
            if result.statistics.successful:
                await until(lambda: lines.statistics().successful == result.statistics.successful)
        assert peer.cpu_seconds() > 0
    return result


async def test_sippy_sends_every_call_on(tmp_path: Path) -> None:
    line, own = free_port(HOST), free_port(HOST)
    peer = process.b2bua(tmp_path / "peer", f"{HOST}:{own}", f"{HOST}:{line}")

    result = await calls(peer, line, tmp_path, CALLED)

    assert result.clean
    assert result.statistics.successful == CALLS


@needs_python
async def test_kamailio_asks_from_python(own_cluster: Callable[..., Cluster], tmp_path: Path) -> None:
    line = free_port(HOST)
    cluster = own_cluster(replicas=1, proxies=0, media_nodes=0)
    with Rules.of(cluster) as rules:
        rules.tenant("bench")
        rules.trunk("callers", [HOST])
        rules.line("bench", "line", f"{HOST}:{line}")
        cluster.wait_for_rules(rules.number("bench", CALLED, [["line"]], anchored=False).etag)
    replica, own = cluster.address("routing-1", "grpc"), f"{HOST}:{free_port(HOST)}"
    peer = process.kemi_proxy(tmp_path / "peer", own, replica, "callers", 2)

    result = await calls(peer, line, tmp_path, CALLED)
    assert result.clean
    assert result.statistics.successful == CALLS

    refused = await calls(peer, line, tmp_path, "4009999999")
    assert (refused.statistics.successful, refused.statistics.failed) == (0, CALLS)
    cluster.stop_process("routing-1")
    unanswered = await calls(peer, line, tmp_path, CALLED)
    assert unanswered.statistics.failed == CALLS
    assert "SIP/2.0 503" in unanswered.errors
