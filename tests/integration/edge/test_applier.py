"""Snapshots reach the proxy: applied, refused, and applied again after a restart."""

from __future__ import annotations

import asyncio
import time
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

import pytest
from signalbox.api.routing.v1 import routing_pb2 as pb
from signalbox.edge import applier as module
from signalbox.edge import control as control_module
from signalbox.edge import media as media_module
from signalbox.edge.applier import Applier
from signalbox.edge.control import Control
from signalbox.edge.nodes import MediaNodes
from support.kamailio_fake import KamailioFake
from support.wait import until

if TYPE_CHECKING:
    from collections.abc import AsyncIterator
    from pathlib import Path


def snapshot(version: str = "v1", nodes: int = 1, healthy: bool = True, **changes: object) -> pb.WatchEdgeResponse:
    values: dict[str, object] = {
        "trunks": [pb.EdgeTrunk(id="carrier-a", source_addresses=["192.0.2.9"])],
        "peers": [pb.Edge(id="edge-1", advertised_addresses=["192.0.2.100:5060"])],
        "media_nodes": [
            pb.MediaNode(id=f"m{number}", number=number, control_address=url(number), healthy=healthy)
            for number in range(1, nodes + 1)
        ],
    }
    return pb.WatchEdgeResponse(version=version, **(values | changes))  # type: ignore[arg-type]


def url(number: int) -> str:
    return f"udp:127.0.0.1:{22000 + number}"


@dataclass
class Bench:
    """An applier between a fake proxy and whoever watches."""

    kamailio: KamailioFake
    applier: Applier
    nodes: MediaNodes
    control: Control
    reports: list[tuple[str, str]] = field(default_factory=list)
    task: asyncio.Task[None] | None = None

    def run(self) -> None:
        self.task = asyncio.create_task(self.applier.run())

    async def stop(self) -> None:
        if self.task is not None:
            self.task.cancel()
            await asyncio.gather(self.task, return_exceptions=True)
        self.control.close()
        self.kamailio.stop()


def build(tmp_path: Path, kamailio: KamailioFake | None = None) -> Bench:
    kamailio = kamailio or KamailioFake(tmp_path / "run")
    nodes, control = MediaNodes(), Control(kamailio.runtime_dir)
    bench = Bench(kamailio, Applier(kamailio.runtime_dir, tmp_path / "state", control, nodes), nodes, control)
    bench.applier.on_report(lambda version, reason: bench.reports.append((version, reason)))
    return bench


