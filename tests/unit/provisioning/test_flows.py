"""Call flows in the store: drafts, activation, what they keep from being deleted."""

from __future__ import annotations

from datetime import timedelta
from typing import TYPE_CHECKING, Any

import pytest
from google.protobuf.field_mask_pb2 import FieldMask
from google.protobuf.timestamp_pb2 import Timestamp
from hypothesis import given, settings
from hypothesis import strategies as st
from signalbox.api.provisioning.v1 import provisioning_pb2 as pb
from signalbox.api.types.v1 import flows_pb2, screening_pb2, types_pb2
from signalbox.domain.flow_check import Kind
from signalbox.errors import InUseError, InvalidFieldError, NotFoundError
from signalbox.provisioning import flow_references, references
from signalbox.provisioning.apikeys import ApiKeys
from signalbox.provisioning.flows import Flows
from signalbox.provisioning.line_groups import LineGroups
from signalbox.provisioning.prompts import Prompts
from signalbox.provisioning.writer import Writer
from signalbox.routing import convert_flows
from signalbox.store import codec, keys
from signalbox.store.base import MAX_COMMIT_BYTES, MAX_OPERATIONS, Put
from signalbox.store.memory import MemoryStore
from support.flows import dial, flow, graph, index_of, line, put, schedule, world

from .conftest import Clock

if TYPE_CHECKING:
    from datetime import datetime

NOBODY = flows_pb2.Flow(tenant="acme", id="main")
END: dict[str, Any] = {"hangUp": {}}


@pytest.fixture
async def flows(store: MemoryStore, clock: Clock) -> Flows:
    await put(store, *world())
    return Flows(store, Writer(store), clock)


def fields(caught: pytest.ExceptionInfo[InvalidFieldError]) -> dict[str, str]:
    return {one.field: one.reason for one in caught.value.violations}


def activate(at: datetime | None = None, id: str = "main") -> pb.ActivateFlowRequest:
    request = pb.ActivateFlowRequest(tenant="acme", id=id)
    if at is not None:
        request.activate_time.FromDatetime(at)
    return request


async def make(flows: Flows, draft: flows_pb2.FlowGraph, id: str = "main") -> flows_pb2.Flow:
    await flows.create(flow(draft, id))
    return await flows.activate(activate(id=id))


async def edit(flows: Flows, draft: flows_pb2.FlowGraph) -> flows_pb2.Flow:
    return await flows.update(flow(draft), FieldMask(paths=["draft"]))


async def test_a_draft_is_kept_and_obeyed_by_nobody(flows: Flows, store: MemoryStore) -> None:
    created = await flows.create(flow())
    assert created.draft == flow().draft
    assert not created.revisions
    assert await flows.get(NOBODY) == created
    assert await index_of(store) == []


async def test_half_a_flow_can_be_saved(flows: Flows) -> None:
    half = graph("", a=dial("nobody", busy="later"), b={}, c={"menu": {}})
    created = await flows.create(flow(half))
    assert created.draft == half


async def test_what_is_malformed_cannot(flows: Flows) -> None:
    with pytest.raises(InvalidFieldError) as caught:
        await flows.create(flow(graph("a", a=dial("Nobody"))))
    assert list(fields(caught)) == ["flow.draft.nodes[0].dial.lines[0].line"]


async def test_a_flow_of_no_tenant(flows: Flows) -> None:
    with pytest.raises(NotFoundError):
        await flows.create(flow(tenant="nobody"))


async def test_a_draft_that_is_activated_is_a_revision(flows: Flows, clock: Clock) -> None:
    made = await make(flows, flow().draft)
    (revision,) = made.revisions
    assert (revision.number, revision.graph) == (1, made.draft)
    found = convert_flows.flow(made).revision_at(clock.now.timestamp())
    assert found is not None
    assert found.number == 1


async def test_an_unfinished_draft_is_not_activated(flows: Flows) -> None:
    await flows.create(flow(graph("a", a=dial("nobody", busy="gone"), b=END)))
    with pytest.raises(InvalidFieldError) as caught:
        await flows.activate(activate())
    assert fields(caught) == {
        "draft.nodes[0].dial.busy": "node a: there is no node gone",
        "draft.nodes[1].id": "node b: no way leads here from the entry",
        "draft.nodes[0].dial.lines[0].line": "node a: there is no line nobody",
    }
    assert not (await flows.get(NOBODY)).revisions


