"""Live counts in a real redis: limits, turns, leases, and everything once for each call."""

from __future__ import annotations

import asyncio
from collections import Counter
from contextlib import AsyncExitStack
from typing import TYPE_CHECKING

import pytest
from signalbox.domain.claims import Claimed, Limit, Order, Window
from signalbox.routing import counters_script as script
from support.counters import calls, claim, counted, dial, keys, make
from support.redis import RedisServer, redis_server

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    from signalbox.domain.claims import Claim
    from signalbox.routing.counters import RedisCounters

__all__ = ["redis_server"]

NUMBER = "number/4001234567"


@pytest.fixture
async def counters(redis_server: RedisServer) -> AsyncIterator[RedisCounters]:
    made = make(redis_server)
    yield made
    await made.close()


async def ended(counters: RedisCounters, *call_ids: str) -> None:
    await counters.report([["ended", call_id] for call_id in call_ids])


async def test_a_limit_holds_until_a_call_ends(counters: RedisCounters) -> None:
    claims = [claim(f"c{n}", calls(NUMBER, 2)) for n in range(3)]
    assert [claimed.over for claimed in await counters.settle(claims)] == [-1, -1, 0]
    await ended(counters, "c0")
    await ended(counters, "c0")
    assert [claimed.over for claimed in await counters.settle([claim("c3", calls(NUMBER, 2))])] == [-1]
    assert [claimed.over for claimed in await counters.settle([claim("c4", calls(NUMBER, 2))])] == [0]


async def test_a_call_asked_twice_counts_once_and_hears_the_same(counters: RedisCounters) -> None:
    asked = claim("c1", calls(NUMBER, 1), dials=(dial(1, 1, order=Order.TURN, key="t"),))
    first, second = await counters.settle([asked, asked])
    assert first == second == Claimed(dials=((0, 1),))
    assert await counters.settle([asked]) == [first]
    assert await counted(counters, NUMBER) == 1


async def test_a_refusal_is_given_again_though_there_is_room_now(counters: RedisCounters) -> None:
    await counters.settle([claim("c1", calls(NUMBER, 1))])
    refused = await counters.settle([claim("c2", calls(NUMBER, 1))])
    await ended(counters, "c1")
    assert await counters.settle([claim("c2", calls(NUMBER, 1))]) == refused == [Claimed(over=0)]


async def test_a_refused_call_takes_nothing_at_all(counters: RedisCounters, redis_server: RedisServer) -> None:
    limits = [Limit("tenant/acme", Window.MONTH, 9, "2026-11"), Limit("x", Window.SECOND, 9), calls(NUMBER, 0)]
    dials = (dial(1, order=Order.TURN, key="t"), dial(1, order=Order.LEAST_RECENT, key="r"))
    (claimed,) = await counters.settle([claim("c1", *limits, dials=dials)])
    assert claimed == Claimed(over=2)
    assert set(await keys(redis_server)) == {"call:c1"}


async def test_the_first_limit_that_is_reached_is_told(counters: RedisCounters) -> None:
    limits = [calls("a", 2), calls("b", 1), calls("c", 0)]
    await counters.settle([claim("c1", calls("b", 1))])
    assert await counters.settle([claim("c2", *limits)]) == [Claimed(over=1)]


async def test_a_second_is_a_second_of_the_server(counters: RedisCounters) -> None:
    limit = Limit(NUMBER, Window.SECOND, 3)

    async def burst(name: str) -> int:
        return sum(c.over < 0 for c in await counters.settle([claim(f"{name}{n}", limit) for n in range(10)]))

    # One run of the script sees one time: each burst is within one second.
    assert await burst("a") == 3
    for attempt in range(300):
        if await burst(f"b{attempt}-") == 3:
            return
        await asyncio.sleep(0.01)
    raise AssertionError("the next second never came")


async def test_a_month_counts_until_the_next_one(counters: RedisCounters, redis_server: RedisServer) -> None:
    def of(call_id: str, month: str) -> Claim:
        return claim(call_id, Limit(NUMBER, Window.MONTH, 2, month))

    results = await counters.settle([of("1", "2026-11"), of("2", "2026-11"), of("3", "2026-11"), of("4", "2026-12")])
    assert [claimed.over for claimed in results] == [-1, -1, 0, -1]
    # A replica whose clock is behind, or another time zone: both months go on side by side.
    assert [claimed.over for claimed in await counters.settle([of("5", "2026-11"), of("6", "2026-12")])] == [0, -1]
    await ended(counters, "1", "2")
    assert [claimed.over for claimed in await counters.settle([of("7", "2026-11")])] == [0]
    assert len(await keys(redis_server, "month:*")) == 2


