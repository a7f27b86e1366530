"""What follows when no line of a dial takes the call, and how a flow ends one."""

from __future__ import annotations

import asyncio

import pytest
from signalbox.api.types.v1.schedules_pb2 import Weekday
from support.company import ANSWERS, BUSY, FAILS, RINGS, SILENT, dial, hang_up

TARGETS = ("was-busy", "was-away", "was-broken")


@pytest.mark.parametrize(
    ("does", "line"),
    [
        (BUSY, "was-busy"),
        (600, "was-busy"),
        (RINGS, "was-away"),
        (480, "was-broken"),
        (FAILS, "was-broken"),
        (404, "was-broken"),
        (SILENT, "was-broken"),
    ],
)
async def test_a_dial_goes_on_by_how_its_line_failed(company, does, line):
    await company.lines(*TARGETS)
    await company.line("desk", does)
    desk = dial("desk", ring_time="1s", busy="was-busy", no_answer="was-away", failed="was-broken")
    company.flow("desk", desk=desk, **{target: dial(target) for target in TARGETS})
    outcome = await company.call(company.number(flow="main"))
    assert (outcome.line, outcome.rang) == (line, ["desk", line])


@pytest.mark.parametrize(
    ("does", "line"), [((FAILS, BUSY), "was-busy"), ((RINGS, FAILS), "was-away"), ((FAILS, 404), "was-broken")]
)
async def test_of_several_lines_busy_says_most_and_then_ringing(company, does, line):
    await company.lines(*TARGETS)
    await company.line("one", does[0])
    await company.line("two", does[1])
    desk = dial("one", "two", ring_time="1s", busy="was-busy", no_answer="was-away", failed="was-broken")
    company.flow("desk", desk=desk, **{target: dial(target) for target in TARGETS})
    outcome = await company.call(company.number(flow="main"))
    assert (outcome.line, outcome.rang) == (line, ["one", "two", line])


@pytest.mark.parametrize(("does", "code"), [(BUSY, 486), (RINGS, 480), (404, 404), (FAILS, 480)])
async def test_without_a_next_node_the_caller_is_told_how_the_dial_failed(company, does, code):
    await company.line("desk", does)
    company.flow("desk", desk=dial("desk", ring_time="1s"))
    outcome = await company.call(company.number(flow="main"))
    assert (outcome.code, outcome.rang) == (code, ["desk"])


@pytest.mark.parametrize(
    ("cause", "code"),
    [("UNSPECIFIED", 603), ("DECLINED", 603), ("BUSY", 486), ("UNAVAILABLE", 480), ("FORBIDDEN", 403)],
)
async def test_a_hang_up_says_its_cause(company, cause, code):
    await company.line("desk", BUSY)
    company.flow("end", end=hang_up(cause))
    at_once = company.number(flow="main")
    company.flow("desk", "later", desk=dial("desk", busy="end"), end=hang_up(cause))
    later = company.number(flow="later")
    assert await company.line_of(at_once) == str(code)
    outcome = await company.call(later, proxy=2)
    assert (outcome.code, outcome.rang) == (code, ["desk"])


async def test_nodes_behind_a_dial_are_decided_with_the_call(company):
    await company.lines("north", "south")
    await company.line("desk", BUSY)
    week = {"days": Weekday.keys()[1:], "start_time": "00:00", "end_time": "24:00"}
    company.put("schedule", id="hours", draft={"periods": [{"name": "open", "weekly": week}]})
    hours = {"schedule": "hours", "branches": [{"period": "open", "next": "where"}], "otherwise": "end"}
    where = {"branches": [{"provinces": ["北京"], "next": "north"}], "otherwise": "south"}
    company.flow(
        "desk",
        desk=dial("desk", busy="hours"),
        hours={"schedule": hours},
        where={"region": where},
        north=dial("north"),
        south=dial("south"),
        end=hang_up(),
    )
    number = company.number(flow="main")
    assert (await company.call(number, "01088886666")).rang == ["desk", "north"]
    assert (await company.call(number, "02887654321", proxy=2)).rang == ["desk", "south"]


async def test_several_dials_in_a_row(company):
    for name, does in [("one", BUSY), ("two", FAILS), ("three", BUSY), ("four", ANSWERS)]:
        await company.line(name, does)
    company.flow(
        "first",
        first=dial("one", busy="second", failed="fourth"),
        second=dial("two", busy="fourth", failed="third"),
        third=dial("three", busy="fourth"),
        fourth=dial("four"),
    )
    outcome = await company.call(company.number(flow="main"))
    assert (outcome.line, outcome.rang) == ("four", ["one", "two", "three", "four"])


async def test_a_call_goes_on_with_the_flow_that_it_began_with(company):
    await company.lines("old", "new")
    desk = await company.line("desk", RINGS)
    company.flow("desk", desk=dial("desk", ring_time="1s", no_answer="next"), next=dial("old"))
    number = company.number(flow="main")
    company.sync()
    ringing = asyncio.create_task(company.call(number))
    await desk.expect("INVITE")
    company.flow("desk", desk=dial("desk", ring_time="1s", no_answer="next"), next=dial("new"))
    company.sync()
    assert (await ringing).rang == ["desk", "old"]
    assert (await company.call(number)).rang == ["desk", "new"]
