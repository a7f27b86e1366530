"""``--peak`` call attempts a second all the time."""

from __future__ import annotations

from loadtest.shapes.by_rate import ByRate


class Steady(ByRate):
    """See above."""

    def rate(self, second: float) -> float | None:
        """See ByRate."""
        return float(self.options.peak) if second < self.options.seconds else None