@pytest.fixture
async def bench(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[Bench]:
    monkeypatch.setattr(module, "POLL_S", 0.02)
    monkeypatch.setattr(module, "REFUSAL_GRACE_S", 0.1)
    monkeypatch.setattr(module, "RETRY_S", 0.05)
    monkeypatch.setattr(media_module, "RELOAD_INTERVAL_S", 0.3)
    monkeypatch.setattr(media_module, "RETRY_S", 0.05)
    made = build(tmp_path)
    made.kamailio.reload_interval_s = 0.2
    yield made
    await made.stop()


async def test_a_snapshot_is_applied_marked_and_acknowledged(bench: Bench) -> None:
    bench.kamailio.start()
    bench.run()
    bench.applier.submit(snapshot())
    await until(lambda: bench.reports == [("v1", "")])
    assert bench.kamailio.table("address") == [["1", "192.0.2.9", "32", "0", "carrier-a"]]
    assert bench.kamailio.table("domain") == [["192.0.2.100", "192.0.2.100", "0"]]
    assert bench.kamailio.htables["cfg"] == {"version": "v1"}
    assert bench.kamailio.nodes == {(1, url(1)): 0}
    assert bench.applier.in_step
    assert bench.nodes.choose() == (1, 0)
    methods = bench.kamailio.methods()
    assert methods.index("permissions.addressReload") < methods.index("htable.sets")


async def test_only_what_changed_is_reloaded(bench: Bench) -> None:
    bench.kamailio.start()
    bench.run()
    bench.applier.submit(snapshot())
    await until(lambda: len(bench.reports) == 1)
    bench.kamailio.calls.clear()
    bench.applier.submit(snapshot("v2", peers=[]))
    await until(lambda: bench.reports[1:] == [("v2", "")])
    assert bench.kamailio.methods() == ["domain.reload", "htable.sets"]


async def test_the_same_snapshot_again_is_acknowledged_and_nothing_is_done(bench: Bench) -> None:
    bench.kamailio.start()
    bench.run()
    bench.applier.submit(snapshot())
    await until(lambda: len(bench.reports) == 1)
    bench.kamailio.calls.clear()
    bench.applier.submit(snapshot())
    assert bench.reports == [("v1", ""), ("v1", "")]
    assert bench.kamailio.methods() == []


async def test_everything_is_applied_again_after_a_restart_of_the_proxy(bench: Bench) -> None:
    bench.kamailio.start()
    bench.run()
    bench.applier.submit(snapshot(bans=[ban("198.51.100.1", 60)]))
    await until(lambda: len(bench.reports) == 1)
    bench.kamailio.stop()
    await until(lambda: not bench.applier.proxy_up)
    assert not bench.applier.in_step
    bench.kamailio.calls.clear()
    bench.kamailio.start()
    await until(lambda: bench.applier.in_step)
    assert bench.kamailio.htables["cfg"] == {"version": "v1"}
    assert bench.kamailio.htables["ban"] == {"198.51.100.1": "cluster"}
    assert {"permissions.addressReload", "domain.reload", "rtpengine.show"} <= set(bench.kamailio.methods())
    assert "rtpengine.reload" not in bench.kamailio.methods(), "the proxy read the table at its start"


async def test_a_restart_between_two_looks_is_noticed_too(bench: Bench) -> None:
    bench.kamailio.start()
    bench.run()
    bench.applier.submit(snapshot())
    await until(lambda: len(bench.reports) == 1)
    bench.kamailio.htables["cfg"].clear()
    await until(lambda: bench.kamailio.htables["cfg"] == {"version": "v1"})


async def fall_silent(bench: Bench, monkeypatch: pytest.MonkeyPatch) -> None:
    """The proxy answers no more, which is noticed soon. One that answers has its usual time: beside other work 0.1 s is
    too short, and without its mark each late answer is a new life."""
    bench.kamailio.silent = True
    with monkeypatch.context() as soon:
        soon.setattr(control_module, "TIMEOUT_S", 0.1)
        await until(lambda: not bench.applier.proxy_up)


async def test_a_look_that_had_no_answer_is_no_new_life_of_a_proxy_that_has_its_mark(
    bench: Bench, monkeypatch: pytest.MonkeyPatch
) -> None:
    bench.kamailio.start()
    bench.applier.submit(snapshot())
    bench.run()
    await until(lambda: bench.applier.in_step)
    for life in (1, 2):
        assert bench.applier.proxy_life == life
        await fall_silent(bench, monkeypatch)
        assert bench.applier.proxy_life == 0
        bench.kamailio.silent = False
        await until(lambda: bench.applier.in_step)
        assert bench.applier.proxy_life == life
        del bench.kamailio.htables["cfg"]["version"]
        await until(lambda next=life + 1: bench.applier.proxy_life == next and bench.applier.in_step)


async def test_a_proxy_that_was_away_without_a_mark_may_be_another(
    bench: Bench, monkeypatch: pytest.MonkeyPatch
) -> None:
    bench.kamailio.start()
    bench.run()
    await until(lambda: bench.applier.proxy_life == 1)
    await fall_silent(bench, monkeypatch)
    bench.kamailio.silent = False
    await until(lambda: bench.applier.proxy_life == 2)


async def test_tables_are_written_while_the_proxy_is_away(bench: Bench) -> None:
    bench.run()
    bench.applier.submit(snapshot())
    path = bench.kamailio.runtime_dir / "tables" / "rtpengine"
    await until(path.exists)
    assert bench.reports == []
    bench.kamailio.start()
    await until(lambda: bench.reports == [("v1", "")])
    assert "rtpengine.reload" not in bench.kamailio.methods()


async def test_an_invalid_snapshot_is_refused_and_the_old_one_stays(bench: Bench) -> None:
    bench.kamailio.start()
    bench.run()
    bench.applier.submit(snapshot())
    await until(lambda: len(bench.reports) == 1)
    bench.applier.submit(snapshot("v2", trunks=[pb.EdgeTrunk(id="x", source_addresses=["nowhere"])]))
    await until(lambda: len(bench.reports) == 2)
    version, reason = bench.reports[1]
    assert version == "v2"
    assert reason.startswith("trunks[0].source_addresses[0]:")
    assert bench.applier.in_step
    assert bench.applier.version == "v1"


async def test_a_snapshot_that_the_proxy_refuses_is_told_and_the_tables_put_back(bench: Bench) -> None:
    bench.kamailio.start()
    bench.run()
    bench.applier.submit(snapshot())
    await until(lambda: len(bench.reports) == 1)
    bench.kamailio.refuse.add("permissions.addressReload")
    bench.applier.submit(snapshot("v2", trunks=[]))
    await until(lambda: len(bench.reports) == 2)
    assert bench.reports[1] == ("v2", "permissions.addressReload: 500 as told")
    assert not bench.applier.in_step
    bench.kamailio.refuse.clear()
    await until(lambda: bench.reports[2:] == [("v2", "")])
    assert bench.kamailio.table("address") == []


async def test_what_was_refused_does_not_lie_on_disk_for_the_next_start(bench: Bench) -> None:
    bench.kamailio.start()
    bench.kamailio.refuse.add("permissions.addressReload")
    bench.run()
    bench.applier.submit(snapshot())
    await until(lambda: len(bench.reports) == 1)
    await bench.stop()
    assert bench.kamailio.table("address") == []


async def test_a_dead_media_node_is_switched_off_at_once_and_on_again_when_it_lives(bench: Bench) -> None:
    bench.kamailio.start()
    bench.run()
    bench.applier.submit(snapshot(nodes=2))
    await until(lambda: len(bench.reports) == 1)
    bench.kamailio.calls.clear()
    dead = [pb.MediaNode(number=n, control_address=url(n), healthy=n == 2) for n in (1, 2)]
    begun = time.monotonic()
    bench.applier.submit(snapshot("v2", media_nodes=dead))
    await until(lambda: bench.kamailio.nodes[1, url(1)] == 1)
    assert time.monotonic() - begun < 0.5
    assert "rtpengine.reload" not in bench.kamailio.methods()
    await until(lambda: bench.nodes.choose() == (2, 0))
    bench.applier.submit(snapshot("v3", nodes=2))
    await until(lambda: bench.reports[-1] == ("v3", ""))
    assert bench.kamailio.nodes == {(1, url(1)): 0, (2, url(2)): 0}


async def test_a_node_that_does_not_answer_the_proxy_is_tried_again(bench: Bench) -> None:
    bench.kamailio.start()
    bench.run()
    bench.applier.submit(snapshot(healthy=False))
    await until(lambda: len(bench.reports) == 1)
    bench.kamailio.dead.add(url(1))
    bench.applier.submit(snapshot("v2"))
    await until(lambda: bench.kamailio.methods().count("rtpengine.enable") >= 3)
    assert not bench.applier.in_step
    bench.kamailio.dead.clear()
    await until(lambda: bench.reports[-1] == ("v2", ""))
    assert bench.nodes.choose() == (1, 0)


async def test_a_new_node_waits_for_the_reload_and_calls_stay_on_those_that_the_proxy_has(bench: Bench) -> None:
    bench.kamailio.start()
    bench.run()
    bench.applier.submit(snapshot())
    await until(lambda: len(bench.reports) == 1)
    bench.applier.submit(snapshot("v2", nodes=2))
    await until(lambda: bench.kamailio.htables["cfg"]["version"] == "v2")
    assert not bench.applier.in_step
    assert bench.reports == [("v1", "")]
    assert bench.nodes.fit(2, 0) == (1, 0)
    await until(lambda: bench.reports[1:] == [("v2", "")])
    assert bench.nodes.fit(2, 0) == (2, 0)


async def test_a_node_that_vanished_stays_for_its_calls_and_gets_no_new_ones_also_in_the_next_life(
    bench: Bench, tmp_path: Path
) -> None:
    bench.kamailio.start()
    bench.run()
    bench.applier.submit(snapshot(nodes=2))
    await until(lambda: len(bench.reports) == 1)
    bench.kamailio.calls.clear()
    left = pb.MediaNode(id="m2", number=2, control_address=url(2), healthy=True)
    bench.applier.submit(snapshot("v2", media_nodes=[left]))
    await until(lambda: bench.reports[1:] == [("v2", "")])
    assert bench.kamailio.nodes == {(1, url(1)): 0, (2, url(2)): 0}
    assert bench.kamailio.methods() == ["htable.sets"], "nothing changed for the proxy"
    assert bench.nodes.fit(1, 2) == (2, 0)
    assert {bench.nodes.choose() for _ in range(4)} == {(2, 0)}
    await bench.stop()
    bench.kamailio.start()
    again = build(tmp_path, bench.kamailio)
    again.applier.load()
    again.run()
    await until(lambda: again.applier.in_step)
    assert [row[0] for row in bench.kamailio.table("rtpengine")] == ["2", "1"]
    assert bench.kamailio.nodes == {(1, url(1)): 0, (2, url(2)): 0}
    assert again.nodes.fit(1, 0) == (2, 0)
    await again.stop()


async def test_one_that_was_off_when_it_vanished_is_left_to_the_proxy_and_nobody_waits_for_it(bench: Bench) -> None:
    bench.kamailio.start()
    bench.run()
    bench.applier.submit(snapshot(healthy=False))
    await until(lambda: len(bench.reports) == 1)
    assert bench.kamailio.nodes == {(1, url(1)): 1}
    bench.kamailio.dead.add(url(1))
    bench.applier.submit(snapshot("v2", media_nodes=[]))
    await until(lambda: bench.reports[1:] == [("v2", "")])
    assert bench.applier.in_step
    assert bench.kamailio.calls.count(("rtpengine.enable", url(1), 1)) == 1
    assert bench.nodes.choose() == (0, 0)


async def test_without_any_node_known_to_the_proxy_it_is_not_marked_fit(bench: Bench) -> None:
    bench.kamailio.start()
    bench.kamailio.refuse.add("rtpengine.reload")
    bench.run()
    bench.applier.submit(snapshot())
    await until(lambda: bench.kamailio.methods().count("rtpengine.reload") >= 2)
    assert bench.kamailio.htables["cfg"] == {}
    bench.kamailio.refuse.clear()
    await until(lambda: bench.kamailio.htables["cfg"] == {"version": "v1"})


def ban(address: str, seconds: float) -> pb.Ban:
    entry = pb.Ban(address=address)
    entry.expire_time.FromMilliseconds(int((time.time() + seconds) * 1000))
    return entry


async def test_bans_are_set_with_their_end_and_lifted(bench: Bench) -> None:
    bench.kamailio.start()
    bench.kamailio.htables["ban"] = {"203.0.113.5": "1", "203.0.113.6": "cluster"}
    bench.run()
    bans = [ban("198.51.100.1", 30), ban("2001:db8::5", 30), ban("198.51.100.2", -5)]
    bench.applier.submit(snapshot(bans=bans))
    await until(lambda: len(bench.reports) == 1)
    assert bench.kamailio.htables["ban"] == {
        "203.0.113.5": "1",
        "198.51.100.1": "cluster",
        "2001:db8::5": "cluster",
    }, "the proxy's own ban stays, one of ours that was lifted while we were away goes"
    (end,) = [call[3] for call in bench.kamailio.calls if call[:3] == ("htable.setex", "ban", "198.51.100.1")]
    assert 25 <= end <= 30
    bench.applier.submit(snapshot("v2", bans=bans[1:]))
    await until(lambda: len(bench.reports) == 2)
    assert "198.51.100.1" not in bench.kamailio.htables["ban"]


async def test_a_new_sidecar_begins_with_what_the_last_one_had(bench: Bench, tmp_path: Path) -> None:
    bench.kamailio.start()
    bench.run()
    bench.applier.submit(snapshot())
    await until(lambda: len(bench.reports) == 1)
    await bench.stop()
    bench.kamailio.start()
    again = build(tmp_path, bench.kamailio)
    again.applier.load()
    again.run()
    await until(lambda: again.applier.in_step)
    assert bench.kamailio.htables["cfg"] == {"version": "v1"}
    assert again.nodes.choose() == (1, 0)
    await again.stop()


async def test_a_damaged_saved_snapshot_is_not_used(bench: Bench, tmp_path: Path) -> None:
    (tmp_path / "state").mkdir()
    (tmp_path / "state" / module.SNAPSHOT_FILE).write_bytes(b"\xff\xff\xff")
    bench.applier.load()
    bench.kamailio.start()
    bench.run()
    await until(lambda: bench.applier.proxy_up)
    assert not bench.applier.in_step
    assert bench.kamailio.methods() == []
