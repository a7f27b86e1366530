"""Where callers are."""

from __future__ import annotations

import time
from array import array
from contextlib import suppress

import pytest
from hypothesis import given
from hypothesis import strategies as st
from signalbox import data
from signalbox.api.types.v1 import screening_pb2
from signalbox.domain.numbering import PLAN, Caller, CallerKind, caller
from signalbox.domain.regions import (
    FIRST_SEGMENT,
    PROVINCES,
    SEGMENTS,
    Carrier,
    Region,
    RegionGroup,
    RegionTable,
    dump,
)

BEIJING = Region("北京", "北京", "010", Carrier.CHINA_MOBILE)
HOHHOT = Region("内蒙古", "呼和浩特", "0471", Carrier.CHINA_UNICOM)
HEADER = "prefix,province,city,area_code,carrier\n"


@pytest.fixture(scope="module")
def table() -> RegionTable:
    return RegionTable.load(data.read("regions.bin"))


def segments(**numbers: int) -> array[int]:
    made = array("H", bytes(2 * SEGMENTS))
    for segment, number in numbers.items():
        made[int(segment.removeprefix("s")) - FIRST_SEGMENT] = number
    return made


@pytest.fixture
def small() -> RegionTable:
    areas = {"0471": Region("内蒙古", "呼和浩特", "0471"), "010": Region("北京", "北京", "010")}
    return RegionTable([BEIJING, HOHHOT], segments(s1391000=1, s1999999=2), areas)


def found(table: RegionTable, written: str) -> Region | None:
    return table.find(caller(written, ""))


class TestDelivered:
    @pytest.mark.parametrize(
        ("written", "province", "city", "code", "carrier"),
        [
            ("13910001234", "北京", "北京", "010", Carrier.CHINA_MOBILE),
            ("+8613910001234", "北京", "北京", "010", Carrier.CHINA_MOBILE),
            ("18604711234", "内蒙古", "呼和浩特", "0471", Carrier.CHINA_UNICOM),
            ("19912345678", None, None, None, Carrier.CHINA_TELECOM),
            ("16612345678", None, None, None, Carrier.CHINA_UNICOM),
            ("01088886666", "北京", "北京", "010", Carrier.UNKNOWN),
            ("02188886666", "上海", "上海", "021", Carrier.UNKNOWN),
            ("04713456789", "内蒙古", "呼和浩特", "0471", Carrier.UNKNOWN),
            ("+8647134567890", "内蒙古", "呼和浩特", "0471", Carrier.UNKNOWN),
            ("02888886666", "四川", "成都", "028", Carrier.UNKNOWN),
            ("01012345", "北京", "北京", "010", Carrier.UNKNOWN),
            ("079712345", "江西", "赣州", "0797", Carrier.UNKNOWN),
        ],
    )
    def test_callers_are_found(
        self,
        table: RegionTable,
        written: str,
        province: str | None,
        city: str | None,
        code: str | None,
        carrier: Carrier,
    ) -> None:
        region = found(table, written)
        assert region is not None
        assert region.carrier is carrier
        if province is not None:
            assert (region.province, region.city, region.area_code) == (province, city, code)

    @pytest.mark.parametrize(
        "written",
        ["", "anonymous", "alice", "10086", "4001234567", "88886666", "+85221234567", "12345678901", "9" * 20],
    )
    def test_a_caller_without_a_place_is_nowhere(self, table: RegionTable, written: str) -> None:
        assert found(table, written) is None

    def test_every_area_code_of_the_numbering_plan_has_a_region(self, table: RegionTable) -> None:
        for code in PLAN.area_codes:
            region = table.find(Caller(CallerKind.FIXED, code + "5555555" + "5" * (len(code) == 3)))
            assert region is not None, code
            assert region.area_code == code
            assert region.province in PROVINCES

    def test_almost_every_mobile_of_the_large_carriers_is_found(self, table: RegionTable) -> None:
        seen = [found(table, f"{segment}1234") for segment in range(1_300_000, 1_400_000, 7)]
        regions = [region for region in seen if region is not None]
        assert len(regions) > 0.99 * len(seen)
        for region in regions:
            assert region.province in PROVINCES
            assert region.city
            assert region.area_code in PLAN.area_codes
            assert region.carrier is not Carrier.UNKNOWN

    @pytest.mark.parametrize("number", ["12999991234", "20000001234", "7123456"])
    def test_a_mobile_that_the_table_has_no_room_for_is_nowhere(self, table: RegionTable, number: str) -> None:
        assert table.find(Caller(CallerKind.MOBILE, number)) is None

    @given(st.text(max_size=30), st.text("0123456789+", max_size=20))
    def test_nothing_raises(self, table: RegionTable, calling: str, asserted: str) -> None:
        region = table.find(caller(calling, asserted))
        assert region is None or region.province in PROVINCES

    def test_a_look_up_takes_microseconds(self, table: RegionTable) -> None:
        callers = [caller(f"1{number:010d}", "") for number in range(3_000_000_000, 9_999_999_999, 350_000)]
        fastest = min(_seconds(table, callers) for _ in range(5))
        assert fastest / len(callers) < 20e-6, "ten times what it takes on a slow machine"


