"""Answers that are missing, told early or told again; forks, versions, and messages in any order."""

from __future__ import annotations

from collections import deque
from dataclasses import replace
from itertools import product
from typing import TYPE_CHECKING

import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule
from signalbox.sip.errors import SipError
from signalbox.sip.offeranswer import (
    Carrier,
    Meaning,
    MissingError,
    OfferAnswer,
    OutOfTurnError,
    RefusedError,
)
from support.offers import (
    ACK,
    EARLY,
    ESTABLISHED,
    INVITE,
    OK,
    ORIGIN,
    PRACK,
    PRACK_OK,
    PROVISIONAL,
    RELIABLE,
    UPDATE,
    UPDATE_OK,
    A,
    B,
    C,
    Step,
    play,
)

if TYPE_CHECKING:
    from signalbox.sip.sdp import SessionDescription


@pytest.mark.parametrize(
    ("steps", "carrier", "told"),
    [
        ([(True, INVITE, A)], OK, "must have the answer to the offer in INVITE"),
        ([(True, INVITE, None)], OK, "must have the offer that INVITE left to it"),
        ([(True, INVITE, None), (False, OK, A)], ACK, "must have the answer to the offer in 2xx"),
        ([*EARLY, (True, PRACK, C)], PRACK_OK, "must have the answer to the offer in PRACK"),
        ([*ESTABLISHED, (True, UPDATE, C)], UPDATE_OK, "must have the answer to the offer in UPDATE"),
        ([*ESTABLISHED, (True, INVITE, C)], OK, "must have the answer to the offer in INVITE"),
    ],
)
def test_an_answer_that_is_missing(steps: list[Step], carrier: Carrier, told: str) -> None:
    caller, callee, _ = play(*steps)
    sender, receiver = (caller, callee) if carrier is ACK else (callee, caller)
    with pytest.raises(OutOfTurnError, match=told):
        sender.sent(carrier)
    with pytest.raises(MissingError, match=told) as raised:
        receiver.received(carrier)
    assert raised.value.carrier is carrier
    assert receiver.is_stable
    assert receiver.local in (A, None)
    if carrier is OK:
        receiver.sent(ACK)
    assert receiver.may_invite == (carrier is not PRACK_OK)


def test_a_prack_without_the_answer_is_refused() -> None:
    caller, callee, _ = play((True, INVITE, None), (False, RELIABLE, A))
    with pytest.raises(OutOfTurnError, match="must have the answer"):
        caller.sent(PRACK)
    with pytest.raises(RefusedError, match="PRACK must have the answer") as raised:
        callee.received(PRACK)
    assert raised.value.code == 400
    assert callee.received(PRACK, B) is Meaning.ANSWER


def test_the_first_reliable_response_has_the_offer() -> None:
    caller, callee, _ = play((True, INVITE, None))
    with pytest.raises(OutOfTurnError, match="must have the offer that INVITE left to it"):
        callee.sent(RELIABLE)
    assert caller.received(RELIABLE) is Meaning.NOTHING
    assert caller.received(OK, B) is Meaning.OFFER


def test_the_answer_may_be_told_before_without_reliability() -> None:
    caller, callee, meanings = play((True, INVITE, A), (False, PROVISIONAL, B), (False, PROVISIONAL, B), (False, OK, B))
    assert meanings == [Meaning.OFFER, Meaning.PREVIEW, Meaning.PREVIEW, Meaning.ANSWER]
    assert (caller.remote, callee.local) == (B, B)


@pytest.mark.parametrize("carrier", [PROVISIONAL, RELIABLE, OK])
def test_the_answer_is_the_one_told_before(carrier: Carrier) -> None:
    caller, callee, _ = play((True, INVITE, A), (False, PROVISIONAL, B))
    with pytest.raises(OutOfTurnError, match="must be the one told before"):
        callee.sent(carrier, C)
    assert caller.received(carrier, C) in (Meaning.PREVIEW, Meaning.ANSWER)


def test_an_answer_may_wait_for_a_later_reliable_response() -> None:
    _, _, meanings = play((True, INVITE, A), (False, RELIABLE, None), (True, PRACK, None), (False, RELIABLE, B))
    assert meanings == [Meaning.OFFER, Meaning.NOTHING, Meaning.NOTHING, Meaning.ANSWER]


