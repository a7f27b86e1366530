"""What is wrong for good is given up alone; everything else is for the sender to repeat."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

import grpc
import pytest
from signalbox.api.routing.v1.routing_pb2 import CallReport, ReportCallsRequest
from signalbox.callreports import MAX_REPORTS, ReportsNotTakenError, ReportsRefusedError, deliver, hand_over
from structlog.testing import capture_logs
from support.routing_fake import RoutingFake
from support.wait import until

if TYPE_CHECKING:
    from collections.abc import Set


def report(call: int) -> CallReport:
    return CallReport(call_id=str(call), alive=True)


class Replica:
    """Refuses messages with certain reports; counts what it is sent."""

    def __init__(self, wrong: Set[int]) -> None:
        self.wrong = {str(call) for call in wrong}
        self.taken: list[str] = []
        self.messages = 0
        self.given_up = 0

    async def send(self, request: ReportCallsRequest) -> None:
        self.messages += 1
        calls = [report.call_id for report in request.reports]
        if self.wrong & set(calls):
            raise ReportsRefusedError("wrong")
        self.taken += calls

    def give_up(self) -> None:
        self.given_up += 1


@pytest.mark.parametrize("wrong", [set(), {0}, {MAX_REPORTS - 1}, {3, 4, 700}])
async def test_only_what_is_wrong_is_given_up_and_the_order_stays(wrong: set[int]) -> None:
    replica = Replica(wrong)
    with capture_logs() as logs:
        await deliver([report(call) for call in range(MAX_REPORTS)], replica.send, replica.give_up)
    assert replica.taken == [str(call) for call in range(MAX_REPORTS) if call not in wrong]
    assert replica.given_up == len(wrong)
    told = [(entry["event"], entry["log_level"], entry["call_id"], entry["reason"]) for entry in logs]
    assert told == [("report_given_up", "error", str(call), "wrong") for call in sorted(wrong)]
    assert replica.messages <= 1 + 20 * len(wrong)


async def test_what_no_replica_takes_is_not_given_up() -> None:
    async def send(request: ReportCallsRequest) -> None:
        raise ReportsNotTakenError("away")

    def given_up() -> None:
        pytest.fail("nothing was refused")

    with pytest.raises(ReportsNotTakenError, match="away"):
        await deliver([report(1), report(2)], send, given_up)


async def test_a_replica_says_whether_repeating_helps() -> None:
    request = ReportCallsRequest(reports=[report(1)])
    async with RoutingFake() as fake, grpc.aio.insecure_channel(fake.address) as channel:
        await hand_over(channel, request)
        assert fake.reports == [report(1)]
        fake.report_status = grpc.StatusCode.UNAVAILABLE
        with pytest.raises(ReportsNotTakenError, match="UNAVAILABLE: as told"):
            await hand_over(channel, request)
        fake.report_status = grpc.StatusCode.INVALID_ARGUMENT
        with pytest.raises(ReportsRefusedError, match="as told"):
            await hand_over(channel, request)


@pytest.fixture
def asked(monkeypatch: pytest.MonkeyPatch) -> asyncio.Event:
    """Set when a message has come to a replica that does not reply."""
    event = asyncio.Event()

    async def silent(self: RoutingFake, request: object, context: object) -> None:
        event.set()
        await asyncio.Event().wait()

    monkeypatch.setattr(RoutingFake, "ReportCalls", silent)
    return event


async def test_a_channel_that_is_closed_has_taken_nothing(asked: asyncio.Event) -> None:
    async with RoutingFake() as fake:
        channel = grpc.aio.insecure_channel(fake.address)
        handing = asyncio.create_task(hand_over(channel, ReportCallsRequest(reports=[report(1)])))
        await asked.wait()
        await channel.close()
        with pytest.raises(ReportsNotTakenError, match="channel closed"):
            await handing


async def test_who_sends_can_be_cancelled(asked: asyncio.Event) -> None:
    async with RoutingFake() as fake, grpc.aio.insecure_channel(fake.address) as channel:
        handing = asyncio.create_task(hand_over(channel, ReportCallsRequest(reports=[report(1)])))
        await asked.wait()
        handing.cancel()
        await until(handing.done)
        assert handing.cancelled()