async def test_lines_at_their_caps_are_passed_over(counters: RedisCounters) -> None:
    def of(call_id: str) -> Claim:
        return claim(call_id, dials=(dial(1, 2, 0),))

    results = await counters.settle([of(str(n)) for n in range(4)])
    assert [claimed.dials for claimed in results] == [((0, 1, 2),), ((1, 2),), ((1, 2),), ((2,),)]
    await ended(counters, "0")
    assert (await counters.settle([of("5")]))[0].dials == ((0, 2),)


async def test_all_lines_at_their_caps_are_no_line_and_no_limit(counters: RedisCounters) -> None:
    await counters.settle([claim("1", dials=(dial(1),))])
    assert await counters.settle([claim("2", dials=(dial(1),))]) == [Claimed(dials=((),))]
    assert await counters.settle([claim("3", dials=(dial(1), dial(1)))]) == [Claimed(dials=((), ()))]


async def test_lines_that_ring_together_are_all_taken_and_later_ones_are_not(counters: RedisCounters) -> None:
    await counters.settle([claim("1", dials=(dial(1, 1, takes=2), dial(1, 1, 1, takes=0)))])
    held = [await counted(counters, f"line/acme/{line}") for line in "abc"]
    assert held == [1, 1, 0]


async def test_a_line_that_the_call_rang_before_is_free_for_its_next_dial(counters: RedisCounters) -> None:
    (claimed,) = await counters.settle([claim("1", dials=(dial(1, 1), dial(1, 1, takes=0)))])
    assert claimed.dials == ((0, 1), (0, 1))


async def test_the_line_that_answers_is_the_one_that_is_held(counters: RedisCounters) -> None:
    await counters.settle([claim("1", calls(NUMBER, 5), dials=(dial(1, 1, takes=2),))])
    await counters.report([["answered", "1", "b"], ["answered", "1", "b"]])
    assert [await counted(counters, f"line/acme/{line}") for line in "ab"] == [0, 1]
    await ended(counters, "1")
    assert [await counted(counters, name) for name in ("line/acme/b", NUMBER)] == [0, 0]


async def test_a_later_part_replaces_lines_and_keeps_limits(counters: RedisCounters) -> None:
    await counters.settle([claim("1", calls(NUMBER, 5), dials=(dial(1, takes=1),))])
    (claimed,) = await counters.settle([claim("1", calls(NUMBER, 1), dials=(dial(1, 1, takes=2),), part="n2")])
    assert claimed == Claimed(dials=((0, 1),))
    assert [await counted(counters, name) for name in (NUMBER, "line/acme/a", "line/acme/b")] == [1, 1, 1]
    await counters.settle([claim("1", part="n3")])
    assert [await counted(counters, name) for name in (NUMBER, "line/acme/a", "line/acme/b")] == [1, 0, 0]


async def test_who_looks_is_told_counts_and_takes_nothing(counters: RedisCounters, redis_server: RedisServer) -> None:
    month = Limit(NUMBER, Window.MONTH, 1, "2026-11")
    turning = dial(2, 1, order=Order.TURN, key="t")
    await counters.settle([claim("1", calls(NUMBER, 5), month, dials=(turning,))])
    before = await keys(redis_server)
    looks = [
        claim("", calls(NUMBER, 5), dials=(turning,), look=True),
        claim("", calls(NUMBER, 5), month, dials=(turning,), look=True),
        claim("1", calls(NUMBER, 5), month, dials=(turning,), look=True),
    ]
    assert (
        await counters.settle(looks * 2)
        == [
            Claimed(dials=((1, 0),), counts=(1,)),
            Claimed(over=1, counts=(1, 1)),
            Claimed(dials=((1, 0),), counts=(0, 0)),
        ]
        * 2
    )
    assert (await keys(redis_server)).keys() == before.keys()


async def test_what_nobody_waits_for_is_given_back(counters: RedisCounters, redis_server: RedisServer) -> None:
    month = Limit(NUMBER, Window.MONTH, 9, "2026-11")
    asked = claim("1", calls(NUMBER, 9), month, dials=(dial(1, 1, order=Order.TURN, key="t"),))
    look = claim("", calls(NUMBER, 9), month, dials=(dial(1, 1, order=Order.TURN, key="t"),), look=True)
    nothing = await counters.settle([look])
    await counters.settle([asked])
    counters.give_back([asked])
    await counters.settled()
    assert await counters.settle([look]) == nothing
    assert "call:1" not in await keys(redis_server)


