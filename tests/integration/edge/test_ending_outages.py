"""Calls are ended from outside although an edge, a proxy, redis or a disk was away."""

from __future__ import annotations

import asyncio
import time
from typing import TYPE_CHECKING

import pytest
from signalbox import redis_client
from signalbox.edge import byes, ender
from signalbox.edge.dialogs import Dialogs
from signalbox.settings import RedisSettings
from support.ending import Site, due_call, hang_up, known, proxies, site, talk
from support.redis import RedisServer, redis_server
from support.sip_agent import Agent
from support.wait import until

if TYPE_CHECKING:
    from pathlib import Path

__all__ = ["proxies", "redis_server", "site"]


async def test_the_duration_holds_although_the_edge_that_saw_the_answer_is_gone(site: Site) -> None:
    first = await site.start(0)
    one = await talk(site, longest_s=4)
    await known(first)
    await site.stop(0)
    site.proxies[0].kill()
    await site.start(1)
    await one.both_hung_up(within=10)
    one.close()


async def test_what_happened_while_the_edge_was_away_is_taken_over(site: Site) -> None:
    await site.start()
    one = await talk(site, longest_s=4)
    await site.stop()
    await site.start()
    await one.both_hung_up(within=10)
    one.close()


async def test_without_redis_calls_go_on_and_when_it_is_back_they_are_known(
    site: Site, redis_server: RedisServer, capsys: pytest.CaptureFixture[str]
) -> None:
    sidecar = await site.start()
    redis_server.stop()
    one = await talk(site, longest_s=2)
    await until(lambda: sidecar.ender.behind > 0)
    assert (await hang_up(site, one.id))[0] == 503
    written: list[str] = []

    def told() -> bool:
        written.extend(capsys.readouterr())
        return "dialogs_unavailable" in "".join(written)

    await until(told)
    redis_server.start()
    await one.both_hung_up(within=10)
    one.close()


async def test_an_operator_ends_a_call_at_any_edge_even_if_the_proxy_that_took_it_is_gone(site: Site) -> None:
    first = await site.start(0)
    await site.start(1)
    one = await talk(site)
    await known(first)
    await site.stop(0)
    site.proxies[0].kill()
    assert (await hang_up(site, "edge-9-1-1-1", 1))[0] == 404
    result = asyncio.create_task(hang_up(site, one.id, 1))
    await one.both_hung_up()
    assert await result == (200, {"call_id": one.id, "caller": 200, "line": 200})
    assert (await hang_up(site, one.id, 1))[0] == 404
    await until(lambda: len(site.routing.orders) == 1)
    [order] = site.routing.orders
    assert (order.edge, order.call_id) == ("edge-2", one.id)
    assert order.actor.startswith("user ")
    events = await site.proxies[1].events_until(one.call, "hung_up")
    assert events[-1].hung_up.cause == 'Q.850;cause=31;text="Ended by the Operator"'
    one.close()


async def test_what_an_operator_orders_is_not_done_if_it_cannot_be_kept(site: Site, tmp_path: Path) -> None:
    sidecar = await site.start()
    one = await talk(site)
    await known(sidecar)
    orders = tmp_path / "state-0" / "orders"
    orders.write_text("no directory")
    status, body = await hang_up(site, one.id)
    assert status == 503
    assert "the order cannot be kept" in body["error"]
    assert one.byes() == [[], []]
    orders.unlink()
    result = asyncio.create_task(hang_up(site, one.id))
    await one.both_hung_up()
    assert (await result)[0] == 200
    one.close()


async def test_a_call_whose_dialog_no_proxy_accepts_is_tried_again_and_at_last_given_up(
    site: Site, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(ender, "MAX_TRIES", 2)
    monkeypatch.setattr(byes, "REPEAT_S", (0.2,))
    sidecar = await site.start()
    proxy, redis = site.proxies[0], redis_client.connect(site.redis)
    agent = await Agent((proxy.host, proxy.port)).start()
    dialogs, deadlines = Dialogs(redis, site.redis.prefix), f"{site.redis.prefix}deadlines"
    call = due_call(1, agent, proxy.host, proxy.port, key="one that the cluster had before")
    known = f"{site.redis.prefix}dialog:{call[1]}"
    await dialogs.apply([call])
    async with asyncio.timeout(5):
        while await redis.hget(known, "/tries") != b"1":  # noqa: ASYNC110, redis is asked
            await asyncio.sleep(0.05)
    assert await redis.zscore(deadlines, call[1]) > time.time() + 30
    assert sidecar.ender.given_up == 0
    await redis.zadd(deadlines, {call[1]: 0}, xx=True)
    await until(lambda: sidecar.ender.given_up == 1)
    assert (await redis.zscore(deadlines, call[1]), await redis.exists(known)) == (None, 0)
    assert (sidecar.ender.ended, agent.seen) == (0, [])
    await dialogs.close()
    agent.close()


async def test_a_stop_while_redis_is_asked_is_a_stop_at_whatever_moment_it_comes(redis_server: RedisServer) -> None:
    for turns in range(300):
        dialogs = Dialogs(redis_client.connect(RedisSettings(address=redis_server.address)), "test:")
        task = asyncio.create_task(dialogs.due(1, "max_duration"))
        for _ in range(turns % 30):
            await asyncio.sleep(0)
        if task.cancel():
            with pytest.raises(asyncio.CancelledError):
                await task
        await dialogs.close()
