"""Tells the routing service which calls' media live and which are dead (``routing.v1.ReportCalls``)."""

from __future__ import annotations

from typing import TYPE_CHECKING

import structlog

from signalbox import callreports, rpc
from signalbox.api.routing.v1.routing_pb2 import CallReport
from signalbox.callreports import MAX_REPORTS, ReportsNotTakenError
from signalbox.media.workercalls import call_of, is_beside

if TYPE_CHECKING:
    from collections.abc import Sequence

    from signalbox.api.routing.v1.routing_pb2 import ReportCallsRequest
    from signalbox.media.metrics import MediaMetrics
    from signalbox.settings import ClientTlsSettings

logger = structlog.get_logger(__name__)

MAX_CALL_ID = 128
"""Characters of a call's id; a longer one is of somebody else's call."""


class Reporter:
    """The routing replicas, asked in turn until one takes a message.

    To be made within the event loop. Raises ConfigurationError if a file cannot be read.
    """

    def __init__(self, replicas: Sequence[str], tls: ClientTlsSettings, metrics: MediaMetrics) -> None:
        self._channels = [rpc.channel(replica, tls) for replica in replicas]
        self._metrics = metrics
        self.delayed = False
        """True while no replica takes reports."""

    async def tell(self, alive: Sequence[str], dead: Sequence[str], node: int) -> bool:
        """Report calls of this node by their names at rtpengine; False if not all were taken. Telling again does no
        harm."""
        reports = [_dead(name, node) for name in dead if not is_beside(name)]
        reports += [CallReport(call_id=id, alive=True) for id in dict.fromkeys(map(call_of, alive))]
        reports = [report for report in reports if len(report.call_id) <= MAX_CALL_ID]
        try:
            for start in range(0, len(reports), MAX_REPORTS):
                message = reports[start : start + MAX_REPORTS]
                await callreports.deliver(message, self._send, self._metrics.report_given_up)
        except ReportsNotTakenError as error:
            self._not_taken(str(error))
            return False
        return True

    async def close(self) -> None:
        """Close connections."""
        for channel in self._channels:
            await channel.close()

    async def _send(self, request: ReportCallsRequest) -> None:
        """Raises ReportsNotTakenError if no replica took the message, ReportsRefusedError."""
        reason = ""
        for _ in range(len(self._channels)):
            try:
                await callreports.hand_over(self._channels[0], request)
            except ReportsNotTakenError as error:
                reason = str(error)
                # The next one is the first to be asked from now on.
                self._channels.append(self._channels.pop(0))
            else:
                self._taken(len(request.reports))
                return
        raise ReportsNotTakenError(reason)

    def _taken(self, count: int) -> None:
        self._metrics.reported(count)
        if self.delayed:
            logger.info("reports_go_on")
        self.delayed = False

    def _not_taken(self, reason: str) -> None:
        self._metrics.report_refused()
        if not self.delayed:
            logger.warning("reports_delayed", reason=reason)
        self.delayed = True


def _dead(name: str, node: int) -> CallReport:
    return CallReport(call_id=call_of(name), media_timeout=node)
