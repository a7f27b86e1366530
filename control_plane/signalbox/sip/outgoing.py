"""Calls that go out (RFC 3261 section 13.2)."""

from __future__ import annotations

import asyncio
import secrets
from dataclasses import dataclass
from typing import TYPE_CHECKING

import structlog

from signalbox.sip import content, sessiontimer
from signalbox.sip.call import Call
from signalbox.sip.dialog import MAX_FORWARDS, Dialog
from signalbox.sip.digest import CredentialsError
from signalbox.sip.ended import End, Ended
from signalbox.sip.errors import MessageError, SipError
from signalbox.sip.message import Headers, Request
from signalbox.sip.negotiation import NotAcceptableError
from signalbox.sip.offeranswer import Carrier, Meaning, OfferAnswer
from signalbox.sip.prack import Prack
from signalbox.sip.reliable import is_reliable
from signalbox.sip.session import Session
from signalbox.sip.sessiontimer import LEAST_S

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

    from signalbox.sip.digest import DigestClient
    from signalbox.sip.headers import NameAddr, RAck
    from signalbox.sip.message import Response
    from signalbox.sip.sdp import SessionDescription
    from signalbox.sip.source import Address, TransportError
    from signalbox.sip.transactions.base import Handle
    from signalbox.sip.transactions.client import ClientTransaction
    from signalbox.sip.transactions.client_invite import InviteClientTransaction
    from signalbox.sip.useragent import UserAgent

logger = structlog.get_logger(__name__)


@dataclass(frozen=True, slots=True)
class Invitation:
    """Whom to call. ``protocol``, ``remote``: where the INVITE goes, ``udp`` or ``tcp`` and an IP address with port.

    ``headers``: further fields, as Route; ``digest``: answers challenges, for this call or for all of a trunk.
    ``max_forwards``: fewer for a call that goes on with another one's (RFC 3261 section 16.6, RFC 7332).
    """

    uri: str
    from_: NameAddr
    to: NameAddr
    protocol: str
    remote: Address
    headers: tuple[tuple[str, str], ...] = ()
    call_id: str = ""
    """Empty: a new one."""
    digest: DigestClient | None = None
    max_forwards: int = MAX_FORWARDS
    expires_s: int | None = None
    """The call is given up if it has no answer after so long, and everybody on the way is told so (Expires)."""


