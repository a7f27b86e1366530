"""Many writers at once through several replicas of the provisioning service: what they may and may not do."""

from __future__ import annotations

import asyncio
import random
from collections import Counter
from typing import TYPE_CHECKING

from google.protobuf.field_mask_pb2 import FieldMask
from signalbox.api.provisioning.v1 import provisioning_pb2 as pb
from signalbox.api.types.v1 import flows_pb2, screening_pb2, types_pb2
from signalbox.store import keys

from support.provisioning import Example, Stub, check_integrity, reason_of

if TYPE_CHECKING:
    from collections.abc import Sequence

    from signalbox.store.base import Store

TENANTS = ("acme", "best")
LINES = ("a", "b", "c")
NUMBERS = ("4001234567", "4007654367", "95105")
TRUNKS = {"one": ["192.0.2.0/25"], "two": ["192.0.2.64/26"], "three": ["192.0.2.192/26", "192.0.2.1"]}
EXPECTED = {"OK", "RESOURCE_NOT_FOUND", "RESOURCE_EXISTS", "RESOURCE_IN_USE", "INVALID_FIELD", "ETAG_MISMATCH"}
"""Refusals that a single writer could get too; never WRITE_CONTENTION or INTERNAL."""


async def anything_goes(store: Store, replicas: Sequence[Stub], seed: int, writers: int, writes: int) -> Counter[str]:
    """Writers create, change and delete the same few objects; the rules hold together all the time."""

    async def writer(number: int) -> Counter[str]:
        chance = random.Random(f"{seed}/{number}")
        api = replicas[number % len(replicas)]
        seen: Counter[str] = Counter()
        for _ in range(writes):
            seen[await reason_of(_write(api, chance))] += 1
        return seen

    async def checker(stop: asyncio.Event) -> None:
        while not stop.is_set():
            await check_integrity(store, index=False)
            await asyncio.sleep(0)

    stop = asyncio.Event()
    checking = asyncio.create_task(checker(stop))
    results = await asyncio.gather(*(writer(number) for number in range(writers)))
    stop.set()
    await checking
    await check_integrity(store)
    seen = sum(results, Counter[str]())
    assert set(seen) <= EXPECTED, seen
    return seen


def _write(api: Stub, chance: random.Random):  # type: ignore[no-untyped-def]  # the type of calls is grpc's secret
    tenant, line, digits = chance.choice(TENANTS), chance.choice(LINES), chance.choice(NUMBERS)
    trunk = chance.choice(list(TRUNKS))
    stages = [types_pb2.DialStage(lines=[id]) for id in chance.sample(LINES, chance.randint(1, 2))]
    number = types_pb2.Number(number=digits, tenant=tenant, stages=stages)
    given = types_pb2.Trunk(id=trunk, source_addresses=chance.sample(TRUNKS[trunk], 1))
    return chance.choice(
        [
            lambda: api.CreateTenant(pb.CreateTenantRequest(tenant=types_pb2.Tenant(id=tenant))),
            lambda: api.CreateTenant(pb.CreateTenantRequest(tenant=types_pb2.Tenant(id=tenant))),
            lambda: api.DeleteTenant(pb.DeleteTenantRequest(id=tenant)),
            lambda: api.CreateLine(pb.CreateLineRequest(line=Example.line(line, tenant))),
            lambda: api.CreateLine(pb.CreateLineRequest(line=Example.line(line, tenant))),
            lambda: api.DeleteLine(pb.DeleteLineRequest(tenant=tenant, id=line)),
            lambda: api.CreateNumber(pb.CreateNumberRequest(number=number)),
            lambda: api.CreateNumber(pb.CreateNumberRequest(number=number)),
            lambda: api.UpdateNumber(
                pb.UpdateNumberRequest(
                    number=types_pb2.Number(number=digits, stages=stages), update_mask=FieldMask(paths=["stages"])
                )
            ),
            lambda: api.DeleteNumber(pb.DeleteNumberRequest(number=digits)),
            lambda: api.Apply(pb.ApplyRequest(put=_screened(tenant, digits, chance))),
            lambda: api.Apply(pb.ApplyRequest(put=_screened(tenant, digits, chance))),
            lambda: api.Apply(
                pb.ApplyRequest(delete=[pb.Object(line=Example.line(line, tenant)), pb.Object(number=number)])
            ),
            lambda: api.DeleteFlow(pb.DeleteFlowRequest(tenant=tenant, id="main")),
            lambda: api.DeleteScreeningList(pb.DeleteScreeningListRequest(tenant=tenant, id="bad")),
            lambda: api.DeleteScreeningList(pb.DeleteScreeningListRequest(id="bad")),
            lambda: api.CreateTrunk(pb.CreateTrunkRequest(trunk=given)),
            lambda: api.UpdateTrunk(pb.UpdateTrunkRequest(trunk=given)),
            lambda: api.DeleteTrunk(pb.DeleteTrunkRequest(id=trunk)),
            lambda: api.Apply(pb.ApplyRequest(put=_exchanged(chance))),
        ]
    )()


