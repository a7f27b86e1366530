"""Where a caller is, from the mobile segment or the area code of the number.

The table that Signalbox is delivered with was made from public data (``deploy/data``); an operator's own lies on top.
The carrier of a mobile number is a guess: numbers are ported, and a segment's carrier is the one that got it first.
"""

from __future__ import annotations

import csv
import io
import json
import struct
import sys
import zlib
from array import array
from dataclasses import dataclass
from enum import Enum
from typing import TYPE_CHECKING

from signalbox.domain.numbering import PLAN, CallerKind

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

    from signalbox.domain.numbering import Caller

FIRST_SEGMENT = 1_300_000
SEGMENTS = 700_000
"""Mobile segments, the first 7 digits of a mobile number: 1300000 to 1999999."""
MAX_REGIONS = 65_535
COLUMNS = ("prefix", "province", "city", "area_code", "carrier")

_SEGMENT_DIGITS = 7
_MAX_PREFIX_DIGITS = 15
_MAGIC = b"SBREGION1\n"
_HEAD = struct.Struct("<II")


class Carrier(Enum):
    """Whose mobile number it was. The values are those of ``types.v1.Carrier``."""

    UNKNOWN = 0
    CHINA_MOBILE = 1
    CHINA_UNICOM = 2
    CHINA_TELECOM = 3
    CHINA_BROADNET = 4


PROVINCES = frozenset(
    {
        "北京",
        "天津",
        "河北",
        "山西",
        "内蒙古",
        "辽宁",
        "吉林",
        "黑龙江",
        "上海",
        "江苏",
        "浙江",
        "安徽",
        "福建",
        "江西",
        "山东",
        "河南",
        "湖北",
        "湖南",
        "广东",
        "广西",
        "海南",
        "重庆",
        "四川",
        "贵州",
        "云南",
        "西藏",
        "陕西",
        "甘肃",
        "青海",
        "宁夏",
        "新疆",
        "香港",
        "澳门",
        "台湾",
    }
)
# fmt: on
"""Divisions of the first level (GB/T 2260) as rules name them: without suffix."""

CARRIER_NAMES = {
    "": Carrier.UNKNOWN,
    "mobile": Carrier.CHINA_MOBILE,
    "unicom": Carrier.CHINA_UNICOM,
    "telecom": Carrier.CHINA_TELECOM,
    "broadnet": Carrier.CHINA_BROADNET,
}
"""How an operator's table names carriers."""


@dataclass(frozen=True, slots=True)
class Region:
    """A place and, for mobiles, a carrier. Names are Chinese without suffix: "内蒙古", "呼和浩特".

    ``area_code`` has its 0 ("0471"). What is not known is "".
    """

    province: str
    city: str = ""
    area_code: str = ""
    carrier: Carrier = Carrier.UNKNOWN


@dataclass(frozen=True, slots=True)
class RegionGroup:
    """Regions with a name: any of what is named. Of a tenant, or of the operator if that is ""."""

    tenant: str
    id: str
    provinces: frozenset[str] = frozenset()
    area_codes: frozenset[str] = frozenset()

    def holds(self, region: Region) -> bool:
        """True if the region is in the group."""
        return region.province in self.provinces or region.area_code in self.area_codes


class RegionTable:
    """Regions by mobile segment (an array of 1.4 MB) and area code, and longer beginnings of an operator's own."""

    __slots__ = ("_areas", "_lengths", "_longer", "_regions", "_segments")

    def __init__(self, regions: Sequence[Region], segments: array[int], areas: Mapping[str, Region]) -> None:
        """``segments`` holds for each segment 1 + the position of its region; 0: not known."""
        self._regions: list[Region | None] = [None, *regions]
        self._segments = segments
        self._areas = dict(areas)
        self._longer: dict[str, Region] = {}
        self._lengths: tuple[int, ...] = ()

    @classmethod
    def load(cls, data: bytes) -> RegionTable:
        """The table that :func:`dump` made. Raises ValueError if it did not."""
        if not data.startswith(_MAGIC):
            raise ValueError("not a table of regions")
        try:
            sizes = _HEAD.unpack_from(data, len(_MAGIC))
            text, packed = _inflate(data[len(_MAGIC) + _HEAD.size :], *sizes)
            described = json.loads(text)
            regions = [
                Region(province, city, code, Carrier(carrier)) for province, city, code, carrier in described["regions"]
            ]
            areas = {code: Region(province, city, code) for code, province, city in described["areas"]}
        except (struct.error, zlib.error, ValueError, TypeError, KeyError) as error:
            raise ValueError("a damaged table of regions") from error
        segments = array("H", packed)
        if sys.byteorder == "big":
            segments.byteswap()
        if len(segments) != SEGMENTS or max(segments) > len(regions):
            raise ValueError("a damaged table of regions")
        return cls(regions, segments, areas)

    def find(self, caller: Caller) -> Region | None:
        """The region of a caller; None if it is not known."""
        number = caller.number
        for length in self._lengths:
            region = self._longer.get(number[:length])
            if region is not None:
                return region
        if caller.kind is CallerKind.MOBILE:
            segment = int(number[:_SEGMENT_DIGITS]) - FIRST_SEGMENT
            # Another numbering plan may have mobiles elsewhere.
            return self._regions[self._segments[segment]] if 0 <= segment < SEGMENTS else None
        if number[:1] == PLAN.trunk_prefix and caller.kind is not CallerKind.FOREIGN:
            return self._areas.get(number[:4]) or self._areas.get(number[:3])
        return None

    def overlay(self, text: str) -> RegionTable:
        """This table with an operator's own on top, which counts wherever it names a beginning of the number.

        The text is CSV (RFC 4180) with a header of COLUMNS. ``prefix`` is the beginning of a number in national form,
        the longest that fits counts: an area code ("0471"), a mobile segment of any length ("139", "1391234"), the
        prefix of another country ("00852"), or more digits. Raises ValueError that names the line.
        """
        rows = _parse(text)
        regions = [region for region in self._regions if region is not None]
        index = {region: position for position, region in enumerate(regions, 1)}
        segments = self._segments[:]
        table = RegionTable((), segments, self._areas)
        table._longer = dict(self._longer)
        for prefix, region in sorted(rows.items(), key=lambda row: len(row[0])):
            if PLAN.trunk_prefix == prefix[0] and prefix in PLAN.area_codes:
                table._areas[prefix] = region
            elif len(prefix) <= _SEGMENT_DIGITS and "13" <= prefix[:2] <= "19":
                if region not in index:
                    if len(regions) == MAX_REGIONS:
                        raise ValueError(f"more than {MAX_REGIONS} different regions")
                    regions.append(region)
                    index[region] = len(regions)
                _fill(segments, prefix, index[region])
            else:
                table._longer[prefix] = region
        table._regions = [None, *regions]
        table._lengths = tuple(sorted({len(prefix) for prefix in table._longer}, reverse=True))
        return table


