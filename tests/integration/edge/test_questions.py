"""Questions get their answer in time, from whoever can give it."""

from __future__ import annotations

import asyncio
import base64
import statistics
import time
from typing import TYPE_CHECKING

import pytest
from signalbox.api.routing.v1.routing_pb2 import DecideRequest, Decision, MediaAssignment, Reject
from signalbox.api.types.v1 import types_pb2
from signalbox.edge.listener import RATE_INTERVAL_S
from signalbox.edge.reply import MAX_TOGETHER
from structlog.testing import capture_logs
from support.kamailio_fake import b64, question
from support.routing_fake import dial
from support.wait import until

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

    from support.routing_fake import RoutingFake

    from tests.integration.edge.conftest import Edge

    Start = Callable[..., Awaitable[Edge]]


async def test_several_connections_to_each_replica_are_all_used(start_edge: Start, replicas: list[RoutingFake]) -> None:
    edge = await start_edge(streams_per_replica=3, ready=6)
    first, second = (fake.address for fake in replicas)
    assert set(edge.states()) == {f"{address}{number}" for address in (first, second) for number in ("", "#2", "#3")}
    for number in range(12):
        await edge.answer(question(number, 1))
    for fake in replicas:
        assert len(fake.askers) == 3, "three connections, for each has a port of its own"
    await replicas[0].stop()
    await edge.ready(3)
    assert (await edge.answer(question(50, 1)))["do"] == "dial"


async def test_a_question_names_the_edge(start_edge: Start, replicas: list[RoutingFake]) -> None:
    edge = await start_edge(id="edge-7")
    await edge.answer(question(1, 1))
    assert [one.request.edge for fake in replicas for one in fake.questions] == ["edge-7"]


async def test_a_question_gets_the_decision_of_routing(start_edge: Start) -> None:
    edge = await start_edge()
    body = await edge.answer(question(17, 99))
    route = edge.proxy.routes[0]
    assert (route.index, route.label) == (17, 99)
    assert route.request_line.startswith("ROUTE sip:")
    assert body["by"] == "routing"
    assert (body["n1"], body["n2"]) == (1, 2)
    assert edge.stats.routed == 1
    assert sum(edge.stats.latency_counts) == 1


async def test_no_media_node_is_told_as_none_and_the_call_stays_anchored(
    start_edge: Start, replicas: list[RoutingFake]
) -> None:
    for fake in replicas:
        fake.behaviour.media = MediaAssignment()
    edge = await start_edge()
    edge.sidecar.nodes.set([1, 2])
    body = await edge.answer(question())
    assert (body["md"], body["n1"], body["n2"]) == ("anchor", 0, 0)
    for fake in replicas:
        fake.behaviour.media = MediaAssignment(node=1, spare=2)
    edge.sidecar.nodes.set([])
    body = await edge.answer(question(2, 1))
    assert (body["md"], body["n1"], body["n2"]) == ("anchor", 0, 0)


async def test_questions_that_arrive_together_travel_together(start_edge: Start, replicas: list[RoutingFake]) -> None:
    edge = await start_edge()
    edge.ask(*(question(number, number) for number in range(20)))
    await edge.proxy.wait(20)
    assert sum(fake.messages for fake in replicas) == 1
    assert {route.index for route in edge.proxy.routes} == set(range(20))


async def test_decisions_that_are_ready_together_travel_together(
    start_edge: Start, replicas: list[RoutingFake]
) -> None:
    edge = await start_edge()
    for fake in replicas:
        fake.behaviour.decide = lambda request: Decision(
            reject=Reject(code=404, phrase="Not Found"), why="number_unknown", fingerprint=9
        )
    edge.ask(*(question(number, number) for number in range(MAX_TOGETHER + 1)))
    await edge.proxy.wait(MAX_TOGETHER + 1)
    assert edge.proxy.messages == 2


async def test_a_decision_that_anchors_media_travels_alone(start_edge: Start) -> None:
    edge = await start_edge()
    edge.ask(*(question(number, number) for number in range(5)))
    await edge.proxy.wait(5)
    assert edge.proxy.messages == 5


