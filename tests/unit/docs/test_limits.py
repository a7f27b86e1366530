"""docs/rules/limits.md: its objects are what the API takes, and its words on turns and counts hold."""

from __future__ import annotations

import io
import re
from pathlib import Path

import pytest
from google.protobuf import json_format
from signalbox.api.types.v1 import flows_pb2, types_pb2
from signalbox.commands import documents
from signalbox.provisioning.lines import Lines
from signalbox.provisioning.numbers import Numbers
from signalbox.provisioning.tenants import Tenants
from signalbox.provisioning.trunks import Trunks
from signalbox.provisioning.writer import Writer
from signalbox.settings import CountersSettings
from signalbox.store.memory import MemoryStore

PAGE = (Path(__file__).parents[3] / "docs" / "rules" / "limits.md").read_text()
COLLECTIONS = {"Tenant": Tenants, "Trunk": Trunks, "Line": Lines, "Number": Numbers}


async def test_the_objects_of_the_page_can_be_written() -> None:
    store = MemoryStore()
    for text in re.findall(r"^```yaml\n(.*?)^```$", PAGE, re.MULTILINE | re.DOTALL):
        for fields in documents.read(io.StringIO(text)):
            collection = COLLECTIONS[fields.pop("kind")](store, Writer(store))
            await collection.create(json_format.ParseDict(fields, collection.message()))


def test_every_field_of_the_limits_is_on_the_page() -> None:
    for field in types_pb2.Limits.DESCRIPTOR.fields:
        assert f"`limits.{field.name}`" in PAGE


@pytest.mark.parametrize("name", ["routing.counters", "routing.counters.sticky_days"])
def test_settings_on_the_page_exist(name: str) -> None:
    assert f"`{name}`" in PAGE
    assert name == "routing.counters" or name.rpartition(".")[2] in CountersSettings.model_fields


def test_every_distribution_that_has_a_memory_is_on_the_page() -> None:
    told = re.findall(r"^\| ([a-z ]+) \|", PAGE.partition("## Turns")[2].partition("\n## ")[0], re.MULTILINE)
    assert {f"DISTRIBUTION_{name.upper().replace(' ', '_')}" for name in told[1:]} == {
        name
        for name in flows_pb2.Distribution.DESCRIPTOR.values_by_name
        if name.endswith(("ROBIN", "RECENT", "STICKY"))
    }
