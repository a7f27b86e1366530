"""redis dies, freezes, forgets its scripts, refuses to write: calls go on, and the counts are right afterwards."""

from __future__ import annotations

import asyncio
import time
from typing import TYPE_CHECKING

import pytest
from redis.asyncio import Redis
from signalbox.domain.claims import Limit, Order, Window, uncounted
from signalbox.errors import ConfigurationError
from signalbox.routing import counters as module
from signalbox.routing import counters_script as script
from signalbox.routing.counters import CountersUnavailableError, RedisCounters
from signalbox.settings import CountersSettings, RedisSettings
from structlog.testing import capture_logs
from support.counters import PREFIX, calls, claim, counted, dial, keys, make, running
from support.ports import free_address
from support.redis import RedisServer, redis_server
from support.wait import until

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from signalbox.domain.claims import Claim

__all__ = ["redis_server"]

NUMBER = "number/4001234567"


@pytest.fixture
def durable(tmp_path: Path) -> Iterator[RedisServer]:
    server = RedisServer(tmp_path / "durable", durable=True).start()
    yield server
    server.stop()


async def test_redis_frozen_costs_one_time_limit_and_is_told_once(redis_server: RedisServer) -> None:
    async with running(make(redis_server, timeout_ms=100)) as counters:
        before = claim("before", calls(NUMBER, 1))
        await counters.settle([before])
        with capture_logs() as logs:
            redis_server.pause()
            started = time.monotonic()
            asked = [claim(f"c{n}", calls(NUMBER, 1)) for n in range(50)]
            assert await counters.settle(asked) == [uncounted(one) for one in asked]
            for one in asked:
                assert not (await counters.settle([one]))[0].counted
            with pytest.raises(CountersUnavailableError):
                await counters.report([["ended", "before"]])
            assert time.monotonic() - started < 1
            assert (counters.available, counters.outages) == (False, 1)
            redis_server.resume()
            await until(lambda: counters.available)
        assert [entry["event"] for entry in logs] == ["counts_unavailable", "counts_are_back"]
        assert await counted(counters, NUMBER) == 51
        assert (counters.recovered, counters.given_up) == (50, 0)
        await counters.report([["ended", one.call_id] for one in [before, *asked]])
        assert await counted(counters, NUMBER) == 0


async def test_what_was_uncounted_holds_its_lines_and_months_afterwards(durable: RedisServer) -> None:
    month = Limit(NUMBER, Window.MONTH, 99, "2026-11")
    look = claim("", calls(NUMBER, 9), month, look=True)
    async with running(make(durable, timeout_ms=200)) as counters:
        durable.kill()
        plain, together = dial(1, 1), dial(0, 1, 1, takes=2, order=Order.STICKY, key="s")
        results = await counters.settle([claim("1", calls(NUMBER, 9), month, dials=(plain, together))])
        assert results[0].dials == ((0, 1), (0, 1, 2))
        durable.start()
        await until(lambda: counters.available)
        assert (await counters.settle([look]))[0].counts == (1, 1)
        assert [await counted(counters, f"line/acme/{line}") for line in "abc"] == [1, 1, 0]
        await counters.report([["answered", "1", "c"], ["ended", "1"]])
        assert (await counters.settle([look]))[0].counts == (0, 1)
        # The call was counted with its answer: who is asked again gives the same.
        served = await counters.settle([claim("2", dials=(together,))])
        assert served[0].dials == ((2, 0, 1),)


async def test_what_redis_did_and_could_not_tell_is_not_counted_twice(redis_server: RedisServer) -> None:
    month = Limit(NUMBER, Window.MONTH, 1, "2026-11")
    async with running(make(redis_server, timeout_ms=100)) as counters:
        await counters.settle([claim("0", calls("x", 1))])
        redis_server.pause()
        # Frozen, it reads both when it goes on: one is granted then, one refused.
        await counters.settle([claim("1", calls(NUMBER, 9), month), claim("2", calls(NUMBER, 9), month)])
        redis_server.resume()
        await until(lambda: counters.available)
        look = claim("", calls(NUMBER, 9), month, look=True)
        # Both went on, so both count, the limit notwithstanding.
        assert (await counters.settle([look]))[0].counts == (2, 2)


