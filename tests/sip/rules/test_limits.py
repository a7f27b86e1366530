"""Calls over a limit are refused or go elsewhere, through whichever proxy; the end of a call makes room."""

from __future__ import annotations

import asyncio
import time

import pytest
from support.company import BUSY, OK, dial
from support.site import eventually

FULL = 503
OTHER_HOST = "127.0.0.41"
"""Address of a trunk of the test's own."""


@pytest.fixture
async def desk(company):
    """A line that answers."""
    return await company.line("desk")


async def test_the_call_over_a_numbers_limit_is_refused_until_one_has_ended(company, desk):
    number = company.rings("desk", limits={"concurrent_calls": 2})
    first, second = await company.hold(number), await company.hold(number, proxy=2)
    assert (first.outcome.code, second.outcome.code) == (OK, OK)
    for proxy in (1, 2):
        over = await company.call(number, proxy=proxy)
        assert (over.code, over.rang) == (BUSY, [])
    await first.hang_up()
    await company.counted(number, 1)
    third = await company.hold(number, proxy=2)
    assert third.outcome.code == OK
    assert await company.line_of(number) == "486"
    for held in (second, third):
        await held.hang_up()
    await company.counted(number, 0)


async def test_a_call_that_nobody_answered_makes_room_too(company):
    await company.line("engaged", BUSY)
    number = company.rings("engaged", limits={"concurrent_calls": 1})
    for proxy in (1, 2):
        assert (await company.call(number, proxy=proxy)).rang == ["engaged"]
        await company.counted(number, 0)


async def test_a_tenants_limit_is_for_all_of_its_numbers(company, desk):
    one, two = company.rings("desk"), company.rings("desk")
    company.put("tenant", id=company.id, limits={"concurrent_calls": 1})
    held = await company.hold(one)
    assert await company.line_of(two, proxy=2) == "486"
    await held.hang_up()
    await company.counted(two, 0, f"tenant/{company.id}")
    assert await company.line_of(two, proxy=2) == "desk"


async def test_a_trunks_limit_is_for_the_calls_that_come_in_from_it(company, desk):
    number = company.rings("desk")
    company.put("trunk", id="small", source_addresses=[OTHER_HOST], limits={"concurrent_calls": 1})
    held = await company.hold(number, host=OTHER_HOST)
    assert held.outcome.code == OK
    # 503, not 486: its carrier may send the call another way.
    assert (await company.call(number, host=OTHER_HOST, proxy=2)).code == FULL
    assert await company.line_of(number) == "desk"
    await held.hang_up()
    await eventually_answered(company, number, FULL, host=OTHER_HOST)


@pytest.mark.parametrize("whose", ["number", "tenant"])
async def test_calls_over_a_limit_go_through_the_flow_for_them(company, desk, whose):
    await company.line("machine")
    company.flow("machine", "full", machine=dial("machine"))
    number = company.rings("desk", limits={"concurrent_calls": 1 if whose == "number" else 9}, over_limit_flow="full")
    company.put("tenant", id=company.id, limits={"concurrent_calls": 9 if whose == "number" else 1})
    held = await company.hold(number)
    assert held.outcome.line == "desk"
    assert await company.line_of(number, proxy=2) == "machine"
    await held.hang_up()
    await company.counted(number, 0)
    assert await company.line_of(number) == "desk"


async def test_a_line_at_its_cap_is_passed_over(company):
    await company.line("small", concurrent_calls=1)
    await company.line("next")
    number = company.rings("small", "next")
    held = await company.hold(number)
    assert held.outcome.rang == ["small"]
    over = await company.call(number, proxy=2)
    assert (over.line, over.rang) == ("next", ["next"])
    await held.hang_up()
    await company.counted(number, 0)
    assert await company.line_of(number) == "small"


async def test_a_dial_whose_lines_are_all_at_their_caps_is_busy(company, desk):
    await company.line("small", concurrent_calls=1)
    alone = company.rings("small")
    company.flow("small", small=dial("small", busy="desk"), desk=dial("desk"))
    overflowing = company.number(flow="main")
    held = await company.hold(alone)
    assert await company.line_of(alone, proxy=2) == "486"
    assert (await company.call(overflowing)).rang == ["desk"]
    await held.hang_up()


