"""Keeps a session alive, or ends it when nobody does (RFC 4028)."""

from __future__ import annotations

import weakref
from dataclasses import replace
from typing import TYPE_CHECKING

from signalbox.sip import sessiontimer
from signalbox.sip.ended import End
from signalbox.sip.errors import MessageError
from signalbox.sip.sessiontimer import LEAST_S, Refresh

if TYPE_CHECKING:
    from signalbox.sip.message import Request, Response
    from signalbox.sip.session import Session
    from signalbox.sip.transactions.base import Handle

RETRY_S = 10.0
"""A refresh that was refused, or had no turn, is tried again after so long."""

Fields = tuple[tuple[str, str], ...]


class Refreshing:
    """The timer of one session. ``held``: what was agreed last, None for no timer.

    ``least_s``: the greatest Min-SE that the other party told.
    """

    __slots__ = ("_end", "_next", "_session", "held", "least_s")

    def __init__(self, session: Session) -> None:
        self.held: Refresh | None = None
        self.least_s = LEAST_S
        # It has us, and nobody else: neither is to wait for the collector when it is dropped.
        self._session: Session = weakref.proxy(session)
        self._next: Handle | None = None
        self._end: Handle | None = None

    def fields(self) -> Fields:
        """Of our re-INVITE or UPDATE: what holds goes on. Without a timer none is asked for."""
        return () if self.held is None else sessiontimer.ask(self._session.ua.policy, self.held, self.least_s)

    def answer(self, request: Request) -> tuple[Refresh | None, Fields]:
        """What is to hold after our 2xx to an INVITE or UPDATE, and the fields of that. Raises MessageError (422)."""
        policy = self._session.ua.policy
        # Who leaves the field out of one request does not mean that the call may live for ever.
        return sessiontimer.answer(request, policy if self.held is None else replace(policy, always=True))

    def hold(self, refresh: Refresh | None) -> None:
        """A 2xx has gone: its time begins."""
        self.stop()
        self.held = refresh
        if refresh is None:
            return
        clock = self._session.ua.transactions.clock
        self._end = clock.call_later(refresh.end_after_s, self._expired)
        if refresh.by_us:
            self._next = clock.call_later(refresh.refresh_after_s, self._refresh)

    def on_ok(self, response: Response) -> None:
        """A 2xx to an INVITE or UPDATE of ours has come. What it says wrongly of the timer counts as nothing."""
        try:
            self.hold(sessiontimer.agreed(response))
        except MessageError:
            self.hold(None)

    def too_short(self, response: Response) -> bool:
        """A 422 has come. Whether :meth:`fields` ask for a longer time now."""
        try:
            self.least_s = sessiontimer.ask_again_s(response, self.least_s)
        except MessageError:
            return False
        return self.held is not None

    def try_again(self) -> None:
        """Our refresh was not taken. There is time left to try."""
        self._next = self._session.ua.transactions.clock.call_later(RETRY_S, self._refresh)

    def stop(self) -> None:
        """The session is over, or the time begins anew."""
        for timer in (self._next, self._end):
            if timer is not None:
                timer.cancel()
        self._next = self._end = None

    def _refresh(self) -> None:
        self._next = None
        if not self._session.refresh():
            self.try_again()

    def _expired(self) -> None:
        self.stop()
        self._session.lost(End.EXPIRED)
