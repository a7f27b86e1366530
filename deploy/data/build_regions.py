"""Makes control_plane/signalbox/data/regions.bin: where mobile segments and area codes are. See README.md."""

from __future__ import annotations

import argparse
import struct
import sys
from array import array
from collections import Counter
from pathlib import Path
from typing import TYPE_CHECKING

import phone
from phonenumbers.carrierdata import CARRIER_DATA
from phonenumbers.geodata import GEOCODE_DATA
from signalbox.domain.regions import FIRST_SEGMENT, SEGMENTS, Carrier, Region, dump

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

TARGET = Path(__file__).parents[2] / "control_plane" / "signalbox" / "data" / "regions.bin"

# Numbers of virtual operators (4, 5, 6, 8) are in the network of the carrier that they are named after.
CARRIERS = {
    1: Carrier.CHINA_MOBILE,
    2: Carrier.CHINA_UNICOM,
    3: Carrier.CHINA_TELECOM,
    4: Carrier.CHINA_TELECOM,
    5: Carrier.CHINA_UNICOM,
    6: Carrier.CHINA_MOBILE,
    7: Carrier.CHINA_BROADNET,
    8: Carrier.CHINA_BROADNET,
}
CARRIER_NAMES = {
    "中国移动": Carrier.CHINA_MOBILE,
    "中国联通": Carrier.CHINA_UNICOM,
    "中国电信": Carrier.CHINA_TELECOM,
    "中国广电": Carrier.CHINA_BROADNET,
}
# Towns and districts that the source names beside the city or prefecture that they belong to.
CITIES = {
    ("内蒙古", "临河"): "巴彦淖尔",
    ("内蒙古", "海拉尔"): "呼伦贝尔",
    ("内蒙古", "集宁"): "乌兰察布",
    ("内蒙古", "乌兰浩特"): "兴安",
    ("内蒙古", "锡林郭勒盟"): "锡林郭勒",
    ("吉林", "珲春"): "延边",
    ("四川", "西昌"): "凉山",
    ("安徽", "巢湖"): "合肥",
    ("新疆", "博乐"): "博州",
    ("新疆", "库尔勒"): "巴州",
    ("河南", "潢川"): "信阳",
    ("湖南", "吉首"): "湘西",
    ("重庆", "万州"): "重庆",
    ("重庆", "涪陵"): "重庆",
    ("重庆", "黔江"): "重庆",
    ("青海", "海晏"): "海北",
    ("青海", "格尔木"): "海西",
}


def main() -> None:
    """Write the table, and tell what is in it."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--output", type=Path, default=TARGET)
    output: Path = parser.parse_args().output
    segments = dict(_phone_segments())
    known = len(segments)
    segments |= dict(_phonenumbers_segments(segments))
    areas = _areas(segments.values())
    regions = sorted({*segments.values(), *areas.values()}, key=_order)
    index = {region: position for position, region in enumerate(regions, 1)}
    table = array("H", bytes(2 * SEGMENTS))
    for segment, region in segments.items():
        table[segment - FIRST_SEGMENT] = index[region]
    data = dump(regions, table, areas)
    output.write_bytes(data)
    print(
        f"{output}: {len(segments)} mobile segments ({len(segments) - known} of them from phonenumbers), "
        f"{len(areas)} area codes, {len(regions)} regions, {len(data)} bytes",
        file=sys.stderr,
    )


def _phone_segments() -> Iterator[tuple[int, Region]]:
    """Every segment of the library phone, with its region."""
    source = phone.Phone()
    buffer, regions = source.buf, dict[tuple[int, int], Region]()
    for segment, place, kind in struct.iter_unpack(source.phone_fmt, buffer[source.first_phone_record_offset :]):
        region = regions.get((place, kind))
        if region is None:
            province, city, _, code = buffer[place : buffer.index(b"\0", place)].decode().split("|")
            city = CITIES.get((province, city), city)
            # One record has a 0 too many.
            region = regions[place, kind] = Region(province, city, "0" + code.lstrip("0"), CARRIERS[kind])
        if FIRST_SEGMENT <= segment < FIRST_SEGMENT + SEGMENTS:
            yield segment, region


def _phonenumbers_segments(known: dict[int, Region]) -> Iterator[tuple[int, Region]]:
    """Segments that only phonenumbers has, if their city is one that we know the area code of."""
    cities = {(region.province, region.city): region.area_code for region in known.values()}
    for segment in range(FIRST_SEGMENT, FIRST_SEGMENT + SEGMENTS):
        described = _longest(GEOCODE_DATA, f"86{segment}") if segment not in known else None
        place = _place(described.get("zh", ""), cities) if described else None
        if place is not None:
            carrier = _longest(CARRIER_DATA, f"86{segment}")
            found = CARRIER_NAMES[carrier["zh"]] if carrier else Carrier.UNKNOWN
            yield segment, Region(*place, cities[place], found)


def _place(name: str, cities: Iterable[tuple[str, str]]) -> tuple[str, str] | None:
    """Province and city of a name with suffixes: 四川省成都市, 内蒙古赤峰市, 北京市."""
    for province, city in cities:
        written = (f"{province}{city}", f"{province}省{city}", city if province == city else "")
        if any(form and name.startswith(form) for form in written):
            return province, city
    return None


def _longest(data: dict[str, dict[str, str]], number: str) -> dict[str, str] | None:
    for length in range(len(number), 2, -1):
        if number[:length] in data:
            return data[number[:length]]
    return None


def _areas(regions: Iterable[Region]) -> dict[str, Region]:
    """Where fixed lines of an area code are: in the city of most of its mobile segments."""
    cities: dict[str, Counter[tuple[str, str]]] = {}
    for region in regions:
        cities.setdefault(region.area_code, Counter())[region.province, region.city] += 1
    return {code: Region(*counts.most_common(1)[0][0], code) for code, counts in sorted(cities.items())}


def _order(region: Region) -> tuple[str, str, str, int]:
    return region.area_code, region.province, region.city, region.carrier.value


if __name__ == "__main__":
    main()
