"""What calls at workers with voice hold of lines, in a real redis: each step has its own, and what is over none."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest
from signalbox.api.routing.v1 import routing_pb2
from signalbox.api.types.v1 import flows_pb2, types_pb2
from signalbox.store.memory import MemoryStore
from support import routing
from support.counters import counted, make
from support.flows import graph
from support.redis import RedisServer, redis_server
from support.routing import NUMBER, Running, call, put, running

if TYPE_CHECKING:
    from collections.abc import AsyncIterator
    from pathlib import Path

    from signalbox.routing.counters import RedisCounters

__all__ = ["redis_server"]

TWO = {"lines": [{"line": "a"}, {"line": "b"}]}
FLOW = graph(
    "ask",
    ask={
        "menu": {
            "prompt": "hello",
            "branches": [{"digits": "1", "next": "desk"}, {"digits": "2", "next": "known"}],
            "noInput": "end",
            "noMatch": "end",
        }
    },
    desk={"dial": {**TWO, "busy": "sorry", "after": "score", "transferKeys": "*", "transfer": "to"}},
    known={"dial": {**TWO, "distribution": "DISTRIBUTION_STICKY", "busy": "sorry", "after": "score"}},
    to={"transfer": {"line": "b", "failed": "sorry"}},
    sorry={"announce": {"prompt": "hello", "next": "ask"}},
    score={"survey": {"prompt": "hello"}},
    end={"hangUp": {}},
)


@pytest.fixture
async def counters(redis_server: RedisServer) -> AsyncIterator[RedisCounters]:
    made = make(redis_server)
    yield made
    await made.close()


@pytest.fixture
async def replica(counters: RedisCounters, tmp_path: Path) -> AsyncIterator[Running]:
    store = MemoryStore(progress_interval_s=0.05)
    flow = flows_pb2.Flow(tenant="acme", id="main", revisions=[flows_pb2.FlowRevision(number=1, graph=FLOW)])
    number = routing.number(stages=[], flow="main", limits=types_pb2.Limits(concurrent_calls=2))
    lines = [routing.line(id, concurrent_calls=1) for id in "ab"]
    await put(store, types_pb2.Tenant(id="acme"), routing.trunk(), *lines, flow, number, routing.voice(1))
    key = tmp_path / "cursor.key"
    key.write_text("one secret")
    async with running(store, tmp_path, counters=counters, cursor_key_file=key) as replica:
        yield replica
    await store.close()


async def entered(replica: Running, call_id: str, digits: str) -> routing_pb2.ContinueResponse:
    """The dial that a new call comes to with a key."""
    decided = (await replica.stub.Decide(call(call_id=call_id))).decision
    first = await ask(replica, decided.dial.stages[0].branches[0].cursor)
    assert (first.node.id, first.call.call_id) == ("ask", call_id)
    return await ask(replica, first.cursor, digits=digits)


async def ask(replica: Running, cursor: str, **outcome: Any) -> routing_pb2.ContinueResponse:
    request = routing_pb2.ContinueRequest(cursor=cursor)
    if outcome:
        request.outcome.CopyFrom(routing_pb2.StepOutcome(**outcome))
    return await replica.stub.Continue(request)


async def report(replica: Running, call_id: str, **state: Any) -> None:
    told = routing_pb2.CallReport(call_id=call_id, **state)
    await replica.stub.ReportCalls(routing_pb2.ReportCallsRequest(reports=[told]))


async def held(counters: RedisCounters) -> list[int]:
    """Calls of the number, and of both lines."""
    return [await counted(counters, name) for name in (f"number/{NUMBER}", "line/acme/a", "line/acme/b")]


def rung(step: routing_pb2.ContinueResponse) -> list[str]:
    return list(dict.fromkeys(branch.line for stage in step.dial.stages for branch in stage.branches))


async def test_a_line_that_did_not_take_the_call_is_free_while_the_flow_goes_on(
    replica: Running, counters: RedisCounters
) -> None:
    dial = await entered(replica, "c1", "1")
    assert (rung(dial), await held(counters)) == (["a", "b"], [1, 1, 0])
    sorry = await ask(replica, dial.cursor, busy=True)
    assert (sorry.node.id, await held(counters)) == ("sorry", [1, 0, 0])
    assert rung(await entered(replica, "c2", "1")) == ["a", "b"]
    # Asked again, the step that is over lets go of nothing that later ones hold.
    menu = await ask(replica, sorry.cursor, done=True)
    assert rung(await ask(replica, menu.cursor, digits="1")) == ["b"]
    assert (await ask(replica, dial.cursor, busy=True)).node.id == "sorry"
    assert await held(counters) == [2, 1, 1]
    for id in ("c1", "c2"):
        await report(replica, id, ended=True)
    assert await held(counters) == [0, 0, 0]


async def test_the_line_that_has_the_call_is_held_until_it_has_left(replica: Running, counters: RedisCounters) -> None:
    dial = await entered(replica, "c1", "1")
    await report(replica, "c1", answered="b")
    assert await held(counters) == [1, 0, 1]
    second = await entered(replica, "c2", "1")
    assert rung(second) == ["a"]
    to = await ask(replica, dial.cursor, transfer=True)
    assert (rung(to), await held(counters)) == (["b"], [2, 1, 1])
    await report(replica, "c1", answered="b")
    over = await ask(replica, to.cursor, line_left=True)
    assert over.HasField("end"), "a transfer ends with its line"
    await report(replica, "c1", ended=True)
    assert await held(counters) == [1, 1, 0]
    await report(replica, "c2", answered="a")
    left = await ask(replica, second.cursor, line_left=True)
    assert (left.node.id, await held(counters)) == ("score", [1, 0, 0])


async def test_the_line_that_took_a_callers_last_call_is_the_first_to_ring(
    replica: Running, counters: RedisCounters
) -> None:
    assert rung(await entered(replica, "c1", "2")) == ["a", "b"]
    await report(replica, "c1", answered="b")
    await report(replica, "c1", ended=True)
    assert rung(await entered(replica, "c2", "2")) == ["b", "a"]
