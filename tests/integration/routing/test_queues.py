"""Places in queues, in a real redis: one order for all replicas, and nobody in it who has gone."""

from __future__ import annotations

from typing import TYPE_CHECKING

from redis.asyncio import Redis
from signalbox.domain.claims import Place, Waiting
from support.counters import PREFIX, make
from support.redis import RedisServer, redis_server

if TYPE_CHECKING:
    from signalbox.routing.counters import RedisCounters

__all__ = ["redis_server"]

FULL = Place(full=True)


def waiting(call: str, since: int, queue: str = "q", **fields: bool) -> Waiting:
    return Waiting(queue, call, since, most=3, **fields)


async def places(counters: RedisCounters, *ones: Waiting) -> list[Place]:
    return [await counters.wait(one) for one in ones]


async def test_callers_stand_in_the_order_in_which_they_came_whoever_asks(redis_server: RedisServer) -> None:
    one, other = make(redis_server), make(redis_server)
    first, second, third = (waiting(call, since) for call, since in (("a", 1_000), ("b", 2_000), ("c", 3_000)))
    assert await places(one, second) == [Place(1)]
    assert await places(other, third, first, second) == [Place(2), Place(1), Place(2)]
    assert await places(one, third, third._replace(queue="another")) == [Place(3), Place(1)]
    await one.close()
    await other.close()


async def test_priority_callers_are_before_the_others(redis_server: RedisServer) -> None:
    counters = make(redis_server)
    now = 1_795_000_000_000
    assert await places(counters, waiting("a", now), waiting("b", now + 1, priority=True)) == [Place(1), Place(1)]
    assert await places(counters, waiting("a", now), waiting("c", now + 2, priority=True)) == [Place(2), Place(2)]
    await counters.close()


async def test_a_full_queue_takes_who_waits_already_and_another_when_one_has_left(redis_server: RedisServer) -> None:
    counters = make(redis_server)
    all_of = [waiting(call, since) for since, call in enumerate("abc", 1)]
    assert await places(counters, *all_of) == [Place(1), Place(2), Place(3)]
    late = waiting("d", 4)
    assert await places(counters, late, all_of[2]) == [FULL, Place(3)]
    await counters.wait(all_of[0]._replace(leaves=True))
    await counters.wait(all_of[0]._replace(leaves=True))
    assert await places(counters, late, all_of[1]) == [Place(3), Place(1)]
    await counters.close()


async def test_who_hangs_up_is_out_at_once(redis_server: RedisServer) -> None:
    counters = make(redis_server)
    all_of = [waiting(call, since) for since, call in enumerate("abc", 1)]
    await places(counters, *all_of)
    await counters.report([["ended", "a"], ["ended", "c"], ["ended", "x"]])
    assert await places(counters, all_of[1], waiting("d", 4)) == [Place(1), Place(2)]
    await counters.close()


async def test_who_has_left_one_queue_for_another_is_out_of_that(redis_server: RedisServer) -> None:
    counters = make(redis_server)
    here, there = waiting("a", 1), waiting("a", 1, "another")
    await places(counters, here, here._replace(leaves=True), there)
    await counters.report([["ended", "a"]])
    assert await places(counters, waiting("b", 2, "another")) == [Place(1)]
    await counters.close()


async def test_who_is_not_asked_for_any_more_is_out(redis_server: RedisServer) -> None:
    counters = make(redis_server)
    assert await places(counters, waiting("gone", 1), waiting("b", 2)) == [Place(1), Place(2)]
    host, _, port = redis_server.address.rpartition(":")
    async with Redis(host=host, port=int(port)) as redis:
        seconds, _ = await redis.time()
        await redis.zadd(f"{PREFIX}asked:q", {"gone": (seconds - 16) * 1000})
        assert await places(counters, waiting("b", 2)) == [Place(1)]
        assert await redis.zscore(f"{PREFIX}waiting:q", "gone") is None
        assert 0 < await redis.ttl(f"{PREFIX}waiting:q") <= 60
    await counters.close()


async def test_while_redis_is_away_no_place_is_known(redis_server: RedisServer) -> None:
    counters = make(redis_server, timeout_ms=500)
    redis_server.stop()
    assert await places(counters, waiting("a", 1), waiting("b", 2)) == [Place(), Place()]
    assert not counters.available
    await counters.close()
