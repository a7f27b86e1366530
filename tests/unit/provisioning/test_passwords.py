"""Passwords of callers in flows: sealed on their way in, and never seen again."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest
from google.protobuf.field_mask_pb2 import FieldMask
from signalbox.api.provisioning.v1 import provisioning_pb2 as pb
from signalbox.domain.passwords import fits
from support.flows import flow, graph, put, world
from support.provisioning import Stub, invalid, serving

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    from signalbox.api.types.v1 import flows_pb2
    from signalbox.store.memory import MemoryStore

KEY = b"a key"


def asking(**fields: Any) -> flows_pb2.FlowGraph:
    node = {"prompt": "hello", "ok": "end", "failed": "end", **fields}
    return graph("ask", ask={"password": node}, end={"hangUp": {}})


@pytest.fixture
async def sealing(store: MemoryStore) -> AsyncIterator[Stub]:
    await put(store, *world())
    async with serving(store, password_key=KEY) as stub:
        yield stub


def password(found: flows_pb2.Flow) -> flows_pb2.PasswordNode:
    return found.draft.nodes[0].password


async def everything(store: MemoryStore) -> bytes:
    return b"".join([entry.value for entry in (await store.list("")).entries])


async def test_a_password_is_sealed_and_kept_nowhere(sealing: Stub, store: MemoryStore) -> None:
    made = await sealing.CreateFlow(pb.CreateFlowRequest(flow=flow(asking(digits="73519248")), request_id="r" * 16))
    assert password(made).digits == ""
    assert fits(KEY, "acme", password(made).sealed, "73519248")
    activated = await sealing.ActivateFlow(pb.ActivateFlowRequest(tenant="acme", id="main"))
    assert activated.revisions[0].graph == made.draft
    assert b"73519248" not in await everything(store)


async def test_a_flow_that_is_given_back_keeps_its_password(sealing: Stub) -> None:
    made = await sealing.CreateFlow(pb.CreateFlowRequest(flow=flow(asking(digits="1234"))))
    made.draft.nodes[0].password.tries = 5
    mask = FieldMask(paths=["draft"])
    changed = await sealing.UpdateFlow(pb.UpdateFlowRequest(flow=made, update_mask=mask))
    assert (password(changed).tries, password(changed).sealed) == (5, password(made).sealed)
    changed.draft.nodes[0].password.digits = "4321"
    again = await sealing.UpdateFlow(pb.UpdateFlowRequest(flow=changed, update_mask=mask))
    assert fits(KEY, "acme", password(again).sealed, "4321")


async def test_an_applied_password_is_sealed_and_applied_again_changes_nothing(sealing: Stub) -> None:
    applied = [
        (await sealing.Apply(pb.ApplyRequest(put=[pb.Object(flow=flow(asking(digits="1234")))]))).put[0].flow
        for _ in range(2)
    ]
    assert fits(KEY, "acme", password(applied[0]).sealed, "1234")
    assert applied[0] == applied[1]
    assert len(applied[0].revisions) == 1


@pytest.mark.parametrize("digits", ["123", "1" * 21, "12a4", "１２３４"])
async def test_what_is_no_password_is_told(sealing: Stub, digits: str) -> None:
    with invalid() as refusal:
        await sealing.CreateFlow(pb.CreateFlowRequest(flow=flow(asking(digits=digits))))
    assert refusal.fields == {"flow.draft.nodes[0].password.digits": "node ask: must be 4 to 20 digits"}


async def test_a_flow_without_its_password_is_not_activated(sealing: Stub) -> None:
    await sealing.CreateFlow(pb.CreateFlowRequest(flow=flow(asking())))
    with invalid() as refusal:
        await sealing.ActivateFlow(pb.ActivateFlowRequest(tenant="acme", id="main"))
    assert refusal.fields == {"draft.nodes[0].password.digits": "node ask: is required"}


async def test_without_a_key_no_password_can_be_kept(store: MemoryStore) -> None:
    await put(store, *world())
    async with serving(store) as stub:
        with invalid() as refusal:
            await stub.CreateFlow(pb.CreateFlowRequest(flow=flow(asking(digits="1234"))))
    reason = "node ask: cannot be kept: provisioning.password_key_file is not set"
    assert refusal.fields == {"flow.draft.nodes[0].password.digits": reason}