class OutgoingCall(Call):
    """A call that :meth:`UserAgent.call` makes.

    ``on_progress``: told of each provisional response above 100, also of those of a forked INVITE; one that carries a
    description announces early media (section 13.2.1). ``final``: the response that decided the call, None before.
    ``arrived``: the other party has the INVITE, as a response has told, be it 100.

    Without an offer of ours ``on_offer`` answers the other party's. What it does not take ends the call: REFUSED, 488.
    """

    __slots__ = (
        "_acknowledged", "_answered", "_cseq", "_digest", "_early", "_expiry", "_invitation", "_invite", "_least_s",
        "_offer", "_session", "_tx", "arrived", "final", "on_progress",
    )  # fmt: skip

    def __init__(self, ua: UserAgent, invitation: Invitation, offer: SessionDescription | None) -> None:
        super().__init__(ua)
        self.on_progress: Callable[[Response], object] | None = None
        self.final: Response | None = None
        self.arrived = False
        self._invitation = invitation
        self._digest = invitation.digest
        self._offer = offer
        self._cseq = 1
        self._acknowledged = True
        self._answered = asyncio.Event()
        self._early: dict[str, Session] = {}
        self._session: Session | None = None
        self._least_s = LEAST_S
        self._invite = self._first_request()
        self._tx: InviteClientTransaction
        self._expiry: Handle | None = None
        if invitation.expires_s is not None:
            self._expiry = ua.transactions.clock.call_later(invitation.expires_s, self._expired)
        self._send()

    @property
    def call_id(self) -> str:
        return self._invite.call_id

    @property
    def local(self) -> SessionDescription | None:
        """Our description as agreed on; None before the answer."""
        return None if self._session is None else self._session.turns.local

    @property
    def remote(self) -> SessionDescription | None:
        """The other party's description as agreed on; None before the answer."""
        return None if self._session is None else self._session.turns.remote

    async def answered(self) -> None:
        """Wait for the answer, as long as it rings. Raises CallOverError, also if the call was answered and is over."""
        await self._answered.wait()
        self._must_live()

    def hang_up(self, headers: Iterable[tuple[str, str]] = ()) -> None:
        """End the call: with BYE if it is answered, else with CANCEL. Nothing happens if it is over.

        ``headers``: Reason (RFC 3326) and so on. An answer that crosses the CANCEL is acknowledged and ended.
        """
        if self.ended is not None:
            return
        self._give_up(Ended(End.CANCELLED if self._session is None else End.HUNG_UP, True), tuple(headers))

    # What comes in.

    def on_response(self, tx: ClientTransaction, response: Response, /) -> None:
        """A response to the INVITE."""
        self.arrived = True
        if response.status == 100 or tx is not self._tx:
            return
        if response.status < 200:
            self._on_provisional(response)
        elif response.status < 300:
            self._on_ok(response)
        else:
            self._on_refusal(response)

    def on_timeout(self, tx: ClientTransaction, /) -> None:
        """No final response in time."""
        self._fail(Ended(End.REFUSED, False, 408))

    def on_failure(self, tx: ClientTransaction, error: TransportError, /) -> None:
        """The INVITE could not be sent."""
        self._fail(Ended(End.UNSENT, False, 503))

    def on_bye(self, request: Request) -> None:
        """The other party has hung up. Before its answer that only ends one of the early dialogs."""
        if self._session is not None and request.from_tag == self._session.dialog.remote_tag:
            self._finish(Ended(End.HUNG_UP, False, reason=request.headers.get("Reason") or ""))
        self._early.pop(request.from_tag, None)

    def on_acknowledged(self) -> None:
        """A change of the session stands."""

    def on_lost(self, why: End) -> None:
        """The call cannot go on."""
        self._finish(Ended(why, False))

    # How it is done.

    def _dialog(self) -> Session | None:
        if self._session is None and len(self._early) == 1:
            return next(iter(self._early.values()))
        return self._session

    def _first_request(self) -> Request:
        of = self._invitation
        headers = Headers(
            [
                ("Max-Forwards", str(of.max_forwards)),
                ("From", f"{of.from_};tag={secrets.token_hex(8)}"),
                ("To", str(of.to)),
                ("Call-ID", of.call_id or secrets.token_hex(16)),
                ("CSeq", "1 INVITE"),
                self._ua.contact(of.protocol, of.remote),
                *self._ua.abilities,
                *sessiontimer.ask(self._ua.policy),
                *of.headers,
            ]
        )
        if of.expires_s is not None:
            headers.set("Expires", str(of.expires_s))
        made = Request("INVITE", of.uri, headers)
        if self._offer is not None:
            content.carry(made, self._offer)
        return made

    def _send(self) -> None:
        if self._digest is not None:
            self._digest.authorize(self._invite)
        of = self._invitation
        self._tx = self._ua.transactions.invite(self._invite, of.protocol, of.remote, self)

    def _on_provisional(self, response: Response) -> None:
        if self.ended is not None:
            return
        tag = response.to_tag
        if tag and tag not in self._early:
            try:
                self._early[tag] = self._begin(response)
            except MessageError:
                return
        if is_reliable(response) and not (tag and self._take_reliable(self._early[tag], response)):
            return
        if self.on_progress is not None:
            self.on_progress(response)

    def _take_reliable(self, session: Session, response: Response) -> bool:
        """Acknowledge a reliable response. False if it is not to be heard of: it is a repetition, or broken."""
        try:
            rack = session.received.take(response)
            if rack is None:
                return False
            offer = content.description(response)
            if session.turns.received(Carrier.RELIABLE, offer) is Meaning.OFFER:
                assert offer is not None
                self._ua.start(self._answer_by_prack(session, rack, offer), f"sip offer {self.call_id}")
            else:
                Prack(session, rack)
        except SipError:
            return False
        return True

    async def _answer_by_prack(self, session: Session, rack: RAck, offer: SessionDescription) -> None:
        answer = await self._answer_to(offer)
        if answer is not None and self.ended is None:
            Prack(session, rack, answer)

    async def _answer_by_ack(self, session: Session, offer: SessionDescription) -> None:
        answer = await self._answer_to(offer)
        if answer is not None and self.ended is None:
            session.turns.sent(Carrier.ACK, answer)
            session.acknowledge_request(self._invite, answer)
            self._acknowledged = True
            self._stands()

    async def _answer_to(self, offer: SessionDescription) -> SessionDescription | None:
        """Our answer to an offer that we left to the other party. None, and the call ends, if there is none."""
        try:
            if self.on_offer is not None:
                return await self.on_offer(offer)
            status = 488
        except NotAcceptableError as error:
            status = error.code
        except Exception:
            logger.exception("sip_offer_failed", call_id=self.call_id)
            status = 500
        if self.ended is None:
            self._give_up(Ended(End.REFUSED, True, status), ())
        return None

    def _give_up(self, ended: Ended, headers: tuple[tuple[str, str], ...]) -> None:
        if self._session is None:
            self._tx.cancel(headers)
        else:
            if not self._acknowledged:
                self._acknowledged = True
                self._session.acknowledge_request(self._invite)
            self._session.hang_up(headers)
        self._finish(ended)

    def _on_ok(self, response: Response) -> None:
        tag = response.to_tag
        session = self._early.get(tag)
        if session is not None and session.dialog.is_confirmed:
            session.acknowledge_again()
            return
        try:
            if session is None:
                session = self._early[tag] = self._begin(response)
            session.dialog.confirm(response)
        except MessageError:
            self._fail(Ended(End.BROKEN, False))
            return
        if self.ended is not None or self._session is not None:
            session.acknowledge_request(self._invite)
            session.hang_up()
            return
        self.final = response
        self._session = session
        session.heard(response)
        session.refreshing.least_s = self._least_s
        session.refreshing.on_ok(response)
        self._drop_early(keep=session)
        try:
            description = content.description(response)
            if session.turns.received(Carrier.OK, description) is Meaning.OFFER:
                assert description is not None
                self._acknowledged = False
                self._ua.start(self._answer_by_ack(session, description), f"sip offer {self.call_id}")
                return
            session.turns.sent(Carrier.ACK)
        except SipError:
            session.acknowledge_request(self._invite)
            session.hang_up()
            self._finish(Ended(End.BROKEN, False))
        else:
            session.acknowledge_request(self._invite)
            self._stands()

    def _on_refusal(self, response: Response) -> None:
        if self.ended is None and response.status in (401, 407) and self._digest is not None:
            try:
                self._digest.challenged(self._invite, response)
            except (CredentialsError, MessageError):
                pass
            else:
                self._again()
                return
        if response.status == 422 and self.ended is None and self._asks_longer(response):
            self._again()
            return
        self.final = response
        self._fail(Ended(End.REFUSED, False, response.status, response.headers.get("Reason") or ""))

    def _again(self) -> None:
        """The same INVITE once more, as the next request of the same call (section 8.1.3.5)."""
        # Early dialogs have counted on by their PRACKs.
        self._cseq = max([self._cseq, *(session.dialog.local_cseq for session in self._early.values())]) + 1
        self._drop_early()
        # A copy, for the transaction of the old one acknowledges it with its own number.
        self._invite = Request("INVITE", self._invite.uri, self._invite.headers.copy(), self._invite.body)
        self._invite.headers.remove("Via")
        self._invite.headers.set("CSeq", f"{self._cseq} INVITE")
        self._send()

    def _asks_longer(self, refused: Response) -> bool:
        """Whether the INVITE asks now for a session interval that the other party takes (RFC 4028 section 7.3)."""
        try:
            self._least_s = sessiontimer.ask_again_s(refused, self._least_s)
        except MessageError:
            return False
        for name, value in sessiontimer.ask(self._ua.policy, None, self._least_s):
            self._invite.headers.set(name, value)
        return True

    def _begin(self, response: Response) -> Session:
        turns = OfferAnswer()
        turns.sent(Carrier.INVITE, self._offer)
        dialog = Dialog.as_client(self._invite, response)
        session = Session(self._ua, dialog, self, turns, self._digest, owns_call_id=True)
        session.heard(response)
        return session

    def _stands(self) -> None:
        self._stop_expiry()
        self._answered.set()

    def _expired(self) -> None:
        """Section 13.2.1: the INVITE is valid no more."""
        self._give_up(Ended(End.EXPIRED, True), ())

    def _stop_expiry(self) -> None:
        if self._expiry is not None:
            self._expiry.cancel()

    def _drop_early(self, keep: Session | None = None) -> None:
        """Early dialogs end with the final response (section 13.2.2.4). Who answers too late begins a new one."""
        for tag, session in list(self._early.items()):
            if session is not keep and not session.dialog.is_confirmed:
                session.close()
                del self._early[tag]

    def _fail(self, ended: Ended) -> None:
        self._drop_early()
        self._finish(ended)

    def _finish(self, ended: Ended) -> None:
        self._end(ended)
        self.on_progress = None
        self._stop_expiry()
        self._answered.set()
