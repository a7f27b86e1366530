"""From a capture at a node to a recording in the store, and every way in which it fails."""

from __future__ import annotations

import asyncio
import errno
import json
import time
from typing import TYPE_CHECKING

import pytest
from google.protobuf import json_format
from signalbox.api.recording.v1 import recording_pb2
from signalbox.api.types.v1 import recordings_pb2, types_pb2
from signalbox.api.types.v1.recordings_pb2 import Recording
from signalbox.catalog import names
from signalbox.errors import DatabaseUnavailableError, ObjectsUnavailableError, StoreUnavailableError
from signalbox.recorder import failures, job, outages, work
from signalbox.recorder.pool import RenderCrashedError
from signalbox.recorder.render import UnreadableCaptureError
from signalbox.store import codec, keys
from signalbox.store.base import Put
from signalbox.store.objectstore import once
from support.captures_fake import FakeNode, facts
from support.recording_work import Bench, FakePool
from support.wait import until

if TYPE_CHECKING:
    from pathlib import Path

    from signalbox.store.memory import MemoryStore

DAY_S = 86_400
SOUND = bytes(range(256)) * 1000
FOLDER = "recordings/acme/2025/06/15/"
OGG, WAV = types_pb2.RECORDING_FORMAT_OGG_OPUS, types_pb2.RECORDING_FORMAT_WAV


@pytest.fixture(autouse=True)
def no_pauses(monkeypatch: pytest.MonkeyPatch) -> None:
    """What is tried again is tried again soon."""
    monkeypatch.setattr(failures, "FACTS_AFTER_S", 0.05)
    monkeypatch.setattr(failures, "OVERTAKEN_AFTER_S", 0.05)
    monkeypatch.setattr(failures, "pause_s", lambda *_: 0.05)
    monkeypatch.setattr(outages, "pause_s", lambda *_: 0.05)
    monkeypatch.setattr(work, "pause_s", lambda *_: 0.05)


async def gone(node: FakeNode, *call_ids: str) -> None:
    """Wait until the node has nothing left of these calls."""
    await until(lambda: not node.captures.keys() & set(call_ids))


async def tenant(store: MemoryStore, **fields: object) -> None:
    made = types_pb2.Tenant(id="acme", recording=types_pb2.RecordingPolicy(**fields))
    await store.commit([], [Put(keys.tenant("acme"), codec.encode(made))])


async def test_a_capture_is_stored_with_its_metadata_and_deleted_at_the_node(bench: Bench, node: FakeNode) -> None:
    began_s = int(time.time())
    node.add("c1", SOUND, b"end")
    bench.start()
    await gone(node, "c1")
    assert await bench.audio("c1") == SOUND + b"end"
    assert bench.names() == [f"{FOLDER}c1.1.json", f"{FOLDER}c1.1.ogg"]
    found = await bench.catalog.get("c1")
    assert found is not None
    told = json.loads(await bench.content("acme", f"{FOLDER}c1.1.json"))
    stored = json_format.ParseDict(told, Recording())
    found.recording.ClearField("etag")
    assert stored == found.recording
    assert stored.state == recordings_pb2.RECORDING_STATE_STORED
    assert (stored.caller, stored.number, stored.line, stored.media_node) == ("13800001234", "4001234567", "desk", 1)
    assert 0 <= stored.expire_time.seconds - began_s - 180 * DAY_S < DAY_S
    assert not any(bench.folder.path.glob("job-*/*"))
    assert bench.metric("stored_total") == 1
    assert bench.metric("audio_seconds_total") == 1


async def test_format_and_retention_are_the_tenants(bench: Bench, node: FakeNode, store: MemoryStore) -> None:
    began_s = int(time.time())
    await tenant(store, format=WAV, retention={"seconds": 3 * DAY_S})
    node.add("c1")
    bench.start()
    await gone(node, "c1")
    found = await bench.catalog.get("c1")
    assert found is not None
    assert found.object == f"{FOLDER}c1.1.wav"
    assert found.recording.format == WAV
    assert 0 <= found.recording.expire_time.seconds - began_s - 3 * DAY_S < DAY_S


async def test_a_damaged_tenant_holds_up_its_own_recordings_alone(
    bench: Bench, node: FakeNode, store: MemoryStore
) -> None:
    await store.commit([], [Put(keys.tenant("acme"), b"\xff")])
    node.add("c1")
    node.add("c2", known=facts("c2", tenant="globex"))
    bench.start()
    await gone(node, "c2")
    await until(lambda: bench.metric("failures_total", kind="damaged_value") > 0)
    assert "c1" in node.captures


