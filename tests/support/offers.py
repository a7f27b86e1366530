"""Offers and answers that are played between two ends of a dialog."""

from __future__ import annotations

from dataclasses import replace

from signalbox.sip.negotiation import offer
from signalbox.sip.offeranswer import (
    Carrier,
    Meaning,
    OfferAnswer,
)
from signalbox.sip.sdp import Connection, Origin, SessionDescription

ORIGIN = Origin("-", 1, 1, Connection("192.0.2.1"))
A = offer(ORIGIN, "192.0.2.1", 4_000)
B = offer(replace(ORIGIN, session_id=2), "198.51.100.7", 5_000)
C = offer(replace(ORIGIN, session_id=3), "198.51.100.7", 5_002)
INVITE, PROVISIONAL, RELIABLE, OK, ACK = (
    Carrier.INVITE,
    Carrier.PROVISIONAL,
    Carrier.RELIABLE,
    Carrier.OK,
    Carrier.ACK,
)
PRACK, PRACK_OK, UPDATE, UPDATE_OK = Carrier.PRACK, Carrier.PRACK_OK, Carrier.UPDATE, Carrier.UPDATE_OK


Step = tuple[bool, Carrier, SessionDescription | None]
"""Whether the one who sent the INVITE sends it, the message, what it has in it."""


def play(*steps: Step) -> tuple[OfferAnswer, OfferAnswer, list[Meaning]]:
    """The two ends after messages that went from one to the other; and what each message meant, to both the same."""
    caller, callee, meanings = OfferAnswer(), OfferAnswer(), []
    for by_caller, carrier, description in steps:
        sender, receiver = (caller, callee) if by_caller else (callee, caller)
        meanings.append(sender.sent(carrier, description))
        assert receiver.received(carrier, description) is meanings[-1]
    return caller, callee, meanings


ESTABLISHED: list[Step] = [(True, INVITE, A), (False, OK, B), (True, ACK, None)]
EARLY: list[Step] = [(True, INVITE, A), (False, RELIABLE, B), (True, PRACK, None), (False, PRACK_OK, None)]
