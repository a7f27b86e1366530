"""ReportCalls: what is wrong with a request is told by field, and nothing of it counts; the rest goes on in order."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest
from signalbox.api.routing.v1.routing_pb2 import CallReport, ReportCallsRequest
from signalbox.errors import InvalidFieldError
from signalbox.routing import reports

if TYPE_CHECKING:
    from collections.abc import Sequence

    from signalbox.routing.counters_script import Operation


class Sink:
    """Keeps what it is told."""

    def __init__(self) -> None:
        self.operations: list[Operation] = []
        self.dead: list[tuple[str, int]] = []
        self.at: list[tuple[str, int]] = []

    async def report(self, operations: Sequence[Operation]) -> None:
        self.operations.extend(operations)

    async def media_dead(self, calls: Sequence[tuple[str, int]]) -> None:
        self.dead.extend(calls)

    async def anchored(self, calls: Sequence[tuple[str, int]]) -> None:
        self.at.extend(calls)


@pytest.fixture
def sink() -> Sink:
    return Sink()


async def test_reports_go_on_in_their_order(sink: Sink) -> None:
    told = [
        CallReport(call_id="1", answered="a"),
        CallReport(call_id="1", alive=True),
        CallReport(call_id="1", media_timeout=7),
        CallReport(call_id="2", anchored=8),
        CallReport(call_id="1", ended=True),
    ]
    await reports.take(ReportCallsRequest(reports=told), sink)
    assert sink.operations == [["answered", "1", "a"], ["alive", "1"], ["ended", "1"]]
    assert (sink.dead, sink.at) == ([("1", 7)], [("2", 8)])


async def test_a_worker_that_answers_has_no_line(sink: Sink) -> None:
    await reports.take(ReportCallsRequest(reports=[CallReport(call_id="1", answered="")]), sink)
    assert sink.operations == [["answered", "1", ""]]


async def test_a_flag_that_is_not_set_says_nothing(sink: Sink) -> None:
    told = [
        CallReport(call_id="1", ended=False),
        CallReport(call_id="2", alive=False),
        CallReport(call_id="3", media_timeout=0),
        CallReport(call_id="4", anchored=0),
        # A node of before, of a call that it may not have at all.
        CallReport(call_id="5", flow_media_timeout=True),
    ]
    await reports.take(ReportCallsRequest(reports=told), sink)
    await reports.take(ReportCallsRequest(), sink)
    assert (sink.operations, sink.dead, sink.at) == ([], [], [])


@pytest.mark.parametrize(
    ("report", "field", "reason"),
    [
        (CallReport(ended=True), "call_id", "is required"),
        (CallReport(call_id="x" * 129, ended=True), "call_id", "longer than 128 characters"),
        (CallReport(call_id="1"), "state", "is required"),
        (CallReport(call_id="1", answered="x" * 65), "answered", "longer than 64 characters"),
    ],
)
async def test_what_is_wrong_is_named(sink: Sink, report: CallReport, field: str, reason: str) -> None:
    request = ReportCallsRequest(reports=[CallReport(call_id="0", ended=True), report])
    with pytest.raises(InvalidFieldError) as caught:
        await reports.take(request, sink)
    assert [(v.field, v.reason) for v in caught.value.violations] == [(f"reports[1].{field}", reason)]
    assert sink.operations == []


async def test_too_many_at_once(sink: Sink) -> None:
    told = [CallReport(call_id=str(n), ended=True) for n in range(reports.MAX_REPORTS + 1)]
    with pytest.raises(InvalidFieldError, match="more than 1024"):
        await reports.take(ReportCallsRequest(reports=told), sink)
    await reports.take(ReportCallsRequest(reports=told[1:]), sink)
    assert len(sink.operations) == reports.MAX_REPORTS
