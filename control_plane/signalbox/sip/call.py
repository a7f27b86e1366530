"""What calls in both directions share: they end once, and whoever waits for that is told how."""

from __future__ import annotations

import asyncio
from abc import ABC, abstractmethod
from typing import TYPE_CHECKING

from signalbox.sip.ended import CallOverError
from signalbox.sip.errors import SipError
from signalbox.sip.offering import OfferRefusedError

if TYPE_CHECKING:
    from collections.abc import Iterable

    from signalbox.sip.changes import OnOffer
    from signalbox.sip.ended import Ended
    from signalbox.sip.sdp import SessionDescription
    from signalbox.sip.session import Session
    from signalbox.sip.useragent import UserAgent


class Call(ABC):
    """A call. ``ended``: how it ended; None while it lives.

    ``on_offer``: a coroutine function that answers each offer by which the other party changes the session, holds us or
    takes us back; while None, changes are refused with 488. What only refreshes the session never comes to it.
    """

    __slots__ = ("_over", "_ua", "ended", "on_offer")

    def __init__(self, ua: UserAgent) -> None:
        self.on_offer: OnOffer | None = None
        self.ended: Ended | None = None
        self._ua = ua
        self._over = asyncio.Event()
        ua.calls.add(self)

    async def over(self) -> Ended:
        """Wait until the call ends. A BYE of ours may still be on its way then."""
        await self._over.wait()
        assert self.ended is not None
        return self.ended

    async def change(self, description: SessionDescription) -> SessionDescription:
        """Change the session: the other party's answer. Before the call is answered that takes a description that is
        agreed on already, as by PRACK, and a party that serves UPDATE (RFC 3311).

        Raises OfferRefusedError, and the session is what it was; OutOfTurnError if another change is under way;
        CallOverError.
        """
        self._must_live()
        session = self._dialog()
        if session is None:
            raise SipError("the call is not answered yet")
        while (refreshed := session.refreshed) is not None:
            await asyncio.shield(refreshed)
            self._must_live()
        offering = session.offer(description)
        await asyncio.shield(offering.done)
        self._must_live()
        if offering.refusal:
            raise OfferRefusedError(offering.refusal)
        assert session.turns.remote is not None
        return session.turns.remote

    @abstractmethod
    def hang_up(self, headers: Iterable[tuple[str, str]] = ()) -> None:
        """End the call. Nothing happens if it is over."""

    @abstractmethod
    def _dialog(self) -> Session | None:
        """The one dialog that the call has; None if there is none yet, or several."""

    def _end(self, ended: Ended) -> None:
        """The call has ended. Only the first time counts."""
        if self.ended is None:
            self.ended = ended
            self.on_offer = None
            self._over.set()
            self._ua.calls.discard(self)

    def _must_live(self) -> None:
        if self.ended is not None:
            raise CallOverError(self.ended)
