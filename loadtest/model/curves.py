"""Calls a second over the time of a run: the busy hour of a day, a flash crowd, steps up to failure."""

from __future__ import annotations

import math

DAY = (
    0.10, 0.06, 0.04, 0.03, 0.03, 0.05, 0.12, 0.28, 0.62, 0.92, 1.00, 0.93,
    0.66, 0.72, 0.88, 0.95, 0.90, 0.78, 0.55, 0.46, 0.42, 0.36, 0.26, 0.16,
)  # fmt: skip
"""Call attempts of each hour of a business day, from midnight on, as shares of the busiest: two humps, before noon
and in the afternoon, which is what telephone networks have (ITU-T E.490.1, E.500: the busy hour is measured, and
planned for)."""


def busy_hour(share: float, peak: float) -> float:
    """Calls a second when this share of a day (0 to 1) is over, if the busiest hour has ``peak``.

    Between the middles of two hours it goes straight.
    """
    at = (share % 1.0) * len(DAY) - 0.5
    before = math.floor(at)
    part = at - before
    return peak * ((1 - part) * DAY[before % len(DAY)] + part * DAY[(before + 1) % len(DAY)])


def flash_crowd(second: float, base: float, peak: float, at: float, half_life_s: float = 20.0) -> float:
    """Calls a second: ``base`` until second ``at``, when everybody calls at once, as after a broadcast; then the
    crowd is half as large after each half-life."""
    if second < at:
        return base
    return base + (peak - base) * math.exp2((at - second) / half_life_s)


def steps(second: float, first: float, step: float, every_s: float) -> float:
    """Calls a second: ``first``, and ``step`` more each ``every_s`` seconds."""
    return first + step * math.floor(second / every_s)
