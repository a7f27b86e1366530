"""What a recording was made of against what its media node has now."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest
from signalbox.catalog.captures import Fit, compare, summary
from support.catalogs import capture

if TYPE_CHECKING:
    from signalbox.api.recording.v1.recording_pb2 import Capture

OLD = capture(100, 50)


@pytest.mark.parametrize(
    ("now", "fit"),
    [
        (OLD, Fit.COVERED),
        (capture(), Fit.COVERED),
        (capture(100), Fit.COVERED),
        (capture(100, 40), Fit.COVERED),
        (capture(100, 50, 1), Fit.GROWN),
        (capture(100, 51), Fit.GROWN),
        (capture(99, 51), Fit.SEVERED),
        (capture(100, 50, start_ms=2_000), Fit.SEVERED),
        (capture(300, 300, 300, start_ms=2_000), Fit.SEVERED),
    ],
)
def test_a_capture_is_covered_has_grown_or_was_severed(now: Capture, fit: Fit) -> None:
    assert compare(summary(OLD), now) is fit


def test_what_was_made_of_nothing_grows_and_what_is_not_known_is_covered() -> None:
    assert compare(summary(capture()), OLD) is Fit.GROWN
    assert compare(None, OLD) is Fit.COVERED