@pytest.mark.parametrize("carrier", [PROVISIONAL, RELIABLE, OK])
def test_what_is_told_again_is_ignored_and_not_sent(carrier: Carrier) -> None:
    caller, callee, _ = play(*EARLY)
    with pytest.raises(OutOfTurnError):
        callee.sent(carrier, C)
    assert caller.received(carrier, C) is Meaning.NOTHING
    assert caller.remote == B


@pytest.mark.parametrize(
    ("steps", "carrier"), [(ESTABLISHED[:2], ACK), ([*ESTABLISHED, (False, UPDATE, None)], UPDATE_OK)]
)
def test_an_answer_to_nothing_is_ignored_and_not_sent(steps: list[Step], carrier: Carrier) -> None:
    caller, callee, _ = play(*steps)
    with pytest.raises(OutOfTurnError):
        caller.sent(carrier, C)
    assert callee.received(carrier, C) is Meaning.NOTHING
    assert (callee.local, callee.remote) == (B, A)


def test_an_offer_in_an_unreliable_response_is_none() -> None:
    caller, callee, _ = play((True, INVITE, None))
    with pytest.raises(OutOfTurnError, match="only the answer to the offer in INVITE may stand in it"):
        callee.sent(PROVISIONAL, B)
    assert caller.received(PROVISIONAL, B) is Meaning.NOTHING
    assert caller.received(PROVISIONAL) is Meaning.NOTHING


@pytest.mark.parametrize("carrier", [RELIABLE, OK])
@pytest.mark.parametrize("steps", [[], ESTABLISHED, ESTABLISHED[:2]])
def test_a_response_to_no_invite(steps: list[Step], carrier: Carrier) -> None:
    caller, callee, _ = play(*steps)
    with pytest.raises(OutOfTurnError, match="no INVITE waits for it"):
        callee.sent(carrier, B)
    with pytest.raises(MissingError, match="no INVITE waits for it"):
        caller.received(carrier, B)


def test_an_ack_of_nothing() -> None:
    caller, callee, _ = play(*ESTABLISHED)
    with pytest.raises(OutOfTurnError, match="no 2xx waits for it"):
        caller.sent(ACK)
    assert callee.received(ACK) is Meaning.NOTHING


@pytest.mark.parametrize("offered", [A, None])
@pytest.mark.parametrize("carrier", [OK, RELIABLE])
def test_no_further_response_before_the_prack_of_a_description(
    offered: SessionDescription | None, carrier: Carrier
) -> None:
    caller, callee, _ = play((True, INVITE, offered), (False, RELIABLE, B))
    with pytest.raises(OutOfTurnError, match="the PRACK of the last description is due"):
        callee.sent(carrier)
    answer = None if offered else A
    caller.sent(PRACK, answer)
    callee.received(PRACK, answer)
    assert callee.sent(carrier) is Meaning.NOTHING


def test_no_update_before_the_prack_of_the_answer() -> None:
    caller, callee, _ = play((True, INVITE, A), (False, RELIABLE, B))
    for side in (caller, callee):
        assert not side.may_offer
        with pytest.raises(OutOfTurnError, match="the PRACK of the answer is due"):
            side.sent(UPDATE, C)
    caller.sent(PRACK)
    assert caller.may_offer
    caller.sent(UPDATE, C)
    assert callee.received(UPDATE, C) is Meaning.OFFER


def test_no_invite_before_the_ack_of_the_last() -> None:
    caller, _, _ = play(*ESTABLISHED[:2])
    assert not caller.may_invite
    with pytest.raises(OutOfTurnError, match="the ACK of the last one is due"):
        caller.sent(INVITE, C)


def test_each_answer_of_a_forked_invite_has_a_session_of_its_own() -> None:
    one = OfferAnswer()
    one.sent(INVITE, A)
    other = one.fork()
    assert one.received(RELIABLE, B) is Meaning.ANSWER
    assert not other.is_stable
    assert other.received(OK, C) is Meaning.ANSWER
    assert (one.local, one.remote) == (A, B)
    assert (other.local, other.remote) == (A, C)
    other.sent(ACK)
    assert other.may_invite
    assert not one.may_invite


def test_what_we_send_next_follows_on_what_we_sent() -> None:
    side = OfferAnswer()
    assert side.next(A) is A
    side.sent(INVITE, A)
    side.received(OK, B)
    side.sent(ACK)
    second = side.next(C)
    assert (second.origin.session_id, second.origin.version) == (1, 2)
    side.sent(INVITE, second)
    side.refused(INVITE, by_us=True)
    assert side.local == A
    assert side.next(A).origin.version == 3
    assert side.next(second) is second


