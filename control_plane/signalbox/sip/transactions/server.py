"""The server side of a transaction: what it shares, and the machine of all methods but INVITE (section 17.2.2)."""

from __future__ import annotations

import secrets
from typing import TYPE_CHECKING

from signalbox.sip.transactions.base import State, Transaction

if TYPE_CHECKING:
    from collections.abc import Callable

    from signalbox.sip.message import Request, Response
    from signalbox.sip.source import Source, TransportError
    from signalbox.sip.transactions.layer import Transactions
    from signalbox.sip.transactions.matching import Key


class ServerTransaction(Transaction):
    """A request that has come, until nothing of it can come again.

    If the user gives no final response in 64 * T1 it is too late for one, and the transaction ends (RFC 4320).
    ``request``: None after the final response, for many transactions wait for repetitions.
    ``on_failure``: a response could not be sent, and the transaction is over unless it was a 2xx.
    """

    __slots__ = ("_last", "_tag", "_via", "on_failure", "request", "source")

    def __init__(self, layer: Transactions, key: Key, request: Request, source: Source) -> None:
        super().__init__(layer, key, State.TRYING)
        self.request: Request | None = request
        self.source = source
        self.on_failure: Callable[[TransportError], object] | None = None
        self._via = request.via
        self._last = b""
        self._tag = request.to_tag

    @property
    def tag(self) -> str:
        """The To tag of responses: the request's own within a dialog, else one that is made when first asked for."""
        if not self._tag:
            self._tag = secrets.token_hex(8)
        return self._tag

    def start(self) -> None:
        """Wait for the user, who has been told and may have answered."""
        if self.state is State.TRYING:
            self._end_in(self._layer.timers.whole, self._unanswered)

    def respond(self, response: Response) -> bool:
        """Send a response. False, and nothing is sent, if a final one has gone or the transaction is over."""
        if self.state is not State.TRYING and self.state is not State.PROCEEDING:
            return False
        self._last = response.encode()
        if response.status < 200:
            self.state = State.PROCEEDING
            self._send()
        else:
            self.state = State.COMPLETED
            self._send()
            self.request = None
            self._linger(self._layer.timers.whole, self.source.protocol)
        return True

    def retransmit(self) -> None:
        """Send the last response again, if there is one."""
        if self._last:
            self._layer.stats.retransmitted += 1
            self._send()

    def on_again(self) -> None:
        """The same request has come again."""
        self._layer.stats.repeated += 1
        self.retransmit()

    def _send(self) -> None:
        self._layer.carrier.reply(self._last, self._via, self.source, self._failed)

    def _unanswered(self) -> None:
        self._layer.stats.timeouts += 1
        self._terminate()

    def _failed(self, error: TransportError) -> None:
        if self.state is State.TERMINATED:
            return
        self._terminate()
        if self.on_failure is not None:
            self.on_failure(error)
