"""Explain: passed on to the routing replicas, one after the other."""

from __future__ import annotations

from contextlib import asynccontextmanager
from typing import TYPE_CHECKING, Any

import grpc
import pytest
from grpc import StatusCode
from signalbox import rpc
from signalbox.api.provisioning.v1 import provisioning_pb2 as pb
from signalbox.api.routing.v1 import routing_pb2, routing_pb2_grpc
from signalbox.api.types.v1 import types_pb2
from signalbox.errors import DrainingError
from signalbox.provisioning.access import READER
from signalbox.provisioning.explain import Explainer
from signalbox.settings import ClientTlsSettings
from support.commands import Explainer as Routing
from support.ports import free_address
from support.provisioning import As, Stub, invalid, key, refused, serving

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    from signalbox.store.memory import MemoryStore


class Draining(routing_pb2_grpc.RoutingServiceServicer):
    """A replica that is stopping."""

    @rpc.serve_errors
    async def Explain(self, request: routing_pb2.ExplainRequest, context: Any) -> routing_pb2.ExplainResponse:
        raise DrainingError("stopping")


@asynccontextmanager
async def replica(servicer: routing_pb2_grpc.RoutingServiceServicer) -> AsyncIterator[str]:
    """The address of a routing service."""
    server = grpc.aio.server()
    routing_pb2_grpc.add_RoutingServiceServicer_to_server(servicer, server)
    port = server.add_insecure_port("127.0.0.1:0")
    await server.start()
    yield f"127.0.0.1:{port}"
    await server.stop(None)


@asynccontextmanager
async def asking(store: MemoryStore, *replicas: str) -> AsyncIterator[Stub]:
    """The provisioning service with these replicas."""
    explainer = Explainer(replicas, ClientTlsSettings())
    async with serving(store, explain=explainer.explain) as api:
        yield api
    await explainer.close()


def question(called: str = "4001234567") -> routing_pb2.ExplainRequest:
    return routing_pb2.ExplainRequest(request=routing_pb2.DecideRequest(called=called))


async def test_the_answer_of_the_first_replica_that_has_one(store: MemoryStore) -> None:
    async with (
        replica(Draining()) as draining,
        replica(Routing()) as good,
        asking(store, free_address(), draining, good) as api,
    ):
        answer = await api.Explain(question())
    assert answer.decision.tenant == "acme"
    assert answer.steps[-1].decisive


async def test_a_name_stands_for_its_addresses(store: MemoryStore) -> None:
    async with replica(Routing()) as good:
        port = good.rpartition(":")[2]
        async with asking(store, f"dns:localhost:{port}") as api:
            assert (await api.Explain(question())).decision.tenant == "acme"


async def test_no_replica_answers(store: MemoryStore) -> None:
    async with asking(store, free_address()) as api:
        with refused(StatusCode.UNAVAILABLE, "ROUTING_UNAVAILABLE"):
            await api.Explain(question())


async def test_a_refusal_is_passed_on_with_its_fields(store: MemoryStore) -> None:
    async with replica(Routing()) as good, asking(store, good) as api:
        with invalid() as refusal:
            await api.Explain(question("x"))
    assert list(refusal.fields) == ["request.called"]


@pytest.mark.parametrize(("tenant", "called"), [("best", "4001234567"), ("acme", "404")])
async def test_a_number_of_another_tenant_is_as_one_that_does_not_exist(
    store: MemoryStore, tenant: str, called: str
) -> None:
    async with replica(Routing()) as good, asking(store, good) as api:
        await api.CreateTenant(pb.CreateTenantRequest(tenant=types_pb2.Tenant(id=tenant)))
        caller = As(api, await key(api, tenant, READER))
        with refused(StatusCode.NOT_FOUND, "RESOURCE_NOT_FOUND") as refusal:
            await caller.Explain(question(called))
    assert refusal.metadata == {"resource": "number", "id": called}


async def test_a_tenants_own_number_is_explained_to_it(store: MemoryStore) -> None:
    async with replica(Routing()) as good, asking(store, good) as api:
        await api.CreateTenant(pb.CreateTenantRequest(tenant=types_pb2.Tenant(id="acme")))
        caller = As(api, await key(api, "acme", READER))
        assert (await caller.Explain(question())).decision.why == "dial"
