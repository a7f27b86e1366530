"""Decisions as messages."""

from __future__ import annotations

from signalbox.api.types.v1 import types_pb2
from signalbox.domain.decided import Decision, Dial, Reject, Stage, Why
from signalbox.domain.objects import Line, MediaMode, Transport
from signalbox.routing.messages import decision_message


def test_a_branch_to_a_worker_with_voice_carries_the_cursor() -> None:
    worker = Line("", "ivr-1", "ivr", "192.0.2.9")
    action = Dial((Stage((worker,), 10_000, cursor="text"),), MediaMode.ANCHOR)
    (stage,) = decision_message(Decision(action, Why.VOICE)).dial.stages
    assert [(branch.line, branch.cursor) for branch in stage.branches] == [("ivr-1", "text")]


def test_a_dial_decision_holds_addresses_and_what_the_line_is_told() -> None:
    lines = (
        Line("acme", "a", "13900001111", "192.0.2.7"),
        Line("acme", "b", "+8610", "2001:db8::7", 5080, Transport.TCP, True),
    )
    action = Dial((Stage(lines, 20_000),), MediaMode.BYPASS, 60)
    message = decision_message(Decision(action, Why.DIAL, "acme", "4001234567", caller_independent=True))
    (stage,) = message.dial.stages
    assert stage.ring_time_ms == 20_000
    assert [(b.line, b.uri, b.destination, b.remove_identity) for b in stage.branches] == [
        ("a", "sip:13900001111@192.0.2.7:5060", "sip:192.0.2.7:5060;transport=udp", False),
        ("b", "sip:+8610@[2001:db8::7]:5080", "sip:[2001:db8::7]:5080;transport=tcp", True),
    ]
    assert message.dial.max_duration_s == 60
    assert message.dial.media == types_pb2.MEDIA_MODE_BYPASS
    assert (message.why, message.tenant, message.number) == ("dial", "acme", "4001234567")
    assert message.caller_independent


def test_a_dial_that_is_recorded_says_which_of_its_stages_are() -> None:
    lines = (Line("acme", "a", "13900001111", "192.0.2.7"),)
    action = Dial((Stage(lines, 10_000, record=True), Stage(lines, 10_000)), MediaMode.RECORD)
    message = decision_message(Decision(action, Why.DIAL))
    assert message.dial.media == types_pb2.MEDIA_MODE_RECORD
    assert [stage.record for stage in message.dial.stages] == [True, False]
    # Nobody can record it now.
    anchored = decision_message(Decision(action._replace(media=MediaMode.ANCHOR), Why.DIAL))
    assert anchored.dial.media == types_pb2.MEDIA_MODE_ANCHOR
    assert [stage.record for stage in anchored.dial.stages] == [False, False]
    assert anchored.fingerprint != message.fingerprint


def test_a_stage_says_what_follows_for_each_way_of_failing() -> None:
    lines = (Line("acme", "a", "13900001111", "192.0.2.7"),)
    action = Dial(tuple(Stage(lines, 10_000, *ways) for ways in ((2, 3, 486), (3, 3, 3), (0, 0, 0))), MediaMode.BYPASS)
    stages = decision_message(Decision(action, Why.DIAL)).dial.stages
    assert [(one.on_busy, one.on_no_answer, one.on_failed) for one in stages] == [(2, 3, 486), (3, 3, 3), (0, 0, 0)]


def test_a_refusal_is_told_with_code_and_phrase() -> None:
    message = decision_message(Decision(Reject(404, "Not Found"), Why.NUMBER_UNKNOWN))
    assert (message.reject.code, message.reject.phrase, message.why) == (404, "Not Found", "number_unknown")


def test_equal_decisions_have_equal_fingerprints_and_others_not() -> None:
    one = Decision(Reject(404, "Not Found"), Why.NUMBER_UNKNOWN)
    same = Decision(Reject(404, "Not Found"), Why.NUMBER_UNKNOWN)
    other = Decision(Reject(403, "Forbidden"), Why.TRUNK_UNKNOWN)
    fingerprints = [decision_message(decision).fingerprint for decision in (one, same, other)]
    assert fingerprints[0] == fingerprints[1] != fingerprints[2]
    assert all(fingerprints)
