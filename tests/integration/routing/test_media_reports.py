"""What media nodes report, in a real redis: leases go on and come back, and a call whose media are dead is due."""

from __future__ import annotations

import asyncio
import base64
import itertools
import time
from typing import TYPE_CHECKING

import pytest
from redis.asyncio import Redis
from signalbox.edge.dialogs import Dialogs, operation
from signalbox.eventrow import Row
from signalbox.redis_client import connect
from signalbox.routing import counters as module
from signalbox.settings import RedisSettings
from support.counters import PREFIX, calls, claim, counted, keys, make, running
from support.redis import RedisServer, redis_server

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    from signalbox.dialogs_script import Operation
    from signalbox.routing.counters import RedisCounters

__all__ = ["redis_server"]

NUMBER = "number/4001234567"
LEASE_S = 0.3


@pytest.fixture
async def counters(redis_server: RedisServer) -> AsyncIterator[RedisCounters]:
    made = make(redis_server, media_lease_s=LEASE_S)
    yield made
    await made.close()


@pytest.fixture
async def dialogs(redis_server: RedisServer) -> AsyncIterator[Dialogs]:
    opened = Dialogs(connect(RedisSettings(address=redis_server.address)), PREFIX)
    yield opened
    await opened.close()


async def test_what_was_free_for_lack_of_reports_is_held_again_with_the_next(
    counters: RedisCounters, redis_server: RedisServer
) -> None:
    """Nobody reported for longer than the lease; the call lives."""
    await counters.settle([claim("c1", calls(NUMBER, 9))])
    await counters.report([["answered", "c1", "a"], ["alive", "c1"]])
    await asyncio.sleep(LEASE_S * 1.5)
    assert await counted(counters, NUMBER) == 0
    await counters.report([["alive", "c1"]])
    assert await counted(counters, NUMBER) == 1
    await counters.report([["ended", "c1"], ["alive", "c1"]])
    assert await counted(counters, NUMBER) == 0
    assert (await keys(redis_server, "call:*"))["call:c1"] <= 120


async def test_a_call_that_was_never_counted_is_not_by_its_media(counters: RedisCounters) -> None:
    await counters.report([["alive", "unknown"]])
    assert await counted(counters, NUMBER) == 0


async def busy_s(server: RedisServer) -> float:
    """Processor time that redis has used."""
    async with Redis(host="127.0.0.1", port=server.port) as client:
        used = await client.info("cpu")
    return float(used["used_cpu_user"]) + float(used["used_cpu_sys"])


async def test_the_dead_of_a_whole_node_leave_no_claim_uncounted(
    redis_server: RedisServer, counters: RedisCounters, dialogs: Dialogs
) -> None:
    """As many as fit a message, told while calls are set up: redis is never busy for as long as a claim may wait."""
    ids = [f"edge-1-1795318705-{n}-569740665" for n in range(1024)]
    await dialogs.apply([connected(id) for id in ids])
    # The time limit of a machine that does nothing else is 30 ms; what counts here is what redis takes for one run.
    async with running(make(redis_server, timeout_ms=500)) as claiming:
        began = await busy_s(redis_server)
        telling = asyncio.create_task(counters.media_dead([(id, 7) for id in ids]))
        for turn in itertools.count():
            (claimed,) = await claiming.settle([claim(f"c{turn}", calls(NUMBER, 1_000_000))])
            assert claimed.counted
            if telling.done():
                break
        await telling
        runs = len(ids) / module.BATCH
        assert (await busy_s(redis_server) - began) / runs < RedisSettings().timeout_ms / 1000 / 4
        assert (claiming.uncounted, claiming.outages) == (0, 0)
    assert len(await dialogs.due(2000, "max_duration")) == len(ids)


async def due(dialogs: Dialogs) -> list[tuple[str, str]]:
    return [(ending.call_id, ending.why) for ending in await dialogs.due(9, "max_duration")]


