"""OPTIONS requests to targets of trunks (RFC 3261 section 11), sent through our proxy: from its address, by its rules.

They tell nothing of anybody: no number, no user, and the proxy takes out the token that makes it send them.
"""

from __future__ import annotations

import asyncio
import secrets
from typing import TYPE_CHECKING

from signalbox import address
from signalbox.domain.objects import Transport
from signalbox.edge.sipsocket import SipSocket

if TYPE_CHECKING:
    from collections.abc import Callable

    from signalbox.domain.objects import Target

FORGET_S = 10.0
"""What the proxy has not answered by then, it never will: it answers within 4 s whatever the target does."""


class OptionsSender(SipSocket):
    """``advertised``: host:port that the proxy writes into its messages."""

    def __init__(self, proxy: tuple[str, int], token: str, advertised: str) -> None:
        super().__init__(proxy)
        self._token = token
        self._from = f"<sip:{advertised}>"
        self._time = asyncio.get_running_loop().time
        self._asked: dict[bytes, tuple[Target, float]] = {}
        self._on_reply: Callable[[Target, int], None] = lambda target, code: None

    def on_reply(self, on_reply: Callable[[Target, int], None]) -> None:
        """Set who is told the final status code for a target. While the proxy itself is silent, nobody is told."""
        self._on_reply = on_reply

    def ask(self, target: Target) -> None:
        """Send one request."""
        via, branch = self.via()
        now = self._time()
        self._forget(now - FORGET_S)
        self._asked[branch] = target, now
        parameter = ";transport=tcp" if target.transport is Transport.TCP else ""
        uri = f"sip:{address.join(target.host, target.port)}{parameter}"
        lines = (
            f"OPTIONS {uri} SIP/2.0",
            via,
            f"X-Signalbox-Target: {self._token}",
            f"From: {self._from};tag={secrets.token_hex(8)}",
            f"To: <{uri}>",
            f"Call-ID: {secrets.token_hex(16)}",
            "CSeq: 1 OPTIONS",
            "Max-Forwards: 70",
            "Accept: application/sdp",
            "Content-Length: 0",
            "\r\n",
        )
        self.transmit("\r\n".join(lines).encode())

    def replied(self, branch: bytes, code: int) -> None:
        """Part of SipSocket."""
        asked = self._asked.pop(branch, None)
        if asked is not None:
            self._on_reply(asked[0], code)

    def _forget(self, before: float) -> None:
        """Requests are kept in the order in which they were sent."""
        while self._asked:
            branch = next(iter(self._asked))
            if self._asked[branch][1] > before:
                break
            del self._asked[branch]