def _seconds(table: RegionTable, callers: list[Caller]) -> float:
    began = time.process_time()
    for one in callers:
        table.find(one)
    return time.process_time() - began


class TestStored:
    def test_a_table_comes_back_as_it_was(self, small: RegionTable) -> None:
        areas = {"0471": Region("内蒙古", "呼和浩特", "0471"), "010": Region("北京", "北京", "010")}
        dumped = dump([BEIJING, HOHHOT], segments(s1391000=1, s1999999=2), areas)
        loaded = RegionTable.load(dumped)
        assert dumped == dump([BEIJING, HOHHOT], segments(s1999999=2, s1391000=1), dict(reversed(areas.items())))
        for written in ("13910001234", "19999991234", "13000001234", "04713456789", "01088886666", "02188886666"):
            assert found(loaded, written) == found(small, written)
        assert found(loaded, "19999991234") == HOHHOT

    @pytest.mark.parametrize("damage", [b"", b"PK", b"SBREGION1\n", b"SBREGION1\n12345678rest"])
    def test_what_is_no_table_is_refused(self, damage: bytes) -> None:
        with pytest.raises(ValueError, match="table of regions"):
            RegionTable.load(damage)

    def test_a_segment_of_no_region_is_refused(self) -> None:
        with pytest.raises(ValueError, match="damaged"):
            RegionTable.load(dump([BEIJING], segments(s1391000=2), {}))

    @given(st.integers(0, 2000), st.integers(1, 255))
    def test_a_changed_byte_never_changes_a_region(self, position: int, change: int) -> None:
        made = dump([BEIJING], segments(s1391000=1), {})
        dumped = bytearray(made)
        dumped[position % len(dumped)] ^= change
        with suppress(ValueError):
            loaded = RegionTable.load(bytes(dumped))
            # Only bits that fill up a byte between blocks (RFC 1951) go unnoticed.
            assert (loaded._regions, loaded._segments) == ([None, BEIJING], segments(s1391000=1))

    def test_a_table_of_another_size_is_not_written(self) -> None:
        with pytest.raises(ValueError, match="700000"):
            dump([BEIJING], array("H", [0]), {})


