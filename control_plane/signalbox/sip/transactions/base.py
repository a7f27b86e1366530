"""What all transaction machines share, and what they need of the world."""

from __future__ import annotations

import enum
from typing import TYPE_CHECKING, Protocol

if TYPE_CHECKING:
    from collections.abc import Callable

    from signalbox.sip.headers import Via
    from signalbox.sip.message import Response
    from signalbox.sip.source import Address, Failed, Receiver, Source
    from signalbox.sip.stats import Stats
    from signalbox.sip.transactions.layer import Transactions
    from signalbox.sip.transactions.matching import Key


class State(enum.Enum):
    """The states of RFC 3261 figures 5 to 8, as RFC 6026 has changed them."""

    TRYING = "trying"
    """No response yet; called *calling* in the INVITE client. An INVITE server begins in *proceeding*."""
    PROCEEDING = "proceeding"
    COMPLETED = "completed"
    """A final response has come or gone, of an INVITE one other than 2xx."""
    ACCEPTED = "accepted"
    """An INVITE was answered 2xx."""
    CONFIRMED = "confirmed"
    """The final response of an INVITE, other than 2xx, was acknowledged."""
    TERMINATED = "terminated"


class Handle(Protocol):
    """A timer that runs."""

    def cancel(self) -> None:
        """Let it not fire."""


class Clock(Protocol):
    """What of an event loop the machines need."""

    def call_later(self, delay: float, callback: Callable[[], object], /) -> Handle:
        """Call after so many seconds."""


class Carrier(Protocol):
    """What carries messages: :class:`signalbox.sip.transport.Transports`. Nothing here waits, and nothing raises."""

    stats: Stats
    receiver: Receiver | None

    def sent_by(self, protocol: str, remote: Address) -> str:
        """``host:port`` at which responses of that remote address reach us. Empty if we do not listen there."""

    def send(self, data: bytes, protocol: str, remote: Address, failed: Failed | None = None) -> None:
        """Send a request."""

    def reply(self, data: bytes, via: Via | None, source: Source, failed: Failed | None = None) -> None:
        """Send a response to the request with this top Via (section 18.2.2), None if it is malformed."""

    def respond(self, response: Response, source: Source) -> None:
        """Send a response without a transaction."""


class Transaction:
    """A state, and two timers: one that repeats something, one that ends something."""

    __slots__ = ("_end", "_layer", "_repeat", "key", "state")

    def __init__(self, layer: Transactions, key: Key, state: State) -> None:
        self._layer = layer
        self._repeat: Handle | None = None
        self._end: Handle | None = None
        self.key = key
        self.state = state

    def abandon(self) -> None:
        """End without telling anybody."""
        self._stop_repeating()
        if self._end is not None:
            self._end.cancel()
            self._end = None
        self.state = State.TERMINATED

    def _terminate(self) -> None:
        if self.state is not State.TERMINATED:
            self.abandon()
            self._layer.forget(self)

    def _repeat_in(self, seconds: float, action: Callable[[], None]) -> None:
        self._repeat = self._layer.clock.call_later(seconds, action)

    def _stop_repeating(self) -> None:
        if self._repeat is not None:
            self._repeat.cancel()
            self._repeat = None

    def _end_in(self, seconds: float, action: Callable[[], None]) -> None:
        """(Re)start the one timer that ends a state."""
        if self._end is not None:
            self._end.cancel()
        self._end = self._layer.clock.call_later(seconds, action)

    def _linger(self, seconds: float, protocol: str) -> None:
        """Absorb for a while what may come again; over a reliable transport nothing does."""
        self._stop_repeating()
        if protocol == "udp":
            self._end_in(seconds, self._terminate)
        else:
            self._terminate()
