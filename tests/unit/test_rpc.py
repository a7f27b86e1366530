"""What every gRPC server of ours does alike."""

from __future__ import annotations

import logging
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING, Any

import grpc
import pytest
from google.rpc import error_details_pb2
from grpc_health.v1 import health_pb2, health_pb2_grpc
from grpc_reflection.v1alpha import reflection_pb2, reflection_pb2_grpc
from grpc_status import rpc_status
from signalbox import rpc
from signalbox.api.routing.v1 import routing_pb2, routing_pb2_grpc
from signalbox.errors import ConfigurationError, DrainingError, FieldViolation, InvalidFieldError
from signalbox.settings import ServerTlsSettings
from support.etcd import make_tls

if TYPE_CHECKING:
    from collections.abc import AsyncIterator
    from pathlib import Path

NAME = "signalbox.api.routing.v1.RoutingService"


class Service(routing_pb2_grpc.RoutingServiceServicer):
    """Raises what the test wants, in every kind of handler."""

    def __init__(self, error: BaseException) -> None:
        self.error = error

    @rpc.serve_errors
    async def Decide(self, request: Any, context: Any) -> Any:
        raise self.error

    @rpc.serve_errors
    async def DecideStream(self, requests: Any, context: Any) -> None:
        await context.write(routing_pb2.DecideStreamResponse(rule_revision=1))
        raise self.error

    @rpc.serve_errors
    async def WatchEdge(self, requests: Any, context: Any) -> Any:
        yield routing_pb2.WatchEdgeResponse(version="1")
        raise self.error

    @rpc.serve_errors
    async def Explain(self, request: Any, context: Any) -> Any:
        await context.abort(grpc.StatusCode.FAILED_PRECONDITION, "as it is")


@asynccontextmanager
async def serving(
    error: BaseException, tls: ServerTlsSettings | None = None, credentials: grpc.ChannelCredentials | None = None
) -> AsyncIterator[tuple[grpc.aio.Channel, rpc.Health]]:
    server = grpc.aio.server(options=rpc.server_options(reuse_port=False))
    routing_pb2_grpc.add_RoutingServiceServicer_to_server(Service(error), server)
    health = await rpc.add_health_and_reflection(server, [NAME])
    address = f"127.0.0.1:{rpc.bind(server, '127.0.0.1:0', tls or ServerTlsSettings())}"
    await server.start()
    options = [("grpc.ssl_target_name_override", "signalbox.test")]
    secure = credentials and grpc.aio.secure_channel(address, credentials, options)
    try:
        async with secure or grpc.aio.insecure_channel(address) as channel:
            yield channel, health
    finally:
        await server.stop(None)


def reason(error: grpc.aio.AioRpcError) -> str:
    """The reason in the error's ErrorInfo."""
    status = rpc_status.from_call(error)
    assert status is not None
    info = error_details_pb2.ErrorInfo()
    assert status.details[0].Unpack(info)
    assert info.domain == "signalbox"
    return info.reason


INVALID = InvalidFieldError(FieldViolation("called", "is required"))


@pytest.mark.parametrize(
    ("error", "code", "details", "why"),
    [
        (INVALID, grpc.StatusCode.INVALID_ARGUMENT, "called: is required", "INVALID_FIELD"),
        (DrainingError("bye"), grpc.StatusCode.UNAVAILABLE, "bye", "DRAINING"),
        (ValueError("a secret"), grpc.StatusCode.INTERNAL, "internal error", "INTERNAL"),
    ],
)
async def test_errors_become_statuses_in_every_kind_of_handler(
    error: Exception, code: grpc.StatusCode, details: str, why: str
) -> None:
    async with serving(error) as (channel, _):
        stub = routing_pb2_grpc.RoutingServiceStub(channel)
        with pytest.raises(grpc.aio.AioRpcError) as unary:
            await stub.Decide(routing_pb2.DecideRequest())
        stream, watch = stub.DecideStream(), stub.WatchEdge()
        await stream.read()
        with pytest.raises(grpc.aio.AioRpcError) as written:
            await stream.read()
        await watch.read()
        with pytest.raises(grpc.aio.AioRpcError) as yielded:
            await watch.read()
        for raised in (unary, written, yielded):
            assert (raised.value.code(), raised.value.details(), reason(raised.value)) == (code, details, why)


