"""Questions and answers, without a network."""

from __future__ import annotations

import itertools
from dataclasses import replace
from types import SimpleNamespace
from typing import TYPE_CHECKING

import pytest
from signalbox.api.routing.v1 import routing_pb2
from signalbox.api.types.v1 import types_pb2
from signalbox.domain.leg import Leg, seal
from signalbox.domain.planner import Planner
from signalbox.errors import InvalidFieldError, RulesNotLoadedError
from signalbox.routing import answers
from signalbox.routing.answers import Answerer
from signalbox.routing.book import Book
from signalbox.routing.guide import Guide
from signalbox.routing.stats import Stats
from signalbox.store.base import Change
from signalbox.store.codec import key_of
from structlog.testing import capture_logs
from support import routing
from support.deciding import setup
from support.routing import call, questions

if TYPE_CHECKING:
    from signalbox.api.routing.v1.routing_pb2 import (
        DecideRequest,
        DecideStreamRequest,
        DecideStreamResponse,
        ExplainResponse,
    )
    from signalbox.domain.objects import Number
    from signalbox.domain.plan import Plan
    from signalbox.store.codec import Object

REVISION = 42


@pytest.fixture
def book() -> Book:
    book = Book(lambda: None)
    rules = (routing.trunk(), routing.line(), routing.number())
    bypass = routing.number("4007654321", media=types_pb2.MEDIA_MODE_BYPASS)
    routing.at_once(book.reset_rules(routing.listing(*rules, bypass)))
    book.reset_live(routing.listing(routing.node(1), routing.node(2)))
    return book


@pytest.fixture
def stats() -> Stats:
    return Stats(dict)


@pytest.fixture
def answerer(book: Book, stats: Stats) -> Answerer:
    return Answerer(book, lambda: REVISION, stats, setup())


def answered(answerer: Answerer, request: DecideStreamRequest) -> DecideStreamResponse:
    """The answers to questions that need nothing counted."""
    round = answerer.begin(request)
    assert not round.waiting
    return round.response


def explained(book: Book, answerer: Answerer, request: DecideRequest) -> ExplainResponse:
    guide = Guide(book, lambda: REVISION, answerer, setup(), None, None)
    return routing.at_once(guide.explain(routing_pb2.ExplainRequest(request=request)))


def test_every_question_gets_an_answer_with_its_id(answerer: Answerer, stats: Stats) -> None:
    response = answered(answerer, questions(call(), call("4009999999"), call(), first_id=7))
    assert [(a.id, a.decision.why) for a in response.answers] == [(7, "dial"), (8, "number_unknown"), (9, "dial")]
    assert response.rule_revision == REVISION
    assert stats.decisions == {"dial": 2, "number_unknown": 1}


def test_a_stream_and_a_single_question_are_answered_alike(answerer: Answerer) -> None:
    (answer,) = answered(answerer, questions(call())).answers
    single = routing.at_once(answerer.answer_unary(call()))
    assert (answer.decision, answer.media) == (single.decision, single.media)
    assert single.rule_revision == REVISION


def test_a_leg_is_decided_by_what_it_names_beside_ordinary_calls(book: Book, stats: Stats) -> None:
    """What is remembered of a number says nothing of a leg, nor the other way."""
    answerer = Answerer(book, lambda: REVISION, stats, replace(setup(), cursor_key=b"key"))
    leg = seal(Leg("call-1", "acme", routing.NUMBER, "a", 1, 1 << 40), b"key")
    legs = [call(trunk="_voice", leg=leg, parent="call-1"), call(trunk="_voice", leg=leg, parent="call-2")]
    lines = [call(), *legs, call(), call(trunk="_voice", leg="?"), call(trunk="_voice")]
    answers = answered(answerer, questions(*lines)).answers
    assert [one.decision.why for one in answers] == [
        "dial", "leg", "leg_misused", "dial", "leg_invalid", "trunk_unknown",
    ]  # fmt: skip
    assert not answers[1].HasField("media"), "the worker has the media"
    assert answers[1].decision.dial.stages[0].branches[0].line == "a"
    assert not answers[1].decision.caller_independent