async def test_under_load_questions_wait_for_company_and_in_calm_none_waits(
    start_edge: Start, replicas: list[RoutingFake]
) -> None:
    window_s = 0.02
    edge = await start_edge(batch_window_ms=window_s * 1000)
    begun = time.monotonic()
    number = 0
    while time.monotonic() - begun < 1.0:
        # 2,000 a second, one by one.
        while number < (time.monotonic() - begun) * 2000:
            number += 1
            edge.ask(question(number, number))
        await asyncio.sleep(0.001)
    await edge.proxy.wait(number)
    assert sum(fake.messages for fake in replicas) < number / 8
    await asyncio.sleep(2 * RATE_INTERVAL_S)
    await edge.answer(question(number + 1, 1))
    delays = []
    for again in range(9):
        begun = time.monotonic()
        await edge.answer(question(number + 2 + again, 1))
        delays.append(time.monotonic() - begun)
    assert statistics.median(delays) < window_s


async def test_questions_are_spread_over_the_replicas(start_edge: Start, replicas: list[RoutingFake]) -> None:
    edge = await start_edge()
    for number in range(40):
        await edge.answer(question(number, 1))
    assert all(len(fake.questions) > 10 for fake in replicas)


async def test_each_question_carries_the_time_that_is_left(start_edge: Start, replicas: list[RoutingFake]) -> None:
    edge = await start_edge(decide_timeout_ms=200)
    await edge.answer(question())
    (asked,) = [asked for fake in replicas for asked in fake.questions]
    assert 150 < asked.deadline_ms <= 200


async def test_a_late_replica_is_helped_out_by_the_other(start_edge: Start, replicas: list[RoutingFake]) -> None:
    edge = await start_edge()
    replicas[0].behaviour.silent = True
    delays = []
    for number in range(6):
        begun = time.monotonic()
        assert (await edge.answer(question(number, 1)))["by"] == "routing"
        delays.append(time.monotonic() - begun)
    late = [delay for delay in delays if delay > 0.035]
    assert late
    assert max(delays) < 0.15
    assert edge.stats.hedges == edge.stats.hedge_wins == len(late)


async def test_a_late_answer_is_dropped(start_edge: Start, replicas: list[RoutingFake]) -> None:
    edge = await start_edge(hedge_after_ms=10)
    replicas[0].behaviour.delay_s = replicas[1].behaviour.delay_s = 0.1
    edge.ask(*(question(number, number) for number in range(10)))
    await edge.proxy.wait(10)
    await until(lambda: edge.stats.late_answers == 10)
    assert edge.stats.hedges == 10
    assert sorted(route.index for route in edge.proxy.routes) == list(range(10))
    assert edge.sidecar.asker.open == 0
    assert all(replica.outstanding == 0 for replica in edge.sidecar.pool.replicas)


async def test_an_answer_after_the_deadline_is_never_applied(start_edge: Start, replicas: list[RoutingFake]) -> None:
    edge = await start_edge(decide_timeout_ms=60, hedge_after_ms=20)
    for fake in replicas:
        fake.behaviour.delay_s = 0.2
    assert (await edge.answer(question(1, 1)))["code"] == 503
    for fake in replicas:
        fake.behaviour.delay_s = 0.0
        fake.behaviour.decide = lambda request: dial(why="second", fingerprint=2)
    assert (await edge.answer(question(2, 2)))["why"] == "second"
    await until(lambda: edge.stats.late_answers >= 2)
    assert [(route.index, route.body["why"]) for route in edge.proxy.routes] == [
        (1, "routing_unavailable"),
        (2, "second"),
    ]


async def test_a_screened_callers_decision_is_never_used_for_anybody_again(
    start_edge: Start, replicas: list[RoutingFake]
) -> None:
    edge = await start_edge(decide_timeout_ms=100)
    for fake in replicas:
        fake.behaviour.decide = lambda request: Decision(
            reject=Reject(code=603, phrase="Decline"), why="caller_blocked", number="4001234567", fingerprint=5
        )
    assert (await edge.answer(question(1, 1)))["code"] == 603
    for fake in replicas:
        fake.behaviour.silent = True
    assert (await edge.answer(question(2, 2)))["why"] == "routing_unavailable"


