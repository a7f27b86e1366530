"""What the other party changes in a session: re-INVITE, UPDATE and PRACK (RFC 3261 section 14.2, RFC 3311, 3262)."""

from __future__ import annotations

import secrets
from typing import TYPE_CHECKING

import structlog

from signalbox.sip import content
from signalbox.sip.errors import MessageError
from signalbox.sip.message import response
from signalbox.sip.negotiation import NotAcceptableError
from signalbox.sip.offeranswer import Carrier, Meaning, RefusedError
from signalbox.sip.transactions.server_invite import InviteServerTransaction

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

    from signalbox.sip.message import Request, Response
    from signalbox.sip.refreshing import Fields
    from signalbox.sip.sdp import SessionDescription
    from signalbox.sip.session import Session
    from signalbox.sip.sessiontimer import Refresh
    from signalbox.sip.transactions.server import ServerTransaction

    OnOffer = Callable[[SessionDescription], Awaitable[SessionDescription]]
    """Gives our answer to an offer, or raises NotAcceptableError, and then the session stays what it is."""

logger = structlog.get_logger(__name__)

_ANSWERED_BY = {
    Carrier.INVITE: Carrier.OK,
    Carrier.UPDATE: Carrier.UPDATE_OK,
    Carrier.PRACK: Carrier.PRACK_OK,
}


def take(session: Session, tx: ServerTransaction, request: Request) -> Change | None:
    """Take an INVITE, UPDATE or PRACK in a dialog. What is refused at once, or needs nobody's word, is answered here:
    None."""
    carrier = Carrier(request.method)
    refresh: Refresh | None = None
    fields: Fields = ()
    try:
        if carrier is not Carrier.PRACK:
            refresh, fields = session.refreshing.answer(request)
        offer = content.description(request)
        meaning = session.turns.received(carrier, offer)
    except MessageError as error:
        session.ua.refuse(tx, request, error)
        return None
    except RefusedError as error:
        wait = []
        if error.retry_after_s is not None:
            first, last = error.retry_after_s
            wait.append(("Retry-After", str(first + secrets.randbelow(last - first + 1))))
        tx.respond(response(request, error.code, headers=wait))
        return None
    if carrier is Carrier.PRACK and session.provisionals is not None:
        session.provisionals.acknowledged()
    change = Change(session, tx, request, carrier, refresh, fields)
    if meaning is not Meaning.OFFER and carrier is not Carrier.INVITE:
        change.accept(None)
    elif offer is None or offer == session.turns.remote:
        # Nothing is changed: the session is refreshed, or what we would offer is asked for.
        change.accept(session.turns.local)
    elif session.owner.on_offer is None:
        change.refuse(488)
    else:
        session.ua.start(change.ask(session.owner.on_offer, offer), f"sip offer {request.call_id}")
        return change
    return None


class Change:
    """An INVITE, UPDATE or PRACK of the other party that waits for our answer. ``refresh``: the session timer that then
    holds, and ``fields`` of the 2xx that tell so."""

    __slots__ = ("_carrier", "_fields", "_is_open", "_refresh", "_request", "_session", "_tx")

    def __init__(
        self,
        session: Session,
        tx: ServerTransaction,
        request: Request,
        carrier: Carrier,
        refresh: Refresh | None,
        fields: Fields,
    ) -> None:
        self._refresh = refresh
        self._fields = fields
        self._session = session
        self._tx = tx
        self._request = request
        self._carrier = carrier
        self._is_open = True
        if isinstance(tx, InviteServerTransaction):
            tx.on_cancel = lambda _: self.refuse(487)

    async def ask(self, on_offer: OnOffer, offer: SessionDescription) -> None:
        """Have the call answer the offer."""
        try:
            answer = await on_offer(offer)
        except NotAcceptableError as error:
            self.refuse(error.code, ("Warning", f'{error.warning} signalbox "{error.why}"'))
        except Exception:
            logger.exception("sip_offer_failed", call_id=self._request.call_id)
            self.refuse(500)
        else:
            self.accept(self._session.turns.next(answer))

    def accept(self, description: SessionDescription | None) -> None:
        """Answer 200. Nothing happens if the request was cancelled, or the call has ended meanwhile."""
        if not self._is_open:
            return
        session = self._session
        if self._carrier is not Carrier.PRACK:
            try:
                session.dialog.refresh(self._request)
            except MessageError as error:
                self.refuse(error.code)
                return
        session.turns.sent(_ANSWERED_BY[self._carrier], description)
        self._respond(self._ok(description))
        if self._carrier is not Carrier.PRACK:
            session.refreshing.hold(self._refresh)
        if self._carrier is Carrier.INVITE:
            session.accepted(self._tx, self._request.cseq.number)

    def refuse(self, status: int, *fields: tuple[str, str]) -> None:
        """Answer so. The session stays what it is."""
        if self._is_open:
            self._session.turns.refused(self._carrier, by_us=False)
            self._respond(response(self._request, status, headers=fields))

    def _respond(self, final: Response) -> None:
        self._is_open = False
        self._session.changed(self)
        if isinstance(self._tx, InviteServerTransaction):
            self._tx.on_cancel = None
        self._tx.respond(final)

    def _ok(self, description: SessionDescription | None) -> Response:
        source = self._tx.source
        ua = self._session.ua
        fields = (ua.contact(source.protocol, source.remote), *ua.abilities, *self._fields)
        made = response(self._request, 200, headers=() if self._carrier is Carrier.PRACK else fields)
        if description is not None:
            content.carry(made, description)
        return made