async def test_what_another_replica_answered_is_not_given_back(redis_server: RedisServer) -> None:
    one, two = make(redis_server), make(redis_server)
    parts = [claim("1", calls(NUMBER, 0)), claim("1", calls("tenant/acme", 9), part="over")]
    await one.settle(parts)
    await two.settle(parts)
    one.give_back(parts)
    await one.settled()
    assert await counted(two, "tenant/acme") == 1
    # Who expires between two parts knows of the last one alone.
    two.give_back(parts[1:])
    await two.settled()
    assert await counted(two, "tenant/acme") == 0
    await one.close()
    await two.close()


async def test_a_turn_that_was_given_back_is_the_next_one(counters: RedisCounters) -> None:
    def of(call_id: str) -> Claim:
        return claim(call_id, dials=(dial(0, 0, 0, order=Order.TURN, key="t"),))

    first = [claimed.dials[0][0] for claimed in await counters.settle([of("1"), of("2"), of("3")])]
    counters.give_back([of("1")])
    await counters.settled()
    then = [claimed.dials[0][0] for claimed in await counters.settle([of("4"), of("5")])]
    assert (first, then) == ([0, 1, 2], [0, 0])


async def test_nothing_is_taken_for_a_call_that_has_ended(counters: RedisCounters) -> None:
    late = claim("1", calls(NUMBER, 1), dials=(dial(1, 1, order=Order.TURN, key="t"),))
    await ended(counters, "1")
    assert await counters.settle([late]) == [Claimed(dials=((0, 1),))]
    await counters.report([["answered", "1", "a"], ["alive", "1"]])
    assert [await counted(counters, name) for name in (NUMBER, "line/acme/a")] == [0, 0]
    assert (await counters.settle([claim("2", calls(NUMBER, 1), dials=late.dials)]))[0].dials == ((0, 1),)


async def test_a_lease_ends_a_call_that_nobody_ended(redis_server: RedisServer) -> None:
    async with AsyncExitStack() as stack:
        counters = make(redis_server, setup_lease_s=0.3, call_lease_s=60, media_lease_s=0.3)
        stack.push_async_callback(counters.close)
        of = [claim(name, calls(NUMBER, 9)) for name in ("rings", "talks", "media")]
        await counters.settle(of)
        await counters.report([["answered", "talks", "a"], ["answered", "media", "a"], ["alive", "media"]])
        for _ in range(10):
            # Media renew the lease for as long as they live.
            await counters.report([["alive", "media"]])
            await asyncio.sleep(0.05)
        assert await counted(counters, NUMBER) == 2
        await asyncio.sleep(0.4)
        assert await counted(counters, NUMBER) == 1
        await ended(counters, "talks")
        assert await counted(counters, NUMBER) == 0


async def test_the_least_recent_line_is_first_even_within_one_moment(counters: RedisCounters) -> None:
    def of(call_id: str, *caps: int) -> Claim:
        return claim(call_id, dials=(dial(*caps, order=Order.LEAST_RECENT, key="r"),))

    results = await counters.settle([of(str(n), 0, 0, 0) for n in range(5)])
    assert [claimed.dials[0][0] for claimed in results] == [0, 1, 2, 0, 1]
    # A new line was never first; one that answered was so just now.
    await counters.report([["answered", "4", "c"]])
    results = await counters.settle([of(str(n), 0, 0, 0, 0) for n in range(5, 8)])
    assert [claimed.dials[0] for claimed in results] == [(3, 0, 1, 2), (0, 1, 2, 3), (1, 2, 3, 0)]


async def test_the_line_that_served_the_caller_comes_first(counters: RedisCounters) -> None:
    def of(call_id: str, caller: str = "13800001234") -> Claim:
        return claim(call_id, dials=(dial(1, 1, 1, order=Order.STICKY, key=f"4001234567/{caller}"),))

    await counters.settle([of("1")])
    await counters.report([["answered", "1", "b"]])
    await ended(counters, "1")
    results = await counters.settle([of("2"), of("3"), of("4", "13900001234")])
    assert [claimed.dials[0] for claimed in results] == [(1, 0, 2), (0, 2), (2,)]
    # A line of some other dial is none of this one's.
    await counters.report([["answered", "2", "z"]])
    await ended(counters, "2", "3", "4")
    assert (await counters.settle([of("5")]))[0].dials[0] == (1, 0, 2)