async def test_a_node_without_a_kind_is_not_activated(flows: Flows) -> None:
    await flows.create(flow(graph("a", a={})))
    with pytest.raises(InvalidFieldError) as caught:
        await flows.activate(activate())
    assert fields(caught) == {"draft.nodes[0]": "node a: says nothing to do"}


REFERENCES: dict[str, tuple[dict[str, Any], str]] = {
    "line": (dial("gone"), "dial.lines[0].line"),
    "line group": ({"dial": {"lineGroup": "gone"}}, "dial.line_group"),
    "schedule": ({"schedule": {"schedule": "gone", "otherwise": "end"}}, "schedule.schedule"),
    "screening list": (
        {"callerList": {"lists": ["staff", "gone"], "member": "end", "otherwise": "end"}},
        "caller_list.lists[1]",
    ),
    "region group": (
        {"region": {"branches": [{"groups": ["gone"], "next": "end"}], "otherwise": "end"}},
        "region.branches[0].groups[0]",
    ),
    "prompt": ({"announce": {"prompt": "gone", "next": "end"}}, "announce.prompt"),
}


@pytest.mark.parametrize("kind", REFERENCES)
async def test_what_a_flow_refers_to_must_exist_when_it_is_activated(flows: Flows, kind: str) -> None:
    node, field = REFERENCES[kind]
    draft = graph("b", b=dial(busy="a"), a=node, end=END)
    if kind in {"line", "line group"}:
        draft = graph("b", b=dial(busy="a"), a=node)
    await flows.create(flow(draft))
    with pytest.raises(InvalidFieldError) as caught:
        await flows.activate(activate())
    assert fields(caught) == {f"draft.nodes[1].{field}": f"node a: there is no {kind} gone"}


async def test_a_period_must_be_one_of_the_schedules(flows: Flows, store: MemoryStore) -> None:
    def by(name: str) -> flows_pb2.FlowGraph:
        branches = [{"period": "open", "next": "end"}, {"period": "dinner", "next": "end"}]
        return graph("a", a={"schedule": {"schedule": name, "branches": branches, "otherwise": "end"}}, end=END)

    await flows.create(flow(by("hours")))
    with pytest.raises(InvalidFieldError) as caught:
        await flows.activate(activate())
    name = "draft.nodes[0].schedule.branches[1].period"
    assert fields(caught) == {name: "node a: schedule hours has no period dinner"}
    await put(store, schedule("plan", "open", "dinner", activated=False))
    await edit(flows, by("plan"))
    with pytest.raises(InvalidFieldError) as caught:
        await flows.activate(activate())
    assert len(fields(caught)) == 2, "a schedule that was never activated has no periods"
    await put(store, schedule("plan", "open", "dinner"))
    assert len((await flows.activate(activate())).revisions) == 1


async def test_a_flow_that_is_unfinished_again_stays_in_force_as_it_was(flows: Flows) -> None:
    made = await make(flows, flow().draft)
    edited = await edit(flows, graph("gone"))
    assert edited.revisions == made.revisions
    assert edited.draft == graph("gone")


async def test_a_rollback_to_what_refers_to_something_gone_is_refused(flows: Flows, store: MemoryStore) -> None:
    await make(flows, graph("a", a=dial("a")))
    await edit(flows, graph("a", a=dial("b")))
    await flows.activate(activate())
    store._entries.pop(keys.line("acme", "a"))
    with pytest.raises(InvalidFieldError) as caught:
        await flows.rollback(pb.RollbackFlowRequest(tenant="acme", id="main", revision=1))
    assert fields(caught) == {"revision.nodes[0].dial.lines[0].line": "node a: there is no line a"}


ALL = graph(
    "hours",
    hours={"schedule": {"schedule": "hours", "branches": [{"period": "open", "next": "place"}], "otherwise": "place"}},
    place={"region": {"branches": [{"groups": ["north"], "next": "who"}], "otherwise": "who"}},
    who={"callerList": {"lists": ["nuisance"], "member": "group", "otherwise": "group"}},
    group={"dial": {"lineGroup": "sales", "busy": "line"}},
    line=dial("b", busy="hello"),
    hello={"announce": {"prompt": "hello", "next": "crm"}},
    crm={"request": {"url": "https://example.com/", "apiKey": "crm", "otherwise": "end", "failed": "end"}},
    end=END,
)
USED = [
    (Kind.API_KEY, "crm"),
    (Kind.LINE, "b"),
    (Kind.LINE_GROUP, "sales"),
    (Kind.PROMPT, "hello"),
    (Kind.REGION_GROUP, "north"),
    (Kind.SCHEDULE, "hours"),
    (Kind.SCREENING_LIST, "nuisance"),
]


