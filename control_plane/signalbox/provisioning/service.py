"""The RPCs of ``signalbox.api.provisioning.v1``.

The standard methods of all kinds are made from the table of kinds; the others stand here by name. Every method goes
through one wrapper: it is measured, its caller is found out and checked against the table of access, and its errors
become statuses. A method of the API's description that has no handler stops the service from being made.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncGenerator, Awaitable, Callable
from contextlib import aclosing, contextmanager
from types import MethodType
from typing import TYPE_CHECKING, Any

import grpc
import structlog
from google.protobuf import message_factory
from prometheus_client import Counter, Histogram

from signalbox import rpc
from signalbox.api.provisioning.v1 import provisioning_pb2 as pb
from signalbox.errors import DrainingError, SignalboxError
from signalbox.provisioning import access, kinds
from signalbox.provisioning.apikeys import ApiKeys
from signalbox.provisioning.apply import Apply
from signalbox.provisioning.collection import Clock, utc_now
from signalbox.provisioning.screening_entries import ScreeningEntries
from signalbox.provisioning.standard import Standard
from signalbox.provisioning.watch import Watch
from signalbox.provisioning.writes import Writes

if TYPE_CHECKING:
    from collections.abc import Iterator

    from google.protobuf.descriptor import MethodDescriptor

    from signalbox.provisioning.access import Principal
    from signalbox.provisioning.credentials import Authenticator
    from signalbox.provisioning.draft import Draft
    from signalbox.provisioning.kinds import Kind
    from signalbox.store.base import Store

ADMITTED_S = 10.0
"""A stream whose API key has been deleted or has expired ends after this time, with its next response."""

_DESCRIPTOR = pb.DESCRIPTOR.services_by_name["ProvisioningService"]
SERVICE = _DESCRIPTOR.full_name
METHODS: dict[str, MethodDescriptor] = dict(_DESCRIPTOR.methods_by_name)

REQUESTS = Counter("signalbox_provisioning_requests_total", "Requests by method and status code.", ["method", "code"])
SECONDS = Histogram(
    "signalbox_provisioning_request_seconds",
    "Time taken by requests, by method, seconds.",
    ["method"],
    buckets=(0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5),
)

Context = grpc.aio.ServicerContext[Any, Any]
Unary = Callable[["Principal", Any], Awaitable[Any]]
Stream = Callable[["Principal", Any], AsyncGenerator[Any, None]]


class ProvisioningService:
    """The service; see the API's description for what each method does."""

    def __init__(self, store: Store, authenticator: Authenticator, explain: Unary, clock: Clock = utc_now) -> None:
        """``explain`` answers Explain."""
        self._authenticator = authenticator
        self._clock = clock
        self.draining = False
        """True: the process is stopping. Streams end with DrainingError when their next response is due."""
        self._writes = Writes(store)
        self._entries = ScreeningEntries(store)
        self._unary: dict[str, Unary] = {}
        for kind in kinds.ALL:
            self._unary |= Standard(kind, store, self._writes, clock).methods()
        # A key never changes: another one is made in its place.
        del self._unary["UpdateApiKey"]
        for name in ("Schedule", "Flow"):
            self._unary[f"Activate{name}"] = self._versioned(kinds.BY_NAME[name], "activate")
            self._unary[f"Rollback{name}"] = self._versioned(kinds.BY_NAME[name], "rollback")
        self._unary |= {
            "CreateApiKey": self._create_api_key,
            "AddScreeningEntries": self._add_entries,
            "RemoveScreeningEntries": self._remove_entries,
            "ListScreeningEntries": self._list_entries,
            "Apply": Apply(self._writes, clock),
            "Explain": explain,
        }
        self._streams: dict[str, Stream] = {"Watch": Watch(store)}
        odd = set(METHODS).symmetric_difference(self._unary.keys() | self._streams.keys())
        if odd:
            raise TypeError(f"described but not served, or the other way round: {', '.join(sorted(odd))}")

    def add_to(self, server: grpc.aio.Server) -> None:
        """Serve it on a server. Call before the server starts."""
        handlers = {name: self._handler(method) for name, method in METHODS.items()}
        server.add_generic_rpc_handlers((grpc.method_handlers_generic_handler(SERVICE, handlers),))

    def _handler(self, method: MethodDescriptor) -> grpc.RpcMethodHandler[Any, Any]:
        deserialize = message_factory.GetMessageClass(method.input_type).FromString
        serialize = message_factory.GetMessageClass(method.output_type).SerializeToString
        if method.server_streaming:
            stream = MethodType(_stream_endpoint(method.name, self._streams[method.name]), self)
            return grpc.unary_stream_rpc_method_handler(stream, deserialize, serialize)
        unary = MethodType(_unary_endpoint(method.name, self._unary[method.name]), self)
        return grpc.unary_unary_rpc_method_handler(unary, deserialize, serialize)

    async def admit(self, method: str, request: Any, context: Context) -> Principal:
        """Who makes a call, or goes on with a stream.

        Raises CredentialsRefusedError, PermissionRefusedError if it may not be made, and DrainingError.
        """
        if self.draining:
            raise DrainingError("this replica is stopping")
        principal = await self._authenticator.principal(context)
        access.check(principal, method, request)
        return principal

    def _versioned(self, kind: Kind, verb: str) -> Unary:
        """Activate or roll back an object of a kind."""

        async def handler(principal: Principal, request: Any) -> Any:
            async def work(draft: Draft) -> Any:
                return await getattr(kind.within(draft, self._clock, principal), verb)(request)

            return await self._writes.run(principal, f"{verb}{kind.name}", request, kind.message, work)

        return handler

    async def _create_api_key(self, principal: Principal, request: pb.CreateApiKeyRequest) -> pb.CreateApiKeyResponse:
        def work(draft: Draft) -> Awaitable[pb.CreateApiKeyResponse]:
            return ApiKeys(draft, draft, self._clock, principal.tenant).issue(request.api_key)

        return await self._writes.run(principal, "CreateApiKey", request, pb.CreateApiKeyResponse, work)

    async def _add_entries(
        self, principal: Principal, request: pb.AddScreeningEntriesRequest
    ) -> pb.AddScreeningEntriesResponse:
        def work(draft: Draft) -> Awaitable[pb.AddScreeningEntriesResponse]:
            return self._entries.add(request, draft)

        return await self._writes.run(principal, "AddScreeningEntries", request, pb.AddScreeningEntriesResponse, work)

    async def _remove_entries(
        self, principal: Principal, request: pb.RemoveScreeningEntriesRequest
    ) -> pb.RemoveScreeningEntriesResponse:
        def work(draft: Draft) -> Awaitable[pb.RemoveScreeningEntriesResponse]:
            return self._entries.remove(request, draft)

        return await self._writes.run(
            principal, "RemoveScreeningEntries", request, pb.RemoveScreeningEntriesResponse, work
        )

    async def _list_entries(
        self, principal: Principal, request: pb.ListScreeningEntriesRequest
    ) -> pb.ListScreeningEntriesResponse:
        return await self._entries.list(request)