def _exchanged(chance: random.Random) -> list[pb.Object]:
    """Two trunks, each with an address that the other may have now."""
    first, second = chance.sample(list(TRUNKS), 2)
    return [
        pb.Object(trunk=types_pb2.Trunk(id=first, source_addresses=chance.sample(TRUNKS[second], 1))),
        pb.Object(trunk=types_pb2.Trunk(id=second, source_addresses=chance.sample(TRUNKS[first], 1))),
    ]


def _screened(tenant: str, digits: str, chance: random.Random) -> list[pb.Object]:
    """A number with a flow and a list of its tenant's or of the operator's; the flow dials a line of a group."""
    line = chance.choice(LINES)
    node = flows_pb2.FlowNode(id="dial", dial=flows_pb2.DialNode(line_group="all"))
    graph = flows_pb2.FlowGraph(entry="dial", nodes=[node])
    screening = types_pb2.Screening(blacklists=["bad"])
    return [
        pb.Object(number=types_pb2.Number(number=digits, tenant=tenant, flow="main", screening=screening)),
        pb.Object(flow=flows_pb2.Flow(tenant=tenant, id="main", draft=graph)),
        pb.Object(line_group=flows_pb2.LineGroup(tenant=tenant, id="all", lines=[flows_pb2.DialLine(line=line)])),
        *([pb.Object(line=Example.line(line, tenant))] if chance.random() < 0.5 else []),
        *(
            [pb.Object(screening_list=screening_pb2.ScreeningList(tenant=chance.choice([tenant, ""]), id="bad"))]
            if chance.random() < 0.5
            else []
        ),
    ]


async def count_together(replicas: Sequence[Stub], writers: int, each: int) -> int:
    """Writers add one to a number kept in a tenant's name, each on the etag it read; returns how often one lost."""
    await replicas[0].CreateTenant(pb.CreateTenantRequest(tenant=types_pb2.Tenant(id="count", display_name="0")))
    lost = 0

    async def writer(api: Stub) -> None:
        nonlocal lost
        done = 0
        while done < each:
            tenant = await api.GetTenant(pb.GetTenantRequest(id="count"))
            tenant.display_name = str(int(tenant.display_name) + 1)
            reason = await reason_of(api.UpdateTenant(pb.UpdateTenantRequest(tenant=tenant)))
            assert reason in {"OK", "ETAG_MISMATCH"}
            done += reason == "OK"
            lost += reason != "OK"

    await asyncio.gather(*(writer(replicas[number % len(replicas)]) for number in range(writers)))
    tenant = await replicas[0].GetTenant(pb.GetTenantRequest(id="count"))
    assert tenant.display_name == str(writers * each)
    return lost


