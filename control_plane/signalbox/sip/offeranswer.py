"""Whose turn it is to describe the session: offers and answers in the messages of one dialog (RFC 3261 section 13.2.1
and 14, RFC 3262 section 5, RFC 3311 section 5, RFC 6337).

====  ===========  ==============  =======================================================
 #    the offer    the answer      if the offer is not wanted
====  ===========  ==============  =======================================================
 1    INVITE       2xx             488
 2    2xx          ACK             an answer in ACK, then a new offer, or the dialog is ended
 3    INVITE       reliable 1xx    488
 4    reliable 1xx PRACK           an answer in PRACK, then a new offer
 5    PRACK        2xx to PRACK    an answer, then a new offer, or the dialog is ended
 6    UPDATE       2xx to UPDATE   488
====  ===========  ==============  =======================================================

Every message of an INVITE, PRACK or UPDATE is told, with a description or without; a failure or a timeout by
:meth:`OfferAnswer.refused`. One :class:`OfferAnswer` belongs to one dialog; :meth:`OfferAnswer.fork` makes one for
each dialog that answers a forked INVITE.
"""

from __future__ import annotations

from copy import copy
from dataclasses import dataclass
from enum import Enum
from typing import TYPE_CHECKING

from signalbox.sip import negotiation
from signalbox.sip.errors import SipError

if TYPE_CHECKING:
    from signalbox.sip.sdp import SessionDescription

RETRY_AFTER_S = (0, 10)
"""From which the seconds of Retry-After are drawn where a second offer comes while one is open (RFC 3261 14.2)."""


class Carrier(Enum):
    """A message that can carry a description. RELIABLE: 1xx with RSeq; PROVISIONAL: without; OK: 2xx to INVITE."""

    INVITE = "INVITE"
    PROVISIONAL = "1xx"
    RELIABLE = "reliable 1xx"
    OK = "2xx"
    ACK = "ACK"
    PRACK = "PRACK"
    PRACK_OK = "2xx to PRACK"
    UPDATE = "UPDATE"
    UPDATE_OK = "2xx to UPDATE"


class Meaning(Enum):
    """What a description is. PREVIEW: the answer that is going to come; NOTHING: none, or one to be ignored."""

    OFFER = "offer"
    ANSWER = "answer"
    PREVIEW = "preview"
    NOTHING = "nothing"


class RefusedError(SipError):
    """A request must be refused with ``code``: 491, 500 or 400. ``retry_after_s``: from which seconds the header field
    Retry-After is drawn, None if there is none."""

    def __init__(self, code: int, why: str, retry_after_s: tuple[int, int] | None = None) -> None:
        super().__init__(f"{code}: {why}")
        self.code = code
        self.why = why
        self.retry_after_s = retry_after_s


class MissingError(SipError):
    """The other party answered without the offer or answer that was due. The offer is closed and the session is what it
    was; of a first INVITE there is none, and the dialog has to be ended."""

    def __init__(self, carrier: Carrier, why: str) -> None:
        super().__init__(f"{carrier.value}: {why}")
        self.carrier = carrier
        self.why = why


class OutOfTurnError(SipError):
    """We may not send this now: the caller must wait, or has a fault."""

    def __init__(self, carrier: Carrier, why: str) -> None:
        super().__init__(f"{carrier.value}: {why}")
        self.carrier = carrier
        self.why = why


def glare_window_s(owner: bool) -> tuple[float, float]:
    """Seconds from which to draw, in steps of 10 ms, how long to wait after a 491 (RFC 3261 section 14.1). ``owner``:
    the dialog's Call-ID is ours."""
    return (2.1, 4.0) if owner else (0.0, 2.0)


@dataclass(slots=True)
class _Offer:
    by_us: bool
    carrier: Carrier
    description: SessionDescription


@dataclass(slots=True)
class _Invite:
    """An INVITE under way. ``exchanged``: its offer is made and answered; ``unacknowledged``: by a reliable 1xx whose
    PRACK is due; ``final``: a 2xx is out, the ACK is due."""

    by_us: bool
    exchanged: bool = False
    unacknowledged: bool = False
    final: bool = False