@pytest.mark.parametrize(
    ("error", "code", "why"),
    [
        (types_pb2.INVALID_FIELD, 400, "malformed"),
        (types_pb2.INTERNAL, 500, "routing_error"),
        (999, 500, "routing_error"),
    ],
)
async def test_an_error_of_routing_ends_that_call(
    start_edge: Start, replicas: list[RoutingFake], error: int, code: int, why: str
) -> None:
    edge = await start_edge()
    for fake in replicas:
        fake.behaviour.error = error
    body = await edge.answer(question())
    assert (body["code"], body["why"], body["by"]) == (code, why, "edge")


async def test_a_decision_that_the_proxy_cannot_use_ends_that_call(
    start_edge: Start, replicas: list[RoutingFake]
) -> None:
    edge = await start_edge()

    def decide(request: DecideRequest) -> Decision:
        return dial(line="a|b", fingerprint=3) if request.called == "4000000000" else dial()

    for fake in replicas:
        fake.behaviour.decide = decide
    refusal = await edge.answer(question(1, 1, called="4000000000"))
    assert refusal["why"] == "decision_unusable"
    assert "a|b" in base64.b64decode(refusal["x"]).decode()
    assert (await edge.answer(question(2, 2)))["do"] == "dial"


async def test_over_the_limit_calls_are_shed_at_once(start_edge: Start, replicas: list[RoutingFake]) -> None:
    edge = await start_edge(queue_limit=10, decide_timeout_ms=300)
    for fake in replicas:
        fake.behaviour.silent = True
    begun = time.monotonic()
    edge.ask(*(question(number, number) for number in range(30)))
    shed = (await edge.proxy.wait(20))[:20]
    assert time.monotonic() - begun < 0.2
    assert {(route.body["code"], route.body["why"]) for route in shed} == {(503, "overload")}
    assert all(route.body["ra"] > 0 for route in shed)
    await edge.proxy.wait(30)
    assert edge.stats.shed == 20
    for fake in replicas:
        fake.behaviour.silent = False
    assert (await edge.answer(question(1, 1)))["by"] == "routing"


async def test_malformed_questions_get_400_and_never_reach_routing(
    start_edge: Start, replicas: list[RoutingFake]
) -> None:
    edge = await start_edge()
    body = await edge.answer(question(5, 6, to=b64("400\r\nVia: x")))
    assert (body["code"], body["by"], body["why"]) == (400, "edge", "malformed")
    assert (edge.proxy.routes[0].index, edge.proxy.routes[0].label) == (5, 6)
    for datagram in (b"nonsense", b"[" * 60_000, b'{"i":1}', b"\xff" * 100):
        edge.ask(datagram)
    assert (await edge.answer(question(7, 8)))["by"] == "routing"
    assert edge.stats.unreadable == 4
    assert edge.stats.malformed == 1
    assert sum(len(fake.questions) for fake in replicas) == 1


async def test_the_log_names_the_call_of_a_malformed_question_and_nothing_malformed(start_edge: Start) -> None:
    edge = await start_edge()
    nameless = question(3, 4, id="a\r\nb")
    with capture_logs() as logs:
        await edge.answer(question(1, 2, to=b64("400\r\n")))
        await edge.answer(nameless)
    assert [entry for entry in logs if entry["event"] == "question_malformed"] == [
        {"event": "question_malformed", "log_level": "debug", "field": "to", "call_id": "edge-1-65a1b2c3-1-2"},
        {"event": "question_malformed", "log_level": "debug", "field": "id", "length": len(nameless)},
    ]


async def test_at_the_end_every_question_taken_is_answered(start_edge: Start, replicas: list[RoutingFake]) -> None:
    edge = await start_edge()
    for fake in replicas:
        fake.behaviour.delay_s = 0.03
    edge.ask(*(question(number, number) for number in range(50)))
    await edge.stop()
    await edge.proxy.wait(50)
    assert {route.body["by"] for route in edge.proxy.routes} == {"routing"}


async def test_who_calls_with_a_service_number_is_shown_to_no_line(start_edge: Start) -> None:
    edge = await start_edge()
    shown = [await edge.answer(question(1, 2, fr=b64(calling))) for calling in ("1380", "4007654321", "1380")]
    assert [body["an"] for body in shown] == [0, 1, 0]
