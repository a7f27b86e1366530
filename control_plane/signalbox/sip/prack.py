"""Our PRACK of a reliable provisional response (RFC 3262 section 4)."""

from __future__ import annotations

import contextlib
from typing import TYPE_CHECKING

from signalbox.sip import content
from signalbox.sip.digest import CredentialsError
from signalbox.sip.errors import MessageError, SipError
from signalbox.sip.offeranswer import Carrier

if TYPE_CHECKING:
    from signalbox.sip.headers import RAck
    from signalbox.sip.message import Request, Response
    from signalbox.sip.sdp import SessionDescription
    from signalbox.sip.session import Session
    from signalbox.sip.source import TransportError
    from signalbox.sip.transactions.client import ClientTransaction


class Prack:
    """Sent when it is made. What becomes of it decides nothing: the final response of the INVITE does."""

    __slots__ = ("_description", "_rack", "_session")

    def __init__(self, session: Session, rack: RAck, description: SessionDescription | None = None) -> None:
        """``description``: the answer to an offer in the response."""
        self._session = session
        self._rack = rack
        self._description = description
        session.turns.sent(Carrier.PRACK, description)
        self._send()

    def on_response(self, tx: ClientTransaction, response: Response, /) -> None:
        """A response to the PRACK."""
        digest = self._session.digest
        if response.status in (401, 407) and digest is not None:
            with contextlib.suppress(CredentialsError, MessageError):
                digest.challenged(tx.request, response)
                self._send()
        elif 200 <= response.status < 300:
            with contextlib.suppress(SipError):
                self._session.turns.received(Carrier.PRACK_OK, content.description(response))

    def on_timeout(self, tx: ClientTransaction, /) -> None:
        """No response."""

    def on_failure(self, tx: ClientTransaction, error: TransportError, /) -> None:
        """It could not be sent."""

    def _send(self) -> None:
        session = self._session
        made = self._request()
        if session.digest is not None:
            session.digest.authorize(made)
        session.ua.send(made, session.dialog.next_hop, self)

    def _request(self) -> Request:
        fields = [("RAck", str(self._rack))]
        if self._description is None:
            return self._session.dialog.request("PRACK", fields)
        return self._session.dialog.request("PRACK", fields, self._description.encode(), content.TYPE)
