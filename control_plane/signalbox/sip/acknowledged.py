"""A 2xx of ours to an INVITE: sent again until its ACK comes (RFC 3261 section 13.3.1.4)."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable

    from signalbox.sip.timers import Timers
    from signalbox.sip.transactions.base import Clock
    from signalbox.sip.transactions.server import ServerTransaction


class UntilAcknowledged:
    """Sends the last response of ``tx`` again, by UDP and by TCP, for a proxy on the way may lose it.

    ``cseq``: number of the INVITE, which its ACK has too; ``gave_up`` is called if none has come for 64 * T1.
    """

    __slots__ = ("_clock", "_gave_up", "_interval", "_left", "_longest", "_timer", "_tx", "cseq")

    def __init__(
        self, tx: ServerTransaction, cseq: int, clock: Clock, timers: Timers, gave_up: Callable[[], object]
    ) -> None:
        self.cseq = cseq
        self._tx = tx
        self._clock = clock
        self._gave_up = gave_up
        self._longest = timers.t2
        self._left = timers.whole
        self._interval = timers.t1
        self._timer = clock.call_later(self._interval, self._again)

    def stop(self) -> None:
        """The ACK has come, or is no longer awaited."""
        self._timer.cancel()

    def _again(self) -> None:
        self._left -= self._interval
        if self._left <= 0:
            self._gave_up()
            return
        self._tx.retransmit()
        self._interval = min(2 * self._interval, self._longest, self._left)
        self._timer = self._clock.call_later(self._interval, self._again)
