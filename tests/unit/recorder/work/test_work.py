"""From a capture at a node to a recording in the store."""

from __future__ import annotations

import json
import time
from typing import TYPE_CHECKING

from google.protobuf import json_format
from signalbox.api.recording.v1 import recording_pb2
from signalbox.api.types.v1 import recordings_pb2, types_pb2
from signalbox.api.types.v1.recordings_pb2 import Recording
from signalbox.catalog import names
from signalbox.recorder import work
from signalbox.store import keys
from signalbox.store.base import Put
from signalbox.store.objectstore import once
from support.captures_fake import FakeNode, facts
from support.recorder_work import FOLDER, SOUND, gone, tenant
from support.recording_work import Bench, FakePool
from support.wait import until

if TYPE_CHECKING:
    from pathlib import Path

    import pytest
    from signalbox.store.memory import MemoryStore


DAY_S = 86_400


OGG, WAV = types_pb2.RECORDING_FORMAT_OGG_OPUS, types_pb2.RECORDING_FORMAT_WAV


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
