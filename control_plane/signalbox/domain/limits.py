"""Limits under the names by which they are counted."""

from __future__ import annotations

from datetime import datetime
from typing import TYPE_CHECKING

from signalbox.domain.claims import Limit, Window

if TYPE_CHECKING:
    from datetime import tzinfo

    from signalbox.domain.objects import Limits


def limits_of(name: str, limits: Limits, zone: tzinfo, now: float) -> tuple[Limit, ...]:
    """The limits of ``number/4001234567`` and the like at ``now`` (epoch, seconds); months are of ``zone``."""
    found = []
    if limits.concurrent_calls is not None:
        found.append(Limit(name, Window.CALLS, limits.concurrent_calls))
    if limits.calls_per_second is not None:
        found.append(Limit(name, Window.SECOND, limits.calls_per_second))
    if limits.calls_per_month is not None:
        month = f"{datetime.fromtimestamp(now, zone):%Y-%m}"
        found.append(Limit(name, Window.MONTH, limits.calls_per_month, month))
    return tuple(found)
