"""docs/rules/recording.md: its objects are what the API takes, its call comes to what it shows, its names exist."""

from __future__ import annotations

import io
import re
from pathlib import Path
from typing import Any

import pytest
from google.protobuf import json_format
from signalbox.api.provisioning.v1 import provisioning_pb2 as pb
from signalbox.api.types.v1 import flows_pb2, types_pb2
from signalbox.commands import documents
from signalbox.domain.decided import Dial, Step, Why
from signalbox.provisioning.flows import Flows
from signalbox.provisioning.lines import Lines
from signalbox.provisioning.numbers import Numbers
from signalbox.provisioning.tenants import Tenants
from signalbox.provisioning.writer import Writer
from signalbox.routing.book import Book
from signalbox.routing.unrecordable import GOES_ON, REFUSED
from signalbox.store import keys
from signalbox.store.memory import MemoryStore
from support.deciding import Call, decided

PAGE = (Path(__file__).parents[3] / "docs" / "rules" / "recording.md").read_text()
COLLECTIONS: dict[str, Any] = {"Tenant": Tenants, "Line": Lines, "Flow": Flows, "Number": Numbers}


@pytest.fixture
async def book() -> Book:
    """The objects of the page, written as the API takes them."""
    store = MemoryStore()
    (text,) = re.findall(r"^```yaml\n(.*?)^```$", PAGE, re.MULTILINE | re.DOTALL)
    for fields in documents.read(io.StringIO(text)):
        kind = fields.pop("kind")
        collection = COLLECTIONS[kind](store, Writer(store))
        written = await collection.create(json_format.ParseDict(fields, collection.message()))
        if kind == "Flow":
            await collection.activate(pb.ActivateFlowRequest(tenant=written.tenant, id=written.id))
    book = Book(lambda: None)
    await book.reset_rules(await store.list(keys.RULES))
    return book


async def test_the_call_of_the_page_is_recorded_by_the_line_that_takes_it(book: Book) -> None:
    trace: list[Step] = []
    action = decided(book.rules, Call(trunk=""), trace).action
    assert isinstance(action, Dial)
    assert [(stage.lines[0].id, stage.record) for stage in action.stages] == [("sales", True), ("works-council", False)]
    (shown,) = re.findall(r"^```text explain\n(.*?)^```$", PAGE, re.MULTILINE | re.DOTALL)
    assert shown.splitlines() == [f"{step.rule}: {step.finding}" for step in trace[-2:]]


@pytest.mark.parametrize(
    "names",
    [types_pb2.MediaMode, types_pb2.RecordingFormat, types_pb2.Unrecordable, flows_pb2.DialRecording],
)
def test_every_value_is_on_the_page(names: Any) -> None:
    for name in names.keys()[1:]:
        assert f"`{name}`" in PAGE


def test_every_field_of_the_policy_is_on_the_page() -> None:
    for field in types_pb2.RecordingPolicy.DESCRIPTOR.fields:
        assert f"`recording.{field.name}`" in PAGE


@pytest.mark.parametrize("name", [Why.RECORDING_UNAVAILABLE.value, GOES_ON, REFUSED])
def test_names_for_operators_are_on_the_page(name: str) -> None:
    assert f"`{name}`" in PAGE
