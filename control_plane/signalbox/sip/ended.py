"""How calls end."""

from __future__ import annotations

from dataclasses import dataclass
from enum import Enum

from signalbox.sip.errors import SipError


class End(Enum):
    """Why a call is over."""

    HUNG_UP = "hung up"
    """BYE (RFC 3261 section 15)."""
    CANCELLED = "cancelled"
    """Given up by the caller before it was answered (section 9)."""
    REFUSED = "refused"
    """A final response other than 2xx."""
    UNACKNOWLEDGED = "unacknowledged"
    """Answered, but no ACK came for 64 * T1 (section 13.3.1.4)."""
    UNSENT = "unsent"
    """A message could not be sent."""
    GONE = "gone"
    """The other party answers a change of the session with silence, or knows no call (section 14.1)."""
    EXPIRED = "expired"
    """Out of time: an INVITE with Expires (section 13.3.1), or a session that nobody refreshed (RFC 4028)."""
    BROKEN = "broken"
    """The other party broke the rules, so that nobody knows what was agreed."""


@dataclass(frozen=True, slots=True)
class Ended:
    """``by_us``: who ended it; ``status``: of the final response of a call that was not answered, else 0; ``reason``:
    what the BYE or CANCEL of the other party says in Reason (RFC 3326), as written."""

    why: End
    by_us: bool
    status: int = 0
    reason: str = ""


class CallOverError(SipError):
    """The call is over, so this cannot be done any more. ``ended``: how."""

    def __init__(self, ended: Ended) -> None:
        super().__init__(f"the call is over: {ended.why.value}")
        self.ended = ended
