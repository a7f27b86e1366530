"""Calls that come in (RFC 3261 section 13.3)."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

from signalbox.sip import content, reliable, sessiontimer
from signalbox.sip.call import Call
from signalbox.sip.dialog import Dialog
from signalbox.sip.ended import End, Ended
from signalbox.sip.errors import SipError
from signalbox.sip.message import response
from signalbox.sip.offeranswer import Carrier, OfferAnswer, OutOfTurnError
from signalbox.sip.provisional import Provisionals
from signalbox.sip.session import Session

if TYPE_CHECKING:
    from collections.abc import Iterable

    from signalbox.sip.message import Request, Response
    from signalbox.sip.sdp import SessionDescription
    from signalbox.sip.sessiontimer import Refresh
    from signalbox.sip.source import TransportError
    from signalbox.sip.transactions.base import Handle
    from signalbox.sip.transactions.server_invite import InviteServerTransaction
    from signalbox.sip.useragent import UserAgent

Fields = tuple[tuple[str, str], ...]


class IncomingCall(Call):
    """A call that the user agent gives to its ``on_invite``.

    ``request``: the INVITE, whole. What is asked of a call that is over raises CallOverError, which tells how it ended:
    by CANCEL, by BYE, or otherwise. What is not our turn to say raises OutOfTurnError.
    """

    __slots__ = (
        "_acknowledged", "_answered", "_contact", "_expiry", "_provisionals", "_session", "_timer", "_turns", "_tx",
        "offer", "request",
    )  # fmt: skip

    def __init__(self, ua: UserAgent, tx: InviteServerTransaction, request: Request) -> None:
        """Raises MessageError if the INVITE is to be refused for what it says, and there is no call then."""
        self.request = request
        self.offer = content.description(request)
        """What the caller offers; None if the offer is left to us."""
        self._contact = ua.contact(tx.source.protocol, tx.source.remote)
        dialog = Dialog.as_callee(request, tx.tag, self._contact[1])
        self._timer: tuple[Refresh | None, Fields] = (None, ())
        if ua.policy.always or "Session-Expires" in request.headers:
            self._timer = sessiontimer.answer(request, ua.policy)
        self._turns = OfferAnswer()
        self._turns.received(Carrier.INVITE, self.offer)
        super().__init__(ua)
        self._tx = tx
        self._answered = False
        self._acknowledged: asyncio.Future[None] | None = None
        self._session = Session(ua, dialog, self, self._turns)
        self._session.heard(request)
        expires = request.headers.get("Expires")
        self._expiry: Handle | None = None
        if expires is not None:
            self._expiry = ua.transactions.clock.call_later(int(expires), self._expired)
        self._provisionals: Provisionals | None = None
        if reliable.has_option(request, "Require", reliable.OPTION):
            layer = ua.transactions
            self._provisionals = Provisionals(
                tx, request, self._turns, layer.clock, layer.timers, self._not_acknowledged
            )
            self._session.provisionals = self._provisionals
        tx.on_cancel = self._on_cancel
        tx.on_failure = self._on_failure

    @property
    def rings(self) -> bool:
        """The call lives, and has no final response yet."""
        return not self._answered and self.ended is None

    @property
    def accepted(self) -> bool:
        """It was answered with 200, whatever became of it."""
        return self._answered

    @property
    def local(self) -> SessionDescription | None:
        """Our description as agreed on; None before the first agreement."""
        return self._turns.local

    @property
    def remote(self) -> SessionDescription | None:
        """The caller's description as agreed on; None before the first agreement."""
        return self._turns.remote

    def ring(
        self, status: int = 180, description: SessionDescription | None = None, headers: Iterable[tuple[str, str]] = ()
    ) -> None:
        """Send a provisional response, 101 to 199.

        ``description``: the answer to come, for early media; every later one must be the same (section 13.2.1).

        To a caller who requires ``100rel`` each is sent when PRACK has come for the one before. ``description`` may
        then be our offer if there is no :attr:`offer`: nothing is sent before it.
        """
        if not 100 < status < 200:
            raise ValueError(f"a provisional response is 101 to 199, not {status}")
        self._must_ring()
        if self._provisionals is not None:
            made = self._response(status, (self._contact, *self._ua.abilities, *headers), None)
            self._provisionals.send(made, description)
            return
        if description is not None:
            self._turns.sent(Carrier.PROVISIONAL, description)
        self._tx.respond(self._response(status, (self._contact, *headers), description))

    async def answer(self, description: SessionDescription, headers: Iterable[tuple[str, str]] = ()) -> None:
        """Send 200, and wait for its ACK. ``description``: the answer to :attr:`offer`, or our offer if there is none;
        then the caller's answer is :attr:`remote`.

        A description that the caller has acknowledged by PRACK is waited for, and not sent again.
        Raises CallOverError, also if no ACK comes for 64 * T1 or the answer in it is missing.
        """
        self._must_ring()
        told = await self._told(description)
        self._turns.sent(Carrier.OK, told)
        refresh, timer = self._timer
        fields = (self._contact, *self._ua.abilities, *timer, *headers)
        self._answered = True
        self._respond_finally(self._response(200, fields, told))
        self._session.accepted(self._tx, self.request.cseq.number)
        self._session.refreshing.hold(refresh)
        self._acknowledged = asyncio.get_running_loop().create_future()
        await self._acknowledged
        self._must_live()

    def reject(self, status: int, reason: str = "", headers: Iterable[tuple[str, str]] = ()) -> None:
        """Refuse the call with 300 to 699. ``headers``: Contact of another place (3xx), Retry-After, Warning and so on.

        Raises CallOverError if the caller was quicker.
        """
        if not 300 <= status < 700:
            raise ValueError(f"a refusal is 300 to 699, not {status}")
        self._must_ring()
        self._refuse(status, Ended(End.REFUSED, True, status), reason, tuple(headers))

    def hang_up(self, headers: Iterable[tuple[str, str]] = ()) -> None:
        """End the call: with BYE if it is answered, else with 480. Nothing happens if it is over.

        ``headers``: Reason (RFC 3326) and so on. A BYE waits for the ACK of our 2xx; the call is over at once.
        """
        if self.ended is not None:
            return
        if self._answered:
            self._session.hang_up(tuple(headers))
            self._finish(Ended(End.HUNG_UP, True))
        else:
            self._refuse(480, Ended(End.REFUSED, True, 480), "", tuple(headers))

    # What comes in.

    def on_bye(self, request: Request) -> None:
        """The caller has hung up, before the call was answered or after."""
        ended = Ended(End.HUNG_UP, False, reason=request.headers.get("Reason") or "")
        if not self._answered:
            self._respond_finally(response(self.request, 487, tag=self._tx.tag))
        self._finish(ended)

    def on_acknowledged(self) -> None:
        """The call stands, or a change of it does."""
        if self._acknowledged is not None and not self._acknowledged.done():
            self._acknowledged.set_result(None)

    def on_lost(self, why: End) -> None:
        """The call cannot go on."""
        self._finish(Ended(why, False))

    def _on_cancel(self, cancel: Request) -> None:
        ended = Ended(End.CANCELLED, False, 487, cancel.headers.get("Reason") or "")
        self._refuse(487, ended, "", ())

    def _on_failure(self, error: TransportError) -> None:
        """A provisional response could not be sent, and the transaction is over."""
        self._wait_no_more()
        self._session.close()
        self._finish(Ended(End.UNSENT, False))

    # How it is done.

    def _dialog(self) -> Session | None:
        return self._session

    async def _told(self, description: SessionDescription) -> SessionDescription | None:
        """What of a description the 2xx must have: nothing if it is agreed on already."""
        if self._provisionals is None:
            return description
        await self._provisionals.settled()
        self._must_ring()
        if self._turns.local is None:
            return description
        if description != self._provisionals.promised:
            raise OutOfTurnError(Carrier.OK, "the description must be the one told before")
        return None

    def _expired(self) -> None:
        """The INVITE was to be answered by now (RFC 3261 section 13.3.1)."""
        self._refuse(487, Ended(End.EXPIRED, False, 487), "", ())

    def _not_acknowledged(self) -> None:
        """No PRACK has come for a provisional response (RFC 3262 section 3)."""
        self._refuse(504, Ended(End.UNACKNOWLEDGED, False, 504), "", ())

    def _refuse(self, status: int, ended: Ended, reason: str, fields: Fields) -> None:
        self._session.close()
        self._respond_finally(response(self.request, status, reason, tag=self._tx.tag, headers=fields))
        self._finish(ended)

    def _respond_finally(self, final: Response) -> None:
        self._tx.respond(final)
        self._wait_no_more()
        # The transaction outlives the call, which is not to be kept for that.
        self._tx.on_cancel = self._tx.on_failure = None

    def _wait_no_more(self) -> None:
        """The INVITE has its final response, or none can be sent."""
        if self._expiry is not None:
            self._expiry.cancel()
        if self._provisionals is not None:
            self._provisionals.stop()
            self._provisionals = None

    def _response(self, status: int, fields: Fields, description: SessionDescription | None) -> Response:
        made = response(self.request, status, tag=self._tx.tag, headers=fields)
        if description is not None:
            content.carry(made, description)
        return made

    def _must_ring(self) -> None:
        """Before the final response alone."""
        self._must_live()
        if self._answered:
            raise SipError("the call is answered already")

    def _finish(self, ended: Ended) -> None:
        self._end(ended)
        self.on_acknowledged()
