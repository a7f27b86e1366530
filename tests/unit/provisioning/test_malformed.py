"""What is no request, or more than one: refused in an orderly way, and nothing of it is kept."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import grpc
import pytest
from google.protobuf.field_mask_pb2 import FieldMask
from google.protobuf.timestamp_pb2 import Timestamp
from signalbox.api.provisioning.v1 import provisioning_pb2 as pb
from signalbox.api.types.v1 import types_pb2
from signalbox.provisioning import pagetoken
from signalbox.provisioning.service import METHODS, SERVICE
from signalbox.store import keys
from support import provisioning
from support.provisioning import Example, Refusal, Stub, invalid

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    from signalbox.store.memory import MemoryStore


@pytest.fixture
async def channel(store: MemoryStore) -> AsyncIterator[grpc.aio.Channel]:
    server = grpc.aio.server()
    provisioning.service(store).add_to(server)
    port = server.add_insecure_port("127.0.0.1:0")
    await server.start()
    async with grpc.aio.insecure_channel(f"127.0.0.1:{port}") as channel:
        yield channel
    await server.stop(None)


async def send(channel: grpc.aio.Channel, name: str, content: bytes) -> Any:
    """A request as bytes; returns the answer, of a stream the first one, as bytes."""
    path = f"/{SERVICE}/{name}"
    if METHODS[name].server_streaming:
        return await channel.unary_stream(path)(content).read()  # type: ignore[func-returns-value]
    return await channel.unary_unary(path)(content)


@pytest.mark.parametrize("name", ["GetLine", "Apply", "Explain", "Watch"])
@pytest.mark.parametrize("content", [b"\xff\xff\xff", b"\x0a\x02\xff\xfe", b"\x0a\x7f"])
async def test_what_is_no_message(channel: grpc.aio.Channel, name: str, content: bytes) -> None:
    with pytest.raises(grpc.aio.AioRpcError) as caught:
        await send(channel, name, content)
    refusal = Refusal()
    refusal.take(caught.value)
    assert (refusal.code, refusal.reason) == (grpc.StatusCode.INVALID_ARGUMENT, "INVALID_FIELD")
    assert set(refusal.fields) == {"request"}


async def test_fields_that_nobody_knows_are_not_kept(channel: grpc.aio.Channel, api: Stub, store: MemoryStore) -> None:
    await api.CreateTenant(pb.CreateTenantRequest(tenant=types_pb2.Tenant(id="acme")))
    unknown = b"\xfa\x3e\x40" + b"x" * 64
    line = Example.line("a").SerializeToString() + unknown
    await send(channel, "CreateLine", b"\x0a" + bytes([len(line)]) + line + unknown)
    entry = await store.get(keys.line("acme", "a"))
    assert entry is not None
    assert b"xxx" not in entry.value


async def test_very_many_wrong_fields_are_told_as_far_as_headers_have_room(api: Stub) -> None:
    tenant = types_pb2.Tenant(id="acme")
    await api.CreateTenant(pb.CreateTenantRequest(tenant=tenant))
    with invalid() as refusal:
        mask = FieldMask(paths=["nope"] * 50_000)
        await api.UpdateTenant(pb.UpdateTenantRequest(tenant=tenant, update_mask=mask))
    assert refusal.fields["update_mask.paths[0]"] == "tenant has no field 'nope'"
    assert int(refusal.metadata["more"]) + len(refusal.fields) == 50_000


@pytest.mark.parametrize("seconds", [2**62, -(2**62), 253_402_300_800])
async def test_an_api_key_ends_at_a_time(api: Stub, seconds: int) -> None:
    key = types_pb2.ApiKey(id="k", role=types_pb2.ROLE_OPERATOR, expire_time=Timestamp(seconds=seconds))
    with invalid() as refusal:
        await api.CreateApiKey(pb.CreateApiKeyRequest(api_key=key))
    assert refusal.fields == {"api_key.expire_time": "is no time"}


@pytest.mark.parametrize("place", ["x", "-1", "٣", "1.5"])
async def test_a_cursor_that_was_made_up(api: Stub, place: str) -> None:
    with invalid() as refusal:
        await api.Watch(pb.WatchRequest(cursor=pagetoken.encode("Watch", "\0", place))).read()
    assert set(refusal.fields) == {"cursor"}
