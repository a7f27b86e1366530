"""Promises compared with what nodes have, through the services of both."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest
from signalbox.api.recording.v1 import recording_pb2
from signalbox.api.types.v1 import recordings_pb2, types_pb2
from signalbox.errors import DatabaseUnavailableError
from signalbox.recorder.keeping import reconcile
from signalbox.recorder.policy import LATEST_MS
from signalbox.store import codec, keys
from signalbox.store.base import Put
from structlog.testing import capture_logs
from support.captures_fake import ANSWERED_S, FakeNode, facts
from support.recording_work import LOST_AFTER_S, Bench
from support.wait import until

if TYPE_CHECKING:
    from signalbox.store.memory import MemoryStore

STEP_S = 31.0
DAY_S = 86_400
ACTIVE = recording_pb2.CAPTURE_STATE_ACTIVE


async def promise(bench: Bench, *call_ids: str, node: int = 1) -> None:
    promises = [
        recording_pb2.Promise(proxy="p1", sequence=number, facts=facts(call_id, node))
        for number, call_id in enumerate(call_ids, 1)
    ]
    await bench.catalog.promise(promises)


async def looks(bench: Bench, *times: float) -> None:
    await until(lambda: bench.nodes.known)
    for now in times:
        await bench.reconciler.look(now)


async def state(bench: Bench, call_id: str) -> tuple[str, list[str]]:
    found = await bench.catalog.get(call_id)
    assert found is not None
    name = recordings_pb2.RecordingState.Name(found.recording.state).removeprefix("RECORDING_STATE_").lower()
    return name, list(found.recording.reasons)


async def test_what_was_never_captured_is_missing(bench: Bench, node: FakeNode, store: MemoryStore) -> None:
    policy = types_pb2.RecordingPolicy(retention={"seconds": 10 * DAY_S})
    await store.commit([], [Put(keys.tenant("acme"), codec.encode(types_pb2.Tenant(id="acme", recording=policy)))])
    await promise(bench, "c1", "c2")
    node.add("c2", state=ACTIVE)
    await looks(bench, 0, STEP_S, 2 * STEP_S)
    assert await state(bench, "c1") == ("missing", ["not_captured"])
    assert await state(bench, "c2") == ("promised", [])
    found = await bench.catalog.get("c1")
    assert found is not None
    assert found.recording.expire_time.seconds >= ANSWERED_S + 10 * DAY_S
    assert bench.metric("missing_total", reason="not_captured") == 1
    assert bench.metric("captures", node="media-1", state="active") == 1


async def test_many_promises_are_read_in_pages(bench: Bench, node: FakeNode, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(reconcile, "PAGE", 2)
    await promise(bench, *"abcde")
    await looks(bench, 0, STEP_S, 2 * STEP_S)
    assert bench.metric("missing_total", reason="not_captured") == 5


async def test_a_living_call_without_a_capture_is_alarmed_once(bench: Bench, node: FakeNode) -> None:
    await promise(bench, "c1")
    node.calls.add("c1")
    with capture_logs() as logs:
        await looks(bench, 0, STEP_S, 2 * STEP_S)
    assert [log["call_id"] for log in logs if log["event"] == "call_not_captured"] == ["c1"]
    assert bench.metric("calls_not_captured") == 1
    assert await state(bench, "c1") == ("promised", [])
    node.calls.clear()
    node.add("c1")
    await looks(bench, 3 * STEP_S)
    assert bench.metric("calls_not_captured") == 0


async def test_a_node_that_is_not_registered_is_lost_in_the_end_and_what_it_had_is_stored_when_it_is_back(
    bench: Bench, store: MemoryStore
) -> None:
    await promise(bench, "c1", node=7)
    await looks(bench, 0, LOST_AFTER_S - 1)
    assert await state(bench, "c1") == ("promised", [])
    assert bench.metric("unreachable_nodes") == 1
    await looks(bench, LOST_AFTER_S)
    assert await state(bench, "c1") == ("missing", ["media_node_lost"])
    async with FakeNode("media-7", 7).serving(store) as back:
        back.add("c1", known=facts("c1", 7))
        bench.start()
        await until(lambda: not back.captures)
    assert (await state(bench, "c1"))[0] == "stored"


async def test_a_node_that_does_not_answer_is_as_one_that_is_gone(bench: Bench, store: MemoryStore) -> None:
    async with FakeNode().serving() as dead:
        await dead.register(store)
    await promise(bench, "c1")
    await until(lambda: bool(bench.nodes.all()))
    await looks(bench, 0, LOST_AFTER_S)
    assert await state(bench, "c1") == ("missing", ["media_node_lost"])


async def test_a_node_that_says_it_is_another_is_not_believed(bench: Bench, node: FakeNode) -> None:
    await promise(bench, "c1")
    node.number = 2
    await until(lambda: bool(bench.nodes.all()))
    await looks(bench, 0, STEP_S, 2 * STEP_S)
    assert await state(bench, "c1") == ("promised", [])
    assert bench.metric("unreachable_nodes") == 1


async def test_nothing_is_judged_before_the_nodes_are_known(bench: Bench, store: MemoryStore) -> None:
    bench.following.cancel()
    await promise(bench, "c1")
    bench.nodes._mirror.synced.clear()
    for now in (0, LOST_AFTER_S):
        await bench.reconciler.look(now)
    assert await state(bench, "c1") == ("promised", [])


async def test_one_tenant_whose_object_is_damaged_keeps_no_other_from_being_told(
    bench: Bench, node: FakeNode, store: MemoryStore
) -> None:
    await store.commit([], [Put(keys.tenant("acme"), b"\xff")])
    await promise(bench, "a1")
    await bench.catalog.promise([recording_pb2.Promise(proxy="p1", sequence=9, facts=facts("b1", tenant="globex"))])
    await looks(bench, 0, STEP_S, 2 * STEP_S)
    assert await state(bench, "a1") == ("promised", [])
    assert await state(bench, "b1") == ("missing", ["not_captured"])


async def test_one_row_that_nobody_expected_keeps_no_other_from_being_told(
    bench: Bench, node: FakeNode, monkeypatch: pytest.MonkeyPatch
) -> None:
    missing = bench.catalog.missing

    async def broken(call_id: str, *told: object) -> bool:
        if call_id == "c1":
            raise ValueError("out of range")
        return await missing(call_id, *told)

    monkeypatch.setattr(bench.catalog, "missing", broken)
    await promise(bench, "c1", "c2")
    await looks(bench, 0, STEP_S, 2 * STEP_S)
    assert await state(bench, "c1") == ("promised", [])
    assert await state(bench, "c2") == ("missing", ["not_captured"])


async def test_a_call_that_was_answered_in_a_far_future_is_missing_all_the_same(bench: Bench, node: FakeNode) -> None:
    far = facts("c1")
    far.answer_time.FromSeconds(LATEST_MS // 1000)
    await bench.catalog.promise([recording_pb2.Promise(proxy="p1", sequence=1, facts=far)])
    await looks(bench, 0, STEP_S, 2 * STEP_S)
    found = await bench.catalog.get("c1")
    assert found is not None
    assert found.recording.expire_time.ToMilliseconds() == LATEST_MS


async def test_a_database_that_is_away_passes_to_who_waits_for_it(
    bench: Bench, node: FakeNode, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def away() -> list[int]:
        raise DatabaseUnavailableError("away")

    monkeypatch.setattr(bench.catalog, "nodes", away)
    await until(lambda: bench.nodes.known)
    with pytest.raises(DatabaseUnavailableError):
        await bench.reconciler.look(0)
