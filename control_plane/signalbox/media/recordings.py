"""What workers with voice do with the recordings of their calls."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

if TYPE_CHECKING:
    from signalbox.media.finishing import Finishing
    from signalbox.media.hearing import Hearing
    from signalbox.media.pausing import Pausing


class Recordings(NamedTuple):
    """Of one node that captures."""

    hearing: Hearing
    pausing: Pausing
    finishing: Finishing
