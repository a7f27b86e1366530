"""How methods of this process are served, whichever service they belong to.

Every method goes through one wrapper: it is measured, its caller is found out and checked against the table of access
of its service, and its errors become statuses. A method of the API's description without a handler or without a rule in
that table, stops the service from being made.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncGenerator, AsyncIterator, Awaitable, Callable, Mapping
from contextlib import aclosing, contextmanager
from types import MethodType
from typing import TYPE_CHECKING, Any

import grpc
import structlog
from google.protobuf import message_factory
from google.protobuf.message import DecodeError
from prometheus_client import Counter, Histogram

from signalbox import rpc
from signalbox.api.types.v1 import types_pb2
from signalbox.errors import (
    CredentialsRefusedError,
    DrainingError,
    FieldViolation,
    HiddenError,
    InvalidFieldError,
    PermissionRefusedError,
    SignalboxError,
)
from signalbox.provisioning import access
from signalbox.provisioning.access import Principal
from signalbox.provisioning.audit.outbox import ORIGIN, Origin, Outbox
from signalbox.provisioning.credentials import peer

if TYPE_CHECKING:
    from collections.abc import Iterator

    from google.protobuf.descriptor import MethodDescriptor, ServiceDescriptor
    from google.protobuf.message import Message

    from signalbox.provisioning.credentials import Authenticator

ADMITTED_S = 10.0
"""A stream whose API key has been deleted or has expired ends after this time, with its next response."""

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
"""Of a method whose requests are a stream too, it gets an iterator over them."""


class Served:
    """One gRPC service of this process."""

    def __init__(
        self,
        descriptor: ServiceDescriptor,
        table: Mapping[str, access.Rule],
        authenticator: Authenticator,
        unary: Mapping[str, Unary],
        streams: Mapping[str, Stream],
    ) -> None:
        """``table``: who may call which method. Raises TypeError if it, or the handlers, are not for the methods."""
        self.name = descriptor.full_name
        self.draining = False
        """True: the process is stopping. Streams end with DrainingError when their next response is due."""
        self.outbox = Outbox()
        """Where the audit log's records of this service wait: that of the process, if that has several services."""
        self._methods: dict[str, MethodDescriptor] = dict(descriptor.methods_by_name)
        self._table = table
        self._authenticator = authenticator
        self._unary = unary
        self._streams = streams
        for found, what in ((unary.keys() | streams.keys(), "served"), (table.keys(), "in the table of access")):
            odd = self._methods.keys() ^ found
            if odd:
                raise TypeError(f"described but not {what}, or the other way round: {', '.join(sorted(odd))}")

    def add_to(self, server: grpc.aio.Server) -> None:
        """Serve it on a server. Call before the server starts."""
        handlers = {name: self._handler(method) for name, method in self._methods.items()}
        server.add_generic_rpc_handlers((grpc.method_handlers_generic_handler(self.name, handlers),))

    def _handler(self, method: MethodDescriptor) -> grpc.RpcMethodHandler[Any, Any]:
        kind = message_factory.GetMessageClass(method.input_type)
        serialize = message_factory.GetMessageClass(method.output_type).SerializeToString
        if method.client_streaming:
            both = MethodType(_both_endpoint(method.name, self._streams[method.name], kind), self)
            return grpc.stream_stream_rpc_method_handler(both, None, serialize)
        if method.server_streaming:
            stream = MethodType(_stream_endpoint(method.name, self._streams[method.name], kind), self)
            return grpc.unary_stream_rpc_method_handler(stream, None, serialize)
        unary = MethodType(_unary_endpoint(method.name, self._unary[method.name], kind), self)
        return grpc.unary_unary_rpc_method_handler(unary, None, serialize)

    async def admit(self, method: str, request: Any, context: Context) -> Principal:
        """Who makes a call, or goes on with a stream.

        Raises CredentialsRefusedError, PermissionRefusedError if it may not be made, and DrainingError.
        """
        if self.draining:
            raise DrainingError("this replica is stopping")
        principal = Principal(types_pb2.ROLE_UNSPECIFIED, peer=peer(context))
        try:
            principal = await self._authenticator.principal(context)
            access.check(principal, method, request, self._table)
        except (CredentialsRefusedError, PermissionRefusedError) as error:
            Origin(self.outbox, principal, method).refused(error, request)
            raise
        ORIGIN.set(Origin(self.outbox, principal, method, getattr(request, "request_id", "")))
        return principal

    async def responses(
        self, method: str, responses: AsyncGenerator[Any, None], request: Any, context: Context
    ) -> AsyncGenerator[Any, None]:
        """The responses of a stream while its caller may go on; see admit."""
        admitted = time.monotonic()
        async with aclosing(responses):
            async for response in responses:
                if self.draining or time.monotonic() - admitted > ADMITTED_S:
                    await self.admit(method, request, context)
                    admitted = time.monotonic()
                yield response


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


def _read(kind: type[Message], content: bytes) -> Any:
    """A request, without fields that this release does not know: nobody has checked these, so they are not kept.

    Raises InvalidFieldError for what is no such message. grpc would answer that by itself, without details.
    """
    try:
        request = kind.FromString(content)
    except DecodeError as error:
        reason = f"is not a message of type {kind.DESCRIPTOR.full_name}"
        raise InvalidFieldError(FieldViolation("request", reason)) from error
    request.DiscardUnknownFields()
    return request


def _unary_endpoint(name: str, method: Unary, kind: type[Message]) -> Callable[..., Awaitable[Any]]:
    async def endpoint(self: Served, content: bytes, context: Context) -> Any:
        with _measured(name), structlog.contextvars.bound_contextvars(method=name):
            request = _read(kind, content)
            principal = await self.admit(name, request, context)
            with structlog.contextvars.bound_contextvars(client=principal.name or str(context.peer())):
                try:
                    return await method(principal, request)
                except (PermissionRefusedError, HiddenError) as error:
                    # Told only by what is stored, or of one of several objects that the request is about.
                    Origin(self.outbox, principal, name).refused(error, request)
                    raise

    endpoint.__name__ = name
    return rpc.serve_errors(endpoint)


def _stream_endpoint(name: str, method: Stream, kind: type[Message]) -> Callable[..., AsyncGenerator[Any, None]]:
    async def endpoint(self: Served, content: bytes, context: Context) -> AsyncGenerator[Any, None]:
        with _measured(name):
            request = _read(kind, content)
            principal = await self.admit(name, request, context)
            async with aclosing(self.responses(name, method(principal, request), request, context)) as responses:
                async for response in responses:
                    yield response

    endpoint.__name__ = name
    return rpc.serve_errors(endpoint)


def _both_endpoint(name: str, method: Stream, kind: type[Message]) -> Callable[..., AsyncGenerator[Any, None]]:
    """The first request tells whether the caller may make the call; the method looks at each by itself."""

    async def endpoint(self: Served, contents: AsyncIterator[bytes], context: Context) -> AsyncGenerator[Any, None]:
        with _measured(name):
            requests = (_read(kind, content) async for content in contents)
            first = await anext(requests, None)
            if first is None:
                raise InvalidFieldError(FieldViolation("request", "is required"))
            principal = await self.admit(name, first, context)
            all = method(principal, _chained(first, requests))
            async with aclosing(self.responses(name, all, first, context)) as responses:
                async for response in responses:
                    yield response

    endpoint.__name__ = name
    return rpc.serve_errors(endpoint)


async def _chained(first: Any, others: AsyncIterator[Any]) -> AsyncGenerator[Any, None]:
    yield first
    async for one in others:
        yield one
