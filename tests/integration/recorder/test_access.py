"""Who may promise, over real TLS."""

from __future__ import annotations

from typing import TYPE_CHECKING

import grpc
import pytest
from prometheus_client import CollectorRegistry
from signalbox import pki, rpc
from signalbox.api.recording.v1 import recording_pb2, recording_pb2_grpc
from signalbox.catalog.catalog import Catalog
from signalbox.recorder.metrics import RecorderMetrics
from signalbox.recorder.promises import PromiseService
from signalbox.settings import ClientTlsSettings, DatabaseSettings, ServerTlsSettings
from support.captures_fake import facts
from support.provisioning import reason_of

if TYPE_CHECKING:
    from collections.abc import AsyncIterator
    from pathlib import Path


@pytest.fixture
async def port(tmp_path: Path) -> AsyncIterator[int]:
    """Where a recorder asks for certificates."""
    own = pki.issue(tmp_path, "recorder", server=True)
    tls = ServerTlsSettings(ca_file=own.ca, cert_file=own.cert, key_file=own.key)
    catalog = await Catalog.open(DatabaseSettings(url=f"sqlite:///{tmp_path / 'signalbox.db'}"))
    server = grpc.aio.server(options=rpc.server_options(reuse_port=False))
    service = PromiseService(catalog, RecorderMetrics(CollectorRegistry()), certified=tls.clients_authenticated)
    recording_pb2_grpc.add_PromiseServiceServicer_to_server(service, server)
    port = rpc.bind(server, "127.0.0.1:0", tls)
    await server.start()
    yield port
    await server.stop(None)
    await catalog.close()


async def test_promises_are_an_edges_own(port: int, tmp_path: Path) -> None:
    answers = {}
    for who in ("edge/edge-1", "edge/edge-2", "media/media-1", "recorder/recorder-1", "operator"):
        own = pki.issue(tmp_path, who.replace("/", "-"), server=False, identity=f"signalbox://{who}")
        tls = ClientTlsSettings(ca_file=own.ca, cert_file=own.cert, key_file=own.key)
        channel = rpc.channel(f"127.0.0.1:{port}", tls)
        promise = recording_pb2.Promise(proxy="edge-1", sequence=1, facts=facts("c1"))
        request = recording_pb2.ReportPromisesRequest(promises=[promise])
        answers[who] = await reason_of(recording_pb2_grpc.PromiseServiceStub(channel).ReportPromises(request))
        await channel.close()
    assert answers == {
        "edge/edge-1": "OK",
        "edge/edge-2": "PERMISSION_REFUSED",
        "media/media-1": "PERMISSION_REFUSED",
        "recorder/recorder-1": "PERMISSION_REFUSED",
        "operator": "OK",
    }
