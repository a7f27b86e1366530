"""From the proxy's journal to the counts: a call that ended is free, whatever was away when it did."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

from signalbox.api.types.v1 import types_pb2
from signalbox.store.memory import MemoryStore
from support import routing
from support.counters import counted, make
from support.journaled import Journaled, answered, failed, hung_up
from support.redis import RedisServer
from support.routing import NUMBER, call, put, running
from support.wait import until

if TYPE_CHECKING:
    from pathlib import Path

CALLS = 8


async def test_ends_that_the_proxy_saw_free_what_calls_held(tmp_path: Path) -> None:
    redis = RedisServer(tmp_path / "redis", durable=True).start()
    journaled = Journaled(tmp_path)
    store = MemoryStore(progress_interval_s=0.05)
    limited = routing.number(limits=types_pb2.Limits(concurrent_calls=CALLS))
    await put(store, types_pb2.Tenant(id="acme"), routing.trunk(), routing.line(concurrent_calls=CALLS), limited)
    counters = make(redis, timeout_ms=300)
    names = (f"number/{NUMBER}", "line/acme/line-a")
    async with (
        running(store, tmp_path, counters=counters) as replica,
        journaled.reporting(f"127.0.0.1:{replica.worker.port}") as reporter,
    ):
        for n in range(CALLS):
            assert (await replica.stub.Decide(call(call_id=f"call-{n}"))).decision.why == "dial"
        assert (await replica.stub.Decide(call(call_id="more"))).decision.why.startswith("limit")
        journaled.append(*(answered(n) for n in range(CALLS // 2)))
        await until(lambda: reporter.sequence == CALLS // 2)
        assert [await counted(counters, name) for name in names] == [CALLS, CALLS // 2]
        redis.kill()
        journaled.append(*(hung_up(n) for n in range(CALLS // 2)), *(failed(n) for n in range(CALLS // 2, CALLS)))
        assert (await replica.stub.Decide(call(call_id="uncounted"))).decision.why == "dial"
        await asyncio.sleep(0.5)
        assert reporter.sequence == CALLS // 2
        redis.start()
        await until(lambda: reporter.sequence == CALLS * 3 // 2)
        assert [await counted(counters, name) for name in names] == [1, 0]
    await counters.close()
    await store.close()
    redis.stop()
