"""Replicas die, are slow, drain or cannot decide: calls go on as well as they can."""

from __future__ import annotations

import asyncio
import time
from typing import TYPE_CHECKING

import pytest
from signalbox.api.types.v1 import types_pb2
from signalbox.edge import pool, replica
from support.kamailio_fake import b64, question
from support.wait import until

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

    from support.routing_fake import RoutingFake

    from tests.integration.edge.conftest import Edge

    Start = Callable[..., Awaitable[Edge]]


async def test_silence_everywhere_ends_with_503_and_retry_after(start_edge: Start, replicas: list[RoutingFake]) -> None:
    edge = await start_edge(decide_timeout_ms=150)
    for fake in replicas:
        fake.behaviour.silent = True
    begun = time.monotonic()
    body = await edge.answer(question())
    assert 0.14 < time.monotonic() - begun < 0.3
    assert (body["do"], body["by"], body["why"], body["code"]) == ("reject", "edge", "routing_unavailable", 503)
    assert body["ra"] > 0
    assert edge.stats.timeouts == 1


async def test_a_known_number_gets_its_last_good_decision(start_edge: Start, replicas: list[RoutingFake]) -> None:
    edge = await start_edge(decide_timeout_ms=100)
    good = await edge.answer(question(1, 1))
    for fake in replicas:
        fake.behaviour.silent = True
    again = await edge.answer(question(2, 2, fr=b64("another caller")))
    assert again == good | {"by": "last_good", "n1": 0, "n2": 0}
    assert (await edge.answer(question(3, 3, called="4007654321")))["code"] == 503
    assert edge.stats.last_good == 1


async def test_with_no_replica_left_the_last_good_decision_comes_soon(
    start_edge: Start, replicas: list[RoutingFake]
) -> None:
    edge = await start_edge()
    await edge.answer(question(1, 1))
    for fake in replicas:
        await fake.stop()
    await edge.ready(0)
    begun = time.monotonic()
    assert (await edge.answer(question(2, 2)))["by"] == "last_good"
    assert time.monotonic() - begun < 0.15
    begun = time.monotonic()
    assert (await edge.answer(question(3, 3, called="4007654321")))["code"] == 503
    assert time.monotonic() - begun < 0.5
    await replicas[1].start()
    await edge.ready(1)
    assert (await edge.answer(question(4, 4)))["by"] == "routing"


async def test_a_question_without_a_replica_waits_for_one(start_edge: Start, replicas: list[RoutingFake]) -> None:
    for fake in replicas:
        await fake.stop()
    edge = await start_edge(ready=0, decide_timeout_ms=1900)
    edge.ask(question(1, 1))
    await until(lambda: edge.sidecar.asker.open == 1)
    await replicas[0].start()
    assert (await edge.proxy.wait(1))[0].body["by"] == "routing"


async def test_questions_of_a_killed_replica_go_to_the_other_at_once(
    start_edge: Start, replicas: list[RoutingFake]
) -> None:
    edge = await start_edge(hedge_after_ms=1500, decide_timeout_ms=1900)
    replicas[0].behaviour.silent = True
    edge.ask(question(1, 1))
    edge.ask(question(2, 2))
    await until(lambda: len(replicas[0].questions) > 0)
    begun = time.monotonic()
    await replicas[0].stop()
    await edge.proxy.wait(2)
    assert time.monotonic() - begun < 1.0
    assert [route.body["by"] for route in edge.proxy.routes] == ["routing"] * 2
    assert edge.stats.moved >= 1


async def test_a_replica_killed_and_back_costs_no_call(start_edge: Start, replicas: list[RoutingFake]) -> None:
    edge = await start_edge()
    asked = 0

    async def ask_on() -> None:
        nonlocal asked
        while True:
            edge.ask(question(asked, asked, called=f"400{asked:07}"))
            asked += 1
            await asyncio.sleep(0.005)

    asking = asyncio.create_task(ask_on())
    await until(lambda: edge.stats.routed > 40)
    await replicas[0].stop()
    await until(lambda: edge.stats.routed > 120)
    await replicas[0].start()
    # One that was late meanwhile, on a busy machine, is tried with questions.
    await edge.ready(2)
    asking.cancel()
    await edge.proxy.wait(asked)
    assert {route.body["by"] for route in edge.proxy.routes} == {"routing"}


async def test_a_slow_replica_is_taken_out_and_probed_back_in(start_edge: Start, replicas: list[RoutingFake]) -> None:
    edge = await start_edge(hedge_after_ms=20)
    slow = replicas[0]
    slow.behaviour.delay_s = 0.08
    for number in range(30):
        await edge.answer(question(number, 1))
    assert edge.states()[slow.address] == "suspect"
    assert edge.stats.hedges < 15
    slow.behaviour.delay_s = 0.0

    async def ask_until_ready() -> None:
        while edge.states()[slow.address] != "ready":
            await edge.answer(question(1, 1))

    async with asyncio.timeout(10):
        await ask_until_ready()


async def test_slow_everywhere_is_better_than_nowhere(start_edge: Start, replicas: list[RoutingFake]) -> None:
    edge = await start_edge(hedge_after_ms=10)
    for fake in replicas:
        fake.behaviour.delay_s = 0.03
    for number in range(30):
        assert (await edge.answer(question(number, 1)))["by"] == "routing"
    assert "ready" in edge.states().values()


