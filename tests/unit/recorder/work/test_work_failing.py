"""Every way in which a capture does not become a recording at once."""

from __future__ import annotations

import errno
from typing import TYPE_CHECKING

import pytest
from signalbox.api.types.v1 import recordings_pb2
from signalbox.errors import DatabaseUnavailableError, ObjectsUnavailableError, StoreUnavailableError
from signalbox.recorder import failures, job
from signalbox.recorder.pool import RenderCrashedError
from signalbox.recorder.render import UnreadableCaptureError
from support.captures_fake import FakeNode, facts
from support.recorder_work import SOUND, gone
from support.recording_work import Bench, FakePool
from support.wait import until

if TYPE_CHECKING:
    from pathlib import Path

    from signalbox.store.memory import MemoryStore


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
