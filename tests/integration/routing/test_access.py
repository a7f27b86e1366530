"""Which certificate may call what, over real TLS: the table is the whole of it, and a new method fails until listed."""

from __future__ import annotations

from contextlib import asynccontextmanager
from typing import TYPE_CHECKING, Any

import grpc
import pytest
from google.rpc import error_details_pb2
from grpc_status import rpc_status
from signalbox import pki, rpc
from signalbox.api.routing.v1 import routing_pb2, routing_pb2_grpc
from signalbox.api.routing.v1.routing_pb2 import CallReport
from signalbox.certificates import of_certificate
from signalbox.media import number
from signalbox.routing.access import TABLE
from signalbox.settings import ClientTlsSettings, ServerTlsSettings
from signalbox.store.memory import MemoryStore
from support.routing import edge, running

if TYPE_CHECKING:
    from collections.abc import AsyncIterator
    from pathlib import Path

METHODS = routing_pb2.DESCRIPTOR.services_by_name["RoutingService"].methods
IDENTITIES = {
    "edge": "signalbox://edge/edge-1",
    "media": "signalbox://media/media-2",
    "ivr": "signalbox://ivr/ivr-1",
    "recorder": "signalbox://recorder/recorder-1",
    "operator": "signalbox://operator",
    "unnamed": "",
    "tenant": "signalbox://tenants/acme/administrator",
    "twice": "signalbox://edge/edge-1/",
}
MAY = {
    "Decide": {"edge", "operator", "unnamed"},
    "DecideStream": {"edge", "operator", "unnamed"},
    "WatchEdge": {"edge"},
    "Explain": {"operator", "unnamed"},
    "Continue": {"ivr"},
    "ReportCalls": {"edge", "media", "ivr"},
    "RecordOrder": {"edge"},
}
MADE = {"RecordOrder": routing_pb2.RecordOrderRequest(id="ab" * 8, edge="edge-1", call_id="1", actor="user alice")}
"""Requests that an empty one will not do for."""
REFUSED = (grpc.StatusCode.PERMISSION_DENIED, grpc.StatusCode.UNAUTHENTICATED)
ATTEMPTS = 10


class Site:
    """A replica that asks for certificates."""

    def __init__(self, port: int, directory: Path) -> None:
        self._port = port
        self._directory = directory

    @asynccontextmanager
    async def connected(self, who: str) -> AsyncIterator[grpc.aio.Channel]:
        own = pki.issue(self._directory, f"{who}-client", server=False, identity=IDENTITIES[who])
        tls = ClientTlsSettings(ca_file=own.ca, cert_file=own.cert, key_file=own.key)
        async with rpc.channel(f"localhost:{self._port}", tls) as channel:
            yield channel

    async def status(self, who: str, method: str, request: Any = None) -> grpc.aio.AioRpcError | None:
        """How one call ends, a stream after its first message; None: well."""
        for _ in range(ATTEMPTS):
            error = await self._status(who, method, request)
            # The client's own: it was still sending when the stream had been refused, and lost the server's word.
            if error is None or error.code() is not grpc.StatusCode.INTERNAL:
                break
        return error

    async def _status(self, who: str, method: str, request: Any) -> grpc.aio.AioRpcError | None:
        async with self.connected(who) as channel:
            described = METHODS[[each.name for each in METHODS].index(method)]
            request = request or MADE.get(method) or getattr(routing_pb2, described.input_type.name)()
            stub = routing_pb2_grpc.RoutingServiceStub(channel)
            streams = method in ("DecideStream", "WatchEdge")
            try:
                call = getattr(stub, method)(iter([request]) if streams else request, timeout=5)
                if streams:
                    async for _ in call:
                        break
                else:
                    await call
            except grpc.aio.AioRpcError as error:
                return error
            return None

    async def reports(self, who: str, *reports: CallReport) -> bool:
        """True if they are taken."""
        error = await self.status(who, "ReportCalls", routing_pb2.ReportCallsRequest(reports=reports))
        assert error is None or error.code() is grpc.StatusCode.PERMISSION_DENIED
        return error is None


