"""A server of ours that falls silent, as one whose node has died: nobody ends the connection."""

from __future__ import annotations

import asyncio
from typing import Any

import grpc
import pytest
from grpc_health.v1 import health_pb2, health_pb2_grpc
from signalbox import rpc
from signalbox.settings import ClientTlsSettings, ServerTlsSettings
from support.tcp import Relay

SHORTER = 20
"""Times are by so much shorter than ours; by its own ones gRPC would take 20 s and 60 s."""
TIMES = ("grpc.keepalive_time_ms", "grpc.keepalive_timeout_ms", "grpc.http2.ping_timeout_ms")
SLACK_S = 5.0


class Watched(health_pb2_grpc.HealthServicer):
    """Says one word and holds the stream."""

    async def Watch(self, request: Any, context: Any) -> Any:
        yield health_pb2.HealthCheckResponse(status=1)
        await asyncio.Event().wait()


async def test_a_peer_that_falls_silent_is_noticed_also_while_grpc_measures_bandwidth(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """It does so by a ping after the first message; the answer to it is what does not come."""
    shorter = [(name, int(value) // SHORTER if name in TIMES else value) for name, value in rpc.LASTING]
    assert {name for name, _ in shorter} >= {*TIMES}
    monkeypatch.setattr(rpc, "LASTING", shorter)
    server = grpc.aio.server(options=rpc.server_options(reuse_port=False))
    health_pb2_grpc.add_HealthServicer_to_server(Watched(), server)
    port = rpc.bind(server, "127.0.0.1:0", ServerTlsSettings())
    await server.start()
    loop = asyncio.get_running_loop()
    try:
        async with (
            Relay(f"127.0.0.1:{port}") as relay,
            rpc.channel(relay.endpoint, ClientTlsSettings(), lasting=True) as channel,
            asyncio.timeout(rpc.SILENCE_S / SHORTER + 2 * SLACK_S),
        ):
            watch = health_pb2_grpc.HealthStub(channel).Watch(health_pb2.HealthCheckRequest())
            await watch.read()
            relay.freeze()
            silent = loop.time()
            with pytest.raises(grpc.aio.AioRpcError) as raised:
                await watch.read()
        assert raised.value.code() is grpc.StatusCode.UNAVAILABLE
        assert loop.time() - silent < rpc.SILENCE_S / SHORTER + SLACK_S
    finally:
        await server.stop(None)
