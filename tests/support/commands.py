"""Services for commands to talk to, in a thread of their own (for commands block), and a shell to run commands in."""

from __future__ import annotations

import asyncio
import json
import threading
import time
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, TypeVar

import pytest
import structlog
from click.testing import CliRunner, Result
from google.protobuf.duration_pb2 import Duration
from grpc import aio
from signalbox import rpc
from signalbox.api.routing.v1 import routing_pb2, routing_pb2_grpc
from signalbox.cli import main
from signalbox.errors import FieldViolation, InvalidFieldError
from signalbox.provisioning.access import OPERATOR, Principal
from signalbox.provisioning.audit.keeper import Keeper
from signalbox.provisioning.audit.outbox import Outbox
from signalbox.provisioning.audit.service import AuditService, Others
from signalbox.provisioning.bulk import BulkService
from signalbox.provisioning.collection import utc_now
from signalbox.provisioning.credentials import Authenticator
from signalbox.provisioning.inventory.documents import DocumentService
from signalbox.provisioning.inventory.service import InventoryService
from signalbox.provisioning.promptaudio.service import PromptService
from signalbox.provisioning.recordings.captures import Captures
from signalbox.provisioning.recordings.database import Database
from signalbox.provisioning.recordings.service import RecordingService
from signalbox.settings import AuditSettings, ClientTlsSettings, ObjectsSettings
from signalbox.store.memory import MemoryStore
from signalbox.store.objectstore import ObjectStore

from support import provisioning
from support.documents import open_vault
from support.prompts import Here, Voice
from support.recordings import Recorder, database

if TYPE_CHECKING:
    from collections.abc import Callable, Coroutine, Iterator
    from pathlib import Path


SETTLED_S = 15.0

T = TypeVar("T")


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
    """Provisioning with the inventory, and routing, on one loopback port, over a store in memory."""

    address: str
    store: MemoryStore
    explainer: Explainer
    inventory: InventoryService
    audit: Path
    """Directory of the audit log."""
    recorder: Recorder
    """Once :meth:`record` was called."""
    loop: asyncio.AbstractEventLoop
    open_catalog: Callable[[], Coroutine[Any, Any, None]]

    def run(self, work: Coroutine[Any, Any, T]) -> T:
        """Do something where the service runs."""
        return asyncio.run_coroutine_threadsafe(work, self.loop).result(SETTLED_S)

    def record(self) -> Recorder:
        """A recorder; from then on recordings are served."""
        self.run(self.open_catalog())
        return self.recorder

    def settle(self) -> None:
        """Wait until what was written is found by searches of the inventory."""
        revision, index = self.store._revision, self.inventory.index
        deadline = time.monotonic() + SETTLED_S
        while index.revision < revision or not index.ready:
            assert time.monotonic() < deadline, f"the index is at {index.revision}, the store at {revision}"
            time.sleep(0.005)


@pytest.fixture
def silent_service() -> Iterator[None]:
    """The service runs in this process: its log must not come between what commands print."""
    structlog.configure(logger_factory=structlog.ReturnLoggerFactory())
    yield
    structlog.reset_defaults()


@pytest.fixture
def service(silent_service: None, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Service]:
    loop = asyncio.new_event_loop()
    thread = threading.Thread(target=loop.run_forever, name="service")
    following: list[asyncio.Task[None]] = []
    keepers: list[Keeper] = []
    closing: list[Callable[[], Coroutine[Any, Any, None]]] = []
    directory = tmp_path_factory.mktemp("service")
    thread.start()

    async def start() -> tuple[aio.Server, Service]:
        server = aio.server(options=rpc.server_options(reuse_port=False))
        store, explainer = MemoryStore(progress_interval_s=0.02), Explainer()
        provisioning.service(store).add_to(server)
        authenticator = Authenticator(store, utc_now, anonymous=Principal(OPERATOR))
        inventory = InventoryService(store, authenticator)
        inventory.add_to(server)
        # A document that comes again is kept for longer, and its record says so, if a second has gone by.
        began = utc_now()
        vault = open_vault(store, directory / "objects")
        DocumentService(store, vault, authenticator, clock=lambda: began).add_to(server)
        objects = ObjectStore.open(ObjectsSettings(location=str(directory / "objects")))
        PromptService(store, objects, Voice(), authenticator, preparer=Here()).add_to(server)
        BulkService(store, authenticator).add_to(server)
        following.append(loop.create_task(inventory.index.run()))
        # It keeps its log once it is asked for it, and writes nothing into the store before.
        keeper = Keeper(store, AuditSettings(directory=directory / "audit"), Outbox())
        keepers.append(keeper)
        AuditService(keeper, Others(AuditSettings()), authenticator).add_to(server)
        catalog = Database(database(directory))
        closing.append(catalog.close)
        captures = Captures(store, ClientTlsSettings())
        RecordingService(store, vault, catalog.catalog, captures, authenticator).add_to(server)
        recorder = Recorder(catalog.catalog, vault)
        routing_pb2_grpc.add_RoutingServiceServicer_to_server(explainer, server)
        port = server.add_insecure_port("127.0.0.1:0")
        await server.start()
        address, audit = f"127.0.0.1:{port}", directory / "audit"
        return server, Service(address, store, explainer, inventory, audit, recorder, loop, catalog.start)

    async def stop(server: aio.Server) -> None:
        following[0].cancel()
        await asyncio.wait(following)
        await keepers[0].close()
        await server.stop(None)
        for close in closing:
            await close()

    server, started = asyncio.run_coroutine_threadsafe(start(), loop).result(10)
    yield started
    asyncio.run_coroutine_threadsafe(stop(server), loop).result(10)
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
