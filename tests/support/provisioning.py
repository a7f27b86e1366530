"""The provisioning service in this process over any store, its errors taken apart, and what must hold of its store."""

from __future__ import annotations

import asyncio
import random
from collections import Counter
from contextlib import asynccontextmanager, contextmanager
from dataclasses import dataclass, field
from functools import partial
from typing import TYPE_CHECKING, Any

import grpc
import pytest
from google.rpc import error_details_pb2
from grpc_status import rpc_status
from signalbox import rpc
from signalbox.api.provisioning.v1 import provisioning_pb2 as pb
from signalbox.api.provisioning.v1 import provisioning_pb2_grpc
from signalbox.api.types.v1 import flows_pb2, schedules_pb2, screening_pb2, types_pb2
from signalbox.errors import RoutingUnavailableError
from signalbox.provisioning import validate
from signalbox.provisioning.access import OPERATOR, Principal
from signalbox.provisioning.collection import Clock, utc_now
from signalbox.provisioning.credentials import Authenticator
from signalbox.provisioning.references import SHARED
from signalbox.provisioning.service import ProvisioningService
from signalbox.store import codec, keys

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Iterator, Sequence

    from signalbox.api.routing.v1 import routing_pb2
    from signalbox.provisioning.serving import Unary
    from signalbox.store.base import Compare, Delete, Entry, Listing, Put, Store

Stub = provisioning_pb2_grpc.ProvisioningServiceStub


async def no_explanation(principal: Principal, request: routing_pb2.ExplainRequest) -> routing_pb2.ExplainResponse:
    """Stands in for a routing service that is not there."""
    raise RoutingUnavailableError("no routing service answers")


def service(
    store: Store, clock: Clock = utc_now, explain: Unary = no_explanation, password_key: bytes | None = None
) -> ProvisioningService:
    """A service whose callers are the operator unless they show an API key."""
    authenticator = Authenticator(store, clock, anonymous=Principal(OPERATOR))
    return ProvisioningService(store, authenticator, explain, clock, password_key)


@asynccontextmanager
async def serving(store: Store, **arguments: Any) -> AsyncIterator[Stub]:
    """A client of a new service over the store."""
    async with served(service(store, **arguments)) as stub:
        yield stub


@asynccontextmanager
async def served(service: ProvisioningService) -> AsyncIterator[Stub]:
    """A client of a service."""
    server = grpc.aio.server(options=rpc.server_options(reuse_port=False))
    service.add_to(server)
    port = server.add_insecure_port("127.0.0.1:0")
    await server.start()
    try:
        async with grpc.aio.insecure_channel(f"127.0.0.1:{port}") as channel:
            yield Stub(channel)
    finally:
        await server.stop(None)


@dataclass
class Refusal:
    """A failed RPC: its status, reason, metadata and field violations by path."""

    code: grpc.StatusCode = grpc.StatusCode.UNKNOWN
    message: str = ""
    reason: str = ""
    metadata: dict[str, str] = field(default_factory=dict)
    fields: dict[str, str] = field(default_factory=dict)

    def take(self, error: Any) -> None:
        """Fill in from a failed call."""
        status = rpc_status.from_call(error)
        assert status is not None, f"no details: {error}"
        info, bad = error_details_pb2.ErrorInfo(), error_details_pb2.BadRequest()
        for detail in status.details:
            detail.Unpack(info) or detail.Unpack(bad)
        assert info.domain == "signalbox"
        self.code, self.message, self.reason = error.code(), status.message, info.reason
        self.metadata = dict(info.metadata)
        self.fields = {violation.field: violation.description for violation in bad.field_violations}


@contextmanager
def refused(code: grpc.StatusCode, reason: str) -> Iterator[Refusal]:
    """The body must fail with this status and reason."""
    refusal = Refusal()
    with pytest.raises(grpc.aio.AioRpcError) as caught:
        yield refusal
    refusal.take(caught.value)
    assert (refusal.code, refusal.reason) == (code, reason), refusal


def invalid() -> Any:
    """The body must fail with INVALID_ARGUMENT."""
    return refused(grpc.StatusCode.INVALID_ARGUMENT, "INVALID_FIELD")


