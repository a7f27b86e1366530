"""The server machine of INVITE (RFC 3261 section 17.2.1, RFC 6026), and what a CANCEL does to it (section 9.2)."""

from __future__ import annotations

from typing import TYPE_CHECKING

from signalbox.sip.message import response
from signalbox.sip.transactions.base import State
from signalbox.sip.transactions.matching import old_ack_key
from signalbox.sip.transactions.server import ServerTransaction

if TYPE_CHECKING:
    from collections.abc import Callable

    from signalbox.sip.message import Request, Response
    from signalbox.sip.source import Source, TransportError
    from signalbox.sip.transactions.layer import Transactions
    from signalbox.sip.transactions.matching import Key


class InviteServerTransaction(ServerTransaction):
    """An INVITE that has come. Sends what is not 2xx until it is acknowledged; a 2xx is the user's to send again.

    ``on_cancel``: told of a CANCEL that has come in time; the user answers the INVITE 487. Without it this does.
    ``on_timeout``: told that nobody acknowledged a final response other than 2xx.
    """

    __slots__ = ("_ack_key", "_interval", "on_cancel", "on_timeout")

    def __init__(self, layer: Transactions, key: Key, request: Request, source: Source) -> None:
        super().__init__(layer, key, request, source)
        self.state = State.PROCEEDING
        self.on_cancel: Callable[[Request], object] | None = None
        self.on_timeout: Callable[[], object] | None = None
        self._interval = 0.0
        self._ack_key: Key | None = None

    def start(self) -> None:
        """Wait for the user, who has been told and may have answered: the caller is told to be patient."""
        if self.state is State.PROCEEDING and not self._last:
            self._repeat_in(self._layer.timers.trying, self._trying)

    def respond(self, response: Response) -> bool:
        """Send a response; after a 2xx only another 2xx. False, and nothing is sent, if it is too late for this one."""
        status = response.status
        if self.state is State.PROCEEDING:
            self._stop_repeating()
            self._last = response.encode()
            self._send()
            if 200 <= status < 300:
                self.state = State.ACCEPTED
                self._end_in(self._layer.timers.whole, self._terminate)
            elif status >= 300:
                self._complete(response)
            if status >= 200:
                self.request = None
            return True
        if self.state is State.ACCEPTED and 200 <= status < 300:
            self._last = response.encode()
            self._send()
            return True
        return False

    def on_again(self) -> None:
        """The INVITE has come again."""
        if self.state is State.PROCEEDING or self.state is State.COMPLETED:
            super().on_again()
        else:
            self._layer.stats.repeated += 1

    def on_ack(self) -> bool:
        """An ACK of this INVITE has come. True if it is the user's: that of a 2xx."""
        if self.state is State.COMPLETED:
            self.state = State.CONFIRMED
            self._linger(self._layer.timers.t4, self.source.protocol)
        elif self.state is State.PROCEEDING:
            self._layer.stats.dropped_early_ack += 1
        elif self.state is State.CONFIRMED:
            self._layer.stats.repeated += 1
        return self.state is State.ACCEPTED

    def on_cancelled(self, cancel: Request) -> None:
        """A CANCEL of this INVITE has come. It changes nothing once there is a final response."""
        if self.state is not State.PROCEEDING:
            return
        if self.on_cancel is not None:
            self.on_cancel(cancel)
        elif self.request is not None:
            self.respond(response(self.request, 487, "Request Terminated", tag=self.tag))

    def abandon(self) -> None:
        """End without telling anybody."""
        super().abandon()
        if self._ack_key is not None:
            self._layer.forget_ack(self._ack_key)
            self._ack_key = None

    def _trying(self) -> None:
        self._repeat = None
        if self.request is not None:
            self.respond(response(self.request, 100, "Trying"))

    def _complete(self, final: Response) -> None:
        assert self.request is not None
        self.state = State.COMPLETED
        self._ack_key = old_ack_key(self.request, final.to_tag)
        if self._ack_key is not None:
            self._layer.expect_ack(self._ack_key, self)
        timers = self._layer.timers
        if self.source.protocol == "udp":
            self._interval = timers.t1
            self._repeat_in(timers.t1, self._resend)
        self._end_in(timers.whole, self._unacknowledged)

    def _resend(self) -> None:
        """Timer G."""
        self._interval = min(2 * self._interval, self._layer.timers.t2)
        self._repeat_in(self._interval, self._resend)
        self.retransmit()

    def _unacknowledged(self) -> None:
        """Timer H."""
        self._layer.stats.timeouts += 1
        self._terminate()
        if self.on_timeout is not None:
            self.on_timeout()

    def _failed(self, error: TransportError) -> None:
        if self.state is not State.ACCEPTED:
            super()._failed(error)
        elif self.on_failure is not None:
            self.on_failure(error)
