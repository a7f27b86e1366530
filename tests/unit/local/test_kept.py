"""How the demo fetches a recording, and what it says when that cannot be done."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from types import SimpleNamespace
from typing import TYPE_CHECKING, Any, cast

import grpc
import pytest
from signalbox.api.provisioning.v1 import recordings_pb2_grpc
from signalbox.api.types.v1 import recordings_pb2 as types
from signalbox.api.types.v1.types_pb2 import RECORDING_FORMAT_WAV
from signalbox_local.cluster import Cluster, ClusterError
from signalbox_local.demo import kept as module
from signalbox_local.demo.kept import fetch
from support.ports import free_address

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

CALL = "edge-1-69c1f0a0-1-11"


class Recordings(recordings_pb2_grpc.RecordingServiceServicer):
    """Gives a recording in one state after the other; the last one stays. None: there is no such recording."""

    def __init__(self) -> None:
        self.states: list[types.RecordingState.ValueType | None] = [types.RECORDING_STATE_STORED]
        self.error = grpc.StatusCode.NOT_FOUND

    def GetRecording(self, request: Any, context: grpc.ServicerContext) -> types.Recording:
        state = self.states.pop(0) if len(self.states) > 1 else self.states[0]
        if state is None:
            context.abort(self.error, "no such recording")
        return types.Recording(call_id=request.call_id, state=state, format=RECORDING_FORMAT_WAV)


@pytest.fixture
def recordings() -> Recordings:
    return Recordings()


@pytest.fixture
def cluster(recordings: Recordings, tmp_path: Path) -> Iterator[Cluster]:
    """One whose provisioning service has these recordings, and whose manifest nobody wrote."""
    address = free_address()
    with ThreadPoolExecutor(2) as pool:
        server = grpc.server(pool)
        recordings_pb2_grpc.add_RecordingServiceServicer_to_server(recordings, server)
        server.add_insecure_port(address)
        server.start()
        made = SimpleNamespace(directory=tmp_path, provisioning_channel=lambda: grpc.insecure_channel(address))
        try:
            yield cast("Cluster", made)
        finally:
            server.stop(None).wait()


def test_a_recording_that_is_not_stored_in_time_is_told_with_its_state(
    cluster: Cluster, recordings: Recordings, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "STORED_TIMEOUT_S", 0.2)
    recordings.states = [None, types.RECORDING_STATE_PROMISED]
    with pytest.raises(ClusterError, match=f"the recording of {CALL} was not there within 0 s: .*PROMISED"):
        fetch(cluster, CALL, "message")


def test_a_service_that_cannot_say_is_no_recording_that_is_missing(cluster: Cluster, recordings: Recordings) -> None:
    recordings.states, recordings.error = [None], grpc.StatusCode.UNAVAILABLE
    with pytest.raises(grpc.RpcError) as caught:
        fetch(cluster, CALL, "message")
    assert caught.value.code() is grpc.StatusCode.UNAVAILABLE


def test_what_the_command_says_that_could_not_fetch_it_is_told(cluster: Cluster, recordings: Recordings) -> None:
    recordings.states = [None, types.RECORDING_STATE_STORED]
    with pytest.raises(
        ClusterError, match=f"(?s)signalbox recordings get {CALL}: .*cluster.json: No such file"
    ) as caught:
        fetch(cluster, CALL, "message")
    assert "Traceback" not in str(caught.value)
