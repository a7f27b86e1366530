"""Snapshots as Kamailio's tables."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

import pytest
from signalbox.api.routing.v1 import routing_pb2 as pb
from signalbox.api.types.v1 import types_pb2
from signalbox.domain.objects import HealthCheck, Target, Transport
from signalbox.edge import tables
from signalbox.errors import InvalidFieldError

if TYPE_CHECKING:
    from pathlib import Path


def snapshot(**changes: object) -> pb.WatchEdgeResponse:
    values: dict[str, object] = {
        "version": "v1",
        "trunks": [
            pb.EdgeTrunk(id="carrier-a", source_addresses=["192.0.2.0/28", "2001:db8::1"]),
            pb.EdgeTrunk(id="carrier-b", source_addresses=["198.51.100.7"], disabled=True),
        ],
        "peers": [
            pb.Edge(id="edge-1", advertised_addresses=["192.0.2.100:5060"]),
            pb.Edge(id="edge-2", advertised_addresses=["[2001:db8::2]:5060", "192.0.2.100:5062"]),
        ],
        "media_nodes": [
            pb.MediaNode(id="m1", number=1, control_address="udp:127.0.0.1:2223", healthy=True),
            pb.MediaNode(id="m2", number=2, control_address="udp6:[::1]:2223", healthy=False),
            pb.MediaNode(id="m3", number=3, control_address="udp:127.0.0.1:2225", healthy=True, draining=True),
        ],
    }
    return pb.WatchEdgeResponse(**(values | changes))  # type: ignore[arg-type]


def rows(text: str) -> list[str]:
    return text.splitlines()[1:]


def test_trunks_are_addresses_with_their_id_as_tag_and_disabled_ones_a_group_of_their_own() -> None:
    assert rows(tables.contents(snapshot()).files["address"]) == [
        "1:1:192.0.2.0:28:0:carrier-a",
        "2:1:2001\\:db8\\:\\:1:128:0:carrier-a",
        "3:2:198.51.100.7:32:0:carrier-b",
    ]


def test_workers_have_a_group_of_their_own_for_an_address_of_theirs_may_be_a_trunk_s() -> None:
    trunks = [
        pb.EdgeTrunk(id="_voice", source_addresses=["192.0.2.7", "2001:db8::7"]),
        pb.EdgeTrunk(id="carrier-a", source_addresses=["192.0.2.7"]),
    ]
    assert rows(tables.contents(snapshot(trunks=trunks)).files["address"]) == [
        "1:3:192.0.2.7:32:0:_voice",
        "2:3:2001\\:db8\\:\\:7:128:0:_voice",
        "3:1:192.0.2.7:32:0:carrier-a",
    ]


def test_no_other_id_begins_as_that_of_the_workers() -> None:
    with pytest.raises(InvalidFieldError, match=r"trunks\[0\]\.id"):
        tables.contents(snapshot(trunks=[pb.EdgeTrunk(id="_other", source_addresses=["192.0.2.7"])]))


def test_each_host_of_a_peer_is_there_once_and_ipv6_with_and_without_brackets() -> None:
    assert rows(tables.contents(snapshot()).files["domain"]) == [
        "1:192.0.2.100:192.0.2.100:0",
        "2:2001\\:db8\\:\\:2:2001\\:db8\\:\\:2:0",
        "3:[2001\\:db8\\:\\:2]:[2001\\:db8\\:\\:2]:0",
    ]


def test_a_media_node_is_a_set_and_a_dead_one_disabled() -> None:
    contents = tables.contents(snapshot())
    assert rows(contents.files["rtpengine"]) == [
        "1:1:udp\\:127.0.0.1\\:2223:1:0:0",
        "2:2:udp6\\:[\\:\\:1]\\:2223:1:1:0",
        "3:3:udp\\:127.0.0.1\\:2225:1:0:0",
    ]
    assert [node.takes_calls for node in contents.nodes] == [True, False, False]


def test_an_empty_snapshot_makes_empty_tables() -> None:
    contents = tables.contents(pb.WatchEdgeResponse(version="v0"))
    assert all(text.count("\n") == 1 for text in contents.files.values())


def egress(id: str, *hosts: str, check: tuple[int, int, int] = (30, 3, 2), **fields: int) -> pb.EdgeTrunk:
    trunk = pb.EdgeTrunk(id=id)
    for host in hosts:
        trunk.targets.add(**{"host": host, "port": 5060, **fields})  # type: ignore[arg-type]
    trunk.health_check.interval.seconds, trunk.health_check.failures, trunk.health_check.successes = check
    return trunk


def test_targets_are_asked_as_often_and_believed_as_soon_as_one_of_their_trunks_wants_it() -> None:
    trunks = [
        egress("a", "192.0.2.1", "2001:db8::1"),
        egress("b", "192.0.2.1", check=(60, 2, 5)),
        egress("c", "192.0.2.1", transport=types_pb2.SIP_TRANSPORT_TCP),
        pb.EdgeTrunk(id="d", source_addresses=["192.0.2.9"]),
    ]
    assert tables.contents(snapshot(trunks=trunks)).checks == {
        Target("192.0.2.1"): HealthCheck(30, 2, 2),
        Target("2001:db8::1"): HealthCheck(),
        Target("192.0.2.1", 5060, Transport.TCP): HealthCheck(),
    }


@pytest.mark.parametrize(
    ("changes", "field"),
    [
        ({"trunks": [egress("a", "192.0.2.1", "carrier")]}, "trunks[0].targets[1].host"),
        ({"trunks": [egress("a", "192.0.2.1", port=0)]}, "trunks[0].targets[0].port"),
        ({"trunks": [egress("a", "192.0.2.1", port=65_536)]}, "trunks[0].targets[0].port"),
        ({"trunks": [egress("a", "192.0.2.1", check=(0, 3, 2))]}, "trunks[0].health_check"),
        ({"trunks": [egress("a", "192.0.2.1", check=(30, 3, 0))]}, "trunks[0].health_check"),
        ({"trunks": [pb.EdgeTrunk(id="Carrier A")]}, "trunks[0].id"),
        ({"trunks": [pb.EdgeTrunk(id="a", source_addresses=["::1", "host"])]}, "trunks[0].source_addresses[1]"),
        ({"trunks": [pb.EdgeTrunk(id="a", source_addresses=["192.0.2.1/28"])]}, "trunks[0].source_addresses[0]"),
        ({"peers": [pb.Edge(id="e", advertised_addresses=["proxy:5060"])]}, "peers[0].advertised_addresses[0]"),
        ({"media_nodes": [pb.MediaNode(number=0, control_address="udp:192.0.2.1:1")]}, "media_nodes[0].number"),
        ({"media_nodes": [pb.MediaNode(number=70_000, control_address="udp:192.0.2.1:1")]}, "media_nodes[0].number"),
        ({"media_nodes": [pb.MediaNode(number=1, control_address="udp:192.0.2.1:1")] * 2}, "media_nodes[1].number"),
        ({"media_nodes": [pb.MediaNode(number=1, control_address="192.0.2.1:1")]}, "media_nodes[0].control_address"),
        ({"media_nodes": [pb.MediaNode(number=1, control_address="udp:a:1\n2:2")]}, "media_nodes[0].control_address"),
        ({"bans": [pb.Ban(address="*")]}, "bans[0].address"),
    ],
)
def test_what_the_proxy_could_not_read_is_refused_by_name(changes: dict[str, object], field: str) -> None:
    with pytest.raises(InvalidFieldError) as caught:
        tables.contents(snapshot(**changes))
    assert caught.value.violations[0].field == field


def test_only_what_changed_is_written_and_each_time_it_is_newer_by_a_second(tmp_path: Path) -> None:
    files = dict(tables.contents(snapshot()).files)
    assert tables.write(tmp_path, files) == set(files)
    assert tables.write(tmp_path, files) == set()
    times = [int(os.stat(tmp_path / "address").st_mtime)]
    for number in range(3):
        files["address"] += f"{number + 9}:1:192.0.2.{number}:32:0:x\n"
        assert tables.write(tmp_path, files) == {"address"}
        times.append(int(os.stat(tmp_path / "address").st_mtime))
    assert times == sorted(set(times))
    assert {path.name for path in tmp_path.iterdir()} == set(files), "no temporary file is left"
    assert tables.read(tmp_path, files) == files
    assert tables.read(tmp_path / "absent", ["domain"])["domain"].count("\n") == 1