async def test_the_index_names_what_is_in_force_and_to_come(flows: Flows, store: MemoryStore, clock: Clock) -> None:
    await make(flows, ALL)
    assert await index_of(store) == [f"{kind.name.lower()}:{id}" for kind, id in USED]
    await edit(flows, graph("a", a=dial("a")))
    await flows.activate(activate(clock.now + timedelta(hours=1)))
    assert "line:a" in await index_of(store)
    assert "line:b" in await index_of(store)
    await flows.delete(NOBODY, "")
    assert await store.get(keys.flow_index("acme", "main")) is None


@pytest.mark.parametrize(("kind", "id"), USED, ids=[one[0].value for one in USED])
async def test_an_object_is_used_from_activation_until_it_is_superseded(
    flows: Flows, store: MemoryStore, clock: Clock, kind: Kind, id: str
) -> None:
    async def user() -> str:
        return await flow_references.user(store, kind, "acme", id, clock.now)

    await flows.create(flow(ALL))
    assert not await user(), "a draft uses nothing"
    await flows.activate(activate(clock.now + timedelta(hours=1)))
    assert await user() == "flow acme/main"
    await edit(flows, graph("a", a=dial("a")))
    await flows.activate(activate(clock.now + timedelta(hours=2)))
    clock.advance(7199)
    assert await user() == "flow acme/main"
    clock.advance(1)
    assert not await user(), "superseded by time alone, without a write"


async def test_the_operators_object_is_not_used_where_a_tenant_has_its_own(flows: Flows, store: MemoryStore) -> None:
    async def relying() -> list[str]:
        return [tenant async for tenant in references.relying(store, "screening_list", "nuisance")]

    await make(flows, ALL)
    assert await relying() == ["acme"]
    await put(store, screening_pb2.ScreeningList(tenant="acme", id="nuisance"))
    assert await relying() == []


async def test_what_a_tenant_names_is_counted(flows: Flows, store: MemoryStore) -> None:
    async def counts() -> bytes:
        entry = await store.get(keys.shared_index("acme"))
        return entry.value if entry else b""

    await make(flows, ALL)
    assert await counts() == b"region_group:north=1 screening_list:nuisance=1"
    await make(flows, ALL, "again")
    assert await counts() == b"region_group:north=2 screening_list:nuisance=2"
    await edit(flows, graph("a", a=dial("a")))
    await flows.activate(activate())
    assert await counts() == b"region_group:north=1 screening_list:nuisance=1"
    await flows.delete(flow(id="again"), "")
    await flows.delete(NOBODY, "")
    assert await counts() == b"", "nothing is left behind"


async def test_a_flow_that_a_number_uses_stays(flows: Flows, store: MemoryStore) -> None:
    await make(flows, flow().draft)
    await store.commit([], [Put(keys.number_of("acme", "4001234567"), b"flow:main line:b")])
    with pytest.raises(InUseError, match="flow acme/main is used by number 4001234567"):
        await flows.delete(NOBODY, "")


async def test_an_api_key_that_signs_requests_of_a_flow_stays(flows: Flows, store: MemoryStore, clock: Clock) -> None:
    api_keys = ApiKeys(store, Writer(store), clock)
    await put(store, types_pb2.ApiKey(id="crm"))
    await make(flows, ALL)
    with pytest.raises(InUseError, match="api_key acme/crm is used by flow acme/main"):
        await api_keys.delete(types_pb2.ApiKey(tenant="acme", id="crm"), "")
    await api_keys.delete(types_pb2.ApiKey(id="crm"), "")
    await flows.delete(NOBODY, "")
    await api_keys.delete(types_pb2.ApiKey(tenant="acme", id="crm"), "")


async def test_line_groups_and_prompts_that_a_flow_uses_stay(flows: Flows, store: MemoryStore, clock: Clock) -> None:
    groups = LineGroups(store, Writer(store), clock)
    prompts = Prompts(store, Writer(store), clock)
    await make(flows, ALL)
    sales, hello = flows_pb2.LineGroup(tenant="acme", id="sales"), types_pb2.Prompt(tenant="acme", id="hello")
    with pytest.raises(InUseError, match="line_group acme/sales is used by flow acme/main"):
        await groups.delete(sales, "")
    with pytest.raises(InUseError, match="prompt acme/hello is used by flow acme/main"):
        await prompts.delete(hello, "")
    await flows.delete(NOBODY, "")
    await groups.delete(sales, "")
    await prompts.delete(hello, "")


