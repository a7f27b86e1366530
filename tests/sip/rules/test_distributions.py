"""Which of several lines rings."""

from __future__ import annotations

from collections import Counter

import pytest
from support.company import BUSY, FAILS, RINGS, dial
from support.site import eventually

LINES = ("one", "two", "three")


async def calls(company, number, count):
    """How often each line was the first to ring in calls by turns through both proxies."""
    outcomes = [await company.call(number, proxy=1 + n % 2) for n in range(count)]
    assert all(outcome.code == 200 and outcome.line == outcome.rang[-1] for outcome in outcomes)
    return Counter(outcome.rang[0] for outcome in outcomes)


def decided(site):
    """Decisions so far of each routing replica."""
    return [site.metric(name, "signalbox_routing_decisions_total") for name in site.cluster.names("routing")]


@pytest.mark.parametrize("does", [BUSY, FAILS, RINGS])
async def test_sequential_begins_with_the_first_and_goes_on_to_the_next(company, does):
    await company.lines(*LINES)
    number = company.rings(*LINES)
    assert await calls(company, number, 4) == {"one": 4}
    company.desks["one"].does = does
    outcome = await company.call(number)
    assert (outcome.line, outcome.rang) == ("two", ["one", "two"])


async def test_round_robin_counts_for_all_proxies_and_replicas(company, site):
    await company.lines(*LINES)
    number = company.rings(*LINES, distribution="ROUND_ROBIN")
    before = decided(site)
    for count in (3, 2, 5, 1):
        await calls(company, number, count)
    assert all(after > earlier for earlier, after in zip(before, decided(site), strict=True)), "one replica had all"
    first = [len(company.desks[name].invites) for name in LINES]
    assert sum(first) == 11
    assert max(first) - min(first) <= 1


async def test_the_turn_of_a_line_that_is_busy_goes_to_the_next(company):
    await company.lines("one", "three")
    await company.line("two", BUSY)
    number = company.rings(*LINES, distribution="ROUND_ROBIN")
    rang = [tuple((await company.call(number, proxy=1 + n % 2)).rang) for n in range(6)]
    assert sorted(rang) == [("one",)] * 2 + [("three",)] * 2 + [("two", "three")] * 2


async def test_a_line_group_has_one_turn_for_all_of_its_flows(company):
    await company.lines(*LINES)
    company.put(
        "line_group", id="all", distribution="DISTRIBUTION_ROUND_ROBIN", lines=[{"line": line} for line in LINES]
    )
    numbers = []
    for flow in ("a", "b"):
        company.flow("ring", flow, ring={"dial": {"line_group": "all"}})
        numbers.append(company.number(flow=flow))
    rang = [await company.line_of(numbers[n % 2], proxy=1 + n % 2) for n in range(6)]
    assert Counter(rang) == dict.fromkeys(LINES, 2)


@pytest.mark.parametrize("distribution", ["RANDOM", "WEIGHTED"])
async def test_random_and_weighted_ring_members_alone_and_every_one_of_them(company, distribution):
    await company.lines(*LINES, "stranger")
    number = company.rings(*LINES, distribution=distribution)
    rung: Counter[str] = Counter()
    # Never to ring one of three in 60 calls has a chance of 8e-11.
    while rung.keys() != set(LINES) and rung.total() < 60:
        rung += await calls(company, number, 1)
    assert rung.keys() == set(LINES)
    company.desks["one"].does = company.desks["two"].does = BUSY
    outcome = await company.call(number)
    assert outcome.line == "three"
    assert "stranger" not in outcome.rang


async def test_a_heavy_line_rings_before_a_light_one(company):
    await company.lines("heavy", "light")
    lines = [{"line": "heavy", "weight": 1000}, {"line": "light", "weight": 1}]
    company.flow("ring", ring={"dial": {"lines": lines, "distribution": "DISTRIBUTION_WEIGHTED"}})
    first = await calls(company, company.number(flow="main"), 10)
    # Four of ten to the light one have a chance of 2e-10.
    assert first["light"] < 4


async def test_least_recent_is_the_line_that_waited_longest(company):
    await company.lines(*LINES)
    number = company.rings(*LINES, distribution="LEAST_RECENT")
    rang = [await company.line_of(number, proxy=1 + n % 2) for n in range(6)]
    assert sorted(rang[:3]) == sorted(LINES)
    assert rang[3:] == rang[:3]


async def test_all_ring_at_once_and_the_first_to_answer_wins(company):
    await company.line("one", RINGS)
    await company.line("two", BUSY)
    await company.line("three")
    number = company.rings(*LINES, distribution="ALL")
    outcome = await company.call(number)
    assert outcome.line == "three"
    assert sorted(outcome.rang) == sorted(LINES)
    await company.desks["one"].expect("CANCEL")


async def test_a_line_that_rings_just_when_another_one_answers_is_cancelled(company):
    await company.lines("quick")
    slow = await company.line("slow", RINGS)
    number = company.rings("slow", "quick", distribution="ALL")
    # Both reply within the tenth of a millisecond: three of a hundred lines rang on.
    for _ in range(200):
        assert (await company.call(number)).line == "quick"
        await slow.expect("CANCEL")


async def test_a_caller_comes_to_the_line_that_served_him_last(company):
    await company.lines("two", "three")
    await company.line("one", BUSY)
    number = company.rings(*LINES, distribution="STICKY")
    regular, other = "01088886666", "02887654321"

    def first():
        return company.explain(number, regular).decision.dial.stages[0].branches[0].line

    # A call that the counters were too late for leaves no mark: on a busy machine that may happen to one.
    for last in (False, True):
        assert (await company.call(number, regular)).rang == ["one", "two"]
        try:
            await eventually(lambda: first() == "two", "two is first for its caller", first)
            break
        except AssertionError:
            if last:
                raise
    company.desks["one"].does = 200
    assert (await company.call(number, regular, proxy=2)).rang == ["two"]
    assert (await company.call(number, other)).rang == ["one"]


async def test_a_line_at_its_cap_is_passed_over_and_the_others_share_its_calls(company):
    await company.lines("two", "three")
    await company.line("one", concurrent_calls=1)
    company.flow("alone", "alone", alone=dial("one"))
    alone = company.number(flow="alone")
    number = company.rings(*LINES, distribution="ROUND_ROBIN")
    held = await company.hold(alone)
    assert (await calls(company, number, 6))["one"] == 0
    await held.hang_up()
    await company.counted(alone, 0)
    assert (await calls(company, number, 3))["one"] == 1
