"""Pausing: the node that captures is told, and what it says is what the caller hears."""

from __future__ import annotations

import asyncio
import socket
import time
from typing import TYPE_CHECKING, Any

import grpc
import pytest
from signalbox import pki, rpc
from signalbox.api.provisioning.v1 import recordings_pb2 as pb
from signalbox.api.recording.v1 import recording_pb2_grpc
from signalbox.catalog.catalog import Catalog
from signalbox.errors import (
    ConfigurationError,
    DatabaseUnavailableError,
    MediaNodeUnavailableError,
    NotFoundError,
    NotRecordedError,
    StoreUnavailableError,
)
from signalbox.provisioning.access import ADMINISTRATOR
from signalbox.provisioning.recordings.captures import Captures
from signalbox.settings import ClientTlsSettings, ServerTlsSettings
from signalbox.store.memory import MemoryStore
from support.audit import waiting
from support.provisioning import refused
from support.recordings import ANSWERED_MS, NODE, Node, caller_of, register

if TYPE_CHECKING:
    from pathlib import Path

    from support.recordings import Tapes


async def pause(api: Tapes, call_id: str = "c1") -> None:
    await api.api.PauseRecording(pb.PauseRecordingRequest(call_id=call_id))


async def test_a_recording_pauses_and_goes_on(api: Tapes) -> None:
    await api.recorder.promise("c1")
    await pause(api)
    await pause(api)
    await api.api.ResumeRecording(pb.ResumeRecordingRequest(call_id="c1"))
    assert api.node.asked == [("c1", True), ("c1", True), ("c1", False)]
    records = await waiting(api.store)
    assert [(one.method, one.change.kind, one.change.id, one.change.paused, one.change.resumed) for one in records] == [
        ("PauseRecording", "recording", "c1", True, False),
        ("PauseRecording", "recording", "c1", True, False),
        ("ResumeRecording", "recording", "c1", False, True),
    ]
    assert [what for what, *_ in await api.happened("c1")] == ["paused", "paused", "resumed"]


@pytest.mark.parametrize("error", [NotFoundError("call", "c1"), NotRecordedError("c1")])
async def test_a_node_that_does_not_record_it_says_so(api: Tapes, error: Exception) -> None:
    await api.recorder.promise("c1")
    api.node.error = error
    with refused(grpc.StatusCode.FAILED_PRECONDITION, "NOT_RECORDED") as refusal:
        await pause(api)
    assert refusal.metadata["id"] == "c1"
    assert await api.happened() == [], "nothing has paused"
    assert len(await waiting(api.store)) == 1, "but it was ordered"


@pytest.mark.parametrize("state", ["stored", "missing", "deleting"])
async def test_the_node_is_asked_whatever_is_known_of_the_recording(api: Tapes, state: str) -> None:
    if state == "missing":
        await api.recorder.promise("c1")
        await api.catalog.missing("c1", ["media_node_lost"], ANSWERED_MS)
    else:
        await api.recorder.store("c1", b"x")
    if state == "deleting":
        found = await api.catalog.get("c1")
        assert found is not None
        assert await api.catalog.doom(found)
    await pause(api)
    assert api.node.asked == [("c1", True)]
    api.node.error = NotFoundError("call", "c1")
    with refused(grpc.StatusCode.FAILED_PRECONDITION, "NOT_RECORDED"):
        await pause(api)


async def test_an_order_of_the_operator_goes_to_all_nodes_if_nothing_is_known_of_the_call(api: Tapes) -> None:
    await register(api.store, "", 8)
    await pause(api)
    assert api.node.asked == [("c1", True)]
    (record,) = await waiting(api.store)
    assert (record.change.tenant, record.change.id, record.change.paused) == ("", "c1", True)
    assert [what for what, *_ in await api.happened("c1")] == ["paused"]
    api.node.error = NotFoundError("call", "c1")
    with refused(grpc.StatusCode.NOT_FOUND, "RESOURCE_NOT_FOUND"):
        await pause(api)
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        await register(api.store, f"127.0.0.1:{taken.getsockname()[1]}", 9)
        # That one may have it.
        with refused(grpc.StatusCode.UNAVAILABLE, "MEDIA_NODE_UNAVAILABLE") as refusal:
            await pause(api)
        assert refusal.metadata["media_node"] == "9"
        api.node.error = None
        await pause(api)
    with refused(grpc.StatusCode.NOT_FOUND, "RESOURCE_NOT_FOUND"):
        await api.recorder.promise("c2")
        await api.api.PauseRecording(pb.PauseRecordingRequest(call_id="c2", tenant="best"))


async def test_without_a_media_node_nobody_has_said_that_a_call_is_not_there() -> None:
    with pytest.raises(MediaNodeUnavailableError, match="none is registered"):
        await Captures(MemoryStore(), ClientTlsSettings()).set_paused_anywhere("c1", True)


