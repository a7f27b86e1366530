"""Reports of calls on their way to routing (``routing.v1.ReportCalls``), the same for all who make them.

What becomes of a message with a report that is refused for good is the same for other reports, too.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from typing import TYPE_CHECKING, TypeVar

import grpc
import structlog

from signalbox.api.routing.v1.routing_pb2 import CallReport, ReportCallsRequest
from signalbox.api.routing.v1.routing_pb2_grpc import RoutingServiceStub
from signalbox.cancellation import cancelled
from signalbox.errors import SignalboxError

if TYPE_CHECKING:
    from collections.abc import Sequence

    from signalbox.api.routing.v1.routing_pb2_grpc import RoutingServiceAsyncStub

logger = structlog.get_logger(__name__)

MAX_REPORTS = 1024
"""In one message (routing.v1.ReportCallsRequest)."""

TIMEOUT_S = 3.0

T = TypeVar("T")

Send = Callable[[ReportCallsRequest], Awaitable[None]]
"""Returns when a replica has taken the message. Raises ReportsRefusedError."""


class ReportsNotTakenError(SignalboxError):
    """A replica did not take a message; another may, or the same one later."""


class ReportsRefusedError(SignalboxError):
    """There is a report in the message for which every replica will refuse it, now and later."""


async def deliver(reports: Sequence[CallReport], send: Send, given_up: Callable[[], None]) -> None:
    """Send reports, :data:`MAX_REPORTS` at most, and go on without those that are refused for good.

    ``given_up`` counts these. Other errors of ``send`` pass.
    """

    def give_up(report: CallReport, error: ReportsRefusedError) -> None:
        logger.error("report_given_up", call_id=report.call_id, reason=str(error))
        given_up()

    await without_refused(reports, lambda some: send(ReportCallsRequest(reports=some)), give_up)


async def without_refused(
    items: Sequence[T],
    send: Callable[[Sequence[T]], Awaitable[None]],
    give_up: Callable[[T, ReportsRefusedError], None],
) -> None:
    """Send what makes up one message, without what is refused for good.

    A message that is refused (ReportsRefusedError) is halved until what is wrong stands alone: that is given up. Other
    errors of ``send`` pass.
    """
    try:
        await send(items)
    except ReportsRefusedError as error:
        if len(items) == 1:
            give_up(items[0], error)
            return
        middle = len(items) // 2
        await without_refused(items[:middle], send, give_up)
        await without_refused(items[middle:], send, give_up)


async def hand_over(channel: grpc.aio.Channel, request: ReportCallsRequest) -> None:
    """Send one message to one replica. Raises ReportsNotTakenError, ReportsRefusedError."""
    await tell(channel, lambda stub: stub.ReportCalls(request, timeout=TIMEOUT_S))


async def tell(channel: grpc.aio.Channel, call: Callable[[RoutingServiceAsyncStub], Awaitable[object]]) -> None:
    """Have something done by one replica. Raises ReportsNotTakenError, ReportsRefusedError."""
    try:
        await call(RoutingServiceStub(channel))
    except grpc.aio.AioRpcError as error:
        if error.code() is grpc.StatusCode.INVALID_ARGUMENT:
            raise ReportsRefusedError(error.details() or "") from error
        raise ReportsNotTakenError(f"{error.code().name}: {error.details()}") from error
    except asyncio.InvalidStateError as error:
        raise ReportsNotTakenError("channel closed") from error
    except asyncio.CancelledError as error:
        if cancelled():
            raise
        raise ReportsNotTakenError("channel closed") from error
