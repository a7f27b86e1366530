"""The two BYE requests that end a call from outside: each in the name of one party, through our own proxy.

They are requests within the dialog (RFC 3261 section 12.2.1.1): the proxy's own signed Record-Route is their first
Route, so it checks, relays and repeats them as it does those of the parties, at whatever proxy they come by.
"""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

from signalbox.edge.sipsocket import SipSocket

if TYPE_CHECKING:
    from collections.abc import Sequence

    from signalbox.edge.dialogs import Dialog

REPEAT_S = (1.0, 2.0, 4.0, 8.0, 18.0)
"""Pauses after which a request without a final reply is sent again, at last given up; longer than timer F in all."""

REASONS = {
    "max_duration": 'Q.850;cause=31;text="Maximum Call Duration"',
    "media_timeout": 'Q.850;cause=31;text="Media Timeout"',
    "operator": 'Q.850;cause=31;text="Ended by the Operator"',
}
"""Values of the Reason header (RFC 3326) by why a call is ended."""

OTHER_REASON = 'Q.850;cause=31;text="Ended by Signalbox"'
"""The call was marked by an edge that knows a reason that we don't: one of a newer version."""


def requests(dialog: Dialog, why: str) -> tuple[str, str]:
    """Request line and headers of the BYE to the caller and of that to the line; what the sender adds is left out."""
    ours = [n for n, route in enumerate(dialog.routes) if f";sb={dialog.call_id};" in route]
    first, last = (ours[0], ours[-1]) if ours else (0, -1)
    to_caller = _bye(
        dialog.caller_contact,
        dialog.routes[first:],
        (dialog.to_header, dialog.from_header),
        (dialog.sip_call_id, dialog.line_cseq + 1, why),
    )
    to_line = _bye(
        dialog.line_contact,
        dialog.routes[last::-1] if ours else (),
        (dialog.from_header, dialog.to_header),
        (dialog.sip_call_id, dialog.caller_cseq + 1, why),
    )
    return to_caller, to_line


def _bye(target: str, routes: Sequence[str], parties: tuple[str, str], call: tuple[str, int, str]) -> str:
    call_id, cseq, why = call
    lines = [
        f"BYE {target} SIP/2.0",
        *(f"Route: {route}" for route in routes),
        f"From: {parties[0]}",
        f"To: {parties[1]}",
        f"Call-ID: {call_id}",
        f"CSeq: {cseq} BYE",
        f"Reason: {REASONS.get(why, OTHER_REASON)}",
        "Max-Forwards: 70",
        "Content-Length: 0",
    ]
    return "\r\n".join(lines) + "\r\n"


class ByeSender(SipSocket):
    """Sends requests to our proxy over loopback, with the token that tells it who they are of."""

    def __init__(self, proxy: tuple[str, int], token: str) -> None:
        super().__init__(proxy)
        self._token = token
        self._waiting: dict[bytes, asyncio.Future[int]] = {}

    async def send(self, request: str) -> int:
        """Send a request of :func:`requests`; the final status code, 0 if none came."""
        via, branch = self.via()
        line, _, headers = request.partition("\r\n")
        message = f"{line}\r\n{via}\r\nX-Signalbox-End: {self._token}\r\n{headers}\r\n".encode()
        reply: asyncio.Future[int] = asyncio.get_running_loop().create_future()
        self._waiting[branch] = reply
        try:
            for pause_s in REPEAT_S:
                self.transmit(message)
                done, _ = await asyncio.wait([reply], timeout=pause_s)
                if done:
                    return reply.result()
            return 0
        finally:
            del self._waiting[branch]

    def replied(self, branch: bytes, code: int) -> None:
        """Part of SipSocket."""
        reply = self._waiting.get(branch)
        if reply is not None and not reply.done():
            reply.set_result(code)
