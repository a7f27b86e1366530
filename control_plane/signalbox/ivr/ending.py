"""How a call ends at its worker: what the caller is told, and what is told of it in the events. Pure."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass
from typing import TYPE_CHECKING

from signalbox.ivr.media.errors import MediaLostError, NoMediaNodeError, UnusableDescriptionError
from signalbox.ivr.ports import FlowRefusedError, RoutingAwayError
from signalbox.sip.ended import End

if TYPE_CHECKING:
    from signalbox.api.routing.v1.routing_pb2 import Reject
    from signalbox.sip.ended import Ended

NORMAL = 'Q.850;cause=16;text="Normal call clearing"'
"""Reason (RFC 3326) of a BYE at the end of a flow."""
RETRY_AFTER_S = 1


@dataclass(frozen=True, slots=True)
class Ending:
    """``cause``, ``detail``: of ``events.v1.FlowEnded``. ``code``, ``phrase``: of the final response to a caller who
    was not answered; an empty phrase is the usual one. ``reason``: of the BYE to one who was."""

    cause: str
    code: int
    detail: str = ""
    phrase: str = ""
    reason: str = NORMAL

    @property
    def headers(self) -> tuple[tuple[str, str], ...]:
        """Of the final response."""
        if self.code == 503:
            return (("Retry-After", str(RETRY_AFTER_S)),)
        return (("Warning", f'305 signalbox "{self.detail}"'),) if self.code == 488 else ()


def of_flow(reject: Reject) -> Ending:
    """The flow came to its end."""
    return Ending("flow", reject.code, phrase=reject.phrase)


def of_caller(ended: Ended) -> Ending:
    """The SIP call was over before anything else was."""
    if ended.why in (End.HUNG_UP, End.CANCELLED):
        return Ending("drained", 0, "hung up by the worker") if ended.by_us else Ending("caller", 0)
    return Ending("error", 0, f"the caller's call is {ended.why.value}")


def of_error(error: BaseException, *, begun: bool) -> Ending:
    """Something went wrong. ``begun``: a step of the flow has ended already.

    With 503 the proxy has the next worker execute the flow from its beginning: that is for flows that have not begun.
    """
    code = 500 if begun else 503
    detail = str(error) or type(error).__name__
    match error:
        case MediaLostError() | NoMediaNodeError():
            return Ending("media", code, detail, reason='SIP;cause=503;text="Media lost"')
        case UnusableDescriptionError():
            return Ending("error", 488, error.why, reason='SIP;cause=488;text="Not Acceptable Here"')
        case RoutingAwayError():
            return Ending("error", code, detail, reason='SIP;cause=503;text="Service Unavailable"')
        case FlowRefusedError():
            return Ending("error", 403, detail, reason='SIP;cause=403;text="Forbidden"')
        case asyncio.CancelledError():
            return Ending("drained", code, "the worker ends", reason='SIP;cause=503;text="Service Unavailable"')
    return Ending("error", 500, detail, reason='SIP;cause=500;text="Server Internal Error"')