def test_media_is_assigned_only_where_it_is_anchored(answerer: Answerer) -> None:
    anchored, bypassed, refused = answered(answerer, questions(call(), call("4007654321"), call("110"))).answers
    assert {anchored.media.node, anchored.media.spare} == {1, 2}
    assert not bypassed.HasField("media")
    assert not refused.HasField("media")


def test_an_anchored_call_without_a_living_node_says_so(answerer: Answerer, book: Book) -> None:
    book.reset_live(routing.listing(routing.node(1, healthy=False), routing.node(2, draining=True)))
    (answer,) = answered(answerer, questions(call())).answers
    assert answer.HasField("media")
    assert (answer.media.node, answer.media.spare) == (0, 0)


# --- recording -------------------------------------------------------------------------------------------------------


@pytest.fixture
def recorded(book: Book) -> Book:
    """The number is recorded; node 2 records."""
    change(book, routing.number(media=types_pb2.MEDIA_MODE_RECORD))
    book.reset_live(routing.listing(routing.node(1), routing.node(2, records=True)))
    return book


def change(book: Book, message: Object) -> None:
    book.change_rules([Change(key_of(message), routing.entry(message, 2), 2)])


def test_a_call_that_is_to_be_recorded_gets_a_node_that_records(recorded: Book, answerer: Answerer) -> None:
    for n in range(20):
        single = routing.at_once(answerer.answer_unary(call(call_id=f"call-{n}")))
        assert single.decision.dial.media == types_pb2.MEDIA_MODE_RECORD
        assert [stage.record for stage in single.decision.dial.stages] == [True]
        assert (single.media.node, single.media.spare) == (2, 1)


def test_what_is_remembered_of_a_decision_says_nothing_of_who_could_record_then(
    recorded: Book, answerer: Answerer, stats: Stats
) -> None:
    def asked() -> tuple[int, bool, int]:
        (answer,) = answered(answerer, questions(call())).answers
        fingerprints.append(answer.decision.fingerprint)
        return answer.decision.dial.media, answer.decision.caller_independent, answer.media.node

    fingerprints: list[int] = []
    recording = routing.listing(routing.node(1), routing.node(2, records=True))
    for _ in range(3):
        recorded.reset_live(recording)
        assert [asked() for _ in range(3)] == [(types_pb2.MEDIA_MODE_RECORD, True, 2)] * 3
        recorded.reset_live(routing.listing(routing.node(1)))
        # Not to be used again at an edge: the next call may be recorded.
        assert [asked() for _ in range(3)] == [(types_pb2.MEDIA_MODE_ANCHOR, False, 1)] * 3
    assert len(set(fingerprints[:3])) == len(set(fingerprints[3:6])) == 1
    assert fingerprints[:6] * 3 == fingerprints
    assert stats.unrecordable == {"goes_on": 9, "refused": 0}


def test_a_tenant_may_have_calls_refused_that_cannot_be_recorded(
    recorded: Book, answerer: Answerer, stats: Stats
) -> None:
    policy = types_pb2.RecordingPolicy(unrecordable=types_pb2.UNRECORDABLE_CALL_IS_REFUSED)
    change(recorded, types_pb2.Tenant(id="acme", recording=policy))
    assert routing.at_once(answerer.answer_unary(call())).decision.why == "dial"
    recorded.reset_live(routing.listing(routing.node(1)))
    (answer, other) = answered(answerer, questions(call(), call("4007654321"))).answers
    assert (answer.decision.why, answer.decision.reject.code) == ("recording_unavailable", 503)
    assert (answer.decision.tenant, answer.decision.number) == ("acme", routing.NUMBER)
    assert not answer.decision.caller_independent
    assert not answer.HasField("media")
    assert other.decision.why == "dial"
    assert stats.unrecordable == {"goes_on": 0, "refused": 1}
    assert stats.decisions["recording_unavailable"] == 1


