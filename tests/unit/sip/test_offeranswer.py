"""Whose turn it is: offers and answers in the messages of one dialog."""

from __future__ import annotations

from collections import deque
from dataclasses import replace
from itertools import product

import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule
from signalbox.sip.errors import SipError
from signalbox.sip.negotiation import offer
from signalbox.sip.offeranswer import (
    RETRY_AFTER_S,
    Carrier,
    Meaning,
    MissingError,
    OfferAnswer,
    OutOfTurnError,
    RefusedError,
    glare_window_s,
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


@pytest.mark.parametrize("before", [[], ESTABLISHED], ids=["first", "established"])
@pytest.mark.parametrize(
    "steps",
    [
        [(True, INVITE, C), (False, OK, B), (True, ACK, None)],
        [(True, INVITE, None), (False, OK, C), (True, ACK, B)],
        [(True, INVITE, C), (False, RELIABLE, B), (True, PRACK, None), (False, PRACK_OK, None), (False, OK, None)],
        [(True, INVITE, None), (False, RELIABLE, C), (True, PRACK, B), (False, PRACK_OK, None), (False, OK, None)],
    ],
    ids=["1: INVITE, 2xx", "2: 2xx, ACK", "3: INVITE, 1xx", "4: 1xx, PRACK"],
)
def test_rfc_6337_table_1_of_an_invite(before: list[Step], steps: list[Step]) -> None:
    caller, callee, meanings = play(*before, *steps)
    assert [one for one in meanings[len(before) :] if one is not Meaning.NOTHING] == [Meaning.OFFER, Meaning.ANSWER]
    by_caller = steps[0][2] is not None
    assert (caller.local, caller.remote) == ((C, B) if by_caller else (B, C))
    assert (callee.local, callee.remote) == (caller.remote, caller.local)
    assert caller.is_stable
    assert callee.is_stable


@pytest.mark.parametrize("before", [EARLY, ESTABLISHED], ids=["early", "established"])
@pytest.mark.parametrize(
    ("request_", "response", "by_caller"),
    [(PRACK, PRACK_OK, True), (UPDATE, UPDATE_OK, True), (UPDATE, UPDATE_OK, False)],
    ids=["5: PRACK", "6: UPDATE of the caller", "6: UPDATE of the callee"],
)
def test_rfc_6337_table_1_within_a_dialog(
    before: list[Step], request_: Carrier, response: Carrier, by_caller: bool
) -> None:
    caller, callee, meanings = play(*before, (by_caller, request_, C), (not by_caller, response, A))
    assert meanings[-2:] == [Meaning.OFFER, Meaning.ANSWER]
    assert (caller.local, caller.remote) == ((C, A) if by_caller else (A, C))
    assert (callee.local, callee.remote) == (caller.remote, caller.local)


@pytest.mark.parametrize(("before", "carrier"), [([], PRACK), ([], UPDATE), (EARLY, INVITE), (EARLY, RELIABLE)])
def test_rfc_6337_table_1_what_is_not_its_time(before: list[Step], carrier: Carrier) -> None:
    """PRACK and UPDATE make no first offer; in an early dialog neither INVITE nor a reliable 1xx makes another."""
    caller, callee, _ = play(*before)
    sender = callee if carrier is RELIABLE else caller
    with pytest.raises(OutOfTurnError):
        sender.sent(carrier, C)
    assert sender.is_stable


@pytest.mark.parametrize("before", [EARLY, ESTABLISHED])
@pytest.mark.parametrize("by_caller", [True, False])
def test_rfc_6337_table_2_an_update_that_is_refused_leaves_the_session(before: list[Step], by_caller: bool) -> None:
    caller, callee, _ = play(*before, (by_caller, UPDATE, C))
    sender, receiver = (caller, callee) if by_caller else (callee, caller)
    assert receiver.offered == C
    assert sender.offered is None
    sender.refused(UPDATE, by_us=True)
    receiver.refused(UPDATE, by_us=False)
    for side in (caller, callee):
        assert side.is_stable
        assert side.may_offer
    assert (caller.local, caller.remote, callee.local, callee.remote) == (A, B, B, A)


@pytest.mark.parametrize("description", [C, None])
def test_rfc_6337_table_2_a_re_invite_that_is_refused_leaves_the_session(
    description: SessionDescription | None,
) -> None:
    caller, callee, _ = play(*ESTABLISHED, (True, INVITE, description))
    caller.refused(INVITE, by_us=True)
    callee.refused(INVITE, by_us=False)
    for side in (caller, callee):
        assert side.is_stable
        assert side.may_invite
    assert (caller.local, caller.remote, callee.local, callee.remote) == (A, B, B, A)


def test_what_a_reliable_1xx_agreed_outlives_the_re_invite() -> None:
    caller, callee, _ = play(*ESTABLISHED, (True, INVITE, C), (False, RELIABLE, B), (True, PRACK, None))
    caller.refused(INVITE, by_us=True)
    callee.refused(INVITE, by_us=False)
    assert (caller.local, callee.remote) == (C, C)


def test_a_prack_that_fails_closes_its_offer() -> None:
    caller, _, _ = play(*EARLY, (True, PRACK, C))
    caller.refused(PRACK, by_us=True)
    assert caller.may_offer
    assert caller.local == A


def test_a_failure_of_something_else_closes_nothing() -> None:
    caller, callee, _ = play(*ESTABLISHED, (True, INVITE, C))
    for side in (caller, callee):
        side.refused(UPDATE, by_us=True)
        side.refused(PRACK, by_us=True)
    caller.refused(INVITE, by_us=False)
    callee.refused(INVITE, by_us=True)
    assert not caller.is_stable
    assert not callee.is_stable


# Glare


def test_an_invite_in_an_invite_of_ours_is_pending() -> None:
    ours, _, _ = play(*ESTABLISHED, (True, INVITE, C))
    with pytest.raises(RefusedError, match="an INVITE is under way") as raised:
        ours.received(INVITE, B)
    assert (raised.value.code, raised.value.retry_after_s) == (491, None)
    assert str(raised.value) == f"491: {raised.value.why}"


def test_a_second_invite_of_theirs_comes_too_early() -> None:
    _, theirs, _ = play(*ESTABLISHED, (True, INVITE, C))
    with pytest.raises(RefusedError) as raised:
        theirs.received(INVITE, A)
    assert (raised.value.code, raised.value.retry_after_s) == (500, RETRY_AFTER_S)
    assert RETRY_AFTER_S == (0, 10)


@pytest.mark.parametrize("carrier", [INVITE, UPDATE])
@pytest.mark.parametrize(("offered_by_caller", "code"), [(True, 491), (False, 500)])
def test_an_offer_while_one_is_open(carrier: Carrier, offered_by_caller: bool, code: int) -> None:
    caller, _, _ = play(*ESTABLISHED, (offered_by_caller, UPDATE, C))
    with pytest.raises(RefusedError) as raised:
        caller.received(carrier, B)
    assert raised.value.code == code
    assert (raised.value.retry_after_s is None) == (code == 491)


@pytest.mark.parametrize(("by_us", "code"), [(True, 491), (False, 500)])
def test_an_offer_of_an_update_in_an_invite_without_offer(by_us: bool, code: int) -> None:
    caller, callee, _ = play(*ESTABLISHED, (True, INVITE, None))
    with pytest.raises(RefusedError, match="INVITE still lacks its offer and answer") as raised:
        (caller if by_us else callee).received(UPDATE, B)
    assert raised.value.code == code


def test_a_prack_with_an_offer_while_one_is_open() -> None:
    _, callee, _ = play(*EARLY, (False, UPDATE, C))
    with pytest.raises(RefusedError) as raised:
        callee.received(PRACK, A)
    assert raised.value.code == 491


def test_a_second_update_comes_too_early_even_without_an_offer() -> None:
    _, callee, _ = play(*ESTABLISHED, (True, UPDATE, None))
    with pytest.raises(RefusedError, match="an UPDATE is under way") as raised:
        callee.received(UPDATE, None)
    assert raised.value.code == 500


def test_updates_without_offers_may_cross() -> None:
    caller, callee, _ = play(*ESTABLISHED)
    for side in (caller, callee):
        side.sent(UPDATE)
    for side in (caller, callee):
        assert side.received(UPDATE) is Meaning.NOTHING
        assert side.sent(UPDATE_OK) is Meaning.NOTHING
    for side in (caller, callee):
        assert side.received(UPDATE_OK) is Meaning.NOTHING
        assert side.may_offer


def test_one_update_follows_on_another() -> None:
    caller, callee, meanings = play(*ESTABLISHED, *[(True, UPDATE, C), (False, UPDATE_OK, B)] * 2)
    assert meanings[3:] == [Meaning.OFFER, Meaning.ANSWER] * 2
    assert caller.may_offer
    assert callee.may_offer


def test_an_offer_waits_for_our_update_and_not_for_theirs() -> None:
    caller, callee, _ = play(*ESTABLISHED, (True, UPDATE, None))
    assert not caller.may_offer
    assert callee.may_offer
    with pytest.raises(OutOfTurnError, match="an UPDATE is under way"):
        caller.sent(UPDATE, C)


def test_what_is_refused_changes_nothing() -> None:
    caller, callee, _ = play(*ESTABLISHED, (True, UPDATE, C))
    for carrier in (INVITE, UPDATE):
        with pytest.raises(RefusedError):
            caller.received(carrier, B)
    callee.sent(UPDATE_OK, B)
    caller.received(UPDATE_OK, B)
    assert (caller.local, caller.remote) == (C, B)
    assert caller.may_invite


def test_an_invite_that_overtakes_the_ack_of_the_last_is_taken() -> None:
    _, callee, _ = play(*ESTABLISHED[:2])
    assert callee.received(INVITE, C) is Meaning.OFFER


def test_an_invite_that_overtakes_an_ack_with_the_answer_is_pending() -> None:
    _, callee, _ = play((True, INVITE, None), (False, OK, A))
    with pytest.raises(RefusedError) as raised:
        callee.received(INVITE, C)
    assert raised.value.code == 491


def test_windows_after_glare() -> None:
    assert glare_window_s(owner=True) == (2.1, 4.0)
    assert glare_window_s(owner=False) == (0.0, 2.0)


# Answers that are missing, told early, or told again


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


# Forks and versions


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