@pytest.mark.parametrize("order", [Order.TURN, Order.LEAST_RECENT])
@pytest.mark.parametrize("lines", [1, 2, 3, 7, 16])
async def test_turns_of_three_replicas_differ_by_one_at_most(
    redis_server: RedisServer, lines: int, order: Order
) -> None:
    replicas = [make(redis_server, timeout_ms=1000) for _ in range(3)]
    one = dial(*([0] * lines), order=order, key="t")
    first: Counter[int] = Counter()

    async def ask(replica: RedisCounters, name: str, count: int) -> None:
        asked = [claim(f"{name}-{n}", dials=(one,)) for n in range(count)]
        # Half of the calls are asked again elsewhere, as a hedge does.
        again = asyncio.create_task(replicas[count % 3].settle(asked[::2]))
        results = await replica.settle(asked)
        assert (await again) == results[::2]
        first.update(claimed.dials[0][0] for claimed in results)

    await asyncio.gather(*(ask(replicas[n % 3], f"b{n}", n % 11 + 1) for n in range(60)))
    assert first.total() == sum(n % 11 + 1 for n in range(60))
    assert max(first.values()) - min(first[line] for line in range(lines)) <= 1
    for replica in replicas:
        await replica.close()


async def test_three_replicas_never_pass_a_limit(redis_server: RedisServer) -> None:
    replicas = [make(redis_server) for _ in range(3)]
    granted: set[str] = set()
    highest = 0

    async def caller(replica: RedisCounters, name: str) -> None:
        nonlocal highest
        for n in range(20):
            call_id = f"{name}-{n}"
            (claimed,) = await replica.settle([claim(call_id, calls(NUMBER, 5))])
            if claimed.over < 0:
                granted.add(call_id)
                highest = max(highest, len(granted))
                assert len(granted) <= 5
                await asyncio.sleep(0)
                granted.discard(call_id)
                await ended(replicas[n % 3], call_id)

    await asyncio.gather(*(caller(replicas[n % 3], f"k{n}") for n in range(24)))
    # How many were held at the same moment is a matter of luck; that it was more than one shows that they met.
    assert 1 < highest <= 5
    assert await counted(replicas[0], NUMBER) == 0
    for replica in replicas:
        await replica.close()


async def test_every_key_is_gone_some_day(counters: RedisCounters, redis_server: RedisServer) -> None:
    orders = [dial(1, order=order, key="k") for order in Order]
    limits = [calls(NUMBER, 9), Limit(NUMBER, Window.SECOND, 9), Limit(NUMBER, Window.MONTH, 9, "2026-11")]
    asked = [claim(f"c{n}", *limits, dials=tuple(orders)) for n in range(4)]
    await counters.settle(asked)
    counters.give_back(asked[3:])
    await counters.settled()
    await counters.report([["answered", "c0", "a"], ["alive", "c0"], ["ended", "c1"], ["ended", "unknown"]])
    kept = await keys(redis_server)
    kinds = {name.partition(":")[0] for name in kept}
    assert kinds >= {"call", "calls", "month", "turn", "returned", "recent", "sticky"}
    assert all(0 <= ttl <= 71 * 86400 for ttl in kept.values()), kept


async def test_a_name_that_is_empty_in_the_midst_of_a_run_is_gone_some_day_too(
    counters: RedisCounters, redis_server: RedisServer
) -> None:
    first, second = (script.claim(claim(id, calls(NUMBER, 9))) for id in ("c1", "c2"))
    await counters.report([first, ["ended", "c1"], second])
    assert (await keys(redis_server))[f"calls:{NUMBER}"] > 0
    assert await counted(counters, NUMBER) == 1


async def test_lines_in_turn_without_caps_are_told_in_their_order(counters: RedisCounters) -> None:
    many = [dial(*[cap] * 20, order=Order.TURN, key=f"k{cap}") for cap in (0, 1000)]
    for turn in range(22):
        (claimed,) = await counters.settle([claim(f"c{turn}", dials=tuple(many))])
        assert claimed.dials == (tuple((turn + at) % 20 for at in range(16)),) * 2


async def test_a_message_of_more_claims_than_one_run_takes(counters: RedisCounters) -> None:
    results = await counters.settle([claim(f"c{n}", calls(NUMBER, 1000)) for n in range(1024)])
    assert sum(claimed.over < 0 for claimed in results) == 1000
    assert await counters.settle([]) == []
