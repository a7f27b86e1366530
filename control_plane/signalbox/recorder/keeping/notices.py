"""Tells the catalog that a recording is missing."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING

import structlog

from signalbox.recorder.policy import policy_of

if TYPE_CHECKING:
    from signalbox.catalog.catalog import Catalog
    from signalbox.recorder.metrics import RecorderMetrics
    from signalbox.store.base import Store

logger = structlog.get_logger(__name__)


class Notices:
    """Of recordings that are missing."""

    def __init__(self, catalog: Catalog, store: Store, metrics: RecorderMetrics) -> None:
        self._catalog = catalog
        self._store = store
        self._metrics = metrics

    async def missing(self, call_id: str, reason: str) -> bool:
        """A call's recording is missing; that it was is known for as long as the tenant's recordings are kept.

        False: it was not waited for. Raises what catalog and store raise, and DamagedValueError.
        """
        facts = await self._catalog.facts(call_id)
        if facts is None:
            return False
        policy = await policy_of(self._store, facts.tenant)
        expire_ms = policy.expire_ms(facts.answer_time.ToMilliseconds(), round(time.time() * 1000))
        if not await self._catalog.missing(call_id, [reason], expire_ms):
            return False
        self._metrics.missing.labels(reason).inc()
        logger.error("recording_missing", call_id=call_id, tenant=facts.tenant, node=facts.media_node, reason=reason)
        return True
