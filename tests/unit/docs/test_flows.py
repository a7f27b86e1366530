"""docs/rules/flows.md: its objects and its flow are written and activated, its refusals are what is said, and its calls
go where it shows them to go.

After a change of output, write the calls anew: ``WRITE_DOCS=1 python -m pytest tests/unit/docs``.
"""

from __future__ import annotations

import io
import os
import re
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
from google.protobuf import json_format
from signalbox.api.provisioning.v1 import provisioning_pb2 as pb
from signalbox.api.types.v1 import flows_pb2, types_pb2
from signalbox.commands import documents
from signalbox.domain.claims import Place, Waiting, uncounted
from signalbox.domain.continuing import Next, proceed
from signalbox.domain.decided import Dial, Reject, Step
from signalbox.domain.objects import Line
from signalbox.domain.outcomes import Ended, Outcome
from signalbox.domain.planner import Voice
from signalbox.domain.regions import Region
from signalbox.domain.voice import Pool
from signalbox.errors import InvalidFieldError
from signalbox.provisioning import passwords
from signalbox.provisioning.flows import Flows
from signalbox.provisioning.line_groups import LineGroups
from signalbox.provisioning.lines import Lines
from signalbox.provisioning.numbers import Numbers
from signalbox.provisioning.prompts import Prompts
from signalbox.provisioning.region_groups import RegionGroups
from signalbox.provisioning.schedules import Schedules
from signalbox.provisioning.screening import ScreeningLists
from signalbox.provisioning.writer import Writer
from signalbox.routing import convert_flows
from signalbox.routing.book import Book
from signalbox.store import flowgraph, keys
from signalbox.store.memory import MemoryStore
from support.deciding import Call, decided, setup
from support.flows import put

if TYPE_CHECKING:
    from collections.abc import Iterator

    from signalbox.domain.cursor import Cursor
    from signalbox.domain.rules import Rules

PAGE = Path(__file__).parents[3] / "docs" / "rules" / "flows.md"
COLLECTIONS = {
    "Flow": Flows,
    "Line": Lines,
    "LineGroup": LineGroups,
    "Prompt": Prompts,
    "RegionGroup": RegionGroups,
    "Schedule": Schedules,
    "ScreeningList": ScreeningLists,
}
PASSWORD_KEY = b"a key"
NOW = datetime(2026, 1, 31, 9, 30, tzinfo=UTC)

PLACES = {"010": Region("北京", "北京", "010"), "028": Region("四川", "成都", "028")}

_BLOCK = re.compile(r"^```(yaml|text)( \w+)?\n(.*?)^```$", re.MULTILINE | re.DOTALL)
_CALL = re.compile(r"^```text call (\S+) (\d+) (.*)\n([^`]*)^```$", re.MULTILINE)


def blocks(*wanted: str) -> Iterator[str]:
    for kind, what, body in _BLOCK.findall(PAGE.read_text()):
        if f"{kind}{what}" in wanted:
            yield body


def read(text: str) -> list[dict[str, Any]]:
    return documents.read(io.StringIO(text))


def graph(fields: dict[str, Any]) -> flows_pb2.FlowGraph:
    return json_format.ParseDict(fields, flows_pb2.FlowGraph())


@pytest.fixture
async def store() -> MemoryStore:
    """Everything that the page refers to, written as an API's client would."""
    store = MemoryStore()
    await put(store, types_pb2.Tenant(id="acme"), types_pb2.ApiKey(tenant="acme", id="crm"))
    for text in blocks("yaml"):
        for fields in read(text):
            collection = COLLECTIONS[fields.pop("kind")](store, Writer(store), lambda: NOW)
            rule = json_format.ParseDict(fields, collection.message())
            await collection.create(rule)
            if isinstance(collection, Flows):
                await collection.activate(pb.ActivateFlowRequest(tenant=rule.tenant, id=rule.id))
            if isinstance(collection, Schedules):
                await collection.activate(pb.ActivateScheduleRequest(tenant=rule.tenant, id=rule.id))
    return store


@pytest.fixture
def flows(store: MemoryStore) -> Flows:
    return Flows(store, Writer(store), lambda: NOW)


async def activated(flows: Flows, id: str, draft: flows_pb2.FlowGraph) -> flows_pb2.Flow:
    await flows.create(flows_pb2.Flow(tenant="acme", id=id, draft=draft))
    return await flows.activate(pb.ActivateFlowRequest(tenant="acme", id=id))


def page_flow() -> flows_pb2.FlowGraph:
    """As it comes to who keeps it: without passwords."""
    draft = graph({"entry": "screening", "nodes": [read(text)[0] for text in blocks("yaml node")]})
    flow = flows_pb2.Flow(tenant="acme", id="main", draft=draft)
    passwords.seal(flow, PASSWORD_KEY)
    return flow.draft