async def test_the_operator_pauses_without_a_database_and_tenants_hear_of_it(
    api: Tapes, monkeypatch: pytest.MonkeyPatch
) -> None:
    caller = await caller_of(api, "acme", ADMINISTRATOR)
    await api.recorder.promise("c1")
    asked = pb.PauseRecordingRequest(call_id="c1", tenant="acme")

    async def away(*arguments: Any, **named: Any) -> Any:
        raise DatabaseUnavailableError("away")

    async def hangs(*arguments: Any, **named: Any) -> Any:
        await asyncio.Event().wait()

    for instead in (away, hangs):
        with monkeypatch.context() as broken:
            broken.setattr(Catalog, "get", instead)
            broken.setattr(Catalog, "event", instead)
            await pause(api)
            if instead is away:
                with refused(grpc.StatusCode.UNAVAILABLE, "DATABASE_UNAVAILABLE"):
                    await caller.PauseRecording(asked)
    assert api.node.asked == [("c1", True)] * 2
    assert [one.change.paused for one in await waiting(api.store) if one.change.kind == "recording"] == [True, True]


async def test_an_order_of_a_tenant_waits_for_the_row_and_for_its_own_alone(api: Tapes) -> None:
    caller = await caller_of(api, "acme", ADMINISTRATOR)
    waits = asyncio.ensure_future(caller.PauseRecording(pb.PauseRecordingRequest(call_id="c1", tenant="acme")))
    await asyncio.sleep(0.05)
    await api.recorder.promise("c1")
    await waits
    assert api.node.asked == [("c1", True)]
    await api.recorder.promise("c2", "best")
    for call_id in ("c2", "c3"):
        began = time.monotonic()
        with refused(grpc.StatusCode.NOT_FOUND, "RESOURCE_NOT_FOUND"):
            await caller.PauseRecording(pb.PauseRecordingRequest(call_id=call_id, tenant="acme"))
        assert time.monotonic() - began >= 0.2, "the time it takes does not tell whether another has it"
    assert len(api.node.asked) == 1


@pytest.mark.parametrize("error", [StoreUnavailableError("away"), RuntimeError("a mistake")])
async def test_a_node_that_cannot_is_unavailable(api: Tapes, error: Exception) -> None:
    await api.recorder.promise("c1")
    api.node.error = error
    with refused(grpc.StatusCode.UNAVAILABLE, "MEDIA_NODE_UNAVAILABLE") as refusal:
        await pause(api)
    assert refusal.metadata["media_node"] == str(NODE)


async def test_a_node_that_is_not_there_is_unavailable(api: Tapes) -> None:
    await api.recorder.promise("c1", media_node=9)
    with refused(grpc.StatusCode.UNAVAILABLE, "MEDIA_NODE_UNAVAILABLE") as refusal:
        await pause(api)
    assert "it is not registered" in refusal.message
    await register(api.store, "", 9)
    with refused(grpc.StatusCode.UNAVAILABLE, "MEDIA_NODE_UNAVAILABLE") as refusal:
        await pause(api)
    assert "media-9 captures nothing" in refusal.message


async def test_a_node_that_does_not_answer_is_given_up(api: Tapes) -> None:
    await api.recorder.promise("c1")
    with socket.socket() as silent:
        silent.bind(("127.0.0.1", 0))
        silent.listen()
        await register(api.store, f"127.0.0.1:{silent.getsockname()[1]}")
        with refused(grpc.StatusCode.UNAVAILABLE, "MEDIA_NODE_UNAVAILABLE"):
            await pause(api)
    with refused(grpc.StatusCode.UNAVAILABLE, "MEDIA_NODE_UNAVAILABLE"):
        await pause(api)


async def test_the_node_is_told_over_tls_as_the_operator(tmp_path: Path) -> None:
    shown, asked = pki.issue(tmp_path, "media-1", server=True), pki.issue(tmp_path, "provisioning", server=False)
    node, server, store = Node(), grpc.aio.server(), MemoryStore()
    recording_pb2_grpc.add_CaptureServiceServicer_to_server(node, server)
    listening = ServerTlsSettings(ca_file=shown.ca, cert_file=shown.cert, key_file=shown.key)
    port = rpc.bind(server, "127.0.0.1:0", listening)
    await server.start()
    try:
        await register(store, f"127.0.0.1:{port}")
        tls = ClientTlsSettings(ca_file=asked.ca, cert_file=asked.cert, key_file=asked.key)
        await Captures(store, tls).set_paused(NODE, "c1", True)
        assert node.asked == [("c1", True)]
        with pytest.raises(MediaNodeUnavailableError):
            await Captures(store, ClientTlsSettings(), deadline_s=0.5).set_paused(NODE, "c1", False)
        assert len(node.asked) == 1
    finally:
        await server.stop(None)


def test_files_that_cannot_be_read_are_told_at_the_start(tmp_path: Path) -> None:
    tls: Any = ClientTlsSettings(ca_file=tmp_path / "ca.pem")
    with pytest.raises(ConfigurationError, match=r"ca\.pem"):
        Captures(MemoryStore(), tls)
