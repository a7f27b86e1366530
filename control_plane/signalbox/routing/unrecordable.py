"""Calls that are to be recorded while no media node promises to: told to operators, and what becomes of them."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING

import structlog

from signalbox.domain.decided import Reject
from signalbox.domain.recording import unrecorded, unrecorded_dial

if TYPE_CHECKING:
    from signalbox.domain.decided import Decision, Dial
    from signalbox.routing.book import Book
    from signalbox.routing.stats import Stats

logger = structlog.get_logger(__name__)

GOES_ON, REFUSED = "goes_on", "refused"
LOG_INTERVAL_S = 10.0
"""At most one line in this time: there may be hundreds of such calls a second."""


class Unrecordable:
    """Applies the policies of tenants, and counts."""

    def __init__(self, book: Book, stats: Stats) -> None:
        self._book = book
        self._stats = stats
        self._untold = 0
        self._tell_at = 0.0

    def decision(self, decision: Decision, call_id: str) -> Decision:
        """What becomes of a call that was to be recorded: a decision of this moment."""
        found = unrecorded(decision, self._book.rules.tenant(decision.tenant))
        self._count(found.action, decision.tenant, call_id)
        return found

    def dial(self, dial: Dial, tenant: str, call_id: str) -> Dial | Reject:
        """What becomes of a dial of a call flow that was to be recorded."""
        found = unrecorded_dial(dial, self._book.rules.tenant(tenant))
        self._count(found, tenant, call_id)
        return found

    def _count(self, found: Dial | Reject, tenant: str, call_id: str) -> None:
        outcome = REFUSED if isinstance(found, Reject) else GOES_ON
        self._stats.unrecordable[outcome] += 1
        self._untold += 1
        now = time.monotonic()
        if now >= self._tell_at:
            logger.error("recording_not_promised", calls=self._untold, outcome=outcome, tenant=tenant, call_id=call_id)
            self._untold, self._tell_at = 0, now + LOG_INTERVAL_S
