"""Steps of flows, and reports, from and to whichever routing replica answers."""

from __future__ import annotations

import asyncio
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING, Any

import grpc
import pytest
from prometheus_client import CollectorRegistry
from signalbox.api.routing.v1 import routing_pb2 as pb
from signalbox.errors import ConfigurationError
from signalbox.ivr import routingclient as module
from signalbox.ivr.metrics import IvrMetrics
from signalbox.ivr.ports import FlowRefusedError, RoutingAwayError
from signalbox.ivr.routingclient import Replicas
from signalbox.settings import ClientTlsSettings
from structlog.testing import capture_logs
from support.ports import free_address
from support.routing_fake import RoutingFake
from support.stores import until

if TYPE_CHECKING:
    from collections.abc import AsyncIterator
    from pathlib import Path

REQUEST = pb.ContinueRequest(cursor="c1.abc")
STEP = pb.ContinueResponse(cursor="c1.def", language="en")


class Guide(RoutingFake):
    """A replica that gives every step alike, fails, or hangs."""

    def __init__(self) -> None:
        super().__init__()
        self.asked = 0
        self.status: grpc.StatusCode | None = None
        self.hangs = False

    async def Continue(self, request: pb.ContinueRequest, context: Any) -> pb.ContinueResponse:
        self.asked += 1
        assert request == REQUEST
        if self.hangs:
            await asyncio.sleep(60)
        if self.status is not None:
            await context.abort(self.status, "cursor: is none of ours")
        return STEP


@pytest.fixture(autouse=True)
def soon(monkeypatch: pytest.MonkeyPatch) -> None:
    """No long pauses."""
    monkeypatch.setattr(module, "HEALTH_S", 0.05)
    monkeypatch.setattr(module, "AWAY_S", 0.05)
    monkeypatch.setattr(module, "REPORT_S", 0.01)


@pytest.fixture
async def first() -> AsyncIterator[Guide]:
    async with Guide() as guide:
        yield guide


@pytest.fixture
async def second() -> AsyncIterator[Guide]:
    async with Guide() as guide:
        yield guide


@asynccontextmanager
async def asking(*addresses: str, registry: CollectorRegistry | None = None) -> AsyncIterator[Replicas]:
    replicas = Replicas(addresses, ClientTlsSettings(), IvrMetrics(registry or CollectorRegistry()))
    try:
        yield replicas
    finally:
        await replicas.close()


@asynccontextmanager
async def reporting(replicas: Replicas) -> AsyncIterator[None]:
    tasks = [asyncio.create_task(replicas.watch()), asyncio.create_task(replicas.report())]
    try:
        yield
    finally:
        for task in tasks:
            task.cancel()
        await asyncio.wait(tasks)


async def test_replicas_are_asked_in_turn(first: Guide, second: Guide) -> None:
    async with asking(first.address, second.address) as replicas:
        for _ in range(4):
            assert await replicas.proceed(REQUEST) == STEP
    assert (first.asked, second.asked) == (2, 2)


async def test_a_replica_that_is_away_costs_no_step_and_is_asked_last_from_then_on(second: Guide) -> None:
    registry = CollectorRegistry()
    async with asking(free_address(), second.address, registry=registry) as replicas:
        with capture_logs() as logs:
            for _ in range(4):
                assert await replicas.proceed(REQUEST) == STEP
    assert second.asked == 4
    assert len([log for log in logs if log["event"] == "routing_replica_failed"]) == 1
    assert registry.get_sample_value("signalbox_ivr_routing_failures_total") == 1


