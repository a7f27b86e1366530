"""Calls go where the caller's region says."""

from __future__ import annotations

import pytest
from support.company import dial

PLACES = ("north", "unicom", "chengdu", "anywhere")


@pytest.fixture
async def number(company):
    """Rings a line by the caller's region."""
    await company.lines(*PLACES)
    company.put("region_group", id="north-china", provinces=["北京", "天津", "内蒙古"])
    branches = [
        {"groups": ["north-china"], "next": "north"},
        {"area_codes": ["028"], "next": "chengdu"},
        {"carriers": ["CARRIER_CHINA_UNICOM"], "next": "unicom"},
    ]
    where = {"region": {"branches": branches, "otherwise": "anywhere"}}
    company.flow("where", where=where, **{place: dial(place) for place in PLACES})
    return company.number(flow="main")


@pytest.mark.parametrize(
    ("calling", "line"),
    [
        ("01088886666", "north"),
        ("13910001234", "north"),
        ("+8618604711234", "north"),
        ("02887654321", "chengdu"),
        ("02188886666", "anywhere"),
        ("+442071838750", "anywhere"),
        ("anonymous", "anywhere"),
        ("alice", "anywhere"),
    ],
)
async def test_callers_of_two_regions_go_to_two_lines_and_the_others_to_a_third(company, number, calling, line):
    assert await company.line_of(number, calling) == line


async def test_a_changed_region_group_is_obeyed_by_the_next_call(company, number):
    assert await company.line_of(number, "02188886666") == "anywhere"
    company.put("region_group", id="north-china", provinces=["上海"])
    assert await company.line_of(number, "02188886666") == "north"
    assert await company.line_of(number, "01088886666", proxy=2) == "anywhere"