def test_calls_that_cannot_be_recorded_are_told_in_a_line_now_and_then(
    recorded: Book, answerer: Answerer, monkeypatch: pytest.MonkeyPatch
) -> None:
    recorded.reset_live(routing.listing(*(routing.node(n, draining=True) for n in (1, 2))))
    clock = iter([100.0, 101.0, 109.9, 110.0])
    monkeypatch.setattr("signalbox.routing.unrecordable.time", SimpleNamespace(monotonic=lambda: next(clock)))
    with capture_logs() as logs:
        for n in range(4):
            routing.at_once(answerer.answer_unary(call(call_id=f"call-{n}")))
    told = [log for log in logs if log["event"] == "recording_not_promised"]
    assert [(log["log_level"], log["calls"], log["call_id"], log["tenant"], log["outcome"]) for log in told] == [
        ("error", 1, "call-0", "acme", "goes_on"),
        ("error", 3, "call-3", "acme", "goes_on"),
    ]


@pytest.mark.parametrize("refuses", [False, True])
def test_an_explanation_says_that_nobody_can_record_the_call(
    recorded: Book, answerer: Answerer, stats: Stats, refuses: bool
) -> None:
    if refuses:
        policy = types_pb2.RecordingPolicy(unrecordable=types_pb2.UNRECORDABLE_CALL_IS_REFUSED)
        change(recorded, types_pb2.Tenant(id="acme", recording=policy))
    assert explained(recorded, answerer, call()).decision.dial.media == types_pb2.MEDIA_MODE_RECORD
    recorded.reset_live(routing.listing(routing.node(1)))
    response = explained(recorded, answerer, call())
    assert response.decision == routing.at_once(answerer.answer_unary(call())).decision
    assert [(step.rule, step.decisive) for step in response.steps][-2:] == [
        ("dial", not refuses),
        ("recording_unavailable", refuses),
    ]
    then = "is refused" if refuses else "goes on unrecorded, media: anchor"
    assert response.steps[-1].finding == f"no media node records now: by the tenant's policy the call {then}"
    assert stats.unrecordable.total() == 1


# --- rules and questions ---------------------------------------------------------------------------------------------


def test_a_changed_rule_changes_the_answer_and_its_fingerprint(answerer: Answerer, book: Book) -> None:
    before = routing.at_once(answerer.answer_unary(call())).decision
    moved = routing.line(host="192.0.2.99")
    book.change_rules([Change(key_of(moved), routing.entry(moved, 2), 2)])
    after = routing.at_once(answerer.answer_unary(call())).decision
    assert after.dial.stages[0].branches[0].uri == "sip:13900001111@192.0.2.99:5060"
    assert after.fingerprint != before.fingerprint


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        ({"call_id": ""}, "call_id: is required"),
        ({"trunk": ""}, "trunk: is required"),
        ({"called": ""}, "called: is required"),
        ({"call_id": "x" * 129}, "call_id: longer than 128 characters"),
        ({"called": "1" * 65}, "called: longer than 64 characters"),
        ({"calling": "1" * 65}, "calling: longer than 64 characters"),
        ({"asserted": "1" * 65}, "asserted: longer than 64 characters"),
        ({"calling": "1\r\n2"}, "calling: has control characters"),
        ({"asserted": "\x00"}, "asserted: has control characters"),
        ({"source_address": "\x7f"}, "source_address: has control characters"),
        ({"trunk": "\x85"}, "trunk: has control characters"),
    ],
)
def test_an_invalid_question_is_told_what_is_wrong_and_its_neighbours_are_answered(
    answerer: Answerer, stats: Stats, fields: dict[str, str], message: str
) -> None:
    good = call()
    bad = call(**{"called": good.called, **fields})
    before, refused, after = answered(answerer, questions(good, bad, good)).answers
    assert before.decision == after.decision
    assert (refused.error, refused.error_message) == (types_pb2.INVALID_FIELD, message)
    assert not refused.HasField("decision")
    assert stats.refused == {"INVALID_FIELD": 1}
    with pytest.raises(InvalidFieldError, match=message):
        routing.at_once(answerer.answer_unary(bad))


