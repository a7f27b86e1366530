"""What we change in a session: a re-INVITE or UPDATE of ours, again after glare (RFC 3261 section 14.1, RFC 3311)."""

from __future__ import annotations

import asyncio
import secrets
from typing import TYPE_CHECKING

from signalbox.sip import content
from signalbox.sip.digest import CredentialsError
from signalbox.sip.ended import End
from signalbox.sip.errors import MessageError, SipError
from signalbox.sip.offeranswer import Carrier, glare_window_s

if TYPE_CHECKING:
    from signalbox.sip.message import Request, Response
    from signalbox.sip.sdp import SessionDescription
    from signalbox.sip.session import Session
    from signalbox.sip.source import TransportError
    from signalbox.sip.transactions.base import Handle
    from signalbox.sip.transactions.client import ClientTransaction

_GONE = (408, 481)
"""With these the other party has no call any more (section 14.1)."""


class OfferRefusedError(SipError):
    """The other party takes no change: the session is what it was. ``code``: of its final response."""

    def __init__(self, code: int) -> None:
        super().__init__(f"the offer was refused with {code}")
        self.code = code


class Offering:
    """``done``: resolved when there is an answer, a refusal, or no call any more.

    After a 491 the offer is made again, as often as both parties do so at once. ``refreshes``: it was made for the
    session timer alone; ``refusal``: the final response other than 2xx, else 0.
    """

    __slots__ = (
        "_acknowledged", "_again", "_carrier", "_description", "_request", "_session", "done", "refreshes", "refusal",
    )  # fmt: skip

    def __init__(
        self, session: Session, carrier: Carrier, description: SessionDescription | None, *, refreshes: bool = False
    ) -> None:
        """``carrier``: INVITE or UPDATE; an UPDATE may be without a description.

        Raises OutOfTurnError, and nothing is sent then.
        """
        self.done: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self.refusal = 0
        self.refreshes = refreshes
        self._session = session
        self._carrier = carrier
        self._description = None if description is None else session.turns.next(description)
        self._acknowledged = False
        self._again: Handle | None = None
        self._request: Request
        self._send()

    def stop(self) -> None:
        """The call is over. An answer that comes yet is acknowledged."""
        if self._again is not None:
            self._again.cancel()
            self._again = None
        self._finish()

    def on_response(self, tx: ClientTransaction, response: Response, /) -> None:
        """A response to the request."""
        status = response.status
        if status < 200:
            return
        if status < 300:
            self._on_ok(response)
            return
        self._session.turns.refused(self._carrier, by_us=True)
        if self.done.done():
            return
        if status == 491:
            self._wait()
        elif (status in (401, 407) and self._challenged(response)) or (
            status == 422 and self._session.refreshing.too_short(response)
        ):
            self._send()
        elif status in _GONE:
            self._session.lost(End.GONE)
        else:
            self.refusal = status
            self._finish()

    def on_timeout(self, tx: ClientTransaction, /) -> None:
        """No final response in time."""
        if not self.done.done():
            self._session.lost(End.GONE)

    def on_failure(self, tx: ClientTransaction, error: TransportError, /) -> None:
        """The request could not be sent."""
        if not self.done.done():
            self._session.lost(End.UNSENT)

    def _send(self) -> None:
        session = self._session
        session.turns.sent(self._carrier, self._description)
        made = session.dialog.request(self._carrier.value, (*session.ua.abilities, *session.refreshing.fields()))
        if self._description is not None:
            content.carry(made, self._description)
        if session.digest is not None:
            session.digest.authorize(made)
        self._request = made
        session.ua.send(made, session.dialog.next_hop, self)

    def _on_ok(self, response: Response) -> None:
        session = self._session
        if self._acknowledged:
            session.acknowledge_again()
            return
        self._acknowledged = True
        invites = self._carrier is Carrier.INVITE
        try:
            try:
                session.dialog.refresh(response)
            finally:
                if invites:
                    session.acknowledge_request(self._request)
            session.turns.received(Carrier.OK if invites else Carrier.UPDATE_OK, content.description(response))
            if invites:
                session.turns.sent(Carrier.ACK)
        except SipError:
            if not self.done.done():
                session.lost(End.BROKEN)
        else:
            if not self.done.done():
                session.refreshing.on_ok(response)
            self._finish()

    def _challenged(self, response: Response) -> bool:
        """Whether the credentials that are asked for are known."""
        if self._session.digest is None:
            return False
        try:
            self._session.digest.challenged(self._request, response)
        except (CredentialsError, MessageError):
            return False
        return True

    def _wait(self) -> None:
        first, last = glare_window_s(self._session.owns_call_id)
        wait_s = first + secrets.randbelow(round((last - first) * 100) + 1) / 100
        self._again = self._session.ua.transactions.clock.call_later(wait_s, self._try_again)

    def _try_again(self) -> None:
        self._again = None
        turns = self._session.turns
        if turns.may_invite if self._carrier is Carrier.INVITE else turns.may_offer:
            self._send()
        else:
            self._wait()

    def _finish(self) -> None:
        if not self.done.done():
            self.done.set_result(None)
            self._session.offered(self)