async def neighbours(replicas: Sequence[Stub], writers: int) -> None:
    """Many writers of one tenant's objects and of different fields of one object: all succeed, none is lost."""
    api = replicas[0]
    await Example.write(api)

    async def field(api: Stub, name: str, value: object) -> None:
        number = types_pb2.Number(number="4001234567", **{name: value})  # type: ignore[arg-type]
        await api.UpdateNumber(pb.UpdateNumberRequest(number=number, update_mask=FieldMask(paths=[name])))

    await asyncio.gather(
        *(
            replicas[n % len(replicas)].CreateLine(pb.CreateLineRequest(line=Example.line(f"line-{n}")))
            for n in range(writers)
        ),
        field(replicas[-1], "state", types_pb2.NUMBER_STATE_SUSPENDED),
        field(api, "media", types_pb2.MEDIA_MODE_BYPASS),
        field(replicas[-1], "stages", [types_pb2.DialStage(lines=["b", "a"])]),
    )
    number = await api.GetNumber(pb.GetNumberRequest(number="4001234567"))
    assert number.state == types_pb2.NUMBER_STATE_SUSPENDED
    assert number.media == types_pb2.MEDIA_MODE_BYPASS
    assert [list(stage.lines) for stage in number.stages] == [["b", "a"]]
    lines = await api.ListLines(pb.ListLinesRequest(tenant="acme", page_size=1000))
    assert len(lines.lines) == 2 + writers


async def one_winner(replicas: Sequence[Stub], writers: int) -> None:
    """Writers change one object on the same etag: exactly one wins, the others are told both versions."""
    trunk = await replicas[0].CreateTrunk(
        pb.CreateTrunkRequest(trunk=types_pb2.Trunk(id="prize", source_addresses=["198.51.100.1"]))
    )
    results = await asyncio.gather(
        *(
            reason_of(
                replicas[n % len(replicas)].UpdateTrunk(
                    pb.UpdateTrunkRequest(
                        trunk=types_pb2.Trunk(id="prize", display_name=f"writer {n}", etag=trunk.etag),
                        update_mask=FieldMask(paths=["display_name"]),
                    )
                )
            )
            for n in range(writers)
        )
    )
    assert Counter(results) == {"OK": 1, "ETAG_MISMATCH": writers - 1}
    stored = await replicas[0].GetTrunk(pb.GetTrunkRequest(id="prize"))
    assert stored.display_name == f"writer {results.index('OK')}"


async def relied_on(store: Store, replicas: Sequence[Stub], tenants: int) -> Counter[str]:
    """Tenants come to refer to a list of the operator's while it is deleted: either they are refused, or it stays."""
    api = replicas[0]
    lists = [pb.Object(screening_list=screening_pb2.ScreeningList(id="bad"))]
    names = [f"t{n}" for n in range(tenants)]
    await api.Apply(pb.ApplyRequest(put=[pb.Object(tenant=types_pb2.Tenant(id=name)) for name in names]))
    await api.Apply(pb.ApplyRequest(put=[pb.Object(line=Example.line("a", name)) for name in names]))
    await api.Apply(pb.ApplyRequest(put=lists))
    numbers = [
        Example.number(f"400{n:07d}", ["a"], tenant=name, screening=types_pb2.Screening(blacklists=["bad"]))
        for n, name in enumerate(names)
    ]
    deleted, *created = await asyncio.gather(
        reason_of(replicas[-1].DeleteScreeningList(pb.DeleteScreeningListRequest(id="bad"))),
        *(
            reason_of(replicas[n % len(replicas)].CreateNumber(pb.CreateNumberRequest(number=number)))
            for n, number in enumerate(numbers)
        ),
    )
    assert set(created) <= {"OK", "INVALID_FIELD"}
    assert deleted in {"OK", "RESOURCE_IN_USE"}
    stays = await store.get(keys.screening_list("", "bad")) is not None
    assert stays == (deleted == "RESOURCE_IN_USE")
    assert stays or set(created) == {"INVALID_FIELD"}, "a number refers to a list that is gone"
    return Counter([deleted, *created])
