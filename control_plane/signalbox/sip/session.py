"""One dialog of a call: what both parties ask in it, until the last answer has come (RFC 3261 sections 12 to 15)."""

from __future__ import annotations

import contextlib
from typing import TYPE_CHECKING, Protocol

from signalbox.sip import changes, content
from signalbox.sip.acknowledged import UntilAcknowledged
from signalbox.sip.dialog import Dialog
from signalbox.sip.digest import CredentialsError
from signalbox.sip.ended import End
from signalbox.sip.errors import MessageError, SipError
from signalbox.sip.headers import split_values
from signalbox.sip.message import Headers, Request, response
from signalbox.sip.offeranswer import Carrier, OfferAnswer, OutOfTurnError
from signalbox.sip.offering import Offering
from signalbox.sip.refreshing import Refreshing
from signalbox.sip.reliable import ReliableReceiver

if TYPE_CHECKING:
    import asyncio
    from collections.abc import Callable, Sequence

    from signalbox.sip.digest import DigestClient
    from signalbox.sip.message import Message, Response
    from signalbox.sip.provisional import Provisionals
    from signalbox.sip.sdp import SessionDescription
    from signalbox.sip.source import TransportError
    from signalbox.sip.transactions.client import ClientTransaction
    from signalbox.sip.transactions.server import ServerTransaction
    from signalbox.sip.useragent import UserAgent


_NOT_SERVED = (405, 501)
"""With these the other party serves no UPDATE, whatever it has told."""


class Owner(Protocol):
    """The call that a session belongs to. ``on_offer``: answers offers in it; None refuses them."""

    on_offer: changes.OnOffer | None

    def on_bye(self, request: Request, /) -> None:
        """The other party has hung up. The BYE is answered, the session closed."""

    def on_acknowledged(self) -> None:
        """A 2xx of ours is acknowledged."""

    def on_lost(self, why: End, /) -> None:
        """A 2xx of ours is not, for 64 * T1, or the call cannot go on for another reason. The session hangs up."""


