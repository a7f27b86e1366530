"""Provisional responses of ours that must arrive: one after the other, each sent again until its PRACK (RFC 3262)."""

from __future__ import annotations

import asyncio
import secrets
from collections import deque
from typing import TYPE_CHECKING

from signalbox.sip import content
from signalbox.sip.offeranswer import Carrier, OutOfTurnError
from signalbox.sip.reliable import FIRST_RSEQ_MAX, ReliableSender

if TYPE_CHECKING:
    from collections.abc import Callable

    from signalbox.sip.message import Request, Response
    from signalbox.sip.offeranswer import OfferAnswer
    from signalbox.sip.sdp import SessionDescription
    from signalbox.sip.timers import Timers
    from signalbox.sip.transactions.base import Clock, Handle
    from signalbox.sip.transactions.server import ServerTransaction


class Provisionals:
    """Those to one INVITE, ``request``, whose caller requires ``100rel``.

    ``gave_up`` is called if no PRACK came for 64 * T1.
    ``promised``: the description that they tell, None before one does.
    """

    __slots__ = (
        "_clock", "_gave_up", "_idle", "_interval", "_left", "_numbers", "_timer", "_turns", "_tx", "_waiting",
        "_whole", "promised",
    )  # fmt: skip

    def __init__(
        self,
        tx: ServerTransaction,
        request: Request,
        turns: OfferAnswer,
        clock: Clock,
        timers: Timers,
        gave_up: Callable[[], object],
    ) -> None:
        self._tx = tx
        self._turns = turns
        self._clock = clock
        self._gave_up = gave_up
        self._numbers = ReliableSender(request, 1 + secrets.randbelow(FIRST_RSEQ_MAX))
        self._waiting: deque[tuple[Response, SessionDescription | None]] = deque()
        self.promised: SessionDescription | None = None
        self._interval = timers.t1
        self._whole = timers.whole
        self._left = 0.0
        self._timer: Handle | None = None
        self._idle: asyncio.Future[None] | None = None

    def send(self, response: Response, description: SessionDescription | None) -> None:
        """Send a response, after the PRACK of the one before. ``description``: the same in all; goes out once.

        The first one must have an offer if the INVITE left it to us (RFC 3261 section 13.2.1): what has none before
        that is not sent. Raises OutOfTurnError.
        """
        if description is not None and self.promised is not None:
            if description != self.promised:
                raise OutOfTurnError(Carrier.RELIABLE, "the description must be the one told before")
            description = None
        elif description is not None:
            self.promised = description
        elif self.promised is None and self._turns.offered is None:
            return
        self._waiting.append((response, description))
        self._next()

    def check(self, prack: Request) -> None:
        """Raises MessageError if no response waits for this PRACK."""
        self._numbers.check(prack)

    def acknowledged(self) -> None:
        """The PRACK that was checked is taken."""
        self._numbers.close()
        self._rest()
        self._next()

    async def settled(self) -> None:
        """Wait until a 2xx may be sent: it must not overtake a description (section 3). What waits to be sent is left
        out, for the 2xx says more."""
        self._waiting.clear()
        while not self._numbers.may_answer and self._timer is not None:
            self._idle = self._idle or asyncio.get_running_loop().create_future()
            await asyncio.shield(self._idle)

    def stop(self) -> None:
        """There is a final response. A PRACK that is still to come is taken."""
        self._waiting.clear()
        self._rest()

    def _next(self) -> None:
        if self._numbers.is_open or not self._waiting:
            return
        response, description = self._waiting.popleft()
        self._turns.sent(Carrier.RELIABLE, description)
        for name, value in self._numbers.next(description is not None):
            response.headers.add(name, value)
        if description is not None:
            content.carry(response, description)
        self._left = self._whole
        self._tx.respond(response)
        self._again_in(self._whole / 64)

    def _again_in(self, seconds: float) -> None:
        self._interval = seconds
        self._timer = self._clock.call_later(seconds, self._again)

    def _again(self) -> None:
        self._left -= self._interval
        if self._left <= 0:
            self._timer = None
            self._gave_up()
            return
        self._tx.retransmit()
        self._again_in(min(2 * self._interval, self._left))

    def _rest(self) -> None:
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
        if self._idle is not None:
            self._idle.set_result(None)
            self._idle = None
