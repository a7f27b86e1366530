"""The proxies by which lines are called: those that the store knows, the one that brought the call first.

An entry of a proxy outlives it by a day (keys.EDGE_MEMORY_S), so it does not say that it lives: whoever finds out that
one does not answer says so here, and it comes last for a while.
"""

from __future__ import annotations

import math
import time
from typing import TYPE_CHECKING

import structlog

from signalbox import address
from signalbox.ivr.ports import Proxy

if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Sequence

    from signalbox.api.routing.v1 import routing_pb2
    from signalbox.sip.source import Address

logger = structlog.get_logger(__name__)

SHUNNED_S = 10.0
"""So long a proxy that did not answer is the last one to be tried."""


class KnownProxies:
    """The :class:`~signalbox.ivr.ports.Proxies`. ``clock``: seconds."""

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._proxies: tuple[Proxy, ...] = ()
        self._failed: dict[Address, float] = {}
        self._turn = 0

    async def update(self, edges: Collection[routing_pb2.Edge]) -> None:
        """These are registered. An address that is none is logged, and left out."""
        known = []
        for edge in sorted(edges, key=lambda one: one.id):
            for text in edge.advertised_addresses:
                try:
                    host, port = address.endpoint(text)
                except ValueError as error:
                    logger.error("proxy_address_unusable", proxy=edge.id, address=text, reason=str(error))
                    continue
                known.append(Proxy(edge.id, (str(host), port)))
        self._proxies = tuple(known)

    def ways(self, first: Address) -> Sequence[Proxy]:
        """All of them: the one at that address, then the others in turn; those that failed a moment ago are the last.

        One that the store does not know is a way, too: it has brought a call.
        """
        self._turn += 1
        known = self._proxies
        start = self._turn % len(known) if known else 0
        others = [proxy for proxy in (*known[start:], *known[:start]) if proxy.remote != first]
        own = next((proxy for proxy in known if proxy.remote == first), Proxy("", first))
        now = self._clock()
        return sorted((own, *others), key=lambda one: self._failed.get(one.remote, -math.inf) > now - SHUNNED_S)

    def failed(self, proxy: Proxy) -> None:
        """It did not answer, or had nobody to ask."""
        now = self._clock()
        self._failed = {remote: at for remote, at in self._failed.items() if at > now - SHUNNED_S}
        self._failed[proxy.remote] = now
