"""The RPCs of ``signalbox.api.provisioning.v1``: each hands its request to the collection that it is about."""

from __future__ import annotations

import asyncio
import functools
import time
from collections.abc import Awaitable, Callable
from typing import TYPE_CHECKING, Any, TypeVar

import grpc
import structlog
from google.protobuf import empty_pb2
from prometheus_client import Counter, Histogram

from signalbox import rpc
from signalbox.api.provisioning.v1 import provisioning_pb2 as pb
from signalbox.api.provisioning.v1 import provisioning_pb2_grpc
from signalbox.api.types.v1 import types_pb2
from signalbox.errors import SignalboxError
from signalbox.provisioning.collection import Clock, utc_now
from signalbox.provisioning.lines import Lines
from signalbox.provisioning.numbers import Numbers
from signalbox.provisioning.tenants import Tenants
from signalbox.provisioning.trunks import Trunks
from signalbox.provisioning.writer import Writer

if TYPE_CHECKING:
    from signalbox.store.base import Store

SERVICE = pb.DESCRIPTOR.services_by_name["ProvisioningService"].full_name

REQUESTS = Counter("signalbox_provisioning_requests_total", "Requests by method and status code.", ["method", "code"])
SECONDS = Histogram(
    "signalbox_provisioning_request_seconds",
    "Time taken by requests, by method, seconds.",
    ["method"],
    buckets=(0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5),
)

Context = grpc.aio.ServicerContext[Any, Any]
Response = TypeVar("Response")
Method = Callable[["ProvisioningService", Any, Context], Awaitable[Response]]


def _method(handler: Method[Response]) -> Method[Response]:
    """Measure a handler, bind who asks to the log, and turn errors into statuses."""
    name = handler.__name__

    @functools.wraps(handler)
    async def measured(self: ProvisioningService, request: Any, context: Context) -> Response:
        began = time.perf_counter()
        code = "OK"
        try:
            with structlog.contextvars.bound_contextvars(method=name, client=_client(context)):
                return await handler(self, request, context)
        except SignalboxError as error:
            code = error.status.name
            raise
        except asyncio.CancelledError:
            code = grpc.StatusCode.CANCELLED.name
            raise
        except Exception:
            code = grpc.StatusCode.INTERNAL.name
            raise
        finally:
            REQUESTS.labels(name, code).inc()
            SECONDS.labels(name).observe(time.perf_counter() - began)

    return rpc.serve_errors(measured)


def _client(context: Context) -> str:
    """Common name of the client's certificate; without TLS its address."""
    for name in context.auth_context().get("x509_common_name", ()):
        return name.decode(errors="replace")
    return str(context.peer())


class ProvisioningService(provisioning_pb2_grpc.ProvisioningServiceServicer):
    """The servicer; see the API's description for what each method does."""

    def __init__(self, store: Store, clock: Clock = utc_now) -> None:
        writer = Writer(store)
        self._tenants = Tenants(store, writer, clock)
        self._trunks = Trunks(store, writer, clock)
        self._lines = Lines(store, writer, clock)
        self._numbers = Numbers(store, writer, clock)

    @_method
    async def CreateTenant(self, request: pb.CreateTenantRequest, context: Context) -> types_pb2.Tenant:
        return await self._tenants.create(request.tenant)

    @_method
    async def GetTenant(self, request: pb.GetTenantRequest, context: Context) -> types_pb2.Tenant:
        return await self._tenants.get(types_pb2.Tenant(id=request.id))

    @_method
    async def ListTenants(self, request: pb.ListTenantsRequest, context: Context) -> pb.ListTenantsResponse:
        return await self._tenants.list(request)

    @_method
    async def UpdateTenant(self, request: pb.UpdateTenantRequest, context: Context) -> types_pb2.Tenant:
        return await self._tenants.update(request.tenant, request.update_mask)

    @_method
    async def DeleteTenant(self, request: pb.DeleteTenantRequest, context: Context) -> empty_pb2.Empty:
        await self._tenants.delete(types_pb2.Tenant(id=request.id), request.etag)
        return empty_pb2.Empty()

    @_method
    async def CreateTrunk(self, request: pb.CreateTrunkRequest, context: Context) -> types_pb2.Trunk:
        return await self._trunks.create(request.trunk)

    @_method
    async def GetTrunk(self, request: pb.GetTrunkRequest, context: Context) -> types_pb2.Trunk:
        return await self._trunks.get(types_pb2.Trunk(id=request.id))

    @_method
    async def ListTrunks(self, request: pb.ListTrunksRequest, context: Context) -> pb.ListTrunksResponse:
        return await self._trunks.list(request)

    @_method
    async def UpdateTrunk(self, request: pb.UpdateTrunkRequest, context: Context) -> types_pb2.Trunk:
        return await self._trunks.update(request.trunk, request.update_mask)

    @_method
    async def DeleteTrunk(self, request: pb.DeleteTrunkRequest, context: Context) -> empty_pb2.Empty:
        await self._trunks.delete(types_pb2.Trunk(id=request.id), request.etag)
        return empty_pb2.Empty()

    @_method
    async def CreateLine(self, request: pb.CreateLineRequest, context: Context) -> types_pb2.Line:
        return await self._lines.create(request.line)

    @_method
    async def GetLine(self, request: pb.GetLineRequest, context: Context) -> types_pb2.Line:
        return await self._lines.get(types_pb2.Line(tenant=request.tenant, id=request.id))

    @_method
    async def ListLines(self, request: pb.ListLinesRequest, context: Context) -> pb.ListLinesResponse:
        return await self._lines.list(request)

    @_method
    async def UpdateLine(self, request: pb.UpdateLineRequest, context: Context) -> types_pb2.Line:
        return await self._lines.update(request.line, request.update_mask)

    @_method
    async def DeleteLine(self, request: pb.DeleteLineRequest, context: Context) -> empty_pb2.Empty:
        await self._lines.delete(types_pb2.Line(tenant=request.tenant, id=request.id), request.etag)
        return empty_pb2.Empty()

    @_method
    async def CreateNumber(self, request: pb.CreateNumberRequest, context: Context) -> types_pb2.Number:
        return await self._numbers.create(request.number)

    @_method
    async def GetNumber(self, request: pb.GetNumberRequest, context: Context) -> types_pb2.Number:
        return await self._numbers.get(types_pb2.Number(number=request.number))

    @_method
    async def ListNumbers(self, request: pb.ListNumbersRequest, context: Context) -> pb.ListNumbersResponse:
        return await self._numbers.list(request)

    @_method
    async def UpdateNumber(self, request: pb.UpdateNumberRequest, context: Context) -> types_pb2.Number:
        return await self._numbers.update(request.number, request.update_mask)

    @_method
    async def DeleteNumber(self, request: pb.DeleteNumberRequest, context: Context) -> empty_pb2.Empty:
        await self._numbers.delete(types_pb2.Number(number=request.number), request.etag)
        return empty_pb2.Empty()