async def test_a_graph_that_is_too_large_is_refused(flows: Flows) -> None:
    ids = [f"{n:063d}".replace("0", "a", 60) for n in range(16)]
    big = {f"n{n}": {"dial": {"lines": [{"line": id} for id in ids]}} for n in range(80)}
    with pytest.raises(InvalidFieldError) as caught:
        await flows.create(flow(graph("n0", **big)))
    assert fields(caught) == {"flow.draft": "must not be larger than 64 KiB as protobuf"}


class Measured(MemoryStore):
    """Remembers the largest commit."""

    largest = 0

    async def commit(self, compares: Any, writes: Any) -> int:
        size = sum(len(write.value) for write in writes if isinstance(write, Put))
        self.largest = max(self.largest, size)
        return await super().commit(compares, writes)


async def test_large_flows_with_many_revisions_fit_into_the_store(clock: Clock) -> None:
    """The largest drafts there may be, each with references of its own, activated 30 times and 10 times to come."""
    store = Measured()
    flows = Flows(store, Writer(store), clock)
    await put(store, types_pb2.Tenant(id="acme"))
    for turn in range(40):
        lines = [f"l{turn:02d}-{n:03d}-{'x' * 55}" for n in range(900)]
        for start in range(0, len(lines), MAX_OPERATIONS):
            await put(store, *(line(id) for id in lines[start : start + MAX_OPERATIONS]))
        nodes = {
            f"n{n}": {
                "dial": {
                    "lines": [{"line": id} for id in lines[16 * n : 16 * n + 16]],
                    "busy": f"n{n + 1}" if n < 55 else "",
                }
            }
            for n in range(56)
        }
        draft = graph("n0", **nodes)
        assert 60_000 < draft.ByteSize() <= 64 * 1024
        if turn == 0:
            await flows.create(flow(draft))
        else:
            await edit(flows, draft)
        made = await flows.activate(activate(clock.now + timedelta(hours=turn) if turn >= 30 else None))
        clock.advance(1 if turn < 30 else 0)
    assert len(made.revisions) >= 11
    assert store.largest <= MAX_COMMIT_BYTES


async def test_what_is_stored_is_what_routing_reads(flows: Flows, store: MemoryStore) -> None:
    await make(flows, ALL)
    entry = await store.get(keys.flow("acme", "main"))
    assert entry is not None
    read = convert_flows.flow(codec.decode(flows_pb2.Flow, entry))
    assert [len(one.graph.nodes) for one in read.revisions] == [len(ALL.nodes)]


@settings(max_examples=60, deadline=None)
@given(st.lists(st.tuples(st.sampled_from(["a", "b"]), st.integers(0, 3)), min_size=1, max_size=8), st.integers(0, 5))
async def test_what_is_used_is_what_a_call_may_still_reach(steps: list[tuple[str, int]], later: int) -> None:
    """Against asking every second of the future which graph is in force."""
    clock, store = Clock(), MemoryStore()
    await put(store, *world())
    flows = Flows(store, Writer(store), clock)
    await flows.create(flow())
    for name, delay in steps:
        await edit(flows, graph("a", a=dial(name)))
        try:
            await flows.activate(activate(clock.now + timedelta(seconds=10 * delay) if delay else None))
        except InvalidFieldError:
            clock.advance(10)
    clock.advance(10 * later)
    now = clock.now.timestamp()
    read = convert_flows.flow(await flows.get(NOBODY))
    reached = {
        one.graph.nodes["a"].lines[0].line  # type: ignore[union-attr]
        for second in range(200)
        if (one := read.revision_at(now + second)) is not None
    }
    for name in ("a", "b"):
        assert bool(await flow_references.user(store, Kind.LINE, "acme", name, clock.now)) == (name in reached)


async def test_a_time_that_is_none(flows: Flows) -> None:
    await flows.create(flow())
    request = pb.ActivateFlowRequest(tenant="acme", id="main", activate_time=Timestamp(seconds=1, nanos=-5))
    with pytest.raises(InvalidFieldError):
        await flows.activate(request)


async def test_a_flow_of_a_newer_release_is_not_taken_for_one_that_uses_nothing(
    flows: Flows, store: MemoryStore, clock: Clock
) -> None:
    await make(flows, flow().draft)
    stored = await flows.get(NOBODY)
    stored.revisions[0].graph.nodes[0].ClearField("dial")
    await put(store, stored)
    with pytest.raises(codec.DamagedValueError, match="revision 1: node a: is of no known kind"):
        await flow_references.user(store, Kind.LINE, "acme", "a", clock.now)
