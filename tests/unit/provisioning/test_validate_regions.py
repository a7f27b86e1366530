"""Which region groups are valid."""

from __future__ import annotations

from typing import Any

import pytest
from signalbox.api.types.v1.screening_pb2 import RegionGroup
from signalbox.provisioning import validate_regions


def found(**fields: Any) -> dict[str, str]:
    given = RegionGroup(**{"tenant": "acme", "id": "north", "provinces": ["北京"], **fields})
    return {violation.field: violation.reason for violation in validate_regions.region_group(given)}


@pytest.mark.parametrize(
    "fields",
    [
        {},
        {"tenant": ""},
        {"provinces": ["北京", "天津", "河北", "山西", "内蒙古"], "display_name": "华北"},
        {"provinces": [], "area_codes": ["010", "0471"]},
        {"provinces": ["香港"]},
    ],
)
def test_good_groups(fields: dict[str, Any]) -> None:
    assert found(**fields) == {}


@pytest.mark.parametrize(
    ("fields", "offending"),
    [
        ({"tenant": "A"}, "region_group.tenant"),
        ({"id": ""}, "region_group.id"),
        ({"display_name": "x" * 201}, "region_group.display_name"),
        ({"provinces": []}, "region_group.provinces"),
        ({"provinces": ["北京", "内蒙古自治区"]}, "region_group.provinces[1]"),
        ({"provinces": ["北京", "上海", "北京"]}, "region_group.provinces[2]"),
        ({"provinces": ["Beijing"]}, "region_group.provinces[0]"),
        ({"area_codes": ["010", "10"]}, "region_group.area_codes[1]"),
        ({"area_codes": ["0400"]}, "region_group.area_codes[0]"),
        ({"area_codes": ["010", "010"]}, "region_group.area_codes[1]"),
    ],
)
def test_the_offending_field_is_named(fields: dict[str, Any], offending: str) -> None:
    assert list(found(**fields)) == [offending]


def test_all_offending_fields_are_named_at_once() -> None:
    violations = found(tenant="A", id="B", display_name="\n", provinces=[""], area_codes=[""])
    assert len(violations) == 5