async def test_new_calls_in_a_second(company, desk):
    number = company.rings("desk", limits={"calls_per_second": 2})
    begun = time.monotonic()
    codes = [held.outcome.code for held in await burst(company, number, 10)]
    # Two in each of the clock's seconds that the burst fell into.
    assert 2 <= codes.count(OK) <= 2 * (2 + int(time.monotonic() - begun))
    assert codes.count(OK) + codes.count(BUSY) == 10
    await eventually_answered(company, number, BUSY)


async def test_calls_in_a_month_do_not_come_back_when_they_end(company, desk):
    number = company.rings("desk", limits={"calls_per_month": 1})
    assert await company.line_of(number) == "desk"
    await company.counted(number, 0)
    assert await company.line_of(number, proxy=2) == "486"


async def test_a_changed_limit_is_obeyed_by_the_next_call(company, desk):
    company.flow("desk", desk=dial("desk"))
    number = company.number(flow="main", limits={"concurrent_calls": 1})
    held = await company.hold(number)
    assert await company.line_of(number) == "486"
    company.put("number", number=number, flow="main", media="MEDIA_MODE_BYPASS", limits={"concurrent_calls": 2})
    assert await company.line_of(number) == "desk"
    await held.hang_up()


async def test_of_calls_at_once_through_two_proxies_as_many_pass_as_the_limit_says(company, desk):
    number = company.rings("desk", limits={"concurrent_calls": 5})
    held = await burst(company, number, 20)
    answered = [each for each in held if each.outcome.code == OK]
    assert len(answered) == 5
    for each in answered:
        await each.hang_up()
    await company.counted(number, 0)


async def test_a_limit_holds_when_a_replica_is_gone_and_when_it_is_back(site, company, desk):
    number = company.rings("desk", limits={"concurrent_calls": 1})
    held = await company.hold(number)
    assert held.outcome.code == OK
    for name in site.cluster.names("routing"):
        with site.killed(name):
            assert [await company.line_of(number, proxy=proxy) for proxy in (1, 2)] == ["486", "486"], name
        site.cluster.wait_ready()
        await eventually(lambda: known_replicas(site) == {"ready"}, "both replicas known to both edges")
    await held.hang_up()
    await company.counted(number, 0)
    assert await company.line_of(number) == "desk"


async def test_without_redis_calls_go_on_and_what_goes_on_counts_when_it_is_back(site, company, desk):
    number = company.rings("desk", limits={"concurrent_calls": 1})
    await company.line("other")
    taken_in_turn = company.rings("desk", "other", distribution="ROUND_ROBIN")
    assert await company.line_of(number) == "desk"
    await company.counted(number, 0)
    with site.killed("redis"):
        held = [await company.hold(number, proxy=proxy) for proxy in (1, 2, 1)]
        assert [each.outcome.code for each in held] == [OK, OK, OK]
        await held.pop().hang_up()
        for proxy in (1, 2):
            assert await company.line_of(taken_in_turn, proxy=proxy) in ("desk", "other")
    site.cluster.wait_ready()
    await eventually(lambda: counts_available(site) == [1.0, 1.0], "redis for both replicas", within=20)
    await company.counted(number, 2)
    assert await company.line_of(number) == "486"
    for each in held:
        await each.hang_up()
    await company.counted(number, 0)
    assert await company.line_of(number, proxy=2) == "desk"
    assert {await company.line_of(taken_in_turn, proxy=proxy) for proxy in (1, 2)} == {"desk", "other"}


def known_replicas(site):
    """The states that replicas are in for edges."""
    return {state for name in site.cluster.names("edge") for state in site.cluster.facts(name)["replicas"].values()}


def counts_available(site):
    """For each replica: 1 if it reaches redis."""
    return [site.metric(name, "signalbox_routing_counts_available") for name in site.cluster.names("routing")]


async def burst(company, number, calls):
    """Calls at once, by turns through both proxies."""
    company.sync()
    return await asyncio.gather(*(company.hold(number, proxy=1 + n % 2) for n in range(calls)))


async def eventually_answered(company, number, over, **how):
    """Call until a call is answered; those before it are refused with the code of a call over the limit."""
    for _ in range(100):
        code = (await company.call(number, **how)).code
        if code == OK:
            return
        assert code == over
        await asyncio.sleep(0.05)
    raise AssertionError("no call passes")