async def test_a_replica_that_hangs_is_passed_over(
    first: Guide, second: Guide, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with asking(first.address, second.address) as replicas:
        for _ in range(2):
            await replicas.proceed(REQUEST)
        first.hangs = True
        monkeypatch.setattr(module, "TRY_S", 0.5)
        for _ in range(2):
            assert await replicas.proceed(REQUEST) == STEP
    assert first.asked > 1


async def test_a_replica_that_has_no_rules_yet_is_passed_over(first: Guide, second: Guide) -> None:
    first.status = grpc.StatusCode.UNAVAILABLE
    async with asking(first.address, second.address) as replicas:
        assert [await replicas.proceed(REQUEST) for _ in range(3)] == [STEP] * 3


async def test_a_refusal_is_final_and_says_why(first: Guide, second: Guide) -> None:
    first.status = second.status = grpc.StatusCode.INVALID_ARGUMENT
    async with asking(first.address, second.address) as replicas:
        with pytest.raises(FlowRefusedError, match="cursor: is none of ours"):
            await replicas.proceed(REQUEST)
    assert first.asked + second.asked == 1


async def test_when_none_answers_that_is_told_in_time_with_the_last_reason(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "STEP_S", 0.5)
    async with asking(free_address(), free_address()) as replicas:
        with pytest.raises(RoutingAwayError, match=r"within 0\.5 s: (UNAVAILABLE|DEADLINE_EXCEEDED): "):
            await replicas.proceed(REQUEST)


async def test_replicas_that_come_back_in_time_give_the_step(first: Guide) -> None:
    await first.stop()
    async with asking(first.address) as replicas:
        asked = asyncio.create_task(replicas.proceed(REQUEST))
        await asyncio.sleep(0.3)
        await first.start()
        assert await asked == STEP


async def test_they_are_reachable_while_one_says_that_it_serves(first: Guide) -> None:
    async with asking(first.address, free_address()) as replicas, reporting(replicas):
        await until(lambda: replicas.reachable)
        await first.set_serving(False)
        await until(lambda: not replicas.reachable)
        # Its rules are old: it decides by them as long as it is asked.
        await first.set_serving(False, usable=True)
        await until(lambda: replicas.reachable)
        await first.stop()
        await until(lambda: not replicas.reachable)


async def test_who_answered_is_told_until_a_replica_takes_it(first: Guide, second: Guide) -> None:
    first.report_status = second.report_status = grpc.StatusCode.UNAVAILABLE
    async with asking(first.address, second.address) as replicas, reporting(replicas):
        with capture_logs() as logs:
            replicas.answered("call-1", "a")
            replicas.answered("call-2", "b")
            await until(lambda: any(log["event"] == "reports_delayed" for log in logs))
            second.report_status = None
            await until(lambda: len(second.reports) == 2)
    assert [(report.call_id, report.answered) for report in second.reports] == [("call-1", "a"), ("call-2", "b")]
    assert first.reports == []


async def test_the_line_that_has_a_call_last_is_told_last(first: Guide) -> None:
    async with asking(first.address) as replicas:
        replicas.answered("call-1", "a")
        replicas.answered("call-1", "b")
        async with reporting(replicas):
            await until(lambda: bool(first.reports))
            replicas.answered("call-1", "c")
            await until(lambda: len(first.reports) == 2)
    assert [report.answered for report in first.reports] == ["b", "c"]


async def test_where_the_media_are_is_told_beside_who_answered(first: Guide) -> None:
    async with asking(first.address) as replicas, reporting(replicas):
        replicas.anchored("call-1", 7)
        replicas.answered("call-1", "a")
        await until(lambda: len(first.reports) == 2)
    assert [report.WhichOneof("state") for report in first.reports] == ["anchored", "answered"]
    assert first.reports[0].anchored == 7


async def test_a_report_that_is_refused_for_good_spoils_no_other(first: Guide) -> None:
    registry = CollectorRegistry()
    first.refused_calls = {"call-2"}
    async with asking(first.address, registry=registry) as replicas, reporting(replicas):
        for number in range(4):
            replicas.answered(f"call-{number}", "a")
        await until(lambda: len(first.reports) == 3)
    assert registry.get_sample_value("signalbox_ivr_reports_given_up_total") == 1


async def test_of_too_many_the_oldest_are_given_up(monkeypatch: pytest.MonkeyPatch, first: Guide) -> None:
    monkeypatch.setattr(module, "REPORTS_MAX", 3)
    registry = CollectorRegistry()
    async with asking(first.address, registry=registry) as replicas:
        for number in range(5):
            replicas.answered(f"call-{number}", "a")
        await replicas.flush(15)
    assert [report.call_id for report in first.reports] == ["call-2", "call-3", "call-4"]
    assert registry.get_sample_value("signalbox_ivr_reports_given_up_total") == 2


async def test_at_the_end_nobody_is_waited_for_longer_than_said() -> None:
    async with asking(free_address()) as replicas:
        replicas.answered("call-1", "a")
        with capture_logs() as logs:
            await replicas.flush(0.1)
    assert [log["count"] for log in logs if log["event"] == "reports_given_up"] == [1]


async def test_certificates_that_cannot_be_read_are_found_at_the_start(tmp_path: Path) -> None:
    tls = ClientTlsSettings(ca_file=tmp_path / "none")
    with pytest.raises(ConfigurationError):
        Replicas(["127.0.0.1:1"], tls, IvrMetrics(CollectorRegistry()))