async def test_a_call_that_ended_meanwhile_is_not_counted_afterwards(durable: RedisServer) -> None:
    async with running(make(durable, timeout_ms=200)) as cut_off, running(make(durable)) as other:
        durable.kill()
        await cut_off.settle([claim("1", calls(NUMBER, 9)), claim("2", calls(NUMBER, 9))])
        cut_off.give_back([claim("2", calls(NUMBER, 9))])
        durable.start()
        await other.report([["ended", "1"]])
        await until(lambda: cut_off.available)
        assert await counted(other, NUMBER) == 0


async def test_counts_survive_kill_and_restart_under_load(durable: RedisServer) -> None:
    """Three replicas, calls all the while, redis killed three times: at the end all is free, and nothing hung."""
    replicas = [make(durable, timeout_ms=250) for _ in range(3)]
    tasks = [asyncio.create_task(replica.run()) for replica in replicas]
    stop = asyncio.Event()
    slowest = 0.0
    refused = total = 0

    async def report(call_id: str, at: int) -> None:
        while True:
            try:
                await replicas[at % 3].report([["answered", call_id, "a"], ["ended", call_id]])
                return
            except CountersUnavailableError:
                at += 1
                await asyncio.sleep(0.02)

    async def caller(name: int) -> None:
        nonlocal slowest, total, refused
        turn = 0
        while not stop.is_set():
            turn += 1
            asked = [claim(f"{name}-{turn}-{n}", calls(NUMBER, 40), dials=(dial(3, 0),)) for n in range(5)]
            started = time.monotonic()
            results = await replicas[turn % 3].settle(asked)
            slowest = max(slowest, time.monotonic() - started)
            total += len(results)
            refused += sum(claimed.over >= 0 for claimed in results)
            await asyncio.sleep(0.01)
            for one, claimed in zip(asked, results, strict=True):
                if claimed.over < 0:
                    await report(one.call_id, turn)

    callers = [asyncio.create_task(caller(n)) for n in range(12)]
    for _ in range(3):
        await asyncio.sleep(0.4)
        durable.kill()
        await asyncio.sleep(0.2)
        durable.start()
        await until(lambda: all(replica.available for replica in replicas))
    await asyncio.sleep(0.3)
    stop.set()
    await asyncio.gather(*callers)
    await until(lambda: all(replica.available for replica in replicas))
    assert [await counted(replicas[0], name) for name in (NUMBER, "line/acme/a", "line/acme/b")] == [0, 0, 0]
    assert sum(replica.uncounted for replica in replicas) > 0
    assert sum(replica.given_up for replica in replicas) == 0
    assert 0 < refused < total
    assert slowest < 1.5
    for task in tasks:
        task.cancel()
    await asyncio.gather(*tasks, return_exceptions=True)
    for replica in replicas:
        await replica.close()


async def test_a_forgotten_script_is_sent_again(redis_server: RedisServer) -> None:
    async with running(make(redis_server)) as counters:
        await counters.settle([claim("1", calls(NUMBER, 1))])
        async with Redis(port=redis_server.port) as client:
            await client.script_flush()
        assert (await counters.settle([claim("2", calls(NUMBER, 1))]))[0].over == 0
        assert counters.outages == 0


async def test_redis_without_its_data_counts_anew(redis_server: RedisServer) -> None:
    async with running(make(redis_server, timeout_ms=200)) as counters:
        await counters.settle([claim("1", calls(NUMBER, 1))])
        redis_server.kill()
        await counters.settle([claim("2", calls(NUMBER, 1))])
        redis_server.start()
        await until(lambda: counters.available)
        assert await counted(counters, NUMBER) == 1
        # The end of a call that was forgotten frees nobody else's place.
        await counters.report([["ended", "1"]])
        assert await counted(counters, NUMBER) == 1


