"""Which revision of a flow or a schedule is in force: a function of time alone.

Nothing has to run when a scheduled change comes in force, and a replica that is cut off from the store obeys it too.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, TypeVar

if TYPE_CHECKING:
    from collections.abc import Sequence

T = TypeVar("T")


def in_force(revisions: Sequence[tuple[float, T]], now: float) -> T | None:
    """What is in force at ``now`` (epoch, seconds); None before the first.

    ``revisions`` are pairs of the time from which each is in force and what it is, by that time; of two with the same
    time the later one counts.
    """
    for since, content in reversed(revisions):
        if since <= now:
            return content
    return None


def needed_from(times: Sequence[float], now: float) -> int:
    """Position of the first of the revisions that are in force or will be; ``times`` as in :func:`in_force`."""
    return max(sum(since <= now for since in times) - 1, 0)
