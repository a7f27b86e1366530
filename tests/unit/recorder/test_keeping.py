"""Nothing that was captured is lost or left behind: calls that come back, nodes that burn, attempts that are killed."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

import pytest
from signalbox.api.recording.v1 import recording_pb2
from signalbox.api.types.v1 import recordings_pb2, types_pb2
from signalbox.catalog import names
from signalbox.errors import DatabaseUnavailableError, ObjectsUnavailableError
from signalbox.recorder import failures, outages, work
from signalbox.store.objectstore import once
from support.captures_fake import ANSWERED_S, FakeNode, facts
from support.recording_work import Bench, FakePool
from support.wait import until

if TYPE_CHECKING:
    from pathlib import Path

    from signalbox.catalog.catalog import Found
    from signalbox.store.memory import MemoryStore

FOLDER = "recordings/acme/2025/06/15/"
OGG = types_pb2.RECORDING_FORMAT_OGG_OPUS


@pytest.fixture(autouse=True)
def no_pauses(monkeypatch: pytest.MonkeyPatch) -> None:
    """What is tried again is tried again soon."""
    monkeypatch.setattr(failures, "OVERTAKEN_AFTER_S", 0.05)
    for module in (failures, outages, work):
        monkeypatch.setattr(module, "pause_s", lambda *_: 0.05)


async def gone(node: FakeNode, call_id: str = "c1") -> None:
    await until(lambda: call_id not in node.captures)


async def get(bench: Bench, call_id: str = "c1") -> Found:
    found = await bench.catalog.get(call_id)
    assert found is not None
    return found


def objects(*attempts: int) -> list[str]:
    return [f"{FOLDER}c1.{attempt}{suffix}" for attempt in attempts for suffix in (".json", ".ogg")]


async def put(bench: Bench, attempt: int, known: recording_pb2.CallFacts | None = None) -> str:
    """What an attempt leaves that is killed before the row is stored."""
    audio = names.audio(known or facts("c1"), attempt, OGG)
    for name in (audio, names.metadata(audio)):
        await bench.vault.put("acme", name, once(b"all that was said"))
    return audio


async def test_what_is_captured_after_the_recording_was_stored_is_stored_with_the_rest(
    bench: Bench, node: FakeNode
) -> None:
    node.add("c1", b"first half")
    bench.start()
    await gone(node)
    node.add("c1", b"first half", b", second half")
    await gone(node)
    assert await bench.audio("c1") == b"first half, second half"
    assert bench.names() == objects(2)
    assert not (await get(bench)).recording.partial


async def test_what_is_captured_when_the_rest_is_gone_makes_the_recording_partial_and_stays(
    bench: Bench, node: FakeNode
) -> None:
    node.add("c1", b"first half")
    bench.start()
    await gone(node)
    node.add("c1", b"second half", start_s=ANSWERED_S + 60)
    await until(lambda: bench.metric("failures_total", kind="severed") >= 1)
    await until(lambda: bench.metric("captures_unreadable") == 1)
    found = await get(bench)
    assert (found.recording.partial, list(found.recording.reasons)) == (True, ["captured_later"])
    assert found.recording.state == recordings_pb2.RECORDING_STATE_STORED
    assert "c1" in node.captures
    assert await bench.audio("c1") == b"first half"
    assert bench.metric("partial_total") == 1


async def test_a_recording_that_cannot_be_replaced_yet_is_kept(
    bench: Bench, node: FakeNode, monkeypatch: pytest.MonkeyPatch
) -> None:
    node.add("c1", b"first half")
    bench.start()
    await gone(node)
    finish, failed = bench.catalog.finish, 0

    async def away(*told: object) -> bool:
        nonlocal failed
        failed += 1
        assert await bench.audio("c1") == b"first half"
        if failed <= 2:
            raise DatabaseUnavailableError("away")
        return await finish(*told)

    monkeypatch.setattr(bench.catalog, "finish", away)
    node.add("c1", b"first half", b", second half")
    await gone(node)
    assert await bench.audio("c1") == b"first half, second half"
    assert bench.names() == objects(4)


async def test_a_node_that_burns_after_all_was_pulled_loses_nothing(store: MemoryStore, fast_path: Path) -> None:
    pool = FakePool(hold=asyncio.Event())
    async with Bench.open(store, fast_path, pool=pool, lease_s=1) as bench:
        async with FakeNode().serving(store) as node:
            node.add("c1", b"all of the call")
            bench.start()
            await until(lambda: pool.begun == 1)
        assert pool.hold is not None
        pool.hold.set()
        await until(lambda: bench.metric("stored_total") == 1)
        assert await bench.audio("c1") == b"all of the call"
        await until(lambda: not bench.work.jobs)


async def test_what_was_pulled_from_a_node_that_has_burnt_waits_for_the_object_store(
    store: MemoryStore, fast_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    pool = FakePool(hold=asyncio.Event())
    async with Bench.open(store, fast_path, pool=pool, lease_s=1) as bench:
        works = bench.vault.put

        async def away(*_: object) -> None:
            raise ObjectsUnavailableError("away")

        monkeypatch.setattr(bench.vault, "put", away)
        async with FakeNode().serving(store) as node:
            node.add("c1", b"all of the call")
            bench.start()
            await until(lambda: pool.begun == 1)
        assert pool.hold is not None
        pool.hold.set()
        await until(lambda: bench.metric("failures_total", kind="objects") >= 2)
        monkeypatch.setattr(bench.vault, "put", works)
        await until(lambda: bench.metric("stored_total") == 1)
        assert await bench.audio("c1") == b"all of the call"
        assert len(bench.names()) == 2


async def test_a_claim_that_another_has_by_now_ends_a_job_that_waits(
    bench: Bench, node: FakeNode, monkeypatch: pytest.MonkeyPatch
) -> None:
    works = bench.vault.put

    async def lost(*_: object) -> None:
        monkeypatch.setattr(bench.vault, "put", works)
        node.forget_claims()
        raise ObjectsUnavailableError("away")

    monkeypatch.setattr(bench.vault, "put", lost)
    node.add("c1")
    bench.start()
    await gone(node)
    assert bench.metric("failures_total", kind="claim_lost") == 1
    assert bench.names() == objects(2)


async def test_who_is_overtaken_and_cannot_delete_its_objects_has_them_deleted_later(
    bench: Bench, node: FakeNode, monkeypatch: pytest.MonkeyPatch
) -> None:
    finish, delete = bench.catalog.finish, bench.vault.delete

    async def away(name: str) -> None:
        monkeypatch.setattr(bench.vault, "delete", delete)
        raise ObjectsUnavailableError("away")

    async def overtaken(recording: recordings_pb2.Recording, *told: object) -> bool:
        monkeypatch.setattr(bench.catalog, "finish", finish)
        monkeypatch.setattr(bench.vault, "delete", away)
        other = await bench.catalog.begin(facts("c1"))
        assert await finish(recording, other.attempt, await put(bench, other.attempt))
        return await finish(recording, *told)

    monkeypatch.setattr(bench.catalog, "finish", overtaken)
    node.add("c1")
    bench.start()
    await gone(node)
    assert bench.names() == objects(2)
    assert bench.metric("failures_total", kind="objects") == 1


async def test_what_a_killed_attempt_left_of_a_recording_that_was_deleted_is_deleted(
    bench: Bench, node: FakeNode
) -> None:
    await bench.catalog.promise([recording_pb2.Promise(proxy="p1", sequence=1, facts=facts("c1"))])
    await bench.catalog.missing("c1", ["media_node_lost"], 1)
    begun = await bench.catalog.begin(facts("c1"))
    found = await get(bench)
    assert await bench.catalog.doom(found)
    assert await bench.catalog.forget(found, "", "by order")
    await put(bench, begun.attempt)
    node.add("c1")
    bench.start()
    await gone(node)
    assert bench.names() == []


async def test_what_was_looked_for_once_is_not_looked_for_by_every_attempt(
    bench: Bench, node: FakeNode, monkeypatch: pytest.MonkeyPatch
) -> None:
    for attempt in range(1, 21):
        assert (await bench.catalog.begin(facts("c1"))).attempt == attempt
    await put(bench, 7)
    works, deleted, failed = bench.vault.put, list[str](), 0
    delete = bench.vault.delete

    async def noted(name: str) -> None:
        deleted.append(name)
        await delete(name)

    async def away(*told: object) -> None:
        nonlocal failed
        failed += 1
        if failed == 3:
            monkeypatch.setattr(bench.vault, "put", works)
        raise ObjectsUnavailableError("away")

    monkeypatch.setattr(bench.vault, "delete", noted)
    monkeypatch.setattr(bench.vault, "put", away)
    node.add("c1")
    bench.start()
    await gone(node)
    assert bench.names() == objects(24)
    assert sum(f"c1.{attempt}." in name for attempt in range(1, 21) for name in deleted) == 20 * 3
    assert len(deleted) <= 20 * 3 + 4 * 3 * 3