async def test_a_server_that_takes_no_writes_is_as_good_as_away(redis_server: RedisServer) -> None:
    async with running(make(redis_server)) as counters, Redis(port=redis_server.port) as client:
        await client.config_set("min-replicas-to-write", 1)
        with capture_logs() as logs:
            for n in range(3):
                assert not (await counters.settle([claim(str(n), calls(NUMBER, 1))]))[0].counted
                await asyncio.sleep(module.PROBE_S * 1.5)
            assert (counters.available, counters.outages) == (False, 1)
            await client.config_set("min-replicas-to-write", 0)
            await until(lambda: counters.available)
        assert len(logs) == 2
        assert await counted(counters, NUMBER) == 3


async def test_redis_that_was_never_there(redis_server: RedisServer) -> None:
    address = redis_server.address
    redis_server.stop()
    async with running(make(redis_server, timeout_ms=100)) as counters:
        # Known before the first call.
        await until(lambda: not counters.available)
        assert not (await counters.settle([claim("1", calls(NUMBER, 0))]))[0].counted
        assert not (await counters.settle([claim("1", calls(NUMBER, 0), look=True)]))[0].counted
        assert counters.uncounted == 1
        assert redis_server.address == address != free_address()
        redis_server.start()
        await until(lambda: counters.available)
        assert await counted(counters, NUMBER) == 1


async def test_what_is_owed_is_bounded_in_number_and_age(
    redis_server: RedisServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "OWED", 10)
    redis_server.pause()
    async with running(make(redis_server, timeout_ms=50)) as counters:
        await counters.settle([claim(f"c{n}", calls(NUMBER, 1)) for n in range(30)])
        assert counters.given_up == 20
        redis_server.resume()
        await until(lambda: counters.available)
        # 30 were read by redis when it went on, one granted; of those that went on 10 are known.
        assert counters.recovered == 10
        monkeypatch.setattr(module, "OWED_S", -1.0)
        redis_server.pause()
        await counters.settle([claim("old", calls("other", 1))])
        await asyncio.sleep(0.1)
        redis_server.resume()
        await until(lambda: counters.available)
        assert counters.given_up == 21


async def test_a_claim_that_redis_can_make_nothing_of_holds_up_no_other(redis_server: RedisServer) -> None:
    async with running(make(redis_server)) as counters, Redis(port=redis_server.port) as client:
        await client.set("test:calls:damaged", "no set")
        asked = [claim("1", calls(NUMBER, 9)), claim("2", calls("damaged", 9)), claim("3", calls(NUMBER, 9))]
        with capture_logs() as logs:
            assert not any(claimed.counted for claimed in await counters.settle(asked))
            await until(lambda: counters.available)
        assert [entry["call_id"] for entry in logs if entry["event"] == "claim_not_counted"] == ["2"]
        assert (await counted(counters, NUMBER), counters.recovered, counters.given_up) == (2, 2, 1)


async def test_a_password_from_a_file_and_a_missing_one(redis_server: RedisServer, tmp_path: Path) -> None:
    async with Redis(port=redis_server.port) as client:
        await client.config_set("requirepass", "secret")
    (tmp_path / "password").write_text("secret\n")
    settings = RedisSettings(address=redis_server.address, password_file=tmp_path / "password", timeout_ms=1000)
    async with running(RedisCounters(settings, CountersSettings())) as counters:
        assert (await counters.settle([claim("1", calls(NUMBER, 0))]))[0].over == 0
    async with running(make(redis_server)) as counters:
        with capture_logs() as logs:
            assert not (await counters.settle([claim("1", calls(NUMBER, 0))]))[0].counted
        assert "Authentication" in logs[0]["reason"]
    with pytest.raises(ConfigurationError, match=r"redis\.password_file"):
        RedisCounters(RedisSettings(password_file=tmp_path / "none"), CountersSettings())


