"""``PromiseService``: takes in which calls are to be recorded."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any

from signalbox import rpc
from signalbox.api.recording.v1 import recording_pb2, recording_pb2_grpc
from signalbox.certificates import Access, Peer, Role
from signalbox.errors import DrainingError, FieldViolation, InvalidFieldError, PermissionRefusedError
from signalbox.recorder import facts

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    import grpc

    from signalbox.catalog.catalog import Catalog
    from signalbox.recorder.metrics import RecorderMetrics

NAME = recording_pb2.DESCRIPTOR.services_by_name["PromiseService"].full_name
PROMISES_MAX = 1024
SEQUENCE_MAX = 2**63 - 1
"""What a database has room for."""
TABLE = {"ReportPromises": {Role.EDGE, Role.IVR, Role.OPERATOR}}

_PROXY = re.compile(r"[a-z][a-z0-9-]{0,62}")


class PromiseService(recording_pb2_grpc.PromiseServiceServicer):
    """The service; see the API's description."""

    def __init__(self, catalog: Catalog, metrics: RecorderMetrics, *, certified: bool) -> None:
        """``certified``: every client has shown a certificate of the cluster's authority."""
        self._catalog = catalog
        self._metrics = metrics
        self._access = Access(TABLE, certified=certified)
        self.draining = False

    @rpc.serve_errors
    async def ReportPromises(
        self,
        request: recording_pb2.ReportPromisesRequest,
        context: grpc.aio.ServicerContext[Any, Any],
    ) -> recording_pb2.ReportPromisesResponse:
        """See the API's description."""
        peer = self._access.check(context, "ReportPromises")
        if self.draining:
            raise DrainingError("this recorder is stopping")
        promises = request.promises
        if len(promises) > PROMISES_MAX:
            raise InvalidFieldError(FieldViolation("promises", f"more than {PROMISES_MAX}"))
        if violations := [*_violations(promises)]:
            raise InvalidFieldError(*violations)
        _check_self(peer, promises)
        for promise in promises:
            promise.facts.CopyFrom(facts.filed(promise.facts))
        if promises:
            await self._catalog.promise(promises)
        self._metrics.promises.inc(len(promises))
        return recording_pb2.ReportPromisesResponse()


def _violations(promises: Sequence[recording_pb2.Promise]) -> Iterator[FieldViolation]:
    for position, promise in enumerate(promises):
        path = f"promises[{position}]"
        if not _PROXY.fullmatch(promise.proxy):
            yield FieldViolation(f"{path}.proxy", "is no edge's id")
        if promise.sequence > SEQUENCE_MAX:
            yield FieldViolation(f"{path}.sequence", f"more than {SEQUENCE_MAX}")
        yield from facts.violations(promise.facts, f"{path}.facts")


def _check_self(peer: Peer | None, promises: Sequence[recording_pb2.Promise]) -> None:
    """Raise PermissionRefusedError if an edge promises for another."""
    if peer is not None and peer.role is not Role.OPERATOR and any(promise.proxy != peer.id for promise in promises):
        raise PermissionRefusedError("ReportPromises")