def connected(call_id: str, *, node: str = "7.8", longest_s: int = 0, tag: str = "line-tag") -> Operation:
    """What an edge writes down when a line answers (kamailio/README.md, section 4)."""
    routes = f"<sip:198.51.100.1;lr>, <sip:192.0.2.1;lr;ftag=c;sb={call_id};mn={node};sg=x_-Y>"
    facts = " ".join(base64.b64encode(fact.encode()).decode() for fact in ("i", "f", "t", "sip:c", "sip:l", routes))
    now = str(int(time.time()))
    changed = operation(Row("", f"C a {longest_s} 7 {tag} {facts}", now, now, call_id, ""))
    assert changed is not None
    return changed


async def test_a_call_whose_media_are_dead_is_due_at_once(counters: RedisCounters, dialogs: Dialogs) -> None:
    await dialogs.apply([connected("c1"), connected("c22", longest_s=3600), connected("c333", node="7.8.l.i")])
    await counters.media_dead([(id, 7) for id in ("c1", "c22", "c333")])
    assert sorted(await due(dialogs)) == [(id, "media_timeout") for id in ("c1", "c22", "c333")]


async def test_a_call_whose_media_a_worker_has_is_due_when_they_are_dead(
    counters: RedisCounters, dialogs: Dialogs
) -> None:
    await counters.anchored([("c1", 7)])
    await dialogs.apply([connected("c1", node="0.0"), connected("c22", node="0.0")])
    await counters.anchored([("c22", 7)])
    await counters.media_dead([("c1", 7), ("c22", 7)])
    assert sorted(await due(dialogs)) == [("c1", "media_timeout"), ("c22", "media_timeout")]


async def test_of_a_worker_s_call_the_node_alone_is_heard_where_its_media_are(
    counters: RedisCounters, dialogs: Dialogs
) -> None:
    """Whoever breaks into a media node ends no calls at another one."""
    await dialogs.apply([connected(id, node="0.0") for id in ("c1", "untold")])
    await dialogs.apply([connected("proxys", node="8.7")])
    await counters.anchored([("c1", 8), ("proxys", 7)])
    await counters.media_dead([(id, node) for id in ("c1", "untold", "proxys") for node in (0, 7)])
    assert await due(dialogs) == []


async def test_where_the_media_of_a_call_were_that_is_over_is_soon_forgotten(
    counters: RedisCounters, dialogs: Dialogs, redis_server: RedisServer
) -> None:
    await dialogs.apply([connected("c1", node="0.0"), ["ended", "c1", "line-tag"]])
    await counters.anchored([("c1", 7)])
    await counters.media_dead([("c1", 7)])
    assert await due(dialogs) == []
    assert await dialogs.claim("c1", "operator") is None
    assert 0 < (await keys(redis_server, "dialog:*"))["dialog:c1"] <= 300


async def test_a_call_that_is_being_ended_is_not_given_to_a_second_edge(
    counters: RedisCounters, dialogs: Dialogs
) -> None:
    await dialogs.apply([connected("c1"), connected("c2")])
    await counters.media_dead([("c1", 7)])
    assert len(await due(dialogs)) == 1
    await dialogs.claim("c2", "operator")
    await counters.media_dead([("c1", 7), ("c2", 7)])
    assert await due(dialogs) == []


async def test_a_node_that_does_not_carry_the_call_is_not_heard(counters: RedisCounters, dialogs: Dialogs) -> None:
    """It was tried while the call rang, and has a part of it left."""
    await dialogs.apply([connected("c1", node="8.7"), connected("c2", node="77.8"), connected("c3", node="0.0")])
    # Two lines that answered at once.
    await dialogs.apply([connected("c4"), connected("c4", node="8.7", tag="other-tag")])
    await counters.media_dead([(id, 7) for id in ("c1", "c2", "c3", "c4")])
    assert await due(dialogs) == []


async def test_a_call_that_was_not_answered_or_has_ended_is_left_alone(
    counters: RedisCounters, dialogs: Dialogs, redis_server: RedisServer
) -> None:
    await dialogs.apply([["changed", "rings", "line-tag", "caller", 2, ""], connected("over")])
    await dialogs.apply([["ended", "over", "line-tag"]])
    await counters.media_dead([(id, 7) for id in ("rings", "over", "unknown")])
    assert await due(dialogs) == []
    async with Redis(host="127.0.0.1", port=redis_server.port) as client:
        assert not await client.hexists(f"{PREFIX}dialog:rings", "/why")
