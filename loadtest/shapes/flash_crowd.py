"""``--base`` call attempts a second, and after a quarter of ``--seconds`` ``--peak`` at once, as after a broadcast."""

from __future__ import annotations

from loadtest.model import curves
from loadtest.shapes.by_rate import ByRate


class FlashCrowd(ByRate):
    """See above."""

    def rate(self, second: float) -> float | None:
        """See ByRate."""
        given = self.options
        if second >= given.seconds:
            return None
        return curves.flash_crowd(second, given.base, given.peak, at=given.seconds / 4)
