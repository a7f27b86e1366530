"""Recordings whose time is over, or that somebody wants gone, are: once, provably."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import grpc
import pytest
from signalbox.api.provisioning.v1 import recordings_pb2 as pb
from signalbox.api.types.v1 import recordings_pb2
from support.audit import told, waiting
from support.disposals import SOON, SOON_S, notes
from support.provisioning import refused
from support.recordings import NODE, sound

if TYPE_CHECKING:
    from support.clock import Clock
    from support.recordings import Tapes


async def test_time_deletes_what_is_due_and_nothing_else(api: Tapes, clock: Clock) -> None:
    await api.recorder.store("c1", expire_ms=SOON)
    await api.recorder.store("c2", expire_ms=SOON + 1000)
    await api.recorder.promise("c3")
    await api.recorder.promise("c4")
    await api.catalog.missing("c4", ["disk_full"], SOON)
    clock.advance(SOON_S - 1)
    assert await api.service.disposal.sweep() == 0
    clock.advance(1)
    assert await api.service.disposal.sweep() == 2
    page = await api.api.ListRecordings(pb.ListRecordingsRequest())
    assert sorted(one.call_id for one in page.recordings) == ["c2", "c3"]
    assert len(api.files()) == 2
    assert sorted(told(await waiting(api.store))) == [("recording", "acme", f"c{n}", "deleted") for n in (1, 4)]


async def test_more_than_are_looked_up_at_once_all_go(
    api: Tapes, clock: Clock, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("signalbox.provisioning.recordings.disposal.AT_ONCE", 2)
    for number in range(5):
        await api.recorder.store(f"c{number}", b"x", expire_ms=SOON)
    clock.advance(SOON_S)
    assert await api.service.disposal.sweep() == 5


async def test_the_record_tells_what_it_was_but_not_who_called(api: Tapes) -> None:
    made = await api.recorder.store("c1")
    await api.api.DeleteRecording(pb.DeleteRecordingRequest(call_id="c1"))
    (record,) = await waiting(api.store)
    assert record.method == "DeleteRecording"
    was = recordings_pb2.Recording()
    assert record.change.before.object.Unpack(was)
    assert (was.number, was.sha256, was.media_node, was.caller) == (made.number, made.sha256, NODE, "")
    assert was.answer_time == made.answer_time
    (event,) = (await api.api.ListRecordingEvents(pb.ListRecordingEventsRequest(after=1))).events
    assert (event.kind, event.actor, event.detail) == (
        recordings_pb2.RECORDING_EVENT_KIND_DELETED,
        "anonymous",
        "by order",
    )


async def test_what_is_held_stays_until_that_is_lifted(api: Tapes, clock: Clock) -> None:
    await api.recorder.store("c1", expire_ms=SOON)
    await api.api.SetLegalHold(pb.SetLegalHoldRequest(call_id="c1", legal_hold=True))
    clock.advance(SOON_S * 100)
    assert await api.service.disposal.sweep() == 0
    with refused(grpc.StatusCode.FAILED_PRECONDITION, "ON_HOLD"):
        await api.api.DeleteRecording(pb.DeleteRecordingRequest(call_id="c1"))
    assert await api.download("c1") == sound()
    await api.api.SetLegalHold(pb.SetLegalHoldRequest(call_id="c1", legal_hold=False))
    assert await api.service.disposal.sweep() == 1
    assert api.files() == []


@pytest.mark.parametrize("ordered", [False, True])
async def test_a_hold_that_comes_just_before_the_mark_wins(
    api: Tapes, clock: Clock, ordered: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    await api.recorder.store("c1", expire_ms=SOON)
    clock.advance(SOON_S)
    doom = api.catalog.doom

    async def late(found: Any) -> bool:
        if not found.recording.legal_hold:
            await api.catalog.hold(found, True, "somebody")
        return await doom(found)

    monkeypatch.setattr(api.catalog, "doom", late)
    if ordered:
        with refused(grpc.StatusCode.FAILED_PRECONDITION, "ON_HOLD"):
            await api.api.DeleteRecording(pb.DeleteRecordingRequest(call_id="c1"))
    else:
        assert await api.service.disposal.sweep() == 0
    assert len(api.files()) == 2
    assert await api.download("c1") == sound()
    assert told(await waiting(api.store)) == [("recording", "acme", "c1", "read")]
    assert await notes(api) == []


async def test_a_hold_that_comes_after_the_mark_finds_nothing(api: Tapes) -> None:
    await api.recorder.store("c1")
    found = await api.catalog.get("c1")
    assert found is not None
    assert await api.catalog.doom(found)
    with refused(grpc.StatusCode.NOT_FOUND, "RESOURCE_NOT_FOUND"):
        await api.api.SetLegalHold(pb.SetLegalHoldRequest(call_id="c1", legal_hold=True))
    with refused(grpc.StatusCode.NOT_FOUND, "RESOURCE_NOT_FOUND"):
        await api.download("c1")
    await api.api.DeleteRecording(pb.DeleteRecordingRequest(call_id="c1"))
    assert api.files() == []


async def test_a_call_that_goes_on_keeps_its_recording(api: Tapes) -> None:
    await api.recorder.promise("c1")
    with refused(grpc.StatusCode.FAILED_PRECONDITION, "RESOURCE_IN_USE"):
        await api.api.DeleteRecording(pb.DeleteRecordingRequest(call_id="c1"))
    with refused(grpc.StatusCode.NOT_FOUND, "RESOURCE_NOT_FOUND"):
        await api.api.DeleteRecording(pb.DeleteRecordingRequest(call_id="c2"))
    with refused(grpc.StatusCode.NOT_FOUND, "RESOURCE_NOT_FOUND"):
        await api.api.DeleteRecording(pb.DeleteRecordingRequest(tenant="best", call_id="c1"))