async def test_a_draining_replica_gets_nothing_new(start_edge: Start, replicas: list[RoutingFake]) -> None:
    edge = await start_edge()
    replicas[0].behaviour.draining = True
    for number in range(10):
        await edge.answer(question(number, 1))
    assert edge.states()[replicas[0].address] == "draining"
    before = len(replicas[0].questions)
    for number in range(10):
        await edge.answer(question(number, 2))
    assert len(replicas[0].questions) == before


async def test_when_all_drain_they_are_asked_until_there_is_another(
    start_edge: Start, replicas: list[RoutingFake]
) -> None:
    """Kubernetes ends the last old replica when its successor is ready, and before its name has the new address."""
    edge = await start_edge()
    for fake in replicas:
        fake.behaviour.draining = True
    for number in range(10):
        assert (await edge.answer(question(number, 1)))["by"] == "routing"
    assert [*edge.states().values()] == ["draining", "draining"]
    assert edge.sidecar.pool.healthy
    for fake in replicas:
        await fake.stop()
    await edge.ready(0)
    assert (await edge.answer(question(11, 1, called="4007654321")))["code"] == 503


async def test_the_last_address_that_leaves_a_name_is_asked_until_the_next_comes(
    start_edge: Start, replicas: list[RoutingFake], monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("RESOLVE_INTERVAL_S", "RESOLVE_SOON_S", "RETIRE_S"):
        monkeypatch.setattr(pool, name, 0.05)
    old, new = replicas
    addresses = {"old.example": "127.0.0.1", "new.example": "127.0.0.9"}
    resolve = asyncio.get_running_loop().getaddrinfo

    async def known(host: str, *arguments: object, **options: object) -> object:
        return await resolve(addresses.get(host, host), *arguments, **options)  # type: ignore[arg-type]

    monkeypatch.setattr(asyncio.get_running_loop(), "getaddrinfo", known)
    ports = [fake.address.rpartition(":")[2] for fake in replicas]
    edge = await start_edge(routing=[f"dns:old.example:{ports[0]}", f"dns:new.example:{ports[1]}"], ready=1)
    addresses["old.example"] = "127.0.0.9"
    await until(lambda: f"ipv4:{old.address}" not in edge.states())
    number = 0
    for _ in range(10):
        await asyncio.sleep(2 * pool.RETIRE_S)
        number += 1
        assert (await edge.answer(question(number, 1)))["by"] == "routing"
    assert edge.sidecar.pool.healthy
    addresses["new.example"] = "127.0.0.1"
    await until(lambda: edge.states().get(f"ipv4:{new.address}") == "ready")
    before = len(old.questions)
    for _ in range(10):
        number += 1
        assert (await edge.answer(question(number, 1)))["by"] == "routing"
    assert (len(old.questions), len(new.questions)) == (before, 10)


@pytest.mark.parametrize("error", ["DRAINING", "RULES_NOT_LOADED", "STORE_UNAVAILABLE"])
async def test_a_replica_that_cannot_decide_is_passed_over(
    start_edge: Start, replicas: list[RoutingFake], error: str
) -> None:
    edge = await start_edge()
    replicas[0].behaviour.error = types_pb2.ErrorReason.Value(error)
    for number in range(10):
        assert (await edge.answer(question(number, 1)))["by"] == "routing"
    assert edge.stats.moved >= 1


async def test_when_nobody_can_decide_the_call_gets_503_at_once(start_edge: Start, replicas: list[RoutingFake]) -> None:
    edge = await start_edge()
    for fake in replicas:
        fake.behaviour.error = types_pb2.RULES_NOT_LOADED
    assert (await edge.answer(question()))["why"] == "routing_unavailable"


async def test_the_unhealthy_replica_is_not_asked(start_edge: Start, replicas: list[RoutingFake]) -> None:
    await replicas[0].set_serving(False)
    edge = await start_edge(ready=1)
    for number in range(10):
        await edge.answer(question(number, 1))
    assert replicas[0].questions == []
    await replicas[0].set_serving(True)
    await edge.ready(2)


async def test_a_replica_with_old_rules_is_asked_only_where_nobody_has_others(
    start_edge: Start, replicas: list[RoutingFake], monkeypatch: pytest.MonkeyPatch
) -> None:
    """etcd has been away for an hour: to one of them, or to all."""
    monkeypatch.setattr(replica, "HEALTH_INTERVAL_S", 0.05)
    edge = await start_edge()
    number = 0

    async def asked() -> list[int]:
        """How many of ten questions each replica gets; all are answered by routing."""
        nonlocal number
        before = [len(fake.questions) for fake in replicas]
        for _ in range(10):
            number += 1
            assert (await edge.answer(question(number, 1)))["by"] == "routing"
        return [len(fake.questions) - old for fake, old in zip(replicas, before, strict=True)]

    async def known(*stale: bool) -> None:
        for fake, old in zip(replicas, stale, strict=True):
            await fake.set_serving(not old, usable=True)
        by_name = {fake.address: old for fake, old in zip(replicas, stale, strict=True)}
        await until(lambda: {one.name: one.stale for one in edge.sidecar.pool.replicas} == by_name)

    await known(True, False)
    assert await asked() == [0, 10]
    await known(True, True)
    both = await asked()
    assert sum(both) == 10
    assert all(both)
    await known(False, True)
    assert await asked() == [10, 0]
    assert [*edge.states().values()] == ["ready", "ready"]
    assert edge.stats.moved == 0, "no stream was broken for it"
