"""The client machine of INVITE (RFC 3261 section 17.1.1, RFC 6026), and the CANCEL of it (section 9.1)."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

from signalbox.sip.message import Headers, Request
from signalbox.sip.transactions.base import State
from signalbox.sip.transactions.client import NOBODY, ClientTransaction

if TYPE_CHECKING:
    from collections.abc import Iterable

    from signalbox.sip.message import Response
    from signalbox.sip.source import Address
    from signalbox.sip.transactions.client import ClientUser
    from signalbox.sip.transactions.layer import Transactions


class InviteClientTransaction(ClientTransaction):
    """An INVITE of ours. ACKs what is not 2xx itself; a 2xx is the user's to acknowledge (section 13.2.2.4).

    Once a provisional response has come it waits for ever: how long a line may ring is the user's to decide.
    """

    __slots__ = ("_cancel", "_cancel_sent")

    def __init__(
        self, layer: Transactions, branch: str, request: Request, protocol: str, remote: Address, user: ClientUser
    ) -> None:
        super().__init__(layer, branch, request, protocol, remote, user)
        self._cancel: Request | None = None
        self._cancel_sent = False

    def on_response(self, response: Response) -> None:
        """A response of this transaction has come."""
        status = response.status
        user = self.user
        if self.state is State.TRYING or self.state is State.PROCEEDING:
            if status < 200:
                self._proceed()
            elif status < 300:
                self.state = State.ACCEPTED
                self._stop_repeating()
                self._end_in(self._layer.timers.whole, self._terminate)
            else:
                self.state = State.COMPLETED
                self._acknowledge(response)
                self._linger(self._layer.timers.whole, self.protocol)
            user.on_response(self, response)
        elif self.state is State.ACCEPTED and 200 <= status < 300:
            user.on_response(self, response)
        else:
            self._layer.stats.repeated += 1
            if self.state is State.COMPLETED and status >= 300:
                self._layer.stats.retransmitted += 1
                self._acknowledge(response)

    def cancel(self, headers: Iterable[tuple[str, str]] = ()) -> None:
        """Ask for the INVITE to be given up; ``headers`` are added to the CANCEL, as Reason (RFC 3326).

        Nothing is sent before a provisional response, nor after a final one, and a 2xx may cross it: the final response
        tells what became of the call. If none comes within 64 * T1 of the CANCEL, the user is told that time is out.
        """
        if self._cancel is not None or self.state not in (State.TRYING, State.PROCEEDING):
            return
        self._cancel = self._same_hop("CANCEL", self.request.headers.get("To") or "")
        for name, value in headers:
            self._cancel.headers.add(name, value)
        if self.state is State.PROCEEDING:
            self._send_cancel()

    def _proceed(self) -> None:
        if self.state is State.TRYING:
            self.state = State.PROCEEDING
            self._stop_repeating()
            if self._end is not None:
                self._end.cancel()
        if self._cancel is not None and not self._cancel_sent:
            self._send_cancel()

    def _send_cancel(self) -> None:
        assert self._cancel is not None
        self._cancel_sent = True
        self._layer.start(ClientTransaction(self._layer, self.key[0], self._cancel, self.protocol, self.remote, NOBODY))
        self._end_in(self._layer.timers.whole, self._timed_out)

    def _acknowledge(self, response: Response) -> None:
        """Section 17.1.1.3."""
        self._send(self._same_hop("ACK", response.headers.get("To") or "").encode())

    def _same_hop(self, method: str, to: str) -> Request:
        """An ACK or a CANCEL: goes where the INVITE went, with the same branch."""
        invite = self.request.headers
        headers = Headers()
        for name in ("Via", "Route"):
            for value in invite.all(name):
                headers.add(name, value)
        headers.add("From", invite.get("From") or "")
        headers.add("To", to)
        headers.add("Call-ID", self.request.call_id)
        headers.add("CSeq", f"{self.request.cseq.number} {method}")
        headers.add("Max-Forwards", "70")
        return Request(method, self.request.uri, headers)

    def _longest_interval(self) -> float:
        return math.inf