async def reason_of(call: Any) -> str:
    """Await a call: "OK", or the reason of its refusal."""
    try:
        await call
    except grpc.aio.AioRpcError as error:
        refusal = Refusal()
        refusal.take(error)
        return refusal.reason
    return "OK"


class Example:
    """The objects of a small world: tenant acme with lines a and b and number 4001234567, trunk carrier."""

    @staticmethod
    def line(id: str, tenant: str = "acme", **fields: Any) -> types_pb2.Line:
        """A line."""
        return types_pb2.Line(**{"tenant": tenant, "id": id, "user": "100", "host": "192.0.2.7", **fields})

    @staticmethod
    def number(
        digits: str = "4001234567", *stages: Sequence[str], tenant: str = "acme", **fields: Any
    ) -> types_pb2.Number:
        """A number that dials the stages, by default line a and then line b."""
        dialled = [types_pb2.DialStage(lines=lines) for lines in stages or (["a"], ["b"])]
        return types_pb2.Number(**{"number": digits, "tenant": tenant, "stages": dialled, **fields})

    @staticmethod
    async def write(api: Stub) -> None:
        """Create all of it."""
        await api.CreateTenant(pb.CreateTenantRequest(tenant=types_pb2.Tenant(id="acme")))
        for id in ("a", "b"):
            await api.CreateLine(pb.CreateLineRequest(line=Example.line(id)))
        await api.CreateNumber(pb.CreateNumberRequest(number=Example.number()))
        trunk = types_pb2.Trunk(id="carrier", source_addresses=["192.0.2.0/24", "2001:db8::1"])
        await api.CreateTrunk(pb.CreateTrunkRequest(trunk=trunk))


async def check_integrity(store: Store, *, index: bool = True) -> None:
    """Nothing refers to what does not exist, no two trunks overlap, and the index is that of the numbers.

    The index is read after the rules: leave it out while others write.
    """
    entries = (await store.list(keys.RULES)).entries
    rules: dict[str, Any] = {entry.key: codec.decode_any(entry) for entry in entries}
    expected = {}
    for key, rule in rules.items():
        if getattr(rule, "tenant", ""):
            assert keys.tenant(rule.tenant) in rules, f"{key} has no tenant"
        named = _named(rule)
        missing = {places for places in named.values() if not any(place in rules for place in places)}
        assert not missing, f"{key} refers to {missing}"
        if isinstance(rule, types_pb2.Number):
            expected[keys.number_of(rule.tenant, rule.number)] = " ".join(sorted(named))
    if index:
        stored = (await store.list(keys.NUMBER_INDEX)).entries
        assert {entry.key: entry.value.decode() for entry in stored} == expected
        await _check_counts(store)
    networks = [
        (rule.id, validate.source_network(text))
        for rule in rules.values()
        if isinstance(rule, types_pb2.Trunk)
        for text in rule.source_addresses
    ]
    for position, (one, network) in enumerate(networks):
        for other, other_network in networks[position + 1 :]:
            assert not validate.overlap(network, other_network), f"trunks {one} and {other} overlap"


async def _check_counts(store: Store) -> None:
    """What is counted of the indexes is what they say."""
    expected: dict[str, Counter[str]] = {}
    for prefix in (keys.NUMBER_INDEX, keys.FLOW_INDEX, keys.SCHEDULE_INDEX):
        for entry in (await store.list(prefix)).entries:
            shared = [word for word in entry.value.decode().split() if word.partition(":")[0] in SHARED]
            expected.setdefault(keys.shared_index(keys.owner(entry.key)), Counter()).update(shared)
    texts = {
        key: " ".join(f"{word}={count}" for word, count in sorted(counts.items()))
        for key, counts in expected.items()
        if counts
    }
    assert {entry.key: entry.value.decode() for entry in (await store.list(keys.SHARED_INDEX)).entries} == texts