def test_a_rule_that_cannot_be_obeyed_fails_its_own_question_alone(
    answerer: Answerer, stats: Stats, monkeypatch: pytest.MonkeyPatch
) -> None:
    plan = Planner.of_stages

    def of_stages(planner: Planner, number: Number) -> Plan:
        if number.number == "4007654321":
            raise ValueError("node entry: has the unknown value 99")
        return plan(planner, number)

    monkeypatch.setattr(Planner, "of_stages", of_stages)
    with capture_logs() as logs:
        found = answered(answerer, questions(call(), call("4007654321", call_id="call-2"), call()))
    assert [(one.id, one.decision.why, one.error) for one in found.answers] == [
        (1, "dial", 0),
        (2, "", types_pb2.INTERNAL),
        (3, "dial", 0),
    ]
    (failed,) = [log for log in logs if log["event"] == "decision_failed"]
    assert (failed["call_id"], failed["called"]) == ("call-2", "4007654321")
    assert stats.refused == {"INTERNAL": 1}


def test_what_is_refused_is_logged_with_its_call(answerer: Answerer) -> None:
    with capture_logs() as logs:
        answered(
            answerer, questions(call(), call("4007654321"), call("110", call_id="r"), call(call_id="i", calling="1\n2"))
        )
        routing.at_once(answerer.answer_unary(call("110", call_id="u")))
    assert [(entry["log_level"], entry["event"], entry["call_id"]) for entry in logs] == [
        ("debug", "call_rejected", "r"), ("debug", "question_refused", "i"), ("debug", "call_rejected", "u"),
    ]  # fmt: skip
    assert logs[0]["why"] == "number_unknown"
    assert (logs[1]["reason"], logs[1]["message"]) == ("INVALID_FIELD", "calling: has control characters")


def test_a_question_without_a_request_is_refused(answerer: Answerer) -> None:
    (answer,) = answered(answerer, routing_pb2.DecideStreamRequest(questions=[routing_pb2.Question(id=3)])).answers
    assert (answer.id, answer.error) == (3, types_pb2.INVALID_FIELD)


def test_more_questions_in_a_message_than_allowed_are_refused(answerer: Answerer) -> None:
    response = answered(answerer, questions(*[call()] * (answers.MAX_QUESTIONS + 1)))
    assert [a.error for a in response.answers] == [0] * answers.MAX_QUESTIONS + [types_pb2.INVALID_FIELD]


def test_before_rules_are_loaded_nothing_is_decided(stats: Stats) -> None:
    book = Book(lambda: None)
    answerer = Answerer(book, lambda: 0, stats, setup())
    (answer,) = answered(answerer, questions(call())).answers
    assert answer.error == types_pb2.RULES_NOT_LOADED
    with pytest.raises(RulesNotLoadedError):
        routing.at_once(answerer.answer_unary(call()))
    with pytest.raises(RulesNotLoadedError):
        explained(book, answerer, call())


def test_a_question_past_its_deadline_gets_no_answer(
    answerer: Answerer, stats: Stats, monkeypatch: pytest.MonkeyPatch
) -> None:
    seconds = itertools.count()
    monkeypatch.setattr("signalbox.routing.answers.time.monotonic", lambda: next(seconds))
    request = questions(call(), call(), call())
    for question, deadline_ms in zip(request.questions, (0, 500, 5000), strict=True):
        question.deadline_ms = deadline_ms
    assert [a.id for a in answered(answerer, request).answers] == [1, 3]
    assert stats.expired == 1


def test_prepared_messages_stay_within_their_limit(answerer: Answerer, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(answers, "PREPARED_LIMIT", 1)
    for _ in range(3):
        assert routing.at_once(answerer.answer_unary(call())).decision.number == "4001234567"
        assert routing.at_once(answerer.answer_unary(call("4007654321"))).decision.number == "4007654321"


def test_an_explanation_needs_only_the_number_and_counts_nothing(book: Book, answerer: Answerer, stats: Stats) -> None:
    response = explained(book, answerer, routing_pb2.DecideRequest(called="+864001234567"))
    assert response.decision == routing.at_once(answerer.answer_unary(call())).decision
    assert [step.rule for step in response.steps] == [
        "trunk",
        "number",
        "number_state",
        "loop_guard",
        "limit",
        "line",
        "recording",
        "dial",
    ]
    assert [step.decisive for step in response.steps] == [False] * 7 + [True]
    assert sum(stats.decisions.values()) == 1
    with pytest.raises(InvalidFieldError, match="called: is required"):
        explained(book, answerer, routing_pb2.DecideRequest())
