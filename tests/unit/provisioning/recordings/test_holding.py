"""Legal holds: set by whoever keeps rules, lifted by the operator; never on an older version than was seen."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import grpc
import pytest
from signalbox.api.provisioning.v1 import recordings_pb2 as pb
from signalbox.api.types.v1 import recordings_pb2
from signalbox.provisioning.access import ADMINISTRATOR
from signalbox.provisioning.recordings import service as recording_service
from support.audit import forget, told, waiting
from support.provisioning import refused

from .test_recordings import caller_of

if TYPE_CHECKING:
    from support.recordings import Tapes


def hold(legal_hold: bool = True, **fields: Any) -> pb.SetLegalHoldRequest:
    return pb.SetLegalHoldRequest(call_id="c1", legal_hold=legal_hold, **fields)


async def test_a_hold_is_set_and_lifted_with_records_and_events(api: Tapes) -> None:
    before = await api.recorder.store("c1")
    held = await api.api.SetLegalHold(hold())
    assert held.legal_hold
    assert held == await api.get("c1")
    assert held.sha256 == before.sha256
    lifted = await api.api.SetLegalHold(hold(False, etag=held.etag))
    assert not lifted.legal_hold
    records = await waiting(api.store)
    assert told(records) == [("recording", "acme", "c1", "changed")] * 2
    states = []
    for record in records:
        for state in (record.change.before, record.change.after):
            seen = recordings_pb2.Recording()
            assert state.object.Unpack(seen)
            states.append(seen.legal_hold)
            assert seen.caller == ""
    assert states == [False, True, True, False]
    assert await api.happened() == [("hold_changed", "c1", "anonymous")] * 2


async def test_what_is_so_already_makes_no_record(api: Tapes) -> None:
    await api.recorder.store("c1")
    first = await api.api.SetLegalHold(hold())
    await forget(api.store)
    assert await api.api.SetLegalHold(hold()) == first
    assert await waiting(api.store) == []


async def test_another_version_is_left_alone(api: Tapes) -> None:
    seen = await api.recorder.store("c1")
    etag = (await api.get("c1")).etag
    await api.api.SetLegalHold(hold(etag=etag))
    with refused(grpc.StatusCode.ABORTED, "ETAG_MISMATCH") as refusal:
        await api.api.SetLegalHold(hold(False, etag=etag))
    assert refusal.metadata["given"] == etag
    assert (await api.get("c1")).legal_hold
    assert seen.etag == ""


async def test_a_tenant_sets_and_the_operator_lifts(api: Tapes) -> None:
    await api.recorder.store("c1")
    caller = await caller_of(api, "acme", ADMINISTRATOR)
    assert (await caller.SetLegalHold(hold(tenant="acme"))).legal_hold
    with refused(grpc.StatusCode.PERMISSION_DENIED, "PERMISSION_REFUSED"):
        await caller.SetLegalHold(hold(False, tenant="acme"))
    assert (await api.get("c1")).legal_hold
    assert not (await api.api.SetLegalHold(hold(False))).legal_hold
    assert not (await caller.SetLegalHold(hold(False, tenant="acme"))).legal_hold, "there is nothing to lift"


@pytest.mark.parametrize("etag", [False, True])
async def test_a_change_in_between_is_seen(api: Tapes, etag: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    await api.recorder.promise("c1")
    first = await api.get("c1")
    write = api.catalog.hold
    late = [True]

    async def after_another(found: Any, hold: bool, actor: str) -> recordings_pb2.Recording:
        if late:
            late.pop()
            await api.recorder.store("c1")
        return await write(found, hold, actor)

    monkeypatch.setattr(api.catalog, "hold", after_another)
    if etag:
        with refused(grpc.StatusCode.ABORTED, "ETAG_MISMATCH"):
            await api.api.SetLegalHold(hold(etag=first.etag))
    else:
        held = await api.api.SetLegalHold(hold())
        assert (held.legal_hold, held.state) == (True, recordings_pb2.RECORDING_STATE_STORED)


async def test_changes_without_end_are_told(api: Tapes, monkeypatch: pytest.MonkeyPatch) -> None:
    await api.recorder.store("c1")
    monkeypatch.setattr(recording_service, "HOLD_ATTEMPTS", 2)
    write = api.catalog.hold

    async def late(found: Any, hold: bool, actor: str) -> recordings_pb2.Recording:
        for one in (True, False):
            newest = await api.catalog.get("c1")
            assert newest is not None
            await write(newest, one, "somebody")
        return await write(found, hold, actor)

    monkeypatch.setattr(api.catalog, "hold", late)
    with refused(grpc.StatusCode.ABORTED, "ETAG_MISMATCH"):
        await api.api.SetLegalHold(hold())