async def test_what_is_partial_says_why(store: MemoryStore, node: FakeNode, fast_path: Path) -> None:
    async with Bench.open(store, fast_path, pool=FakePool(reasons=("media_node_died",))) as bench:
        node.add("c1")
        bench.start()
        await gone(node, "c1")
        found = await bench.catalog.get("c1")
    assert found is not None
    assert found.recording.partial
    assert list(found.recording.reasons) == ["media_node_died"]
    assert bench.metric("partial_total") == 1


async def test_a_capture_without_facts_waits_for_the_promise(bench: Bench, node: FakeNode) -> None:
    node.add("c1", anonymous=True)
    bench.start()
    await until(lambda: len(node.released) >= 2)
    assert set(node.released) == {("c1", "no_facts")}
    await bench.catalog.promise([recording_pb2.Promise(proxy="p1", sequence=1, facts=facts("c1"))])
    await gone(node, "c1")
    assert bench.names() == [f"{FOLDER}c1.1.json", f"{FOLDER}c1.1.ogg"]


async def test_facts_for_which_nobody_cares_for_minutes_are_alarmed(
    bench: Bench, node: FakeNode, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(work, "FACTS_LATE_S", 0.0)
    node.add("c1", anonymous=True)
    bench.start()
    await until(lambda: bench.metric("captures_without_facts") == 1)
    assert "c1" in node.captures


async def test_facts_that_make_no_sense_are_none(bench: Bench, node: FakeNode) -> None:
    node.add("c1", known=facts("c1", tenant="../acme"))
    bench.start()
    await until(lambda: ("c1", "no_facts") in node.released)
    assert bench.names() == []


async def test_what_is_stored_already_is_just_confirmed(bench: Bench, node: FakeNode) -> None:
    node.add("c1")
    bench.start()
    await gone(node, "c1")
    pool = bench.pool
    assert isinstance(pool, FakePool)
    node.add("c1", b"again")
    await gone(node, "c1")
    assert pool.begun == 1
    assert bench.names() == [f"{FOLDER}c1.1.json", f"{FOLDER}c1.1.ogg"]


async def test_what_earlier_attempts_left_is_deleted(bench: Bench, node: FakeNode) -> None:
    known = facts("c1")
    for attempt, format in ((1, OGG), (2, WAV)):
        assert (await bench.catalog.begin(known)).attempt == attempt
        name = names.audio(known, attempt, format)
        for left in (name, names.metadata(name)):
            await bench.vault.put("acme", left, once(b"left"))
    node.add("c1")
    bench.start()
    await gone(node, "c1")
    assert bench.names() == [f"{FOLDER}c1.3.json", f"{FOLDER}c1.3.ogg"]


async def test_who_is_overtaken_deletes_its_own_objects(
    bench: Bench, node: FakeNode, monkeypatch: pytest.MonkeyPatch
) -> None:
    node.add("c1")
    finish = bench.catalog.finish

    async def overtaken(*told: object) -> bool:
        monkeypatch.setattr(bench.catalog, "finish", finish)
        await bench.catalog.begin(facts("c1"))
        return await finish(*told)

    monkeypatch.setattr(bench.catalog, "finish", overtaken)
    bench.start()
    await gone(node, "c1")
    assert bench.names() == [f"{FOLDER}c1.3.json", f"{FOLDER}c1.3.ogg"]
    assert ("c1", "overtaken") in node.released


@pytest.mark.parametrize(
    ("where", "error", "kind"),
    [
        ("begin", DatabaseUnavailableError("away"), "database"),
        ("finish", DatabaseUnavailableError("away"), "database"),
        ("put", ObjectsUnavailableError("away"), "objects"),
        ("put", StoreUnavailableError("away"), "etcd"),
        ("put", OSError(errno.ENOSPC, "full"), "work_dir"),
    ],
)
async def test_a_capture_waits_while_something_is_away(
    bench: Bench, node: FakeNode, monkeypatch: pytest.MonkeyPatch, where: str, error: Exception, kind: str
) -> None:
    part = bench.vault if where == "put" else bench.catalog
    works = getattr(part, where)

    async def away(*_: object) -> None:
        raise error

    monkeypatch.setattr(part, where, away)
    node.add("c1")
    bench.start()
    await until(lambda: ("c1", kind) in node.released)
    assert bench.metric("failures_total", kind=kind) == 1
    monkeypatch.setattr(part, where, works)
    await gone(node, "c1")
    assert len(bench.names()) == 2


async def test_nothing_is_left_if_the_metadata_cannot_be_stored(
    bench: Bench, node: FakeNode, monkeypatch: pytest.MonkeyPatch
) -> None:
    put = bench.vault.put

    async def half(tenant: str, name: str, content: object) -> None:
        if name.endswith(".json"):
            raise ObjectsUnavailableError("away")
        await put(tenant, name, content)

    monkeypatch.setattr(bench.vault, "put", half)
    node.add("c1")
    bench.start()
    await until(lambda: ("c1", "objects") in node.released)
    assert bench.names() == []


async def test_a_capture_that_cannot_be_read_stays_and_is_missing(
    store: MemoryStore, node: FakeNode, fast_path: Path
) -> None:
    async with Bench.open(store, fast_path, pool=FakePool(error=UnreadableCaptureError("no packet"))) as bench:
        node.add("c1")
        bench.start()
        await until(lambda: ("c1", "unreadable") in node.released)
        found = await bench.catalog.get("c1")
        assert found is not None
        assert found.recording.state == recordings_pb2.RECORDING_STATE_MISSING
        assert list(found.recording.reasons) == ["capture_unreadable"]
        assert found.recording.HasField("expire_time")
        assert "c1" in node.captures
        assert bench.metric("captures_unreadable") == 1
        assert bench.metric("missing_total", reason="capture_unreadable") == 1


async def test_a_capture_that_crashes_the_renderer_holds_up_no_other(
    store: MemoryStore, node: FakeNode, fast_path: Path
) -> None:
    pool = FakePool(error=RenderCrashedError("died"))
    async with Bench.open(store, fast_path, pool=pool) as bench:
        node.add("c1")
        bench.start()
        await until(lambda: bench.metric("captures_unreadable") == 1)
        assert bench.metric("failures_total", kind="render") >= failures.CRASHES
        pool.error = None
        await gone(node, "c1")
        # The node deletes it a moment before the recorder knows.
        await until(lambda: bench.metric("captures_unreadable") == 0)


async def test_a_bug_fails_one_attempt(bench: Bench, node: FakeNode, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(job.description, "describe", lambda *_: 1 / 0)
    node.add("c1")
    bench.start()
    await until(lambda: ("c1", "unexpected") in node.released)


async def test_four_outages_and_a_crash_are_no_reason_to_give_a_capture_up(
    store: MemoryStore, node: FakeNode, fast_path: Path
) -> None:
    pool = FakePool(error=RenderCrashedError("died"))
    async with Bench.open(store, fast_path, pool=pool) as bench:
        for _ in range(failures.CRASHES - 1):
            await bench.catalog.begin(facts("c1"))
        node.add("c1")
        bench.start()
        await until(lambda: ("c1", "render") in node.released)
        pool.error = None
        await gone(node, "c1")
        assert bench.metric("missing_total", reason="capture_unreadable") == 0


async def test_a_capture_that_does_not_fit_is_not_pulled_and_holds_up_no_other(bench: Bench, node: FakeNode) -> None:
    node.add("c1", SOUND)
    node.captures["c1"].capture.segments[0].size_bytes = 2**60
    bench.start()
    await until(lambda: ("c1", "no_room") in node.released)
    node.add("c2", SOUND)
    await gone(node, "c2")
    assert not bench.metric("failures_total", kind="work_dir")
    assert {name for method, name in node.asked if method == "ReadSegment"} == {"c2-0.pcap"}


async def test_a_stream_that_breaks_goes_on_where_it_broke(bench: Bench, node: FakeNode) -> None:
    node.broken_after = 64 * 1024
    node.add("c1", SOUND)
    bench.start()
    await gone(node, "c1")
    assert await bench.audio("c1") == SOUND
    assert node.count("ReadSegment") > 3
    assert bench.metric("pulled_bytes_total") == len(SOUND)


async def test_a_stream_that_brings_nothing_is_given_up(
    bench: Bench, node: FakeNode, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("signalbox.recorder.pull.PAUSE_S", 0.001)
    node.broken_after = 0
    node.add("c1", SOUND)
    bench.start()
    await until(lambda: ("c1", "media_node") in node.released)
    node.broken_after = None
    await gone(node, "c1")


async def test_a_segment_that_is_too_short_is_not_stored(
    bench: Bench, node: FakeNode, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("signalbox.recorder.pull.PAUSE_S", 0.001)
    node.add("c1", SOUND)
    node.captures["c1"].capture.segments[0].size_bytes += 1
    bench.start()
    await until(lambda: ("c1", "media_node") in node.released)
    assert bench.names() == []


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
