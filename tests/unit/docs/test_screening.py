"""docs/rules/screening.md: its lists and entries are written, and its callers are judged by them."""

from __future__ import annotations

import io
import re
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
from google.protobuf import json_format
from signalbox import data
from signalbox.api.provisioning.v1 import provisioning_pb2 as pb
from signalbox.api.types.v1 import types_pb2
from signalbox.api.types.v1.screening_pb2 import ScreeningList
from signalbox.commands import documents, entries
from signalbox.domain.numbering import caller
from signalbox.domain.regions import RegionTable
from signalbox.domain.screening import ScreeningRules, Verdict, judge
from signalbox.provisioning import screening, validate_screening
from signalbox.provisioning.screening_entries import ScreeningEntries
from signalbox.provisioning.writer import Writer
from signalbox.routing import convert_screening
from signalbox.routing.book import Book
from signalbox.store import codec, keys
from signalbox.store.base import Change, Put
from signalbox.store.memory import MemoryStore

if TYPE_CHECKING:
    from signalbox.domain.rules import Rules

PAGE = (Path(__file__).parents[3] / "docs" / "rules" / "screening.md").read_text(encoding="utf-8")
REGIONS = RegionTable.load(data.read("regions.bin"))


def blocks(language: str) -> list[str]:
    return re.findall(rf"^```{language}\n(.*?)^```$", PAGE, re.MULTILINE | re.DOTALL)


def rows(header: str) -> list[list[str]]:
    """The cells of the table with this header, without back quotes."""
    table = PAGE.split(f"| {header} |\n")[1].split("\n\n")[0]
    return [[cell.strip().strip("`") for cell in line.strip("|").split("|")] for line in table.splitlines()[1:]]


def objects() -> dict[str, list[dict[str, Any]]]:
    """What the page's YAML says, by kind."""
    found: dict[str, list[dict[str, Any]]] = {}
    for text in blocks("yaml"):
        for fields in documents.read(io.StringIO(text)):
            found.setdefault(fields.pop("kind"), []).append(fields)
    return found


@pytest.fixture
async def lists() -> Rules:
    """The page's lists, as a routing replica has them."""
    store = MemoryStore()
    writer = Writer(store)
    await store.commit([], [Put(keys.tenant("acme"), codec.encode(types_pb2.Tenant(id="acme")))])
    for fields in objects()["ScreeningList"]:
        await screening.ScreeningLists(store, writer).create(json_format.ParseDict(fields, ScreeningList()))
    for line in blocks("entries")[0].splitlines():
        name, _, written = line.partition(": ")
        owner, id = name.split()
        request = pb.AddScreeningEntriesRequest(
            tenant="" if owner == "operator" else owner, list=id, entries=map(entries.parse, written.split())
        )
        await ScreeningEntries(store).add(request, writer)
    book = Book(lambda: None)
    for prefix in (keys.SCREENING_LISTS, keys.SCREENING_PAGES):
        listing = await store.list(prefix)
        book.change_rules([Change(entry.key, entry, entry.revision) for entry in listing.entries])
    return book.rules


@pytest.fixture
def rules() -> ScreeningRules:
    (fields,) = objects()["Number"]
    return convert_screening.rules(json_format.ParseDict(fields, types_pb2.Number()).screening)


def judged(lists: Rules, rules: ScreeningRules, written: str) -> Verdict:
    calling = caller(written, "")
    return judge(rules, lambda id: lists.screening_list("acme", id), calling, REGIONS.find(calling))


@pytest.mark.parametrize(("written", "reason", "entry", "list_"), rows("caller | reason | entry | list"))
async def test_callers(lists: Rules, rules: ScreeningRules, written: str, reason: str, entry: str, list_: str) -> None:
    verdict = judged(lists, rules, written)
    kept = validate_screening.entries([entries.parse(entry)])[0] if entry else ""
    assert (verdict.reason, verdict.entry, verdict.list) == (reason, kept, list_)


async def test_whitelist_only(lists: Rules, rules: ScreeningRules) -> None:
    verdict = judged(lists, replace(rules, whitelist_only=True), "13800001234")
    assert (verdict.refused, verdict.reason) == (True, "caller_not_whitelisted")


@pytest.mark.parametrize(("kind", "written", "fits"), rows("entry | written | fits"))
def test_every_kind_of_entry_is_written_as_shown(kind: str, written: str, fits: str) -> None:
    assert entries.parse(written).WhichOneof("match") == kind.replace(" ", "_")
    assert validate_screening.entries([entries.parse(written)])
    assert fits