async def test_an_abort_passes_as_it_is() -> None:
    async with serving(INVALID) as (channel, _):
        with pytest.raises(grpc.aio.AioRpcError) as raised:
            await routing_pb2_grpc.RoutingServiceStub(channel).Explain(routing_pb2.ExplainRequest())
    assert (raised.value.code(), raised.value.details()) == (grpc.StatusCode.FAILED_PRECONDITION, "as it is")


async def test_health_tells_of_all_services_and_stays_down_once_stopped() -> None:
    async with serving(INVALID) as (channel, health):
        stub = health_pb2_grpc.HealthStub(channel)

        async def told() -> set[int]:
            return {(await stub.Check(health_pb2.HealthCheckRequest(service=s))).status for s in ("", NAME)}

        assert await told() == {health_pb2.HealthCheckResponse.NOT_SERVING}
        await health.set(True)
        assert await told() == {health_pb2.HealthCheckResponse.SERVING}
        await health.set(False, usable=True)
        assert [(await stub.Check(health_pb2.HealthCheckRequest(service=s))).status for s in ("", NAME)] == [
            health_pb2.HealthCheckResponse.NOT_SERVING,
            health_pb2.HealthCheckResponse.SERVING,
        ]
        await health.stop()
        await health.set(True)
        assert await told() == {health_pb2.HealthCheckResponse.NOT_SERVING}


async def test_reflection_lists_the_services() -> None:
    async with serving(INVALID) as (channel, _):
        stub = reflection_pb2_grpc.ServerReflectionStub(channel)
        call = stub.ServerReflectionInfo(iter([reflection_pb2.ServerReflectionRequest(list_services="")]))
        response = await call.read()
        names = {service.name for service in response.list_services_response.service}
        assert {NAME, "grpc.health.v1.Health"} <= names
        call.cancel()


async def test_a_port_that_is_taken_is_a_wrong_setting() -> None:
    logging.getLogger("grpc").setLevel(logging.CRITICAL)
    servers = [grpc.aio.server(options=rpc.server_options(reuse_port=False)) for _ in range(2)]
    port = rpc.bind(servers[0], "127.0.0.1:0", ServerTlsSettings())
    with pytest.raises(ConfigurationError, match=f"cannot listen on 127.0.0.1:{port}"):
        rpc.bind(servers[1], f"127.0.0.1:{port}", ServerTlsSettings())
    for server in servers:
        await server.stop(None)


async def test_with_an_authority_set_clients_must_present_a_certificate(tmp_path: Path) -> None:
    files = make_tls(tmp_path, "signalbox.test")
    tls = ServerTlsSettings(ca_file=files.ca, cert_file=files.cert, key_file=files.key)
    ca, cert, key = (file.read_bytes() for file in (files.ca, files.cert, files.key))
    request = routing_pb2.DecideRequest()
    async with serving(INVALID, tls, grpc.ssl_channel_credentials(ca, key, cert)) as (channel, _):
        with pytest.raises(grpc.aio.AioRpcError) as raised:
            await routing_pb2_grpc.RoutingServiceStub(channel).Decide(request)
        assert raised.value.code() is grpc.StatusCode.INVALID_ARGUMENT
    async with serving(INVALID, tls, grpc.ssl_channel_credentials(ca)) as (channel, _):
        with pytest.raises(grpc.aio.AioRpcError) as raised:
            await routing_pb2_grpc.RoutingServiceStub(channel).Decide(request)
        assert raised.value.code() is grpc.StatusCode.UNAVAILABLE


def test_a_certificate_file_that_cannot_be_read_is_a_wrong_setting(tmp_path: Path) -> None:
    tls = ServerTlsSettings(ca_file=tmp_path / "ca", cert_file=tmp_path / "cert", key_file=tmp_path / "key")
    with pytest.raises(ConfigurationError, match="No such file"):
        rpc.server_credentials(tls)
