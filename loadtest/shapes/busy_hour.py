"""A business day in ``--seconds``: its busiest hour has ``--peak`` call attempts a second."""

from __future__ import annotations

from loadtest.model import curves
from loadtest.shapes.by_rate import ByRate


class BusyHour(ByRate):
    """See above."""

    def rate(self, second: float) -> float | None:
        """See ByRate."""
        given = self.options
        return curves.busy_hour(second / given.seconds, given.peak) if second < given.seconds else None
