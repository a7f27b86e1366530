"""The client side of a transaction: what it shares, and the machine of all methods but INVITE (section 17.1.2)."""

from __future__ import annotations

from typing import TYPE_CHECKING, Protocol

from signalbox.sip.transactions.base import State, Transaction

if TYPE_CHECKING:
    from signalbox.sip.message import Request, Response
    from signalbox.sip.source import Address, TransportError
    from signalbox.sip.transactions.layer import Transactions


class ClientUser(Protocol):
    """Who sends a request, and is told what became of it. After the last three nothing more comes, but of an INVITE."""

    def on_response(self, tx: ClientTransaction, response: Response, /) -> None:
        """A response. A final one comes once, but every 2xx of an INVITE comes, retransmissions among them."""

    def on_timeout(self, tx: ClientTransaction, /) -> None:
        """No final response in time: as if answered 408 (section 8.1.3.1)."""

    def on_failure(self, tx: ClientTransaction, error: TransportError, /) -> None:
        """The request could not be sent: as if answered 503 (section 8.1.3.1)."""


class Nobody:
    """Wants to know nothing."""

    def on_response(self, tx: ClientTransaction, response: Response, /) -> None:
        """Nothing."""

    def on_timeout(self, tx: ClientTransaction, /) -> None:
        """Nothing."""

    def on_failure(self, tx: ClientTransaction, error: TransportError, /) -> None:
        """Nothing."""


NOBODY = Nobody()


class ClientTransaction(Transaction):
    """A request of ours on its way, until no more responses are awaited. Made by :meth:`Transactions.send`.

    ``protocol``: by which it goes, ``udp`` or ``tcp``. With ``fallback`` it goes by UDP if TCP fails (section 18.1.1).
    """

    __slots__ = ("_data", "_interval", "fallback", "protocol", "remote", "request", "user")

    def __init__(
        self, layer: Transactions, branch: str, request: Request, protocol: str, remote: Address, user: ClientUser
    ) -> None:
        super().__init__(layer, (branch, request.method), State.TRYING)
        self.request = request
        self.protocol = protocol
        self.remote = remote
        self.user = user
        self.fallback = False
        self._data = b""
        self._interval = 0.0

    def start(self, data: bytes) -> None:
        """Send the request, whose encoding is ``data``."""
        self._data = data
        self._stop_repeating()
        self._send(data)
        timers = self._layer.timers
        if self.protocol == "udp":
            self._interval = timers.t1
            self._repeat_in(timers.t1, self._retransmit)
        self._end_in(timers.whole, self._timed_out)

    def abandon(self) -> None:
        """End without telling anybody."""
        super().abandon()
        # A call has its transaction: it could not be freed when it is dropped.
        self.user = NOBODY

    def on_response(self, response: Response) -> None:
        """A response of this transaction has come."""
        if self.state not in (State.TRYING, State.PROCEEDING):
            self._layer.stats.repeated += 1
            return
        user = self.user
        if response.status < 200:
            self.state = State.PROCEEDING
        else:
            self.state = State.COMPLETED
            self._linger(self._layer.timers.t4, self.protocol)
        user.on_response(self, response)

    def _send(self, data: bytes) -> None:
        self._layer.carrier.send(data, self.protocol, self.remote, self._failed)

    def _longest_interval(self) -> float:
        return self._layer.timers.t2

    def _retransmit(self) -> None:
        """Timer A or E."""
        self._layer.stats.retransmitted += 1
        longest = self._longest_interval()
        self._interval = longest if self.state is State.PROCEEDING else min(2 * self._interval, longest)
        self._repeat_in(self._interval, self._retransmit)
        self._send(self._data)

    def _timed_out(self) -> None:
        """Timer B or F."""
        self._layer.stats.timeouts += 1
        user = self.user
        self._terminate()
        user.on_timeout(self)

    def _failed(self, error: TransportError) -> None:
        # After a provisional response the request has arrived, even if its connection broke before it was known to.
        if self.state is not State.TRYING:
            return
        if self.fallback:
            self.fallback = False
            self._layer.fall_back(self)
            return
        user = self.user
        self._terminate()
        user.on_failure(self, error)