async def test_keys_of_a_crashed_replica_are_not_for_ever(redis_server: RedisServer) -> None:
    counters: RedisCounters = make(redis_server, setup_lease_s=0.2, call_lease_s=1)
    asked: list[Claim] = [claim(f"c{n}", calls(NUMBER, 5)) for n in range(5)]
    await counters.settle(asked)
    await counters.close()
    other = make(redis_server)
    (late,) = await other.settle([claim("c6", calls(NUMBER, 5))])
    assert late.over == 0
    await asyncio.sleep(0.3)
    (late,) = await other.settle([claim("c7", calls(NUMBER, 5))])
    assert late.over == -1
    assert not {f"call:c{n}" for n in range(5)} & (await keys(redis_server)).keys()
    await other.close()


async def test_who_answered_stands_whatever_a_replica_counts_afterwards(redis_server: RedisServer) -> None:
    """One replica alone is cut off: the others hear who answered before it counts the call."""
    month = Limit(NUMBER, Window.MONTH, 99, "2026-11")
    asked = claim("1", calls(NUMBER, 9), month, dials=(dial(1, 1, 2, order=Order.STICKY, key="s", takes=2),))
    late = script.count(asked, uncounted(asked))
    counters = make(redis_server, setup_lease_s=0.2, call_lease_s=60)
    for told in ([["answered", "1", "c"], late], [late, ["answered", "1", "c"], late]):
        await counters.report(told)
        assert [await counted(counters, f"line/acme/{line}") for line in "abc"] == [0, 0, 1]
        # An answered call: not free when one that only rings is.
        await asyncio.sleep(0.3)
        assert await counted(counters, NUMBER) == 1
        served = await counters.settle([claim("look", dials=asked.dials, look=True)])
        assert served[0].dials[0][0] == 2
        await counters.report([["ended", "1"]])
        assert await counted(counters, NUMBER) == 0
        async with Redis(port=redis_server.port) as client:
            await client.flushall()
    await counters.close()


async def test_an_answer_to_a_call_that_nobody_counts_is_soon_forgotten(redis_server: RedisServer) -> None:
    counters = make(redis_server)
    await counters.report([["answered", "1", "a"], ["alive", "1"], ["return", "1", ""]])
    assert await keys(redis_server) == {"call:1": pytest.approx(module.OWED_S, abs=2)}
    await counters.report([["ended", "1"], ["answered", "1", "a"]])
    assert await counted(counters, "line/acme/a") == 0
    await counters.close()


async def test_who_answered_is_told_when_the_call_is_long_over_and_holds_nothing(redis_server: RedisServer) -> None:
    """A worker tells it until a replica takes it; the proxy's end may have been quicker, by any time."""
    counters = make(redis_server)
    asked = claim("1", calls(NUMBER, 9), dials=(dial(1, 1),))
    (claimed,) = await counters.settle([asked])
    assert claimed.counted
    held = [NUMBER, "line/acme/a", "line/acme/b"]
    assert [await counted(counters, name) for name in held] == [1, 1, 0]
    late = ["answered", "1", "b"]
    await counters.report([["ended", "1"], late])
    assert [await counted(counters, name) for name in held] == [0, 0, 0]
    async with Redis(port=redis_server.port) as client:
        # Also when it is forgotten that there was such a call.
        assert await client.delete(f"{PREFIX}call:1") == 1
    await counters.report([late])
    assert [await counted(counters, name) for name in held] == [0, 0, 0]
    assert await keys(redis_server) == {"call:1": pytest.approx(module.OWED_S, abs=2)}
    await counters.close()


async def test_a_worker_that_answered_takes_no_line(redis_server: RedisServer) -> None:
    asked = claim("1", calls(NUMBER, 9), dials=(dial(1, 1),))
    counters = make(redis_server)
    await counters.report([["answered", "1", ""], script.count(asked, uncounted(asked))])
    assert [await counted(counters, name) for name in (NUMBER, "line/acme/a")] == [1, 1]
    await counters.close()