class TwoEnds(RuleBasedStateMachine):
    """Two user agents that keep to their turns, over a network that delivers in order, each way for itself.

    Whenever nothing is under way both have the same session. Who refuses something tells the other by a response.
    """

    def __init__(self) -> None:
        super().__init__()
        self.sides = (OfferAnswer(), OfferAnswer())
        self.wires: tuple[deque[tuple[str, Carrier, SessionDescription | None]], ...] = (deque(), deque())
        self.waiting: tuple[dict[Carrier, bool], dict[Carrier, bool]] = ({}, {})
        """For each side the requests that it has to answer yet, and whether there was an offer in them."""
        self.version = 0
        self.codes: set[int] = set()
        for step in ((0, INVITE, A), (1, OK, B), (0, ACK, None)):
            self.sides[step[0]].sent(step[1], step[2])
            self.sides[1 - step[0]].received(step[1], step[2])

    def fresh(self) -> SessionDescription:
        self.version += 1
        return replace(A, origin=replace(ORIGIN, version=self.version))

    def send(self, side: int, carrier: Carrier, description: SessionDescription | None) -> None:
        self.sides[side].sent(carrier, description)
        self.wires[side].append(("message", carrier, description))

    @rule(side=st.integers(0, 1), with_offer=st.booleans())
    def re_invite(self, side: int, with_offer: bool) -> None:
        if self.sides[side].may_invite:
            self.send(side, INVITE, self.fresh() if with_offer else None)

    @rule(side=st.integers(0, 1))
    def update(self, side: int) -> None:
        if self.sides[side].may_offer:
            self.send(side, UPDATE, self.fresh())

    @rule(side=st.integers(0, 1), accepts=st.booleans())
    @precondition(lambda self: any(self.waiting))
    def answer(self, side: int, accepts: bool) -> None:
        for carrier, had_offer in list(self.waiting[side].items()):
            if carrier is INVITE and not had_offer and not self.sides[side].is_stable:
                continue
            del self.waiting[side][carrier]
            if accepts:
                has_description = carrier is INVITE or had_offer
                self.send(side, OK if carrier is INVITE else UPDATE_OK, self.fresh() if has_description else None)
            else:
                self.sides[side].refused(carrier, by_us=False)
                self.wires[side].append(("refusal", carrier, None))

    @rule(side=st.integers(0, 1))
    @precondition(lambda self: any(self.wires))
    def deliver(self, side: int) -> None:
        if not self.wires[1 - side]:
            return
        kind, carrier, description = self.wires[1 - side].popleft()
        here = self.sides[side]
        if kind == "refusal":
            here.refused(carrier, by_us=True)
            return
        try:
            meaning = here.received(carrier, description)
        except RefusedError as error:
            self.codes.add(error.code)
            self.wires[side].append(("refusal", carrier, None))
            return
        if carrier in (INVITE, UPDATE):
            self.waiting[side][carrier] = meaning is Meaning.OFFER
        elif carrier is OK:
            self.send(side, ACK, self.fresh() if meaning is Meaning.OFFER else None)

    @invariant()
    def both_have_the_same_session_when_nothing_is_under_way(self) -> None:
        assert self.codes <= {491, 500}
        if any(self.wires) or any(self.waiting):
            return
        one, other = self.sides
        assert one.is_stable
        assert other.is_stable
        assert one.may_invite
        assert other.may_invite
        assert one.may_offer
        assert other.may_offer
        assert (one.local, one.remote) == (other.remote, other.local)


TestTwoEnds = TwoEnds.TestCase


TestTwoEnds.settings = settings(max_examples=100, stateful_step_count=30, deadline=None)


@pytest.mark.parametrize("before", [[], EARLY, ESTABLISHED], ids=["first", "early", "established"])
def test_no_messages_in_any_order_bring_another_error(before: list[Step]) -> None:
    """All sequences of three, from either side, with a description and without."""
    start, _, _ = play(*before)
    every = list(product((True, False), Carrier, (A, None)))
    for steps in product(every, repeat=3):
        side = start.fork()
        for by_us, carrier, description in steps:
            told: SipError | None = None
            try:
                (side.sent if by_us else side.received)(carrier, description)
            except SipError as error:
                told = error
            assert told is None or isinstance(told, OutOfTurnError) == by_us
            assert (side.local is None) == (side.remote is None)
