"""Reliable provisional responses: numbers, PRACK, and when to send again."""

from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from signalbox.sip.errors import MessageError
from signalbox.sip.headers import RAck
from signalbox.sip.message import Headers, Request, Response
from signalbox.sip.reliable import (
    FIRST_RSEQ_MAX,
    ReliableReceiver,
    ReliableSender,
    Support,
    UnacknowledgedError,
    is_reliable,
    retransmissions_s,
    support,
)

INVITE = Request("INVITE", "sip:bob@example.net", Headers([("CSeq", "7 INVITE")]))


def prack(rack: str | None) -> Request:
    return Request("PRACK", "sip:bob@example.net", Headers([("CSeq", "8 PRACK"), *([("RAck", rack)] if rack else [])]))


def provisional(rseq: str | None, *, status: int = 183, require: str = "100rel") -> Response:
    fields = [("CSeq", "7 INVITE"), ("Require", require), *([("RSeq", rseq)] if rseq else [])]
    return Response(status, "", Headers(fields))


@pytest.mark.parametrize(
    ("fields", "told"),
    [
        ([], Support.NONE),
        ([("Supported", "")], Support.NONE),
        ([("Supported", "timer, 100rel")], Support.SUPPORTED),
        ([("k", "100REL")], Support.SUPPORTED),
        ([("Supported", "timer"), ("Require", "100rel")], Support.REQUIRED),
        ([("Supported", "100rel"), ("Require", "timer,100rel")], Support.REQUIRED),
        ([("Supported", "x100rel")], Support.NONE),
    ],
)
def test_what_a_caller_says_of_it(fields: list[tuple[str, str]], told: Support) -> None:
    assert support(Request("INVITE", "sip:bob@example.net", Headers(fields))) is told


@pytest.mark.parametrize(
    ("status", "require", "told"),
    [
        (183, "100rel", True),
        (180, "timer, 100rel", True),
        (183, "timer", False),
        (100, "100rel", False),
        (200, "100rel", False),
    ],
)
def test_which_responses_are_reliable(status: int, require: str, told: bool) -> None:
    assert is_reliable(provisional("1", status=status, require=require)) is told


def test_when_a_reliable_response_is_sent_again() -> None:
    assert retransmissions_s(0.5) == (0.5, 1.5, 3.5, 7.5, 15.5, 31.5)


def test_when_a_2xx_is_sent_again() -> None:
    assert retransmissions_s(0.5, 4.0) == (0.5, 1.5, 3.5, 7.5, 11.5, 15.5, 19.5, 23.5, 27.5, 31.5)


@given(st.floats(0.001, 2), st.floats(1, 20))
@settings(deadline=None)
def test_intervals_double_up_to_their_most(t1: float, ratio: float) -> None:
    times = retransmissions_s(t1, t1 * ratio)
    steps = [after - before for before, after in zip((0.0, *times), times, strict=False)]
    assert steps == pytest.approx([min(t1 * 2**index, t1 * ratio) for index in range(len(steps))])
    assert times[-1] < 64 * t1 <= times[-1] + min(2 * steps[-1], t1 * ratio) + 1e-9


def test_responses_are_numbered_one_after_the_other() -> None:
    sender = ReliableSender(INVITE, FIRST_RSEQ_MAX)
    for number in (FIRST_RSEQ_MAX, FIRST_RSEQ_MAX + 1, FIRST_RSEQ_MAX + 2):
        assert not sender.is_open
        assert sender.next(False) == (("Require", "100rel"), ("RSeq", str(number)))
        assert sender.is_open
        sender.acknowledge(prack(f"{number} 7 INVITE"))


@pytest.mark.parametrize("first", [0, -1, FIRST_RSEQ_MAX + 1])
def test_a_wrong_first_number(first: int) -> None:
    with pytest.raises(ValueError, match="the first RSeq must be 1 to 2147483647"):
        ReliableSender(INVITE, first)


def test_the_next_waits_for_the_prack_of_the_last() -> None:
    sender = ReliableSender(INVITE, 1)
    sender.next(False)
    with pytest.raises(UnacknowledgedError, match="waits for its PRACK"):
        sender.next(False)
    sender.acknowledge(prack("1 7 INVITE"))
    assert dict(sender.next(False))["RSeq"] == "2"


@pytest.mark.parametrize("rack", ["2 7 INVITE", "1 8 INVITE", "1 7 UPDATE"])
def test_a_prack_for_something_else(rack: str) -> None:
    sender = ReliableSender(INVITE, 1)
    sender.next(False)
    with pytest.raises(MessageError, match="RAck is for no response that waits for it") as raised:
        sender.acknowledge(prack(rack))
    assert raised.value.code == 481
    assert sender.is_open


def test_a_second_prack() -> None:
    sender = ReliableSender(INVITE, 1)
    sender.next(False)
    sender.acknowledge(prack("1 7 INVITE"))
    with pytest.raises(MessageError) as raised:
        sender.acknowledge(prack("1 7 INVITE"))
    assert raised.value.code == 481


@pytest.mark.parametrize(
    ("rack", "told"), [(None, "RAck is missing"), ("1 7", "RAck must be two numbers and a method")]
)
def test_a_malformed_prack(rack: str | None, told: str) -> None:
    sender = ReliableSender(INVITE, 1)
    sender.next(False)
    with pytest.raises(MessageError, match=told) as raised:
        sender.acknowledge(prack(rack))
    assert raised.value.code == 400


@pytest.mark.parametrize("has_description", [True, False])
def test_a_2xx_waits_for_the_prack_of_a_description(has_description: bool) -> None:
    sender = ReliableSender(INVITE, 1)
    assert sender.may_answer
    sender.next(has_description)
    assert sender.may_answer is not has_description
    sender.acknowledge(prack("1 7 INVITE"))
    assert sender.may_answer


def test_responses_are_taken_in_their_order() -> None:
    receiver = ReliableReceiver()
    taken = [receiver.take(provisional(number)) for number in ("40", "40", "42", "41", "39", "42", "41")]
    assert taken == [RAck(40, 7, "INVITE"), None, None, RAck(41, 7, "INVITE"), None, RAck(42, 7, "INVITE"), None]


@pytest.mark.parametrize(
    ("rseq", "told"),
    [
        (None, "RSeq is missing"),
        ("x", "RSeq must be a whole number"),
        ("0", "RSeq must be above 0"),
        ("4294967296", "RSeq is over 4294967295"),
    ],
)
def test_a_malformed_number(rseq: str | None, told: str) -> None:
    receiver = ReliableReceiver()
    with pytest.raises(MessageError, match=told):
        receiver.take(provisional(rseq))
    assert receiver.take(provisional("1")) == RAck(1, 7, "INVITE")


@given(st.lists(st.integers(1, 20), max_size=30))
@settings(deadline=None)
def test_whatever_is_lost_doubled_or_late_each_response_is_taken_once(order: list[int]) -> None:
    """A sender that repeats, over a network that loses, doubles and reorders. ``order``: how many responses before the
    last one sent is the one that arrives."""
    sender, receiver = ReliableSender(INVITE, 5), ReliableReceiver()
    taken: list[int] = []
    flying: list[Response] = []
    for number in range(5, 9):
        sent = Response(183, "", Headers([("CSeq", "7 INVITE"), *sender.next(False)]))
        while sender.is_open:
            flying.append(sent)
            back = order.pop() if order else 1
            rack = receiver.take(flying[-min(back, len(flying))])
            if rack is not None:
                taken.append(rack.rseq)
                sender.acknowledge(prack(str(rack)))
        assert taken == list(range(5, number + 1))
