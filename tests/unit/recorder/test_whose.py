"""Whose packets are whose, by what is known."""

from __future__ import annotations

import pytest
from signalbox.api.recording.v1.recording_pb2 import CallFacts, Side
from signalbox.recorder.whose import decide

A, B = ("192.0.2.1", 4_000), ("198.51.100.7", 16_384)
TWO = {10: {A}, 20: {B}}
TAGS = CallFacts(caller_tag="c", line_tag="l")


def side(port: int, tag: str) -> Side:
    return Side(local_port=port, tag=tag)


def media(caller: str = "", line: str = "") -> CallFacts:
    return CallFacts(caller_tag="c", line_tag="l", caller_media=caller, line_media=line)


@pytest.mark.parametrize(
    ("sides", "facts"),
    [
        ([side(10, "l"), side(20, "c")], TAGS),
        ([side(20, "c")], TAGS),
        ([side(10, "l")], TAGS),
        ([side(10, "fork"), side(20, "c")], TAGS),
        ([side(10, "l")], CallFacts(line_tag="l")),
        # What rtpengine said counts more than what an SDP did.
        ([side(10, "l"), side(20, "c")], media("192.0.2.1:4000")),
        ([], media("198.51.100.7:16384")),
        ([], media("", "192.0.2.1:4000")),
        # Behind a NAT the port is another one.
        ([], media("198.51.100.7:9", "192.0.2.1:9")),
        ([], media("10.0.0.1:9", "192.0.2.1:9")),
    ],
)
def test_the_caller_is_found(sides: list[Side], facts: CallFacts) -> None:
    assert decide(TWO, facts, sides) == (frozenset({20}), True)


@pytest.mark.parametrize(
    "facts",
    [
        TAGS,
        CallFacts(),
        media("not an address", "-"),
        media("203.0.113.9:1", "203.0.113.10:1"),
        media("198.51.100.7:9", "198.51.100.7:10"),
        media("198.51.100.7:16384", "198.51.100.7:16384"),
    ],
)
def test_without_anything_known_the_first_is_the_caller_and_that_is_uncertain(facts: CallFacts) -> None:
    assert decide(TWO, facts, []) == (frozenset({10}), False)


def test_an_address_that_sent_to_both_tells_nothing() -> None:
    assert decide({10: {A, B}, 20: {A, B}}, media("198.51.100.7:9", "192.0.2.1:9"), []).certain is False


def test_all_lines_are_the_line() -> None:
    sides = [side(10, "c"), side(20, "l"), side(30, "transferred")]
    assert decide({**TWO, 30: {B}}, TAGS, sides) == (frozenset({10}), True)


def test_a_third_port_that_nobody_knows_is_a_lines_and_that_is_uncertain() -> None:
    assert decide({**TWO, 30: {B}}, TAGS, [side(10, "c"), side(20, "l")]) == (frozenset({10}), False)


def test_a_lone_port_is_the_line_if_it_was_told_so_and_uncertain_if_not() -> None:
    assert decide({10: {A}}, TAGS, [side(10, "l")]) == (frozenset(), True)
    assert decide({10: {A}}, TAGS, []) == (frozenset({10}), False)


def test_a_call_without_packets_is_certain() -> None:
    assert decide({}, TAGS, []) == (frozenset(), True)
