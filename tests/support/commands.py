"""Services for commands to talk to, in a thread of their own (for commands block), and a shell to run commands in."""

from __future__ import annotations

import asyncio
import json
import threading
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import pytest
import structlog
from click.testing import CliRunner, Result
from google.protobuf.duration_pb2 import Duration
from grpc import aio
from signalbox import rpc
from signalbox.api.routing.v1 import routing_pb2, routing_pb2_grpc
from signalbox.cli import main
from signalbox.errors import FieldViolation, InvalidFieldError
from signalbox.store.memory import MemoryStore

from support import provisioning

if TYPE_CHECKING:
    from collections.abc import Iterator


class Explainer(routing_pb2_grpc.RoutingServiceServicer):
    """Explains every call alike."""

    def __init__(self) -> None:
        self.asked: list[routing_pb2.DecideRequest] = []

    @rpc.serve_errors
    async def Explain(self, request: routing_pb2.ExplainRequest, context: Any) -> routing_pb2.ExplainResponse:
        self.asked.append(request.request)
        if not request.request.called.isdigit():
            raise InvalidFieldError(FieldViolation("request.called", "is no number"))
        if request.request.called == "404":
            reject = routing_pb2.Reject(code=404, phrase="Not Found")
            return routing_pb2.ExplainResponse(
                decision=routing_pb2.Decision(reject=reject, why="number_unknown"),
                steps=[routing_pb2.ExplainStep(rule="number", finding="no such number", decisive=True)],
                rule_revision=7,
            )
        branch = routing_pb2.Branch(line="a", uri="sip:100@192.0.2.7:5060", destination="sip:192.0.2.7:5060")
        stage = routing_pb2.Stage(branches=[branch], ring_time_ms=20_500)
        return routing_pb2.ExplainResponse(
            decision=routing_pb2.Decision(
                dial=routing_pb2.Dial(stages=[stage]), why="dial", tenant="acme", number=request.request.called
            ),
            steps=[
                routing_pb2.ExplainStep(rule="trunk", finding="any trunk"),
                routing_pb2.ExplainStep(rule="dial", finding="1 stage\x1b[31m", decisive=True),
            ],
            rule_revision=7,
            rule_age=Duration(nanos=250_000_000),
        )


@dataclass
class Service:
    """A provisioning and a routing service on one loopback port, over a store in memory."""

    address: str
    store: MemoryStore
    explainer: Explainer


@pytest.fixture
def silent_service() -> Iterator[None]:
    """The service runs in this process: its log must not come between what commands print."""
    structlog.configure(logger_factory=structlog.ReturnLoggerFactory())
    yield
    structlog.reset_defaults()


@pytest.fixture
def service(silent_service: None) -> Iterator[Service]:
    loop = asyncio.new_event_loop()
    thread = threading.Thread(target=loop.run_forever, name="service")
    thread.start()

    async def start() -> tuple[aio.Server, Service]:
        server = aio.server(options=rpc.server_options(reuse_port=False))
        store, explainer = MemoryStore(), Explainer()
        provisioning.service(store).add_to(server)
        routing_pb2_grpc.add_RoutingServiceServicer_to_server(explainer, server)
        port = server.add_insecure_port("127.0.0.1:0")
        await server.start()
        return server, Service(f"127.0.0.1:{port}", store, explainer)

    server, started = asyncio.run_coroutine_threadsafe(start(), loop).result(10)
    yield started
    asyncio.run_coroutine_threadsafe(server.stop(None), loop).result(10)
    loop.call_soon_threadsafe(loop.stop)
    thread.join(10)
    loop.close()


class Shell:
    """Runs ``signalbox`` commands."""

    def __init__(self, address: str | None) -> None:
        self._address = address

    def __call__(self, line: str | list[str], code: int = 0) -> Result:
        """Run a command line and check its exit code; ``--api`` is added if there is a service."""
        arguments = line.split() if isinstance(line, str) else line
        if self._address:
            arguments = [*arguments, "--api", self._address]
        result = CliRunner().invoke(main, arguments, prog_name="signalbox")
        assert result.exit_code == code, f"{arguments}: {result.exit_code}, {result.output}{result.exception!r}"
        return result

    def json(self, line: str) -> Any:
        """What a reading command prints with --output json."""
        return json.loads(self(f"{line} --output json").stdout)


@pytest.fixture
def shell(service: Service) -> Shell:
    """Commands against the service."""
    return Shell(service.address)


@pytest.fixture
def bare() -> Shell:
    """Commands with what they are given."""
    return Shell(None)