class Session:
    """Known to the user agent by its dialog until :meth:`close`, or until a BYE is answered.

    ``owns_call_id``: we have made the call; ``refreshing``: the timer of the session.
    ``provisionals``: of ours to the INVITE, if PRACK is due for them; ``received``: of the other party.
    """

    __slots__ = (
        "__weakref__",
        "_acknowledge_again",
        "_allow",
        "_bye",
        "_change",
        "_offering",
        "_ok",
        "dialog",
        "digest",
        "owner",
        "owns_call_id",
        "provisionals",
        "received",
        "refreshing",
        "turns",
        "ua",
    )

    def __init__(
        self,
        ua: UserAgent,
        dialog: Dialog,
        owner: Owner,
        turns: OfferAnswer,
        digest: DigestClient | None = None,
        *,
        owns_call_id: bool = False,
    ) -> None:
        self.dialog = dialog
        self.turns = turns
        self.digest = digest
        self.owns_call_id = owns_call_id
        self.refreshing = Refreshing(self)
        self._allow: Sequence[str] = ()
        self.provisionals: Provisionals | None = None
        self.received = ReliableReceiver()
        self._acknowledge_again: Callable[[], None] | None = None
        self.ua = ua
        self.owner = owner
        self._ok: UntilAcknowledged | None = None
        self._change: changes.Change | None = None
        self._offering: Offering | None = None
        self._bye: tuple[tuple[str, str], ...] | None = None
        ua.sessions[dialog.key] = self

    def accepted(self, tx: ServerTransaction, cseq: int) -> None:
        """A 2xx to an INVITE of the other party was sent, for which an ACK is due."""
        self.dialog.confirm()
        layer = self.ua.transactions
        self._ok = UntilAcknowledged(tx, cseq, layer.clock, layer.timers, lambda: self.lost(End.UNACKNOWLEDGED))

    def changed(self, change: changes.Change) -> None:
        """A change that waited for our answer has it."""
        if self._change is change:
            self._change = None

    def acknowledge(
        self, cseq: int, headers: Sequence[tuple[str, str]] = (), description: SessionDescription | None = None
    ) -> None:
        """Send the ACK of a 2xx to our INVITE of that number; ``description``: the answer to an offer in the 2xx."""
        hop = self.dialog.next_hop
        ack = self.dialog.ack(cseq, headers)
        if description is not None:
            content.carry(ack, description)
        self._acknowledge_again = self.ua.transactions.send_ack(ack, hop.transport, hop.address)

    def acknowledge_request(self, invite: Request, description: SessionDescription | None = None) -> None:
        """As :meth:`acknowledge`, for this INVITE of ours: with its credentials (section 22.1)."""
        names = ("Authorization", "Proxy-Authorization")
        told = [(name, value) for name in names for value in invite.headers.all(name)]
        self.acknowledge(invite.cseq.number, told, description)

    def acknowledge_again(self) -> None:
        """The 2xx has come again."""
        if self._acknowledge_again is not None:
            self._acknowledge_again()

    def heard(self, message: Message) -> None:
        """A message of the other party tells what it serves, if it has Allow."""
        self._allow = message.headers.lines("Allow") or self._allow

    @property
    def takes_update(self) -> bool:
        """The other party has told that it serves UPDATE (RFC 3311 section 5.1)."""
        return any("UPDATE" in split_values(line) for line in self._allow)

    @property
    def refreshed(self) -> asyncio.Future[None] | None:
        """Resolved when our refresh of the session is over; None if there is none under way."""
        return self._offering.done if self._offering is not None and self._offering.refreshes else None

    def offer(self, description: SessionDescription) -> Offering:
        """Change the session: by re-INVITE, or before the answer by UPDATE, as RFC 3311 section 5.1 recommends.

        Raises OutOfTurnError if another change is under way, or UPDATE is not served or not yet possible.
        """
        if self._offering is not None:
            raise OutOfTurnError(Carrier.INVITE, "a change of ours is under way")
        if not self.dialog.is_confirmed and not self.takes_update:
            raise OutOfTurnError(Carrier.UPDATE, "the call is not answered yet, and the other party takes no UPDATE")
        carrier = Carrier.INVITE if self.dialog.is_confirmed else Carrier.UPDATE
        self._offering = Offering(self, carrier, description)
        return self._offering

    def refresh(self) -> bool:
        """Tell that the session lives. False if it is not the time for that: a change is under way."""
        if self._offering is None:
            with contextlib.suppress(OutOfTurnError):
                if self.takes_update:
                    self._offering = Offering(self, Carrier.UPDATE, None, refreshes=True)
                else:
                    self._offering = Offering(self, Carrier.INVITE, self.turns.local, refreshes=True)
                return True
        return False

    def offered(self, offering: Offering) -> None:
        """A change of ours is decided."""
        self._offering = None
        if offering.refreshes and offering.refusal:
            if offering.refusal in _NOT_SERVED:
                self._allow = ()
            self.refreshing.try_again()

    def hang_up(self, headers: Sequence[tuple[str, str]] = ()) -> None:
        """Send BYE: now, or if a 2xx of ours waits for its ACK, after that (section 15)."""
        if self._bye is None:
            self._bye = tuple(headers)
            self._end_changes()
            if self._ok is None:
                self._send_bye()

    def lost(self, why: End) -> None:
        """The call cannot go on: its owner is told, and BYE is sent."""
        self._stop_waiting()
        self.owner.on_lost(why)
        if self._bye is None:
            self._bye = ()
            self._end_changes()
        self._send_bye()

    def close(self) -> None:
        """Forget the dialog. Its requests are answered 481 from now on."""
        self._stop_waiting()
        self._end_changes()
        self.ua.forget(self.dialog.key)
        # The call has us: it could not be freed when it is dropped.
        self.owner = _NOBODY
        self.provisionals = None

    # What comes in.

    def on_request(self, tx: ServerTransaction, request: Request) -> None:
        """A request in the dialog, never an ACK."""
        try:
            self.dialog.accept(request)
        except MessageError as error:
            self.ua.refuse(tx, request, error)
            return
        if request.method == "BYE":
            tx.respond(response(request, 200))
            owner = self.owner
            self.close()
            owner.on_bye(request)
        elif self._bye is not None:
            tx.respond(response(request, 481))
        elif request.method == "INVITE" and self._ok is not None:
            # The last one is not acknowledged yet.
            tx.respond(response(request, 491))
        elif request.method in ("INVITE", "UPDATE"):
            self.heard(request)
            self._change = changes.take(self, tx, request) or self._change
        elif request.method == "PRACK" and self.provisionals is not None:
            self._take_prack(self.provisionals, tx, request)
        else:
            self.ua.answer_other(tx, request)

    def on_ack(self, request: Request) -> None:
        """The ACK of a 2xx, perhaps once more."""
        if self._ok is None or request.cseq.number != self._ok.cseq:
            return
        self._stop_waiting()
        try:
            self.turns.received(Carrier.ACK, content.description(request))
        except SipError:
            self.lost(End.BROKEN)
            return
        if self._bye is not None:
            self._send_bye()
        self.owner.on_acknowledged()

    # What became of our BYE: whatever it is, the dialog is over (section 15.1.1).

    def on_response(self, tx: ClientTransaction, response: Response, /) -> None:
        """An answer to our BYE."""
        if response.status in (401, 407) and self.digest is not None:
            with contextlib.suppress(CredentialsError, MessageError):
                self.digest.challenged(tx.request, response)
                self._send_bye()
                return
        if response.status >= 200:
            self.close()

    def on_timeout(self, tx: ClientTransaction, /) -> None:
        """No answer to our BYE."""
        self.close()

    def on_failure(self, tx: ClientTransaction, error: TransportError, /) -> None:
        """Our BYE could not be sent."""
        self.close()

    def _send_bye(self) -> None:
        bye = self.dialog.request("BYE", self._bye or ())
        if self.digest is not None:
            self.digest.authorize(bye)
        self.ua.send(bye, self.dialog.next_hop, self)

    def _take_prack(self, provisionals: Provisionals, tx: ServerTransaction, request: Request) -> None:
        try:
            provisionals.check(request)
        except MessageError as error:
            self.ua.refuse(tx, request, error)
        else:
            self._change = changes.take(self, tx, request) or self._change

    def _stop_waiting(self) -> None:
        if self._ok is not None:
            self._ok.stop()
            self._ok = None

    def _end_changes(self) -> None:
        self.refreshing.stop()
        if self._offering is not None:
            self._offering.stop()
        if self._change is not None:
            self._change.refuse(487)


class _Nobody:
    """Owns a dialog that exists to be ended, or is closed."""

    on_offer: changes.OnOffer | None = None

    def on_bye(self, request: Request, /) -> None:
        """It is ended already."""

    def on_acknowledged(self) -> None:
        """No 2xx of ours is in it."""

    def on_lost(self, why: End, /) -> None:
        """No 2xx of ours is in it."""


_NOBODY = _Nobody()


def orphan(ua: UserAgent, ok: Response, contact: tuple[str, str]) -> Session:
    """The dialog of a 2xx whose INVITE is forgotten: acknowledged and hung up. Raises MessageError if none can be."""
    there = ok.contact
    if there is None:
        raise MessageError("Contact", "is missing")
    fields = [("From", ok.headers.line("From")), ("Call-ID", ok.call_id), ("CSeq", str(ok.cseq)), contact]
    dialog = Dialog.as_client(Request("INVITE", str(there.uri), Headers(fields)), ok)
    session = Session(ua, dialog, _NOBODY, OfferAnswer())
    session.acknowledge(ok.cseq.number)
    session.hang_up()
    return session
