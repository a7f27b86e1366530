"""The steps of a flow that a worker with voice executes, from the decision that hands the call over on."""

from __future__ import annotations

from dataclasses import replace
from functools import partial

import pytest
from signalbox.domain.claims import Claim, supposed
from signalbox.domain.continuing import Ended, Next, Outcome, OutcomeError, proceed
from signalbox.domain.cursor import Cursor, CursorError, open_, seal
from signalbox.domain.decided import Dial, Reject, Step, Trace, Why
from signalbox.domain.flow import (
    AnnounceNode,
    DialLine,
    DialNode,
    Distribution,
    Flow,
    FlowGraph,
    FlowRevision,
    HangUpCause,
    HangUpNode,
    MenuBranch,
    MenuNode,
    Node,
    SurveyNode,
    VoicemailNode,
)
from signalbox.domain.numbering import Caller, CallerKind
from signalbox.domain.objects import Line, MediaMode, Number, Trunk
from signalbox.domain.planner import Voice
from signalbox.domain.rules import Rules
from support import reference
from support.deciding import NOW, Call, decided, setup
from support.reference import PLACES

KEY = b"key"
WORKERS = (Line("", "ivr-1", "ivr", "192.0.2.21"), Line("", "ivr-2", "ivr", "192.0.2.22"))
VOICE = Voice(WORKERS, partial(seal, key=KEY))
GIVEN = setup(PLACES, VOICE)
NODES: dict[str, Node] = {
    "north": reference.region("内蒙古", "menu", "sales"),
    "menu": MenuNode("welcome", (MenuBranch("1", "sales"), MenuBranch("2", "mail")), "mail", "bye"),
    "sales": DialNode(
        (DialLine("a"), DialLine("b")), Distribution.ROUND_ROBIN, busy="menu", after="survey", whisper="a-call"
    ),
    "mail": VoicemailNode("speak"),
    "survey": SurveyNode("score"),
    "greet": AnnounceNode("hello", True, "plain"),
    "plain": DialNode((DialLine("a"),), no_answer="bye"),
    "bye": HangUpNode(HangUpCause.BUSY, "sorry"),
    "gone": HangUpNode(HangUpCause.FORBIDDEN),
    "to-gone": AnnounceNode("hello", False, "gone"),
}  # fmt: skip


@pytest.fixture
def rules() -> Rules:
    rules = Rules()
    rules.put(Trunk("carrier"))
    rules.put(Line("acme", "a", "1", "192.0.2.1"))
    rules.put(Line("acme", "b", "2", "192.0.2.2", concurrent_calls=1))
    rules.put(Flow("acme", "main", (FlowRevision(3, 0.0, FlowGraph("north", NODES)),)))
    rules.put(Number("4001234567", "acme", (), flow="main", media=MediaMode.BYPASS, max_duration_s=60))
    return rules


def cursor_at(node: str) -> Cursor:
    return Cursor("call-1", "acme", "4001234567", "main", 3, node, Caller(CallerKind.MOBILE, "13900001234"))


def following(
    rules: Rules,
    node: str,
    outcome: Outcome | None,
    counts: dict[str, int] | None = None,
    claims: list[Claim] | None = None,
) -> Next:
    deciding = proceed(rules, cursor_at(node), outcome, NOW, GIVEN)
    try:
        claim = next(deciding)
        while True:
            if claims is not None:
                claims.append(claim)
            claim = deciding.send(supposed(claim, counts or {}))
    except StopIteration as end:
        found: Next = end.value
        return found


def test_a_node_that_needs_voice_hands_the_call_to_a_worker_with_a_cursor(rules: Rules) -> None:
    decision = decided(rules, Call(calling="13900001234"), given=GIVEN)
    assert (decision.why, decision.caller_independent) == (Why.VOICE, False)
    assert isinstance(decision.action, Dial)
    first, second = decision.action.stages
    assert {first.lines[0].id, second.lines[0].id} == {"ivr-1", "ivr-2"}
    assert (first.on_busy, first.on_no_answer, first.on_failed) == (2, 2, 2)
    assert (second.on_busy, second.on_no_answer, second.on_failed) == (480, 480, 480)
    assert open_(first.cursor, KEY) == cursor_at("menu")
    assert first.cursor == second.cursor


def test_calls_are_spread_over_workers_by_their_ids(rules: Rules) -> None:
    firsts = set()
    for n in range(20):
        action = decided(rules, Call(calling="13900001234", call_id=f"call-{n}"), given=GIVEN).action
        assert isinstance(action, Dial)
        firsts.add(action.stages[0].lines[0].id)
    assert firsts == {"ivr-1", "ivr-2"}


def test_without_a_worker_the_call_is_refused_and_told_why(rules: Rules) -> None:
    trace: Trace = []
    decision = decided(rules, Call(calling="13900001234"), trace, given=setup(PLACES))
    assert (decision.action, decision.why) == (Reject(480, "Temporarily Unavailable"), Why.NO_VOICE_WORKER)
    assert Step("voice", "node menu needs voice, and no worker has it") in trace
    assert trace[-1] == Step("no_voice_worker", "no worker with voice is there", True)


