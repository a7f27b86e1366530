"""Recordings fetched as anybody fetches them: with the command."""

from __future__ import annotations

import subprocess
import sys
import time
from typing import TYPE_CHECKING

from signalbox.api.provisioning.v1 import recordings_pb2_grpc
from signalbox.api.types.v1 import recordings_pb2 as types
from signalbox.catalog.names import suffix

from signalbox_local import manifest
from signalbox_local.cluster import ClusterError
from signalbox_local.demo.recorded import POLL_S, STORED_TIMEOUT_S, find
from signalbox_local.demo.steps import TENANT

if TYPE_CHECKING:
    from pathlib import Path

    from signalbox_local.cluster import Cluster


def fetch(cluster: Cluster, call_id: str, stem: str) -> tuple[types.Recording, Path]:
    """Wait until the recording of a call is stored, and fetch it into the cluster's directory as ``stem`` with the
    suffix of its format. Raises ClusterError, grpc.RpcError."""
    recording = _stored(cluster, call_id)
    file = cluster.directory / f"{stem}{suffix(recording.format)}"
    command = [sys.executable, "-m", "signalbox", "recordings", "get", call_id, "--tenant", TENANT]
    command += ["--cluster", str(cluster.directory / manifest.FILE_NAME), "--output", str(file)]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    if done.returncode:
        raise ClusterError(f"signalbox recordings get {call_id}: {done.stderr.strip()}")
    return recording, file


def _stored(cluster: Cluster, call_id: str) -> types.Recording:
    deadline = time.monotonic() + STORED_TIMEOUT_S
    with cluster.provisioning_channel() as channel:
        stub = recordings_pb2_grpc.RecordingServiceStub(channel)
        while (recording := find(stub, call_id)).state != types.RECORDING_STATE_STORED:
            if time.monotonic() > deadline:
                state = types.RecordingState.Name(recording.state)
                raise ClusterError(f"the recording of {call_id} was not there within {STORED_TIMEOUT_S:.0f} s: {state}")
            time.sleep(POLL_S)
        return recording