def dump(regions: Sequence[Region], segments: array[int], areas: Mapping[str, Region]) -> bytes:
    """A table as bytes for :meth:`RegionTable.load`; equal tables as equal bytes.

    A line of magic, two sizes (little endian, 32 bit), then under zlib (RFC 1950): JSON of the regions, and for each
    mobile segment the number of its region (little endian, 16 bit; 0: not known).
    """
    if len(segments) != SEGMENTS:
        raise ValueError(f"{len(segments)} segments, not {SEGMENTS}")
    described = {
        "regions": [[region.province, region.city, region.area_code, region.carrier.value] for region in regions],
        "areas": [[code, region.province, region.city] for code, region in sorted(areas.items())],
    }
    text = json.dumps(described, ensure_ascii=False, separators=(",", ":")).encode()
    stored = segments[:]
    if sys.byteorder == "big":
        stored.byteswap()
    packed = stored.tobytes()
    return _MAGIC + _HEAD.pack(len(text), len(packed)) + zlib.compress(text + packed, 9)


def _inflate(data: bytes, text_size: int, packed_size: int) -> tuple[bytes, bytes]:
    whole = zlib.decompress(data)
    if len(whole) != text_size + packed_size:
        raise ValueError
    return whole[:text_size], whole[text_size:]


def _fill(segments: array[int], prefix: str, number: int) -> None:
    """Give all segments that begin so a region."""
    width = 10 ** (_SEGMENT_DIGITS - len(prefix))
    first = int(prefix) * width - FIRST_SEGMENT
    segments[first : first + width] = array("H", [number]) * width


def _parse(text: str) -> dict[str, Region]:
    rows: dict[str, Region] = {}
    reader = csv.reader(io.StringIO(text.removeprefix("\ufeff"), newline=""), strict=True)
    try:
        if next(reader, None) != list(COLUMNS):
            raise ValueError(f"the columns must be {','.join(COLUMNS)}")
        for row in filter(None, reader):
            prefix, region = _row(row)
            if prefix in rows:
                raise ValueError(f"prefix {prefix} is there twice")
            rows[prefix] = region
    except (ValueError, csv.Error) as error:
        raise ValueError(f"line {max(reader.line_num, 1)}: {error}") from error
    return rows


def _row(row: Iterable[str]) -> tuple[str, Region]:
    fields = [field.strip() for field in row]
    if len(fields) != len(COLUMNS):
        raise ValueError(f"{len(fields)} fields, not {len(COLUMNS)}")
    prefix, province, city, area_code, carrier = fields
    if not (prefix.isascii() and prefix.isdigit() and 2 <= len(prefix) <= _MAX_PREFIX_DIGITS):
        raise ValueError(f"prefix {prefix!r} is not 2 to {_MAX_PREFIX_DIGITS} digits")
    domestic = prefix.startswith(PLAN.trunk_prefix) and not prefix.startswith(PLAN.international_prefix)
    if domestic and not {prefix[:3], prefix[:4]} & PLAN.area_codes:
        raise ValueError(f"prefix {prefix!r} begins with no area code")
    if province not in PROVINCES:
        raise ValueError(f"{province!r} is no province by its Chinese name without suffix")
    if area_code and area_code not in PLAN.area_codes:
        raise ValueError(f"area code {area_code!r} is not in the numbering plan")
    if carrier not in CARRIER_NAMES:
        raise ValueError(f"carrier {carrier!r} is none of {', '.join(filter(None, CARRIER_NAMES))}")
    return prefix, Region(province, city, area_code, CARRIER_NAMES[carrier])