class TestOverlay:
    def test_it_counts_before_the_table_below(self, small: RegionTable) -> None:
        rows = "1391000,广东,深圳,0755,unicom\n0471,内蒙古,呼市,0471,\n1999,上海,上海,021,telecom\n"
        table = small.overlay(HEADER + rows)
        assert found(table, "13910001234") == Region("广东", "深圳", "0755", Carrier.CHINA_UNICOM)
        assert found(table, "04713456789") == Region("内蒙古", "呼市", "0471")
        assert (
            found(table, "19999991234")
            == found(table, "19990001234")
            == Region("上海", "上海", "021", Carrier.CHINA_TELECOM)
        )
        assert found(table, "01088886666") == found(small, "01088886666")
        assert found(small, "13910001234") == BEIJING, "the table below stays as it is"

    def test_the_longest_beginning_counts(self, small: RegionTable) -> None:
        rows = {
            "13910001": "广州", "139": "石家庄", "1391000": "深圳", "13910001234": "拉萨",
            "0471888": "武川", "00852": "香港", "10086": "北京",
        }  # fmt: skip
        table = small.overlay(HEADER + "".join(f"{prefix},北京,{city},,\n" for prefix, city in rows.items()))
        cities = {
            "13910001234": "拉萨", "13910001111": "广州", "13910002222": "深圳", "13900000000": "石家庄",
            "04718880000": "武川", "04718890000": "呼和浩特", "+85221234567": "香港", "10086": "北京",
        }  # fmt: skip
        for number, city in cities.items():
            region = found(table, number)
            assert region is not None
            assert region.city == city

    def test_it_may_lie_on_another(self, small: RegionTable) -> None:
        table = small.overlay(HEADER + "04718,内蒙古,武川,0471,\n").overlay(HEADER + "010,河北,燕郊,010,\n")
        assert [region.city for written in ("04718880000", "01088886666") if (region := found(table, written))] == [
            "武川",
            "燕郊",
        ]

    @pytest.mark.parametrize("text", [HEADER, "\ufeff" + HEADER, HEADER + "\n\n", HEADER.replace("\n", "\r\n")])
    def test_an_empty_one_changes_nothing(self, small: RegionTable, text: str) -> None:
        assert found(small.overlay(text), "13910001234") == BEIJING

    def test_names_may_be_quoted(self, small: RegionTable) -> None:
        table = small.overlay(HEADER + '010,"河北","燕郊, 三河",010,""\n')
        assert found(table, "01088886666") == Region("河北", "燕郊, 三河", "010")

    @pytest.mark.parametrize(
        ("text", "reason"),
        [
            ("", "line 1: the columns must be"),
            ("\n" + HEADER, "line 1: the columns must be"),
            ("a,b\n", "line 1: the columns must be prefix,province,city,area_code,carrier"),
            (HEADER + "139,北京\n", "line 2: 2 fields, not 5"),
            (HEADER + "1,北京,北京,010,\n", "line 2: prefix '1' is not 2 to 15 digits"),
            (HEADER + "+86,北京,北京,010,\n", "line 2: prefix '\\+86' is not 2 to 15 digits"),
            (HEADER + "１３９,北京,北京,010,\n", "line 2: prefix '１３９' is not 2 to 15 digits"),
            (HEADER + "0400,北京,北京,010,\n", "line 2: prefix '0400' begins with no area code"),
            (HEADER + "02,上海,上海,021,\n", "line 2: prefix '02' begins with no area code"),
            (HEADER + "139,北京市,北京,010,\n", "line 2: '北京市' is no province"),
            (HEADER + "139,,北京,010,\n", "line 2: '' is no province"),
            (HEADER + "139,北京,北京,10,\n", "line 2: area code '10' is not in the numbering plan"),
            (HEADER + "139,北京,北京,010,vodafone\n", "line 2: carrier 'vodafone' is none of mobile, unicom"),
            (HEADER + "139,北京,北京,010,\n\n139,北京,北京,010,\n", "line 4: prefix 139 is there twice"),
            (HEADER + '139,"北京,北京,010,\n', "line 2: "),
        ],
    )
    def test_a_wrong_line_is_named(self, small: RegionTable, text: str, reason: str) -> None:
        with pytest.raises(ValueError, match=reason):
            small.overlay(text)

    def test_there_may_be_65535_regions(self, small: RegionTable) -> None:
        rows = "".join(f"{1_300_000 + n},北京,{n},010,\n" for n in range(65_533))
        assert found(small.overlay(HEADER + rows), f"{1_300_000 + 65_532}1234") == Region("北京", "65532", "010")
        with pytest.raises(ValueError, match="more than 65535 different regions"):
            small.overlay(HEADER + rows + "1500000,北京,x,010,\n")

    @given(
        st.dictionaries(
            st.one_of(
                st.sampled_from(
                    ["13", "139", "1391", "1391000", "13910001", "1391000123", "0471", "010", "04711", "00852"]
                ),
                st.from_regex(r"1[3-9][0-9]{0,9}", fullmatch=True),
            ),
            st.sampled_from(sorted(PROVINCES)),
            max_size=8,
        ),
        st.one_of(
            st.from_regex(r"1391000[0-9]{4}", fullmatch=True),
            st.from_regex(r"1[5-9][0-9]{9}", fullmatch=True),
            st.sampled_from(["04711234567", "04713456789", "01088886666", "0085221234567"]),
        ),
    )
    def test_it_does_what_a_search_through_its_lines_does(self, rows: dict[str, str], number: str) -> None:
        table = _EMPTY.overlay(HEADER + "".join(f"{prefix},{province},,,\n" for prefix, province in rows.items()))
        fitting = [prefix for prefix in rows if number.startswith(prefix)]
        region = found(table, number)
        if caller(number, "").number == number:
            assert (region.province if region else None) == (rows[max(fitting, key=len)] if fitting else None)


_EMPTY = RegionTable([], segments(), {})


class TestGroups:
    NORTH = RegionGroup("", "north", frozenset({"北京", "天津"}), frozenset({"0471"}))

    @pytest.mark.parametrize("region", [BEIJING, HOHHOT, Region("天津"), Region("河北", "", "0471")])
    def test_what_is_named_is_in_it(self, region: Region) -> None:
        assert self.NORTH.holds(region)

    @pytest.mark.parametrize(
        "region", [Region("河北", "保定", "0312"), Region("内蒙古", "包头", "0472"), Region("上海")]
    )
    def test_what_is_not_named_is_not(self, region: Region) -> None:
        assert not self.NORTH.holds(region)

    def test_an_unknown_area_code_is_in_no_group(self) -> None:
        assert not RegionGroup("", "empty").holds(Region("北京"))


def test_carriers_are_those_of_the_api() -> None:
    names = {value.name: value.number for value in screening_pb2.Carrier.DESCRIPTOR.values}
    ours = {f"CARRIER_{carrier.name}": carrier.value for carrier in Carrier}
    ours["CARRIER_UNSPECIFIED"] = ours.pop("CARRIER_UNKNOWN")
    assert ours == names
