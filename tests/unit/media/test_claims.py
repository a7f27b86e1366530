"""Who may work on a capture, by a clock that the test turns."""

from __future__ import annotations

import pytest
from signalbox.errors import ClaimLostError
from signalbox.media.claims import Claims


@pytest.fixture
def claims() -> Claims:
    return Claims()


def test_a_claim_holds_for_its_time(claims: Claims) -> None:
    assert claims.free("call", 0)
    claim = claims.grant("call", "recorder-1", 30, 0)
    assert not claims.free("call", 29)
    assert claims.of(claim.token, 29) is claim
    assert claims.lapsed(29) == []
    assert claims.free("call", 30)
    with pytest.raises(ClaimLostError):
        claims.of(claim.token, 30)
    assert claims.lapsed(30) == [claim]
    assert claims.lapsed(30) == []


def test_renewing_holds_it_longer_but_brings_none_back(claims: Claims) -> None:
    claim = claims.grant("call", "recorder-1", 30, 0)
    claims.renew(claim.token, 30, 20)
    assert claims.claimed("call", 49)
    with pytest.raises(ClaimLostError):
        claims.renew(claim.token, 30, 50)
    with pytest.raises(ClaimLostError):
        claims.renew("nonsense", 30, 0)


def test_what_was_given_back_waits_as_long_as_it_was_said(claims: Claims) -> None:
    claim = claims.grant("call", "recorder-1", 30, 0)
    assert claims.release(claim.token, 10, 5) is claim
    assert not claims.free("call", 14)
    assert claims.next_change() == 15
    assert claims.free("call", 15)
    with pytest.raises(ClaimLostError):
        claims.release(claim.token, 0, 6)
    claims.lapsed(15)
    assert claims.next_change() is None, "a time that is over wakes nobody"


def test_what_was_given_back_for_others_may_be_had_at_once(claims: Claims) -> None:
    claim = claims.grant("call", "recorder-1", 30, 0)
    claims.release(claim.token, 0, 5)
    assert claims.free("call", 5)


def test_the_next_change_is_the_earliest(claims: Claims) -> None:
    claims.grant("a", "recorder-1", 30, 0)
    late = claims.grant("b", "recorder-2", 90, 0)
    assert claims.next_change() == 30
    claims.drop("a")
    assert claims.next_change() == 90
    claims.release(late.token, 20, 0)
    assert claims.next_change() == 20


def test_a_claim_of_a_capture_that_has_gone_on_is_lost(claims: Claims) -> None:
    claim = claims.grant("call", "recorder-1", 30, 0)
    assert claims.drop("call")
    assert not claims.drop("call")
    with pytest.raises(ClaimLostError):
        claims.of(claim.token, 1)


def test_nobody_can_guess_a_claim(claims: Claims) -> None:
    tokens = {claims.grant(str(number), "", 30, 0).token for number in range(100)}
    assert len(tokens) == 100
    assert min(map(len, tokens)) >= 20
