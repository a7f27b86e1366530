"""Whose turn it is: offers and answers in the messages of one dialog (RFC 6337)."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest
from signalbox.sip.offeranswer import (
    RETRY_AFTER_S,
    Carrier,
    Meaning,
    OutOfTurnError,
    RefusedError,
    glare_window_s,
)
from support.offers import (
    ACK,
    EARLY,
    ESTABLISHED,
    INVITE,
    OK,
    PRACK,
    PRACK_OK,
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
