"""Which process may call what: one table over all methods of the routing service.

Who calls is told by its certificate (``signalbox.certificates``). Where clients need none nobody is asked.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from signalbox import certificates
from signalbox.certificates import Peer, Role
from signalbox.errors import PermissionRefusedError
from signalbox.store import codec, keys

if TYPE_CHECKING:
    from collections.abc import Set

    from signalbox.api.routing.v1 import routing_pb2
    from signalbox.store.base import Store

TABLE: dict[str, Set[Role]] = {
    "Decide": {Role.EDGE, Role.OPERATOR},
    "DecideStream": {Role.EDGE, Role.OPERATOR},
    "WatchEdge": {Role.EDGE},
    "Explain": {Role.OPERATOR},
    "Continue": {Role.IVR},
    "ReportCalls": {Role.EDGE, Role.MEDIA, Role.IVR},
    "RecordOrder": {Role.EDGE},
}

REPORTS: dict[Role, Set[str]] = {
    Role.EDGE: {"answered", "ended"},
    Role.IVR: {"answered", "ended", "anchored"},
    Role.MEDIA: {"alive", "media_timeout", "flow_media_timeout"},
}
"""Which states of a call who may report."""


class Access(certificates.Access):
    """Asked before a method begins. ``certified``: every client has shown a certificate of the cluster's authority."""

    def __init__(self, store: Store, *, certified: bool) -> None:
        super().__init__(TABLE, certified=certified)
        self._store = store
        self._numbers: dict[str, int] = {}

    async def check_reports(self, peer: Peer | None, request: routing_pb2.ReportCallsRequest) -> None:
        """Raise PermissionRefusedError if there is one report that this peer may not make, or makes for another node.

        Raises StoreUnavailableError if the number of a media node that was not heard before cannot be had.
        """
        if peer is None:
            return
        states = {report.WhichOneof("state") for report in request.reports} - {None}
        nodes = {report.media_timeout for report in request.reports} - {0}
        if states - REPORTS[peer.role] or (nodes and nodes != {await self._number(peer.id)}):
            raise PermissionRefusedError("ReportCalls")

    async def _number(self, id: str) -> int:
        """The number of a media node; 0 if it has none. It is never another one."""
        if id not in self._numbers:
            entry = await self._store.get(keys.media_id(id))
            if entry is None:
                return 0
            self._numbers[id] = codec.decode_media_id(entry)
        return self._numbers[id]


def check_self(peer: Peer | None, edge: str, method: str) -> None:
    """Raise PermissionRefusedError unless the edge with this id is the peer itself."""
    if peer is not None and peer.id != edge:
        raise PermissionRefusedError(method)
