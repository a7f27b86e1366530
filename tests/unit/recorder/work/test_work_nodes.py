"""Claims of captures, several nodes, and the end of a recorder."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

from signalbox.recorder import job
from support.captures_fake import FakeNode
from support.recorder_work import FOLDER, gone
from support.recording_work import Bench, FakePool
from support.wait import until

if TYPE_CHECKING:
    from pathlib import Path

    import pytest
    from signalbox.api.types.v1.recordings_pb2 import Recording
    from signalbox.store.memory import MemoryStore


async def test_a_claim_is_held_while_work_goes_on(store: MemoryStore, node: FakeNode, fast_path: Path) -> None:
    pool = FakePool(hold=asyncio.Event())
    async with Bench.open(store, fast_path, pool=pool, lease_s=1) as bench:
        node.add("c1")
        bench.start()
        await until(lambda: node.count("RenewClaim") >= 4)
        assert pool.hold is not None
        pool.hold.set()
        await gone(node, "c1")
        assert pool.begun == 1


async def test_who_loses_the_claim_stops_and_leaves_nothing(
    store: MemoryStore, node: FakeNode, fast_path: Path
) -> None:
    pool = FakePool(hold=asyncio.Event())
    async with Bench.open(store, fast_path, pool=pool, lease_s=1) as bench:
        node.add("c1")
        bench.start()
        await until(lambda: pool.begun == 1)
        node.forget_claims()
        await until(lambda: bench.metric("failures_total", kind="claim_lost") == 1)
        assert pool.hold is not None
        pool.hold.set()
        await gone(node, "c1")
        assert bench.names() == [f"{FOLDER}c1.2.json", f"{FOLDER}c1.2.ogg"]


async def test_a_claim_that_was_lost_is_noticed_before_anything_is_stored(
    store: MemoryStore, node: FakeNode, fast_path: Path
) -> None:
    pool = FakePool(hold=asyncio.Event())
    async with Bench.open(store, fast_path, pool=pool, lease_s=600) as bench:
        node.add("c1")
        bench.start()
        await until(lambda: pool.begun == 1)
        node.forget_claims()
        assert pool.hold is not None
        pool.hold.set()
        await gone(node, "c1")
        assert bench.metric("failures_total", kind="claim_lost") == 1
        assert bench.names() == [f"{FOLDER}c1.2.json", f"{FOLDER}c1.2.ogg"]


async def test_several_captures_of_a_node_are_worked_on_at_once(
    store: MemoryStore, node: FakeNode, fast_path: Path
) -> None:
    pool = FakePool(hold=asyncio.Event())
    async with Bench.open(store, fast_path, pool=pool, jobs=2) as bench:
        for number in range(4):
            node.add(f"c{number}")
        bench.start()
        await until(lambda: pool.at_once == 2)
        assert pool.hold is not None
        pool.hold.set()
        await gone(node, "c0", "c1", "c2", "c3")
        assert pool.most_at_once == 2


async def test_nodes_take_turns(bench: Bench, store: MemoryStore, node: FakeNode) -> None:
    stored: list[str] = []
    finish = bench.catalog.finish

    async def noted(recording: Recording, *told: object) -> bool:
        stored.append(recording.call_id[0])
        return await finish(recording, *told)

    bench.catalog.finish = noted
    async with FakeNode("media-2", 2).serving(store) as other:
        for number in range(5):
            node.add(f"a{number}")
            other.add(f"b{number}")
        bench.start()
        await until(lambda: not node.captures and not other.captures)
    # Nobody waits for more than what the other has at work.
    assert max(len(run) for run in "".join(stored).replace("ab", "a b").replace("ba", "b a").split()) <= 2


async def test_a_dead_node_holds_up_no_other(
    bench: Bench, store: MemoryStore, node: FakeNode, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with FakeNode("media-2", 2).serving() as dead:
        await dead.register(store)
    async with FakeNode("media-3", 3).serving(store) as mute:
        mute.stop("ClaimCapture")
        node.add("c1")
        bench.start()
        await gone(node, "c1")
        node.add("c2")
        await gone(node, "c2")
        mute.stops.pop("ClaimCapture").set()


async def test_a_slow_node_holds_up_no_other(
    bench: Bench, store: MemoryStore, node: FakeNode, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(job, "LEND_AFTER_S", 0.05)
    async with FakeNode("media-2", 2).serving(store) as slow:
        reading = slow.stop("ReadSegment")
        slow.add("s1")
        slow.add("s2")
        bench.start()
        await until(lambda: slow.count("ReadSegment") == 1)
        node.add("c1")
        node.add("c2")
        await gone(node, "c1", "c2")
        assert slow.count("ReadSegment") == 1
        reading.set()
        await gone(slow, "s1", "s2")


async def test_a_node_that_moves_is_followed(bench: Bench, store: MemoryStore) -> None:
    bench.start()
    async with FakeNode().serving(store) as first:
        first.add("c1")
        await gone(first, "c1")
    async with FakeNode().serving(store) as second:
        second.add("c2")
        await gone(second, "c2")


async def test_what_is_at_work_is_finished_at_the_end(store: MemoryStore, node: FakeNode, fast_path: Path) -> None:
    pool = FakePool(hold=asyncio.Event())
    async with Bench.open(store, fast_path, pool=pool, drain_s=20) as bench:
        node.add("c1")
        node.add("c2")
        bench.start()
        await until(lambda: pool.begun == 1)
        draining = asyncio.create_task(bench.drain())
        await asyncio.sleep(0)
        assert pool.hold is not None
        pool.hold.set()
        await draining
        assert list(node.captures) == ["c2"]
        assert len(bench.names()) == 2


async def test_what_cannot_be_finished_in_time_is_given_back(
    store: MemoryStore, node: FakeNode, fast_path: Path
) -> None:
    pool = FakePool(hold=asyncio.Event())
    async with Bench.open(store, fast_path, pool=pool, drain_s=0) as bench:
        node.add("c1")
        bench.start()
        await until(lambda: pool.begun == 1)
        await bench.drain()
        assert node.released == [("c1", "stopping")]
        assert not list(bench.folder.path.glob("job-*"))
