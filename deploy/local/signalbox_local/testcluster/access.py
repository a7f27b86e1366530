"""The provisioning API of a release, from outside the cluster, as any provisioning system would reach it."""

from __future__ import annotations

import base64
import contextlib
import shutil
import subprocess
from typing import TYPE_CHECKING

import grpc
from signalbox.api.provisioning.v1 import recordings_pb2, recordings_pb2_grpc
from signalbox.api.types.v1 import recordings_pb2 as types

from signalbox_local.sipp import free_port
from signalbox_local.testcluster.kube import KubeError, wait_until

if TYPE_CHECKING:
    from collections.abc import Iterator

    from signalbox_local.testcluster.kube import Kube

HOST = "127.0.0.1"
READY_S = 60.0
TIMEOUT_S = 10.0
PAGE = 1000
STORED_S = 180.0
"""Recordings are in the store so long after the last call."""


@contextlib.contextmanager
def provisioning(kube: Kube, secret: str, name: str) -> Iterator[grpc.Channel]:
    """A channel as the client whose certificate is in a Secret (``tls.crt``, ``tls.key``, ``ca.crt``).

    ``name``: one that the server's certificate has. Raises KubeError.
    """
    data = kube.get("secret", secret)[0]["data"]
    ca, cert, key = (base64.b64decode(data[one]) for one in ("ca.crt", "tls.crt", "tls.key"))
    port = free_port(HOST)
    service = f"service/{kube.fullname}-provisioning"
    kubectl = shutil.which("kubectl", path=kube.environment.get("PATH")) or "kubectl"
    command = [kubectl, "-n", kube.namespace, "port-forward", f"--address={HOST}", service, f"{port}:7420"]
    forward = subprocess.Popen(command, env=kube.environment, stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL)
    try:
        credentials = grpc.ssl_channel_credentials(ca, key, cert)
        options = [("grpc.ssl_target_name_override", name)]
        with grpc.secure_channel(f"{HOST}:{port}", credentials, options=options) as channel:
            _ready(channel, forward)
            yield channel
    finally:
        forward.terminate()
        forward.wait()


def _ready(channel: grpc.Channel, forward: subprocess.Popen[bytes]) -> None:
    try:
        grpc.channel_ready_future(channel).result(timeout=READY_S)
    except grpc.FutureTimeoutError as error:
        ended = "" if forward.poll() is None else f" (kubectl port-forward ended with {forward.returncode})"
        raise KubeError(f"provisioning does not answer within {READY_S:.0f} s{ended}") from error


def recordings(channel: grpc.Channel, tenant: str, since: float) -> dict[str, int]:
    """How many recordings of calls since then there are, by their state. Raises grpc.RpcError."""
    stub, found, token = recordings_pb2_grpc.RecordingServiceStub(channel), dict[str, int](), ""
    while True:
        request = recordings_pb2.ListRecordingsRequest(tenant=tenant, page_size=PAGE, page_token=token)
        request.start_time.FromMilliseconds(round(since * 1000))
        answer = stub.ListRecordings(request, timeout=TIMEOUT_S)
        for one in answer.recordings:
            state = types.RecordingState.Name(one.state).removeprefix("RECORDING_STATE_").lower()
            found[state] = found.get(state, 0) + 1
        token = answer.next_page_token
        if not token:
            return found


def stored(channel: grpc.Channel, tenant: str, since: float, wanted: int) -> dict[str, int]:
    """The same when so many are stored, or when they had time enough."""
    found: dict[str, int] = {}

    def missing() -> str:
        nonlocal found
        found = recordings(channel, tenant, since)
        return "" if found.get("stored", 0) >= wanted else f"{found.get('stored', 0)} of {wanted} are stored"

    with contextlib.suppress(KubeError):
        wait_until(missing, STORED_S)
    return found