def _named(rule: Any) -> dict[str, tuple[str, ...]]:
    """What an object refers to: its name in the index, and the keys of which one must exist."""
    match rule:
        case types_pb2.Number():
            named = {f"line:{id}": (keys.line(rule.tenant, id),) for stage in rule.stages for id in stage.lines}
            named |= {f"flow:{id}": (keys.flow(rule.tenant, id),) for id in (rule.flow, rule.over_limit_flow) if id}
            return named | {
                f"screening_list:{id}": (keys.screening_list(rule.tenant, id), keys.screening_list("", id))
                for id in (*rule.screening.blacklists, *rule.screening.whitelists)
            }
        case flows_pb2.LineGroup():
            return {one.line: (keys.line(rule.tenant, one.line),) for one in rule.lines}
        case types_pb2.TrunkGroup():
            return {member.trunk: (keys.trunk(member.trunk),) for member in rule.members}
    return {}


class Interleaving:
    """A store that lets others run between any two of its operations, as a network does."""

    def __init__(self, store: Store, seed: int) -> None:
        self._store = store
        self._random = random.Random(seed)

    async def _pause(self) -> None:
        for _ in range(self._random.randrange(4)):
            await asyncio.sleep(0)

    async def get(self, key: str) -> Entry | None:
        """See Store."""
        await self._pause()
        return await self._store.get(key)

    async def get_many(self, keys: Sequence[str]) -> list[Entry | None]:
        """See Store."""
        await self._pause()
        return await self._store.get_many(keys)

    async def page(self, prefix: str, after: str, limit: int) -> Sequence[Entry]:
        """See Store."""
        await self._pause()
        return await self._store.page(prefix, after, limit)

    async def commit(self, compares: Sequence[Compare], writes: Sequence[Put | Delete]) -> int:
        """See Store."""
        await self._pause()
        return await self._store.commit(compares, writes)

    async def grant_lease(self, ttl_s: int) -> int:
        """See Store."""
        await self._pause()
        return await self._store.grant_lease(ttl_s)

    async def list(self, prefix: str) -> Listing:
        """See Store."""
        await self._pause()
        return await self._store.list(prefix)


class As:
    """A client that shows an API key with every call."""

    def __init__(self, api: Stub, secret: str) -> None:
        self._api = api
        self._metadata = (("authorization", f"Bearer {secret}"),)

    def __getattr__(self, method: str) -> Any:
        return partial(getattr(self._api, method), metadata=self._metadata)


async def key(api: Any, tenant: str, role: types_pb2.Role.ValueType, id: str = "key", **fields: Any) -> str:
    """The secret of a new API key."""
    given = types_pb2.ApiKey(tenant=tenant, id=id, role=role, **fields)
    return str((await api.CreateApiKey(pb.CreateApiKeyRequest(api_key=given))).secret)


def world(tenant: str, digits: str) -> list[pb.Object]:
    """One object of each kind that a tenant has, all with the id "x"."""
    graph = flows_pb2.FlowGraph(
        entry="end", nodes=[flows_pb2.FlowNode(id="end", hang_up=flows_pb2.HangUpNode(cause="HANG_UP_CAUSE_BUSY"))]
    )
    return [
        pb.Object(tenant=types_pb2.Tenant(id=tenant)),
        pb.Object(line=Example.line("x", tenant)),
        pb.Object(line_group=flows_pb2.LineGroup(tenant=tenant, id="x", lines=[flows_pb2.DialLine(line="x")])),
        *shared(tenant),
        pb.Object(prompt=types_pb2.Prompt(tenant=tenant, id="x")),
        pb.Object(
            schedule=schedules_pb2.Schedule(tenant=tenant, id="x", draft=schedules_pb2.ScheduleRules(calendar="x"))
        ),
        pb.Object(flow=flows_pb2.Flow(tenant=tenant, id="x", draft=graph)),
        pb.Object(number=types_pb2.Number(number=digits, tenant=tenant, flow="x")),
    ]


def shared(owner: str = "") -> list[pb.Object]:
    """One object of each kind that the operator may share."""
    return [
        pb.Object(calendar=schedules_pb2.Calendar(tenant=owner, id="x")),
        pb.Object(region_group=screening_pb2.RegionGroup(tenant=owner, id="x", provinces=["北京"])),
        pb.Object(screening_list=screening_pb2.ScreeningList(tenant=owner, id="x")),
    ]
