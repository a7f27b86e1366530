"""Reliable provisional responses: RSeq, RAck, and when to send again (RFC 3262). Pure: time is told as data."""

from __future__ import annotations

import math
from enum import Enum
from typing import TYPE_CHECKING

from signalbox.sip import grammar
from signalbox.sip.errors import MessageError, SipError
from signalbox.sip.headers import RSEQ_MAX, RAck

if TYPE_CHECKING:
    from signalbox.sip.message import Message, Request, Response

OPTION = "100rel"
FIRST_RSEQ_MAX = 2**31 - 1
"""The first RSeq is drawn from 1 to this (section 3)."""


class Support(Enum):
    """What a caller says of reliable provisional responses: with REQUIRED all but 100 must be."""

    NONE = "none"
    SUPPORTED = "supported"
    REQUIRED = "required"


class UnacknowledgedError(SipError):
    """One more reliable response must wait for the PRACK of the last one."""


def has_option(message: Message, field: str, option: str) -> bool:
    """Whether an option tag stands in Require or Supported. Raises MessageError."""
    return option in [value.lower() for value in message.headers.values(field)]


def support(invite: Request) -> Support:
    """Of the party that sent an INVITE. Raises MessageError."""
    if has_option(invite, "Require", OPTION):
        return Support.REQUIRED
    return Support.SUPPORTED if has_option(invite, "Supported", OPTION) else Support.NONE


def retransmissions_s(t1: float, t2: float = math.inf) -> tuple[float, ...]:
    """Seconds after the first sending when to send again, before giving up at 64*T1.

    Intervals begin with T1 and double: those of a reliable 1xx without end (section 3), those of a 2xx to INVITE up to
    T2 (RFC 3261 section 13.3.1.4).
    """
    times: list[float] = []
    at, interval = t1, t1
    while at < 64 * t1:
        times.append(at)
        interval = min(2 * interval, t2)
        at += interval
    return tuple(times)


class ReliableSender:
    """Numbers the reliable responses to one INVITE. One at a time: the next waits for the PRACK of the last."""

    __slots__ = ("_cseq", "_has_description", "_next", "_open")

    def __init__(self, invite: Request, first: int) -> None:
        if not 1 <= first <= FIRST_RSEQ_MAX:
            raise ValueError(f"the first RSeq must be 1 to {FIRST_RSEQ_MAX}")
        self._cseq = invite.cseq.number
        self._next = first
        self._open: int | None = None
        self._has_description = False

    @property
    def is_open(self) -> bool:
        """A response waits for its PRACK."""
        return self._open is not None

    @property
    def may_answer(self) -> bool:
        """A 2xx may be sent: it must not overtake the PRACK of a description (section 3)."""
        return self._open is None or not self._has_description

    def next(self, has_description: bool) -> tuple[tuple[str, str], ...]:
        """Header fields of the next response. Raises UnacknowledgedError."""
        if self._open is not None:
            raise UnacknowledgedError("the last reliable response waits for its PRACK")
        self._open, self._has_description = self._next, has_description
        self._next += 1
        return ("Require", OPTION), ("RSeq", str(self._open))

    def check(self, prack: Request) -> None:
        """Raises MessageError with code 481 if a PRACK is for nothing that waits, 400 if it is malformed."""
        text = prack.headers.get("RAck")
        if text is None:
            raise MessageError("RAck", "is missing")
        rack = RAck.parse(text)
        if self._open is None or rack != RAck(self._open, self._cseq, "INVITE"):
            raise MessageError("RAck", "is for no response that waits for it", code=481)

    def close(self) -> None:
        """A PRACK is taken."""
        self._open = None

    def acknowledge(self, prack: Request) -> None:
        """Takes a PRACK. Raises MessageError as :meth:`check`."""
        self.check(prack)
        self.close()


class ReliableReceiver:
    """Takes the reliable responses of one early dialog to one INVITE in their order (section 4)."""

    __slots__ = ("_last",)

    def __init__(self) -> None:
        self._last: int | None = None

    def take(self, response: Response) -> RAck | None:
        """What the PRACK of a reliable response tells; None if it came before, or before its turn: it is to be ignored.

        Raises MessageError if it has no proper RSeq.
        """
        text = response.headers.get("RSeq")
        if text is None:
            raise MessageError("RSeq", "is missing")
        number = grammar.number(text, "RSeq", RSEQ_MAX)
        if number < 1:
            raise MessageError("RSeq", "must be above 0")
        if self._last is not None and number != self._last + 1:
            return None
        self._last = number
        cseq = response.cseq
        return RAck(number, cseq.number, cseq.method)


def is_reliable(response: Response) -> bool:
    """Whether a response wants a PRACK. Raises MessageError."""
    return 100 < response.status < 200 and has_option(response, "Require", OPTION)