async def test_the_nodes_of_the_page_are_a_flow_that_can_be_activated(flows: Flows) -> None:
    made = await activated(flows, "main", page_flow())
    found = convert_flows.flow(made).revision_at(NOW.timestamp())
    assert found is not None
    assert len(found.graph.nodes) == len(page_flow().nodes)


def test_every_kind_of_node_is_on_the_page() -> None:
    kinds = {field.name for field in flows_pb2.FlowNode.DESCRIPTOR.oneofs_by_name["node"].fields}
    assert {node.WhichOneof("node") for node in page_flow().nodes} == kinds
    headings = re.findall(r"^### (\w+)$", PAGE.read_text(), re.MULTILINE)
    assert set(headings) == kinds


def test_every_distribution_is_on_the_page() -> None:
    for name in flows_pb2.Distribution.keys()[1:]:
        assert f"`{name}`" in PAGE.read_text()


async def test_refusals_are_what_is_said(flows: Flows) -> None:
    drafts = [graph(read(text)[0]) for text in blocks("yaml refused")]
    told = list(blocks("text"))
    assert len(drafts) == len(told)
    for position, (draft, expected) in enumerate(zip(drafts, told, strict=True)):
        id = f"bad{position}"
        with pytest.raises(InvalidFieldError) as caught:
            await activated(flows, id, draft)
        lines = [f"{one.field}: {one.reason}" for one in caught.value.violations]
        assert "\n".join(lines) + "\n" == expected


class Caller:
    """One who calls the number of the page, and whose call a worker with voice takes on."""

    def __init__(self, rules: Rules, time: str, number: str) -> None:
        self.rules = rules
        self.now = datetime.fromisoformat(time).timestamp()
        self.number = number
        self.cursors: list[Cursor] = []
        worker = Line("", "ivr-1", "ivr", "192.0.2.100")
        given = setup(PLACES, Voice(Pool([(worker, 0.0)]), lambda cursor: self.cursors.append(cursor) or "sealed"))
        self.setup = replace(given, password_key=PASSWORD_KEY)

    def call(self) -> Iterator[str]:
        """The steps of the decision."""
        trace: list[Step] = []
        decided(self.rules, Call(trunk="", calling=self.number), trace, now=self.now, given=self.setup, counts={})
        yield from (f"{step.rule}: {step.finding}" for step in trace)

    def go_on(self, outcomes: list[str]) -> Iterator[str]:
        """What the worker does first, and after each outcome."""
        cursor, outcome = self.cursors[0], None
        for told in ["", *outcomes]:
            if told:
                ended, _, digits = told.partition("=")
                outcome = Outcome(Ended(ended), digits)
            going = proceed(self.rules, cursor, outcome, self.now, self.setup)
            try:
                claim = next(going)
                while True:
                    claim = going.send(Place(3) if isinstance(claim, Waiting) else uncounted(claim))
            except StopIteration as end:
                step: Next = end.value
            cursor = step.cursor
            yield f"{f'after {told}' if told else 'first'}: {self.shown(step)}"

    def shown(self, step: Next) -> str:
        match step.do:
            case (id, node):
                return f"node {id}, {flowgraph.node_message(id, node).WhichOneof('node')}"
            case Reject(code):
                return f"the call ends, with {code} if it was not answered"
            case Dial(stages):
                # A line has a stage for each way in which those before it may have failed.
                lines = dict.fromkeys(line.id for one in stages for line in one.lines)
                return f"node {step.cursor.node} rings {', then '.join(lines)}"
        raise AssertionError(step)


async def test_calls_go_where_the_page_shows(flows: Flows, store: MemoryStore) -> None:
    await activated(flows, "main", page_flow())
    (number,) = [read(text)[0] for text in blocks("yaml number")]
    del number["kind"]
    await Numbers(store, Writer(store), lambda: NOW).create(json_format.ParseDict(number, types_pb2.Number()))
    book = Book(lambda: None)
    await book.reset_rules(await store.list(keys.RULES))
    assert not book.damaged

    def show(match: re.Match[str]) -> str:
        time, calling, outcomes, _ = match.groups()
        caller = Caller(book.rules, time, calling)
        lines = [*caller.call(), *caller.go_on(outcomes.split())]
        return f"```text call {time} {calling} {outcomes}\n" + "".join(f"{line}\n" for line in lines) + "```"

    text = PAGE.read_text()
    now, calls = _CALL.subn(show, text)
    assert calls >= 3
    if os.environ.get("WRITE_DOCS"):
        PAGE.write_text(now)
    assert now == PAGE.read_text()