def test_a_call_whose_id_is_too_long_for_a_cursor_is_refused(rules: Rules) -> None:
    decision = decided(rules, Call(calling="13900001234", call_id="号" * 128), given=GIVEN)
    assert decision.why is Why.NO_VOICE_WORKER


@pytest.mark.parametrize("node", ["menu", "mail", "survey", "greet", "bye"])
def test_a_step_that_has_not_begun_is_given(rules: Rules, node: str) -> None:
    assert following(rules, node, None) == Next((node, NODES[node]), cursor_at(node))


@pytest.mark.parametrize(
    ("node", "outcome", "next"),
    [
        ("menu", Outcome(Ended.DIGITS, "2"), "mail"),
        ("menu", Outcome(Ended.DIGITS, "9"), "bye"),
        ("menu", Outcome(Ended.NO_INPUT), "mail"),
        ("menu", Outcome(Ended.NO_MATCH), "bye"),
        ("sales", Outcome(Ended.BUSY), "menu"),
        ("sales", Outcome(Ended.LINE_LEFT), "survey"),
        ("plain", Outcome(Ended.NO_ANSWER), "bye"),
    ],
)
def test_an_outcome_leads_to_the_next_node(rules: Rules, node: str, outcome: Outcome, next: str) -> None:
    found = following(rules, node, outcome)
    assert found.do == (next, NODES[next])
    assert found.cursor == replace(cursor_at(next), step=1)


@pytest.mark.parametrize(
    ("node", "outcome", "code"),
    [
        ("mail", Outcome(Ended.DONE), 480),
        ("survey", Outcome(Ended.DIGITS, "5"), 480),
        ("bye", Outcome(Ended.DONE), 486),
        ("plain", Outcome(Ended.BUSY), 486),
        ("plain", Outcome(Ended.FAILED), 480),
        ("to-gone", Outcome(Ended.DONE), 403),
    ],
)
def test_a_flow_comes_to_its_end(rules: Rules, node: str, outcome: Outcome, code: int) -> None:
    found = following(rules, node, outcome).do
    assert isinstance(found, Reject)
    assert found.code == code


def test_a_dial_says_how_it_failed_and_what_the_line_hears(rules: Rules) -> None:
    claims: list[Claim] = []
    found = following(rules, "menu", Outcome(Ended.DIGITS, "1"), {"turn/acme/flow/main/sales": 1}, claims)
    assert isinstance(found.do, Dial)
    assert (found.whisper, found.do.media, found.do.max_duration_s) == ("a-call", MediaMode.BYPASS, 60)
    assert [stage.lines[0].id for stage in found.do.stages] == ["b", "a", "a", "a"]
    ends = {way for stage in found.do.stages for way in (stage.on_busy, stage.on_no_answer, stage.on_failed)}
    assert ends - {1, 2, 3, 4} == {486, 480, 0}
    assert (claims[0].part, claims[0].limits, claims[0].dials[0].takes) == ("step 1", (), 1)


def test_a_dial_without_a_free_line_leads_on_at_once(rules: Rules) -> None:
    rules.delete(Line, "acme", "a")
    busy = following(rules, "menu", Outcome(Ended.DIGITS, "1"), {"line/acme/b": 1})
    assert (busy.do, busy.cursor.step) == (("menu", NODES["menu"]), 2)
    rules.delete(Line, "acme", "b")
    failed = following(rules, "menu", Outcome(Ended.DIGITS, "1"))
    assert failed.do == Reject(480, "Temporarily Unavailable")


def test_a_call_goes_on_with_the_revision_it_began_with(rules: Rules) -> None:
    changed = FlowGraph("menu", {"menu": HangUpNode()})
    kept = FlowRevision(3, 0.0, FlowGraph("north", NODES))
    rules.put(Flow("acme", "main", (kept, FlowRevision(4, NOW - 1, changed))))
    assert following(rules, "menu", None).do == ("menu", NODES["menu"])


def test_a_cursor_of_what_is_no_longer_kept_is_refused(rules: Rules) -> None:
    rules.put(Flow("acme", "main", (FlowRevision(4, 0.0, FlowGraph("north", NODES)),)))
    with pytest.raises(CursorError, match="no longer kept"):
        following(rules, "menu", None)
    rules.delete(Flow, "acme", "main")
    with pytest.raises(CursorError, match="no longer kept"):
        following(rules, "menu", None)


def test_a_cursor_at_a_node_that_never_was_is_refused(rules: Rules) -> None:
    with pytest.raises(CursorError, match="not in the flow"):
        following(rules, "nowhere", None)


@pytest.mark.parametrize(
    ("node", "ended"),
    [("greet", Ended.BUSY), ("menu", Ended.DONE), ("sales", Ended.DIGITS), ("bye", Ended.NO_INPUT)],
)
def test_a_step_cannot_end_as_one_of_another_kind(rules: Rules, node: str, ended: Ended) -> None:
    with pytest.raises(OutcomeError):
        following(rules, node, Outcome(ended))


def test_a_call_goes_on_when_its_number_is_gone(rules: Rules) -> None:
    rules.delete_number("4001234567")
    found = following(rules, "greet", Outcome(Ended.DONE)).do
    assert isinstance(found, Dial)
    assert found.media is MediaMode.ANCHOR
