"""Who may call what of a media node's captures, over real TLS: a new method fails until it is listed here."""

from __future__ import annotations

from typing import TYPE_CHECKING

import grpc
import pytest
from signalbox import pki, rpc
from signalbox.api.recording.v1 import recording_pb2, recording_pb2_grpc
from signalbox.media.capture_service import TABLE
from signalbox.settings import ClientTlsSettings, ServerTlsSettings
from support.capturing import CaptureNode
from support.provisioning import Refusal
from support.rtpengine import Rtpengine

if TYPE_CHECKING:
    from pathlib import Path

METHODS = recording_pb2.DESCRIPTOR.services_by_name["CaptureService"].methods
IDENTITIES = {
    "recorder": "signalbox://recorder/recorder-1",
    "operator": "signalbox://operator",
    "unnamed": "",
    "edge": "signalbox://edge/edge-1",
    "media": "signalbox://media/media-1",
    "tenant": "signalbox://tenants/acme/administrator",
}
OPERATORS = {"operator", "unnamed"}
MAY = {
    "ListCaptures": {"recorder"} | OPERATORS,
    "ClaimCapture": {"recorder"},
    "RenewClaim": {"recorder"},
    "ReadSegment": {"recorder"},
    "ConfirmCapture": {"recorder"},
    "ReleaseClaim": {"recorder"},
    "SetPaused": OPERATORS,
}
REFUSED = {"PERMISSION_REFUSED", "CREDENTIALS_REFUSED"}


async def reason(channel: grpc.aio.Channel, method: str) -> str:
    """How one call ends: "OK", or the reason of its refusal."""
    described = METHODS[[each.name for each in METHODS].index(method)]
    request = getattr(recording_pb2, described.input_type.name)()
    call = getattr(recording_pb2_grpc.CaptureServiceStub(channel), method)(request, timeout=5)
    try:
        if method == "ReadSegment":
            async for _ in call:
                break
        else:
            await call
    except grpc.aio.AioRpcError as error:
        refusal = Refusal()
        refusal.take(error)
        return refusal.reason
    return "OK"


async def test_the_table_is_the_whole_of_it(tmp_path: Path) -> None:
    assert MAY.keys() == TABLE.keys() == {method.name for method in METHODS}
    own = pki.issue(tmp_path / "pki", "node", server=True)
    server = ServerTlsSettings(cert_file=own.cert, key_file=own.key, ca_file=own.ca)
    node = Rtpengine(tmp_path / "rtpengine", recording_dir=tmp_path / "spool").start()
    try:
        async with CaptureNode(node, tls=server) as captures:
            for who, identity in IDENTITIES.items():
                shown = pki.issue(tmp_path / "pki", who, server=False, identity=identity)
                tls = ClientTlsSettings(ca_file=shown.ca, cert_file=shown.cert, key_file=shown.key)
                async with rpc.channel(f"localhost:{captures.server.address.rpartition(':')[2]}", tls) as channel:
                    for method, allowed in MAY.items():
                        assert ((await reason(channel, method)) not in REFUSED) == (who in allowed), (who, method)
            stranger = ClientTlsSettings(ca_file=own.ca)
            async with rpc.channel(f"localhost:{captures.server.address.rpartition(':')[2]}", stranger) as channel:
                with pytest.raises(grpc.aio.AioRpcError) as caught:
                    await recording_pb2_grpc.CaptureServiceStub(channel).ListCaptures(
                        recording_pb2.ListCapturesRequest(), timeout=5
                    )
                assert caught.value.code() is grpc.StatusCode.UNAVAILABLE
    finally:
        node.stop()