class OfferAnswer:
    """``local`` and ``remote``: the descriptions agreed on, None before the first."""

    __slots__ = ("_invite", "_last_sent", "_offer", "_preview", "_updates", "local", "remote")

    def __init__(self) -> None:
        self.local: SessionDescription | None = None
        self.remote: SessionDescription | None = None
        self._offer: _Offer | None = None
        self._invite: _Invite | None = None
        self._updates: set[bool] = set()
        self._preview: SessionDescription | None = None
        self._last_sent: SessionDescription | None = None

    @property
    def is_stable(self) -> bool:
        """No offer waits for its answer."""
        return self._offer is None

    @property
    def may_offer(self) -> bool:
        """We may send UPDATE with an offer now."""
        closed = self._offer is None and True not in self._updates
        return closed and self._exchange_done() and not self._is_unacknowledged()

    @property
    def may_invite(self) -> bool:
        """We may send a re-INVITE now (RFC 3261 section 14.1)."""
        return self._offer is None and self._invite is None

    @property
    def offered(self) -> SessionDescription | None:
        """The other party's offer that waits for our answer."""
        return None if self._offer is None or self._offer.by_us else self._offer.description

    def fork(self) -> OfferAnswer:
        """The same for another dialog of the same INVITE, before anything was answered in either."""
        other = copy(self)
        other._invite = copy(self._invite)
        other._updates = set(self._updates)
        return other

    def next(self, description: SessionDescription) -> SessionDescription:
        """Our description as it is to be sent: with the identity and the version that follow on those sent before."""
        return description if self._last_sent is None else negotiation.succeed(self._last_sent, description)

    def sent(self, carrier: Carrier, description: SessionDescription | None = None) -> Meaning:
        """We are about to send a message. Raises OutOfTurnError, and nothing has changed then."""
        meaning = self._take(True, carrier, description)
        if description is not None:
            self._last_sent = description
        return meaning

    def received(self, carrier: Carrier, description: SessionDescription | None = None) -> Meaning:
        """A message has come, for the first time. Raises RefusedError for a request, and nothing has changed then;
        MissingError for what can't be refused."""
        return self._take(False, carrier, description)

    def refused(self, carrier: Carrier, by_us: bool) -> None:
        """A request (INVITE, PRACK, UPDATE) that ``by_us`` tells the sender of has failed: its offer is closed and the
        session is what it was. What a reliable 1xx agreed meanwhile stays (RFC 6141 section 3)."""
        if carrier is Carrier.INVITE:
            if self._invite is not None and self._invite.by_us is by_us:
                self._end_invite()
        elif carrier is Carrier.UPDATE:
            self._updates.discard(by_us)
        if self._offer is not None and self._offer.by_us is by_us and self._offer.carrier is carrier:
            self._offer = None

    def _take(self, by_us: bool, carrier: Carrier, description: SessionDescription | None) -> Meaning:
        match carrier:
            case Carrier.INVITE:
                return self._on_invite(by_us, description)
            case Carrier.PROVISIONAL:
                return self._on_provisional(by_us, description)
            case Carrier.RELIABLE | Carrier.OK:
                return self._on_response(by_us, carrier, description)
            case Carrier.ACK:
                return self._on_ack(by_us, description)
            case Carrier.PRACK:
                return self._on_prack(by_us, description)
            case Carrier.UPDATE:
                return self._on_update(by_us, description)
            case Carrier.PRACK_OK:
                return self._on_ok(by_us, carrier, Carrier.PRACK, description)
            case Carrier.UPDATE_OK:
                meaning = self._on_ok(by_us, carrier, Carrier.UPDATE, description)
                self._updates.discard(not by_us)
                return meaning

    def _on_invite(self, by_us: bool, description: SessionDescription | None) -> Meaning:
        if self._invite is not None and not (self._invite.final and self._invite.by_us is by_us):
            raise self._not_now(by_us, Carrier.INVITE, self._invite.by_us, "an INVITE is under way")
        if self._invite is not None and by_us:
            raise OutOfTurnError(Carrier.INVITE, "the ACK of the last one is due")
        self._must_be_closed(by_us, Carrier.INVITE)
        self._invite = _Invite(by_us)
        self._preview = None
        if description is None:
            return Meaning.NOTHING
        self._offer = _Offer(by_us, Carrier.INVITE, description)
        return Meaning.OFFER

    def _on_provisional(self, by_us: bool, description: SessionDescription | None) -> Meaning:
        if description is None:
            return Meaning.NOTHING
        if self._is_open(not by_us, Carrier.INVITE):
            if by_us:
                self._same_as_preview(Carrier.PROVISIONAL, description)
            self._preview = description
            return Meaning.PREVIEW
        if by_us:
            raise OutOfTurnError(Carrier.PROVISIONAL, "only the answer to the offer in INVITE may stand in it")
        return Meaning.NOTHING

    def _on_response(self, by_us: bool, carrier: Carrier, description: SessionDescription | None) -> Meaning:
        invite = self._invite
        if invite is None or invite.by_us is by_us or invite.final:
            raise self._violation(by_us, carrier, "no INVITE waits for it")
        if by_us and (invite.unacknowledged or self._is_open(True, Carrier.RELIABLE)):
            raise OutOfTurnError(carrier, "the PRACK of the last description is due")
        is_last = carrier is Carrier.OK
        if self._is_open(not by_us, Carrier.INVITE):
            if description is not None:
                if by_us:
                    self._same_as_preview(carrier, description)
                self._agree(by_us, description)
                invite.exchanged, invite.unacknowledged, invite.final = True, not is_last, is_last
                return Meaning.ANSWER
            if is_last:
                raise self._missing(by_us, carrier, "must have the answer to the offer in INVITE")
            return Meaning.NOTHING
        if not invite.exchanged and self._offer is None:
            if description is not None:
                self._offer = _Offer(by_us, carrier, description)
                invite.final = is_last
                return Meaning.OFFER
            if by_us or is_last:
                raise self._missing(by_us, carrier, "must have the offer that INVITE left to it")
            return Meaning.NOTHING
        if by_us and description is not None:
            raise OutOfTurnError(carrier, "offer and answer are exchanged already")
        invite.final = is_last
        return Meaning.NOTHING

    def _on_ack(self, by_us: bool, description: SessionDescription | None) -> Meaning:
        if self._invite is None or self._invite.by_us is not by_us or not self._invite.final:
            if by_us:
                raise OutOfTurnError(Carrier.ACK, "no 2xx waits for it")
            return Meaning.NOTHING
        if self._is_open(not by_us, Carrier.OK):
            if description is None:
                if not by_us:
                    self._end_invite()
                raise self._missing(by_us, Carrier.ACK, "must have the answer to the offer in 2xx")
            self._agree(by_us, description)
            self._end_invite()
            return Meaning.ANSWER
        if by_us and description is not None:
            raise OutOfTurnError(Carrier.ACK, "offer and answer are exchanged already")
        self._end_invite()
        return Meaning.NOTHING

    def _on_prack(self, by_us: bool, description: SessionDescription | None) -> Meaning:
        if self._is_open(not by_us, Carrier.RELIABLE):
            if description is None:
                why = "must have the answer to the offer in the reliable 1xx"
                raise OutOfTurnError(Carrier.PRACK, why) if by_us else RefusedError(400, f"PRACK {why}")
            self._agree(by_us, description)
            if self._invite is not None:
                self._invite.exchanged = True
            return Meaning.ANSWER
        if description is not None:
            self._must_be_closed(by_us, Carrier.PRACK)
            self._must_be_exchanged(by_us, Carrier.PRACK)
            self._offer = _Offer(by_us, Carrier.PRACK, description)
        if self._invite is not None:
            self._invite.unacknowledged = False
        return Meaning.NOTHING if description is None else Meaning.OFFER

    def _on_update(self, by_us: bool, description: SessionDescription | None) -> Meaning:
        if by_us in self._updates:
            raise self._not_now(by_us, Carrier.UPDATE, by_us, "an UPDATE is under way")
        if description is not None:
            self._must_be_closed(by_us, Carrier.UPDATE)
            self._must_be_exchanged(by_us, Carrier.UPDATE)
            if by_us and self._is_unacknowledged():
                raise OutOfTurnError(Carrier.UPDATE, "the PRACK of the answer is due (RFC 3311 section 5.1)")
            self._offer = _Offer(by_us, Carrier.UPDATE, description)
        self._updates.add(by_us)
        return Meaning.NOTHING if description is None else Meaning.OFFER

    def _on_ok(
        self, by_us: bool, carrier: Carrier, request: Carrier, description: SessionDescription | None
    ) -> Meaning:
        if self._is_open(not by_us, request):
            if description is None:
                if not by_us:
                    self.refused(request, True)
                raise self._missing(by_us, carrier, f"must have the answer to the offer in {request.value}")
            self._agree(by_us, description)
            return Meaning.ANSWER
        if by_us and description is not None:
            raise OutOfTurnError(carrier, f"{request.value} had no offer")
        return Meaning.NOTHING

    def _agree(self, answered_by_us: bool, description: SessionDescription) -> None:
        assert self._offer is not None
        ours, theirs = self._offer.description, description
        self.local, self.remote = (theirs, ours) if answered_by_us else (ours, theirs)
        self._offer = None

    def _end_invite(self) -> None:
        """Forgets the INVITE, and its offer if that is still open."""
        self._invite = None
        self._preview = None
        if self._offer is not None and self._offer.carrier in (Carrier.INVITE, Carrier.RELIABLE, Carrier.OK):
            self._offer = None

    def _is_open(self, by_us: bool, carrier: Carrier) -> bool:
        return self._offer is not None and self._offer.by_us is by_us and self._offer.carrier is carrier

    def _exchange_done(self) -> bool:
        """No INVITE under way still owes us, or we it, its first offer and answer."""
        return self.local is not None if self._invite is None else self._invite.exchanged

    def _is_unacknowledged(self) -> bool:
        return self._invite is not None and self._invite.unacknowledged

    def _must_be_closed(self, by_us: bool, carrier: Carrier) -> None:
        if self._offer is not None:
            raise self._not_now(by_us, carrier, self._offer.by_us, "an offer waits for its answer")

    def _must_be_exchanged(self, by_us: bool, carrier: Carrier) -> None:
        if not self._exchange_done():
            whose = by_us if self._invite is None else self._invite.by_us
            raise self._not_now(by_us, carrier, whose, "INVITE still lacks its offer and answer")

    def _same_as_preview(self, carrier: Carrier, description: SessionDescription) -> None:
        if self._preview is not None and self._preview != description:
            raise OutOfTurnError(carrier, "the answer must be the one told before (RFC 3261 section 13.2.1)")

    @staticmethod
    def _not_now(by_us: bool, carrier: Carrier, blocked_by_us: bool, why: str) -> SipError:
        """What refuses a request while another is open: 491 if that is ours, 500 if it is theirs (RFC 3261 section
        14.2, RFC 3311 section 5.2)."""
        if by_us:
            return OutOfTurnError(carrier, why)
        return RefusedError(491, why) if blocked_by_us else RefusedError(500, why, RETRY_AFTER_S)

    @staticmethod
    def _violation(by_us: bool, carrier: Carrier, why: str) -> SipError:
        return OutOfTurnError(carrier, why) if by_us else MissingError(carrier, why)

    def _missing(self, by_us: bool, carrier: Carrier, why: str) -> SipError:
        if not by_us and carrier is Carrier.OK:
            assert self._invite is not None
            self._invite.exchanged = self._invite.final = True
            self._offer = None
        return self._violation(by_us, carrier, why)
