"""Stored region groups into those that calls are decided by, and the table of regions of a process."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest
from signalbox.api.types.v1.screening_pb2 import RegionGroup as Message
from signalbox.domain.numbering import caller
from signalbox.domain.regions import RegionGroup
from signalbox.errors import ConfigurationError
from signalbox.routing import convert_regions, region_table
from signalbox.store.codec import DamagedValueError

if TYPE_CHECKING:
    from pathlib import Path


def test_a_group_is_what_was_stored() -> None:
    message = Message(tenant="acme", id="north", provinces=["北京", "天津"], area_codes=["0471"])
    assert convert_regions.region_group(message) == RegionGroup(
        "acme", "north", frozenset({"北京", "天津"}), frozenset({"0471"})
    )


@pytest.mark.parametrize("fields", [{"provinces": ["Peking"]}, {"area_codes": ["0000"]}])
@pytest.mark.parametrize(
    ("tenant", "key"), [("", "rules/regiongroups/_/north"), ("acme", "rules/regiongroups/acme/north")]
)
def test_a_group_that_names_what_is_not_is_damaged(fields: dict[str, Any], tenant: str, key: str) -> None:
    with pytest.raises(DamagedValueError, match=f"value of {key} is damaged"):
        convert_regions.region_group(Message(tenant=tenant, id="north", **fields))


def test_the_delivered_table_needs_no_file() -> None:
    region = region_table.load(None).find(caller("01088886666", ""))
    assert region is not None
    assert region.province == "北京"


def test_the_operators_table_lies_on_top(tmp_path: Path) -> None:
    file = tmp_path / "regions.csv"
    file.write_text("prefix,province,city,area_code,carrier\n01088,河北,燕郊,010,\n", encoding="utf-8")
    table = region_table.load(file)
    cities = [region.city for number in ("01088886666", "01066668888") if (region := table.find(caller(number, "")))]
    assert cities == ["燕郊", "北京"]


@pytest.mark.parametrize(
    ("content", "reason"), [(b"prefix\n", "line 1: the columns"), (b"\xff\xfe", "utf-8"), (None, "No such file")]
)
def test_a_table_that_cannot_be_read_ends_the_start(tmp_path: Path, content: bytes | None, reason: str) -> None:
    file = tmp_path / "regions.csv"
    if content is not None:
        file.write_bytes(content)
    with pytest.raises(ConfigurationError, match=reason) as caught:
        region_table.load(file)
    assert str(caught.value).startswith(f"routing.regions_file: {file}: ")
