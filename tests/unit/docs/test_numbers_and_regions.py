"""docs/rules/numbering.md and regions.md: every row of their tables is what happens."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
import yaml
from google.protobuf import json_format
from signalbox import data
from signalbox.api.types.v1.screening_pb2 import RegionGroup
from signalbox.domain.numbering import PLAN, caller, national
from signalbox.domain.regions import RegionTable
from signalbox.provisioning import validate_regions

RULES = Path(__file__).parents[3] / "docs" / "rules"
NUMBERING = (RULES / "numbering.md").read_text(encoding="utf-8")
REGIONS = (RULES / "regions.md").read_text(encoding="utf-8")


def rows(page: str, header: str) -> list[list[str]]:
    """The cells of all tables with this header, without back quotes."""
    found = []
    for table in page.split(f"| {header} |\n")[1:]:
        body = table.split("\n\n")[0].splitlines()[1:]
        found += [[cell.strip().strip("`") for cell in line.strip("|").split("|")] for line in body]
    assert found, header
    return found


def block(page: str, language: str) -> str:
    """The first fenced block in a language."""
    match = re.search(rf"^```{language}\n(.*?)^```$", page, re.MULTILINE | re.DOTALL)
    assert match is not None
    return match[1]


@pytest.mark.parametrize(("written", "form"), rows(NUMBERING, "written | national form"))
def test_numbers_dialled(written: str, form: str) -> None:
    assert national(written) == form


@pytest.mark.parametrize(("calling", "asserted", "kind", "number"), rows(NUMBERING, "From | asserted | kind | number"))
def test_callers(calling: str, asserted: str, kind: str, number: str) -> None:
    found = caller(calling, asserted)
    assert (found.kind.value, found.number) == (kind, number)


def test_the_range_shown_is_one_of_the_plan() -> None:
    assert block(NUMBERING, "toml") in data.read("numbering.toml").decode()


def test_regions_with_and_without_the_operators_table() -> None:
    delivered = RegionTable.load(data.read("regions.bin"))
    own = delivered.overlay(block(REGIONS, "csv"))
    before, after = REGIONS.split("## The delivered table")
    for table, page in ((delivered, before), (own, after)):
        for written, *expected in rows(page, "caller | province | city | area code | carrier"):
            region = table.find(caller(written, ""))
            told = (
                (region.province, region.city, region.area_code, region.carrier.name.lower()) if region else ("",) * 4
            )
            assert told == tuple(expected), written


def test_what_is_in_the_delivered_table_is_told() -> None:
    assert f"and {len(PLAN.area_codes)} area codes" in REGIONS


def test_the_region_group_shown_is_valid() -> None:
    shown = yaml.safe_load(block(REGIONS, "yaml"))
    assert shown.pop("kind") == "RegionGroup"
    group = json_format.ParseDict(shown, RegionGroup())
    assert not list(validate_regions.region_group(group))
