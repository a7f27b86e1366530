"""``ReportCalls``: what became of calls, told by the proxies and media nodes that see it."""

from __future__ import annotations

from typing import TYPE_CHECKING, Protocol

from signalbox.errors import FieldViolation, InvalidFieldError

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from signalbox.api.routing.v1 import routing_pb2
    from signalbox.routing.counters_script import Operation

MAX_REPORTS = 1024
MAX_CALL_ID = 128
MAX_LINE = 64


class ReportSink(Protocol):
    """Where reports count: :class:`signalbox.routing.counters.RedisCounters`."""

    async def report(self, operations: Sequence[Operation]) -> None:
        """Raises CountersUnavailableError."""

    async def media_dead(self, calls: Sequence[tuple[str, int]]) -> None:
        """Calls, and the media nodes that say so. Raises CountersUnavailableError."""

    async def anchored(self, calls: Sequence[tuple[str, int]]) -> None:
        """Calls, and the media nodes where workers have their media. Raises CountersUnavailableError."""


async def take(request: routing_pb2.ReportCallsRequest, counters: ReportSink) -> None:
    """Count all reports of a request.

    Raises InvalidFieldError, and then none is counted, or CountersUnavailableError: tell all again, what was counted is
    not counted twice.
    """
    reports = request.reports
    if len(reports) > MAX_REPORTS:
        raise InvalidFieldError(FieldViolation("reports", f"more than {MAX_REPORTS}"))
    if violations := [*_violations(reports)]:
        raise InvalidFieldError(*violations)
    if operations := [_operation(report) for report in reports if _counts(report)]:
        await counters.report(operations)
    if anchored := [(one.call_id, one.anchored) for one in reports if one.anchored]:
        await counters.anchored(anchored)
    if dead := [(one.call_id, one.media_timeout) for one in reports if one.media_timeout]:
        await counters.media_dead(dead)


def _violations(reports: Sequence[routing_pb2.CallReport]) -> Iterator[FieldViolation]:
    for position, report in enumerate(reports):
        path = f"reports[{position}]"
        if not report.call_id:
            yield FieldViolation(f"{path}.call_id", "is required")
        elif len(report.call_id) > MAX_CALL_ID:
            yield FieldViolation(f"{path}.call_id", f"longer than {MAX_CALL_ID} characters")
        state = report.WhichOneof("state")
        if state is None:
            yield FieldViolation(f"{path}.state", "is required")
        elif len(report.answered) > MAX_LINE:
            yield FieldViolation(f"{path}.answered", f"longer than {MAX_LINE} characters")


def _counts(report: routing_pb2.CallReport) -> bool:
    """A flag that is there and not set says nothing. A call that a worker answered has no line."""
    return report.HasField("answered") or report.ended or report.alive


def _operation(report: routing_pb2.CallReport) -> Operation:
    if report.HasField("answered"):
        return ["answered", report.call_id, report.answered]
    return [report.WhichOneof("state"), report.call_id]
