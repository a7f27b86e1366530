"""What becomes of a capture at which an attempt failed."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from signalbox.errors import ClaimLostError, ContentLostError, MediaNodeUnavailableError, SignalboxError
from signalbox.recorder.job import NoFactsError, OvertakenError, SeveredError
from signalbox.recorder.outages import PAUSE_MAX_S, Need, needed, pause_s
from signalbox.recorder.pool import RenderCrashedError
from signalbox.recorder.pull import NoRoomError
from signalbox.recorder.render import UnreadableCaptureError
from signalbox.store.codec import DamagedValueError

if TYPE_CHECKING:
    from collections.abc import Mapping

UNREADABLE = "capture_unreadable"
"""Why a recording is missing whose capture is there."""
FACTS_AFTER_S = 20.0
"""A capture without facts is tried again after this time: the promise comes by way of the proxy's edge."""
OVERTAKEN_AFTER_S = 5.0
"""Who is ahead has most likely stored it then."""
LONGEST_S = 3600.0
"""A capture with which something is wrong is tried again after this time at the latest."""
CRASHES = 5
"""A capture on which so many attempts of one recorder crashed counts as one that cannot be read."""
_CRASHED = ("render", "unexpected")
_DOUBLED_FROM = 4
"""The pauses of a capture begin with eight seconds or so."""


@dataclass(frozen=True, slots=True)
class Failure:
    """``kind`` is that of the metric; ``wait_s``: before another attempt; ``need``: what is away, if that was it.

    ``unreadable``: the capture cannot become a recording, or a part of the one that is stored.
    """

    kind: str
    wait_s: float
    need: Need | None = None
    unreadable: bool = False


def judged(error: Exception, before: Mapping[str, int]) -> Failure:
    """What an error of an attempt means. ``before``: failures of the same capture up to now, by kind."""
    need = needed(error)
    if need is not None:
        # What does not fit is pulled each time.
        longest = LONGEST_S if need is Need.WORK_DIR else PAUSE_MAX_S
        return Failure(need.value, pause_s(_count(before, need.value), longest), need)
    match error:
        case ClaimLostError():
            return Failure("claim_lost", 0.0)
        case NoFactsError():
            return Failure("no_facts", FACTS_AFTER_S)
        case OvertakenError():
            return Failure("overtaken", OVERTAKEN_AFTER_S)
        case UnreadableCaptureError():
            return Failure("unreadable", LONGEST_S, unreadable=True)
        case SeveredError():
            return Failure("severed", LONGEST_S, unreadable=True)
        case NoRoomError():
            return Failure("no_room", pause_s(_count(before, "no_room"), PAUSE_MAX_S))
    kind = _kind(error)
    crashes = sum(before.get(each, 0) for each in _CRASHED) + 1
    unreadable = kind in _CRASHED and crashes >= CRASHES
    return Failure(kind, pause_s(_count(before, kind) + _DOUBLED_FROM, LONGEST_S), unreadable=unreadable)


def _kind(error: Exception) -> str:
    match error:
        case RenderCrashedError():
            return "render"
        case MediaNodeUnavailableError():
            return "media_node"
        case ContentLostError():
            # The tenant's key: nothing can be sealed.
            return "key"
        case DamagedValueError():
            return "damaged_value"
        case SignalboxError():
            return "refused"
    return "unexpected"


def _count(before: Mapping[str, int], kind: str) -> int:
    return before.get(kind, 0) + 1