@contextmanager
def _measured(name: str) -> Iterator[None]:
    """Count a request by how it ends, and how long it took."""
    began = time.perf_counter()
    code = "OK"
    try:
        yield
    except SignalboxError as error:
        code = error.status.name
        raise
    except (asyncio.CancelledError, GeneratorExit):
        code = grpc.StatusCode.CANCELLED.name
        raise
    except Exception:
        code = grpc.StatusCode.INTERNAL.name
        raise
    finally:
        REQUESTS.labels(name, code).inc()
        SECONDS.labels(name).observe(time.perf_counter() - began)


def _unary_endpoint(name: str, method: Unary) -> Callable[..., Awaitable[Any]]:
    async def endpoint(self: ProvisioningService, request: Any, context: Context) -> Any:
        with _measured(name), structlog.contextvars.bound_contextvars(method=name):
            principal = await self.admit(name, request, context)
            with structlog.contextvars.bound_contextvars(client=principal.name or str(context.peer())):
                return await method(principal, request)

    endpoint.__name__ = name
    return rpc.serve_errors(endpoint)


def _stream_endpoint(name: str, method: Stream) -> Callable[..., AsyncGenerator[Any, None]]:
    async def endpoint(self: ProvisioningService, request: Any, context: Context) -> AsyncGenerator[Any, None]:
        with _measured(name):
            principal = await self.admit(name, request, context)
            admitted = time.monotonic()
            async with aclosing(method(principal, request)) as responses:
                async for response in responses:
                    if self.draining or time.monotonic() - admitted > ADMITTED_S:
                        await self.admit(name, request, context)
                        admitted = time.monotonic()
                    yield response

    endpoint.__name__ = name
    return rpc.serve_errors(endpoint)