@pytest.fixture
async def site(tmp_path: Path) -> AsyncIterator[Site]:
    server = pki.issue(tmp_path / "pki", "routing", server=True)
    tls = ServerTlsSettings(ca_file=server.ca, cert_file=server.cert, key_file=server.key)
    store = MemoryStore(progress_interval_s=0.05)
    assert [await number.allocate(store, f"media-{n}") for n in (1, 2)] == [1, 2]
    async with running(store, tmp_path, tls=tls) as replica:
        yield Site(replica.worker.port, tmp_path / "pki")
    await store.close()


def test_every_method_is_in_the_table() -> None:
    assert {method.name for method in METHODS} == TABLE.keys() == MAY.keys()


@pytest.mark.parametrize("method", MAY)
async def test_a_method_takes_its_roles_and_no_other(site: Site, method: str) -> None:
    for who in IDENTITIES:
        error = await site.status(who, method)
        allowed = error is None or error.code() not in REFUSED
        assert allowed == (who in MAY[method]), (who, error)


async def test_a_refusal_says_why(site: Site) -> None:
    error = await site.status("media", "Explain")
    assert error is not None
    status = rpc_status.from_call(error)  # type: ignore[arg-type]
    assert status is not None
    info = error_details_pb2.ErrorInfo()
    assert status.details[0].Unpack(info)
    assert (info.reason, info.metadata["method"]) == ("PERMISSION_REFUSED", "Explain")


async def test_an_edge_watches_as_itself(site: Site) -> None:
    def hello(id: str) -> routing_pb2.WatchEdgeRequest:
        return routing_pb2.WatchEdgeRequest(hello=routing_pb2.EdgeHello(edge=edge(id)))

    assert await site.status("edge", "WatchEdge", hello("edge-1")) is None
    error = await site.status("edge", "WatchEdge", hello("edge-2"))
    assert error is not None
    assert error.code() is grpc.StatusCode.PERMISSION_DENIED


async def test_an_edge_tells_what_was_ordered_at_itself(site: Site) -> None:
    order = routing_pb2.RecordOrderRequest(id="ab" * 8, edge="edge-2", call_id="1", actor="user alice")
    error = await site.status("edge", "RecordOrder", order)
    assert error is not None
    assert error.code() is grpc.StatusCode.PERMISSION_DENIED


async def test_who_reports_tells_what_it_sees(site: Site) -> None:
    answered, ended = CallReport(call_id="1", answered="a"), CallReport(call_id="1", ended=True)
    alive, of_worker = CallReport(call_id="1", alive=True), CallReport(call_id="1", flow_media_timeout=True)
    dead = [CallReport(call_id="1", media_timeout=node) for node in (0, 1, 2, 3)]
    anchored = CallReport(call_id="1", anchored=1)
    assert await site.reports("ivr", anchored)
    assert not await site.reports("edge", anchored)
    for who in ("edge", "ivr"):
        assert await site.reports(who, answered, ended)
        assert not await site.reports(who, answered, alive)
        assert not await site.reports(who, dead[1])
        assert not await site.reports(who, of_worker)
    assert await site.reports("media", alive, dead[2], of_worker)
    assert await site.reports("media", dead[0])
    for wrong in (dead[1], dead[3], ended, answered, anchored):
        assert not await site.reports("media", alive, dead[2], wrong)


@pytest.mark.parametrize("properties", [{}, {"transport_security_type": [b"ssl"]}])
def test_a_certificate_without_any_name_is_nobodys(properties: dict[str, list[bytes]]) -> None:
    with pytest.raises(Exception, match="a client certificate with a name is needed"):
        of_certificate(properties)


async def test_where_no_certificate_is_asked_for_everybody_may_do_everything(tmp_path: Path) -> None:
    store = MemoryStore(progress_interval_s=0.05)
    async with running(store, tmp_path) as replica:
        for report in (CallReport(call_id="1", ended=True), CallReport(call_id="1", media_timeout=9)):
            await replica.stub.ReportCalls(routing_pb2.ReportCallsRequest(reports=[report]))
    await store.close()
