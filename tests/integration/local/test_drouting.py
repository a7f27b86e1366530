"""The peer of the routing benchmark with a small table: it loads, routes, takes a change by a reload, and can be short
of memory."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from signalbox_local import bench_drouting, drouting_peer
from signalbox_local.bench_drouting import Tables
from signalbox_local.cluster import ClusterError
from signalbox_local.drouting_peer import PROXY, Peer
from signalbox_local.drouting_probe import Outcome, Probe
from signalbox_local.routing_data import DataSet, digits
from signalbox_local.rules import Rules
from signalbox_local.sipp import SCENARIOS, Sipp, SippOptions, free_port
from support.cluster import own_cluster
from support.wait import until

if TYPE_CHECKING:
    from collections.abc import Callable

    from signalbox_local.cluster import Cluster

__all__ = ["own_cluster"]

PREFIXES = 1_000
pytestmark = pytest.mark.skipif(
    not list(Path("/usr/lib").glob("*/kamailio/modules/db_sqlite.so")),
    reason="kamailio-sqlite-modules is not installed: make bench-routing brings it",
)


async def test_a_proxy_routes_by_a_table_until_it_is_changed(
    own_cluster: Callable[..., Cluster], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(drouting_peer, "AROUND_S", 0.3)
    monkeypatch.setattr(drouting_peer, "LIMIT_S", 10.0)
    port = free_port()
    cluster = own_cluster(replicas=1, proxies=1, media_nodes=0, static_destination=f"sip:127.0.0.1:{port}")
    with Rules.of(cluster) as rules:
        cluster.wait_for_rules(rules.trunk("callers", ["127.0.0.1"]).etag)
    line = SippOptions(SCENARIOS / "uas_load.xml", tmp_path, "line", port=port, timeout_s=0)
    with Probe(2) as probe:
        async with await Sipp.start(line) as answering:
            tables = Tables(tmp_path / "drouting.sqlite", f"127.0.0.1:{port}", probe.lines, DataSet(PREFIXES))
            peer = Peer(cluster, tables.file, probe, tables.changed)
            tables.write(tables.in_a_row())
            peer.stop()
            peer.route_by_table()
            assert peer.try_private_memory(16) == "loads"
            assert peer.start()["wall_s"] < 10
            assert peer.resident()["mb"] > 0
            assert probe.ask(peer.address, digits(PREFIXES)) == Outcome(None, 404)

            scenario, fields = bench_drouting.caller_of([digits(1), digits(2)], tmp_path)
            callers = SippOptions(
                scenario, tmp_path, "callers", target=cluster.address(PROXY, "sip"), rate=50, hold_ms=0, timeout_s=0,
                keys={"caller": "13800001234"}, fields=fields,
            )  # fmt: skip
            seen = await peer.change_under_calls(callers)
            assert seen["failed"] == 0
            assert isinstance(seen["change_in_force_s"], float)
            assert probe.ask(peer.address, tables.changed) == Outcome(1, 0)
            await until(lambda: answering.statistics().calls == seen["calls"])

            monkeypatch.setattr(drouting_peer, "LIMIT_S", 1.0)
            tables.file.unlink()
            with pytest.raises(ClusterError, match="the table was not loaded"):
                peer.start()
