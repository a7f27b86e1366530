"""Bans of the cluster in the proxy's table ``ban``, beside those that the proxy makes itself."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING

import structlog

from signalbox.edge.control import Control, ProxyRefusedError, ProxyUnreachableError

if TYPE_CHECKING:
    from collections.abc import Mapping

logger = structlog.get_logger(__name__)

MARK = "cluster"
"""Value of our entries: the proxy's own have another."""


class Bans:
    """Address → end (seconds since 1970) of what the proxy got from us."""

    def __init__(self, control: Control) -> None:
        self._control = control
        self._applied: dict[str, float] | None = None

    def forget(self) -> None:
        """The proxy may have been restarted: ask it again what it has."""
        self._applied = None

    async def apply(self, wanted: Mapping[str, float]) -> None:
        """Make the proxy's entries of ours equal to these. Raises ProxyUnreachableError, ProxyRefusedError."""
        now = time.time()
        applied = self._applied if self._applied is not None else await self._dump()
        self._applied = applied
        current = {address: end for address, end in wanted.items() if end > now}
        for address in applied.keys() - current.keys():
            try:
                await self._control.call("htable.delete", "ban", address)
            except ProxyRefusedError as error:
                if error.code != 404:  # 404: it has ended by itself
                    raise
            del applied[address]
        for address, end in current.items():
            if applied.get(address) != end:
                await self._control.call("htable.sets", "ban", address, MARK)
                await self._control.call("htable.setex", "ban", address, max(1, round(end - now)))
                applied[address] = end

    async def _dump(self) -> dict[str, float]:
        """Our entries in the proxy; their ends are not told, so each is written again."""
        try:
            buckets = await self._control.call("htable.dump", "ban")
        except (ProxyRefusedError, ProxyUnreachableError) as error:
            # Too many for one datagram: those that were lifted meanwhile end by themselves.
            logger.warning("bans_not_listed", reason=str(error))
            return {}
        entries = [entry for bucket in buckets or () for entry in bucket["slot"]]
        return {str(entry["name"]): 0.0 for entry in entries if entry["value"] == MARK}
