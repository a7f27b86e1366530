"""Flows over gRPC: from draft to deletion, and what each wrong use gets."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest
from google.protobuf.field_mask_pb2 import FieldMask
from grpc import StatusCode
from signalbox.api.provisioning.v1 import provisioning_pb2 as pb
from signalbox.api.types.v1 import flows_pb2, screening_pb2, types_pb2
from support.flows import dial, flow, graph, put, world
from support.provisioning import Stub, invalid, refused

if TYPE_CHECKING:
    from signalbox.store.memory import MemoryStore

    from .conftest import Clock

BUSY = {"hangUp": {"cause": "HANG_UP_CAUSE_BUSY"}}


@pytest.fixture(autouse=True)
async def filled(store: MemoryStore) -> None:
    await put(store, *world())


async def create(api: Stub, draft: flows_pb2.FlowGraph | None = None) -> flows_pb2.Flow:
    return await api.CreateFlow(pb.CreateFlowRequest(flow=flow(draft)))


async def activate(api: Stub, **fields: object) -> flows_pb2.Flow:
    return await api.ActivateFlow(pb.ActivateFlowRequest(tenant="acme", id="main", **fields))


async def get(api: Stub) -> flows_pb2.Flow:
    return await api.GetFlow(pb.GetFlowRequest(tenant="acme", id="main"))


async def delete(api: Stub, **fields: str) -> None:
    await api.DeleteFlow(pb.DeleteFlowRequest(tenant="acme", id="main", **fields))


async def test_a_flow_from_its_draft_to_its_end(api: Stub) -> None:
    created = await create(api)
    activated = await activate(api, etag=created.etag)
    edited = flow(graph("b", b=dial("b", busy="end"), end=BUSY))
    await api.UpdateFlow(pb.UpdateFlowRequest(flow=edited, update_mask=FieldMask(paths=["draft"])))
    await activate(api)
    rolled = await api.RollbackFlow(pb.RollbackFlowRequest(tenant="acme", id="main", revision=1))
    assert [one.number for one in rolled.revisions] == [1, 2, 3]
    assert rolled.revisions[2].graph == activated.revisions[0].graph
    assert rolled.draft == edited.draft
    assert await get(api) == rolled
    await delete(api, etag=rolled.etag)
    with refused(StatusCode.NOT_FOUND, "RESOURCE_NOT_FOUND"):
        await get(api)


async def test_faults_name_field_and_node(api: Stub) -> None:
    await create(api, graph("a", a=dial("nobody", busy="a")))
    with invalid() as refusal:
        await activate(api)
    assert refusal.fields == {
        "draft.nodes[0].dial.busy": "node a: a circle in which nothing is played: a → a",
        "draft.nodes[0].dial.lines[0].line": "node a: there is no line nobody",
    }


async def test_an_etag_of_before_activates_nothing(api: Stub, clock: Clock) -> None:
    created = await create(api)
    clock.advance(1)
    named = flow()
    named.display_name = "Main"
    await api.UpdateFlow(pb.UpdateFlowRequest(flow=named, update_mask=FieldMask(paths=["display_name"])))
    with refused(StatusCode.ABORTED, "ETAG_MISMATCH"):
        await activate(api, etag=created.etag)
    assert not (await get(api)).revisions


async def test_revisions_are_not_written_by_callers(api: Stub) -> None:
    forged = flow()
    forged.revisions.add(number=7)
    assert not (await api.CreateFlow(pb.CreateFlowRequest(flow=forged))).revisions


async def test_what_is_used_stays(api: Stub) -> None:
    await create(api)
    await activate(api)
    await api.CreateNumber(
        pb.CreateNumberRequest(number=types_pb2.Number(number="4001234567", tenant="acme", flow="main"))
    )
    with refused(StatusCode.FAILED_PRECONDITION, "RESOURCE_IN_USE") as refusal:
        await api.DeleteLine(pb.DeleteLineRequest(tenant="acme", id="a"))
    assert refusal.metadata == {"resource": "line", "id": "acme/a", "referrer": "flow acme/main"}
    with refused(StatusCode.FAILED_PRECONDITION, "RESOURCE_IN_USE") as refusal:
        await delete(api)
    assert refusal.metadata == {"resource": "flow", "id": "acme/main", "referrer": "number 4001234567"}
    await api.DeleteNumber(pb.DeleteNumberRequest(number="4001234567"))
    await delete(api)
    await api.DeleteLine(pb.DeleteLineRequest(tenant="acme", id="a"))


async def test_a_tenant_that_owns_a_flow_stays(api: Stub, store: MemoryStore) -> None:
    await put(store, types_pb2.Tenant(id="small"))
    await api.CreateFlow(pb.CreateFlowRequest(flow=flow(graph(""), tenant="small")))
    with refused(StatusCode.FAILED_PRECONDITION, "RESOURCE_IN_USE") as refusal:
        await api.DeleteTenant(pb.DeleteTenantRequest(id="small"))
    assert refusal.metadata["referrer"] == "flow main"


async def test_flows_are_applied_with_what_they_refer_to(api: Stub) -> None:
    group = flows_pb2.LineGroup(tenant="acme", id="night", lines=[flows_pb2.DialLine(line="b")])
    nightly = flow(graph("a", a={"dial": {"lineGroup": "night"}}))
    number = types_pb2.Number(number="4001234567", tenant="acme", flow="main")
    request = pb.ApplyRequest(put=[pb.Object(number=number), pb.Object(flow=nightly), pb.Object(line_group=group)])
    done = await api.Apply(request)
    assert [one.WhichOneof("object") for one in done.put] == ["number", "flow", "line_group"]
    assert [one.graph for one in (await get(api)).revisions] == [nightly.draft]
    await api.Apply(pb.ApplyRequest(delete=request.put))
    with refused(StatusCode.NOT_FOUND, "RESOURCE_NOT_FOUND"):
        await get(api)


async def test_of_a_step_with_an_unfinished_flow_nothing_is_done(api: Stub) -> None:
    group = flows_pb2.LineGroup(tenant="acme", id="night", lines=[flows_pb2.DialLine(line="b")])
    with invalid() as refusal:
        await api.Apply(pb.ApplyRequest(put=[pb.Object(line_group=group), pb.Object(flow=flow(graph("gone")))]))
    (field,) = refusal.fields
    assert field.startswith("put[1].")
    assert field.endswith("draft.nodes")
    with refused(StatusCode.NOT_FOUND, "RESOURCE_NOT_FOUND"):
        await api.GetLineGroup(pb.GetLineGroupRequest(tenant="acme", id="night"))


async def test_a_flow_refers_to_as_many_of_the_operators_objects_as_a_step_holds(api: Stub, store: MemoryStore) -> None:
    """Each is a comparison of the commit; the tenant's own objects are guarded by its fence."""
    ids = [f"list-{n}" for n in range(128)]
    await put(store, *(screening_pb2.ScreeningList(id=id) for id in ids))
    nodes: dict[str, dict[str, object]] = {
        f"n{n}": {"callerList": {"lists": ids[16 * n : 16 * n + 16], "member": f"n{n + 1}", "otherwise": f"n{n + 1}"}}
        for n in range(8)
    }
    await create(api, graph("n0", **nodes, n8=BUSY))
    with invalid() as refusal:
        await activate(api)
    assert list(refusal.fields) == ["request"]
    await put(store, *(screening_pb2.ScreeningList(tenant="acme", id=id) for id in ids))
    assert len((await activate(api)).revisions) == 1
