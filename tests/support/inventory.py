"""The inventory and the provisioning service in this process over any store, and what must hold of the store."""

from __future__ import annotations

import asyncio
import random
from collections import Counter
from contextlib import asynccontextmanager, suppress
from typing import TYPE_CHECKING, Any

import grpc
from google.protobuf.field_mask_pb2 import FieldMask
from signalbox import rpc
from signalbox.api.provisioning.v1 import inventory_pb2 as pb
from signalbox.api.provisioning.v1 import inventory_pb2_grpc, provisioning_pb2
from signalbox.api.types.v1 import inventory_pb2, types_pb2
from signalbox.domain.inventory import RULE_STATES, State
from signalbox.errors import StoreUnavailableError
from signalbox.provisioning.access import OPERATOR, Principal
from signalbox.provisioning.collection import Clock, utc_now
from signalbox.provisioning.credentials import Authenticator
from signalbox.provisioning.inventory.agreement import state_of
from signalbox.provisioning.inventory.service import InventoryService
from signalbox.store import codec, keys
from signalbox.store.inventory import Page, events

from support import provisioning
from support.provisioning import Example, Interleaving, reason_of
from support.stores import until

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator, AsyncIterator, Sequence

    from signalbox.store.base import Batch, Compare, Delete, Put, Store

Stub = inventory_pb2_grpc.InventoryServiceStub
DOCUMENTS = [
    inventory_pb2.NumberDocument(
        kind=kind,
        file_name=f"{kind}.pdf",
        sha256=bytes([kind]) * 32,
        size_bytes=1000,
        media_type="application/pdf",
        content=f"s3://documents/{kind}",
    )
    for kind in (1, 2, 3)
]
RULE = types_pb2.Number(stages=[types_pb2.DialStage(lines=["a"])])


class Site:
    """Both services, with tenants acme and best, each with line a, and the range 4001230000 to 4001239999."""

    def __init__(self, store: Store, service: InventoryService, channel: grpc.aio.Channel) -> None:
        self.store = store
        self.service = service
        self.inventory = Stub(channel)
        self.rules = provisioning.Stub(channel)

    async def fill(self) -> None:
        """Create tenants, lines and the range."""
        for tenant in ("acme", "best"):
            await self.rules.CreateTenant(provisioning_pb2.CreateTenantRequest(tenant=types_pb2.Tenant(id=tenant)))
            line = Example.line("a", tenant)
            await self.rules.CreateLine(provisioning_pb2.CreateLineRequest(line=line))
        await self.range("main", "4001230000", "4001239999")

    async def range(self, id: str, first: str, last: str, **fields: Any) -> inventory_pb2.NumberRange:
        """Create a range."""
        made = inventory_pb2.NumberRange(id=id, first=first, last=last, **fields)
        return await self.inventory.CreateNumberRange(pb.CreateNumberRangeRequest(number_range=made))

    async def synced(self) -> None:
        """Wait until the index has everything that is in the store now."""
        revision = await self.store.revision()
        await until(lambda: self.service.index.revision >= revision and self.service.index.ready, "the index")

    async def reserve(self, number: str, tenant: str = "acme", **fields: Any) -> pb.InventoryNumber:
        """Reserve a number."""
        return await self.inventory.ReserveNumber(pb.ReserveNumberRequest(number=number, tenant=tenant, **fields))

    async def apply(self, number: str, spend: int = 0) -> pb.InventoryNumber:
        """Apply for a reserved number."""
        request = pb.ApplyForNumberRequest(number=number, documents=DOCUMENTS, agreed_minimum_spend=spend)
        return await self.inventory.ApplyForNumber(request)

    async def activate(self, number: str, tenant: str = "acme") -> pb.InventoryNumber:
        """A number from its reservation to its service."""
        await self.reserve(number, tenant)
        await self.apply(number)
        await self.inventory.ApproveNumber(pb.ApproveNumberRequest(number=number))
        return await self.inventory.ActivateNumber(pb.ActivateNumberRequest(number=number, rule=RULE))

    async def search(self, pattern: str = "", **fields: Any) -> pb.SearchNumbersResponse:
        """Free numbers, as the store has them now."""
        await self.synced()
        return await self.inventory.SearchNumbers(pb.SearchNumbersRequest(pattern=pattern, **fields))


@asynccontextmanager
async def site(store: Store, clock: Clock = utc_now) -> AsyncIterator[Site]:
    """Both services, whose callers are the operator unless they show an API key."""
    server = grpc.aio.server(options=rpc.server_options(reuse_port=False))
    authenticator = Authenticator(store, clock, anonymous=Principal(OPERATOR))
    service = InventoryService(store, authenticator, clock)
    service.add_to(server)
    provisioning.service(store, clock).add_to(server)
    port = server.add_insecure_port("127.0.0.1:0")
    await server.start()
    running = asyncio.create_task(service.index.run())
    try:
        async with grpc.aio.insecure_channel(f"127.0.0.1:{port}") as channel:
            yield Site(store, service, channel)
    finally:
        running.cancel()
        with suppress(asyncio.CancelledError):
            await running
        await server.stop(None)


