"""Reports to the routing replicas: in messages that they take, over TLS, to whoever is there."""

from __future__ import annotations

from contextlib import asynccontextmanager
from typing import TYPE_CHECKING

import grpc
import pytest
from prometheus_client import CollectorRegistry
from signalbox import rpc
from signalbox.api.routing.v1 import routing_pb2, routing_pb2_grpc
from signalbox.callreports import MAX_REPORTS
from signalbox.errors import ConfigurationError
from signalbox.media.metrics import MediaMetrics
from signalbox.media.reporter import Reporter
from signalbox.settings import ClientTlsSettings, ServerTlsSettings
from structlog.testing import capture_logs
from support.etcd import make_tls
from support.routing_fake import RoutingFake

if TYPE_CHECKING:
    from collections.abc import AsyncIterator
    from pathlib import Path
    from typing import Any


@pytest.fixture
async def routing() -> AsyncIterator[RoutingFake]:
    async with RoutingFake() as fake:
        yield fake


@asynccontextmanager
async def telling(
    *addresses: str, tls: ClientTlsSettings | None = None, registry: CollectorRegistry | None = None
) -> AsyncIterator[Reporter]:
    made = Reporter(addresses, tls or ClientTlsSettings(), MediaMetrics(registry or CollectorRegistry()))
    try:
        yield made
    finally:
        await made.close()


async def test_dead_calls_are_told_first_and_each_for_what_it_is(routing: RoutingFake) -> None:
    async with telling(routing.address) as reporter:
        assert await reporter.tell(["a", "b"], ["c"], 7)
        assert await reporter.tell([], [], 7)
    told = [(report.call_id, report.media_timeout, report.alive) for report in routing.reports]
    assert told == [("c", 7, False), ("a", 0, True), ("b", 0, True)]


async def test_calls_of_workers_are_told_by_their_ids(routing: RoutingFake) -> None:
    """Media beside a call's own say that it lives, and never that it is dead."""
    async with telling(routing.address) as reporter:
        assert await reporter.tell(["ivr-1.a", "ivr-1.a.2", "b"], ["ivr-1.c", "ivr-1.d.2"], 7)
    told = [(one.call_id, one.media_timeout, one.alive) for one in routing.reports]
    assert told == [("c", 7, False), ("a", 0, True), ("b", 0, True)]


async def test_many_calls_go_in_several_messages(routing: RoutingFake, monkeypatch: pytest.MonkeyPatch) -> None:
    sizes = []

    async def count(request: routing_pb2.ReportCallsRequest, context: Any) -> routing_pb2.ReportCallsResponse:
        sizes.append(len(request.reports))
        return routing_pb2.ReportCallsResponse()

    monkeypatch.setattr(routing, "ReportCalls", count)
    await routing.stop()
    await routing.start()
    async with telling(routing.address) as reporter:
        assert await reporter.tell([str(n) for n in range(2 * MAX_REPORTS)], ["dead"], 7)
    assert sizes == [MAX_REPORTS, MAX_REPORTS, 1]


async def test_a_call_of_somebody_else_spoils_no_message(routing: RoutingFake) -> None:
    async with telling(routing.address) as reporter:
        assert await reporter.tell(["a" * 129, "b"], ["c" * 129], 7)
    assert [report.call_id for report in routing.reports] == ["b"]


async def test_who_took_reports_last_is_told_first(routing: RoutingFake) -> None:
    async with RoutingFake() as other, telling(other.address, routing.address) as reporter:
        other.report_status = grpc.StatusCode.UNAVAILABLE
        assert await reporter.tell(["a"], [], 7)
        other.report_status = None
        assert await reporter.tell(["b"], [], 7)
        assert [report.call_id for report in routing.reports] == ["a", "b"]
        routing.report_status = grpc.StatusCode.INTERNAL
        assert await reporter.tell(["c"], [], 7)
        other.report_status = grpc.StatusCode.UNAVAILABLE
        assert not await reporter.tell(["d"], [], 7)
        assert reporter.delayed
        assert [report.call_id for report in other.reports] == ["c"]
        routing.report_status = None
        assert await reporter.tell(["d"], [], 7)
        assert not reporter.delayed


async def test_what_every_replica_refuses_holds_up_no_other_call(routing: RoutingFake) -> None:
    ids = [str(n) for n in range(100)]
    registry = CollectorRegistry()
    async with RoutingFake() as away, telling(away.address, routing.address, registry=registry) as reporter:
        away.report_status = grpc.StatusCode.UNAVAILABLE
        routing.refused_calls = {"wrong"}
        with capture_logs() as logs:
            assert await reporter.tell([*ids[:70], "wrong", *ids[70:]], ["dead"], 7)
    assert [(entry["event"], entry["call_id"]) for entry in logs] == [("report_given_up", "wrong")]
    assert [report.call_id for report in routing.reports] == ["dead", *ids]
    assert registry.get_sample_value("signalbox_media_reports_given_up_total") == 1
    assert not reporter.delayed


async def test_both_sides_show_a_certificate(routing: RoutingFake, tmp_path: Path) -> None:
    files = make_tls(tmp_path, "signalbox.test")
    server = grpc.aio.server()
    routing_pb2_grpc.add_RoutingServiceServicer_to_server(routing, server)
    own = {"ca_file": files.ca, "cert_file": files.cert, "key_file": files.key}
    port = rpc.bind(server, "127.0.0.1:0", ServerTlsSettings(**own))
    await server.start()
    try:
        known = ClientTlsSettings(**own, server_name="signalbox.test")
        async with telling(f"127.0.0.1:{port}", tls=known) as reporter:
            assert await reporter.tell(["a"], [], 7)
        unknown = ClientTlsSettings(ca_file=files.ca, server_name="signalbox.test")
        async with telling(f"127.0.0.1:{port}", tls=unknown) as reporter:
            assert not await reporter.tell(["b"], [], 7)
    finally:
        await server.stop(None)
    assert [report.call_id for report in routing.reports] == ["a"]


async def test_all_addresses_of_a_name(routing: RoutingFake) -> None:
    async with telling(f"dns:localhost:{routing.address.rpartition(':')[2]}") as reporter:
        assert await reporter.tell(["a"], [], 7)


async def test_a_certificate_that_is_not_there_is_a_wrong_setting(tmp_path: Path) -> None:
    with pytest.raises(ConfigurationError, match="No such file"):
        Reporter(["127.0.0.1:1"], ClientTlsSettings(ca_file=tmp_path / "ca.pem"), MediaMetrics(CollectorRegistry()))