async def check_agreement(store: Store) -> None:
    """At one revision: rules say what the inventory says, counts are those of the pages, histories end as pages are."""
    listing = await store.list("")
    entries = {entry.key: entry for entry in listing.entries}
    held: Counter[str] = Counter()
    reserved: Counter[str] = Counter()
    last: dict[str, inventory_pb2.NumberEvent] = {}
    count: Counter[str] = Counter()
    for key, entry in sorted(entries.items()):
        if key.startswith("numberlog/"):
            for event in events(entry):
                last[event.number] = event
                count[event.number[:-2]] += 1
    for key, entry in entries.items():
        if not key.startswith(keys.INVENTORY_PAGES):
            continue
        page = Page(keys.last_part(key), entry)
        assert page.transitions == count[page.head], "every transition is in the history"
        for number, holding in page.numbers():
            assert (last[number].state, last[number].time.seconds) == (holding.state + 1, holding.since)
            rule = entries.get(keys.number(number))
            wanted = RULE_STATES.get(holding.state)
            if holding.state is State.AVAILABLE:
                continue
            if wanted is None:
                assert rule is None, f"{number} is {holding.state.name} and has a rule"
            else:
                assert rule is not None, f"{number} is {holding.state.name} and has no rule"
                stored = codec.decode(types_pb2.Number, rule)
                assert (state_of(stored), stored.tenant) == (wanted, holding.tenant)
            if holding.tenant:
                held[holding.tenant] += 1
                reserved[holding.tenant] += holding.state is State.RESERVED
    counted = {
        key.split("/")[2]: inventory_pb2.TenantHoldings.FromString(entry.value)
        for key, entry in entries.items()
        if key.startswith("index/holdings/")
    }
    assert {tenant: (one.held, one.reserved) for tenant, one in counted.items()} == {
        tenant: (held[tenant], reserved[tenant]) for tenant in held
    }


class Network(Interleaving):
    """A store that lets others run between its operations, and fails some commits, written or not."""

    def __init__(self, store: Store, seed: int, failing: float = 0.0) -> None:
        super().__init__(store, seed)
        self._failing = failing

    def watch(self, prefix: str, from_revision: int, cluster: int = 0) -> AsyncGenerator[Batch, None]:
        """See Store."""
        return self._store.watch(prefix, from_revision, cluster)

    async def cluster(self) -> int:
        """See Store."""
        return await self._store.cluster()

    async def revision(self) -> int:
        """See Store."""
        return await self._store.revision()

    async def commit(self, compares: Sequence[Compare], writes: Sequence[Put | Delete]) -> int:
        """See Store."""
        if self._random.random() < self._failing:
            raise StoreUnavailableError("the request was lost")
        revision = await super().commit(compares, writes)
        if self._random.random() < self._failing:
            raise StoreUnavailableError("the answer was lost")
        return revision


WANTED = {"OK", "TRANSITION_REFUSED", "RESOURCE_NOT_FOUND", "RESOURCE_EXISTS", "RESOURCE_IN_USE", "STORE_UNAVAILABLE"}
"""What may become of a request where several do anything at once."""


async def anything_goes(sites: Sequence[Site], numbers: Sequence[str], seed: int, writers: int, writes: int) -> None:
    """Writers do anything to few numbers through several replicas; everything agrees all the time."""
    store, stop = sites[0].store, asyncio.Event()

    async def writer(position: int) -> set[str]:
        chance = random.Random(f"{seed}/{position}")
        site = sites[position % len(sites)]
        return {await reason_of(_anything(site, chance, numbers)) for _ in range(writes)}

    async def checker() -> None:
        while not stop.is_set():
            await check_agreement(store)
            await asyncio.sleep(0.01)

    checking = asyncio.create_task(checker())
    seen = set().union(*await asyncio.gather(*(writer(position) for position in range(writers))))
    stop.set()
    await checking
    await check_agreement(store)
    assert seen <= WANTED, seen
    assert "OK" in seen


def _anything(site: Site, chance: random.Random, numbers: Sequence[str]) -> Any:
    number, tenant, api = chance.choice(numbers), chance.choice(("acme", "best")), site.inventory
    rule = Example.number(number, ["a"], tenant=tenant)
    suspended = types_pb2.Number(number=number, state=types_pb2.NUMBER_STATE_SUSPENDED)
    delete = provisioning_pb2.DeleteNumberRequest(number=number)
    return chance.choice(
        [
            *[lambda: site.reserve(number, tenant)] * 3,
            *[lambda: site.apply(number)] * 3,
            *[lambda: api.ApproveNumber(pb.ApproveNumberRequest(number=number))] * 3,
            *[lambda: api.ActivateNumber(pb.ActivateNumberRequest(number=number, rule=RULE))] * 3,
            lambda: api.RejectNumber(pb.RejectNumberRequest(number=number, reason="x")),
            lambda: api.SuspendNumber(pb.SuspendNumberRequest(number=number, reason="SUSPENSION_REASON_ABUSE")),
            lambda: api.ResumeNumber(pb.ResumeNumberRequest(number=number)),
            lambda: api.WithdrawNumber(pb.WithdrawNumberRequest(number=number)),
            lambda: api.ReleaseNumber(pb.ReleaseNumberRequest(number=number)),
            lambda: api.QuarantineNumber(pb.QuarantineNumberRequest(number=number)),
            lambda: api.RecoverNumber(pb.RecoverNumberRequest(number=number)),
            lambda: api.AdoptNumbers(pb.AdoptNumbersRequest(range="main")),
            lambda: site.rules.CreateNumber(provisioning_pb2.CreateNumberRequest(number=rule)),
            lambda: site.rules.UpdateNumber(
                provisioning_pb2.UpdateNumberRequest(number=suspended, update_mask=FieldMask(paths=["state"]))
            ),
            lambda: site.rules.DeleteNumber(delete),
            lambda: site.rules.DeleteTenant(provisioning_pb2.DeleteTenantRequest(id=tenant)),
        ]
    )()
