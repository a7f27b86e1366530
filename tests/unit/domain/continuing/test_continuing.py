"""The steps of a flow that a worker with voice executes, from the decision that hands the call over on."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING
from zoneinfo import ZoneInfo

import pytest
from signalbox.domain.continuing import Next
from signalbox.domain.cursor import MAX_CONTINUED, open_, seal
from signalbox.domain.decided import Dial, Reject, Step, Trace, Why
from signalbox.domain.flow import (
    Flow,
    FlowGraph,
    FlowRevision,
)
from signalbox.domain.flow_nodes import ConditionBranch, ConditionNode
from signalbox.domain.objects import Tenant
from signalbox.domain.outcomes import Ended, Outcome
from signalbox.domain.regions import Region
from support.continuing import GIVEN, KEY, NODES, NOTED, cursor_at, following
from support.deciding import Call, Places, decided, setup
from support.reference import PLACES

if TYPE_CHECKING:
    from signalbox.domain.rules import Rules
    from signalbox.domain.variables import Values


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
        ("order", Outcome(Ended.DIGITS, "12"), "bye"),
        ("order", Outcome(Ended.NO_INPUT), "bye"),
        ("sales", Outcome(Ended.BUSY), "menu"),
        ("sales", Outcome(Ended.LINE_LEFT), "survey"),
        ("sales", Outcome(Ended.TRANSFER), "mail"),
        ("plain", Outcome(Ended.NO_ANSWER), "bye"),
        ("to-mail", Outcome(Ended.DONE), "scored"),
        ("to-mail", Outcome(Ended.NO_INPUT), "bye"),
        ("to-mail", Outcome(Ended.FAILED), "bye"),
        ("scored", Outcome(Ended.DIGITS, "7"), "bye"),
        ("scored", Outcome(Ended.DIGITS, "12"), "bye"),
        ("scored", Outcome(Ended.NO_INPUT), "bye"),
    ],
)
def test_an_outcome_leads_to_the_next_node(rules: Rules, node: str, outcome: Outcome, next: str) -> None:
    found = following(rules, node, outcome)
    assert found.do == (next, NODES[next])
    assert found.cursor == replace(cursor_at(next), step=1)


def test_what_is_set_is_carried_on_with_the_cursor_and_branched_by(rules: Rules) -> None:
    rules.put(Tenant("acme", ZoneInfo("Asia/Shanghai")))
    given = replace(GIVEN, regions=Places({"139": Region("内蒙古", "呼和浩特")}))
    found = following(rules, "noted", Outcome(Ended.DONE), given=given)
    assert found.do == ("mail", NODES["mail"])
    assert found.cursor == replace(cursor_at("mail"), step=1, values=(("topic", NOTED),))
    assert open_(seal(found.cursor, KEY, MAX_CONTINUED), KEY) == found.cursor


@pytest.mark.parametrize(
    ("digits", "next", "values"),
    [
        ("123", "mail", (("order", "123"),)),
        ("1234", "bye", (("order", "1234"),)),
        ("0", "mail", (("order", "0"),)),
        ("8", "again", (("language", "en"), ("order", "8"))),
        ("12", "bye", (("order", "7"),)),
    ],
)
def test_what_is_keyed_is_kept_where_it_leads_on(rules: Rules, digits: str, next: str, values: Values) -> None:
    before = replace(cursor_at("order"), values=(("order", "7"),))
    found = following(rules, before, Outcome(Ended.DIGITS, digits))
    assert (found.cursor.node, found.cursor.values) == (next, values)


def test_a_score_is_kept(rules: Rules) -> None:
    found = following(rules, "scored", Outcome(Ended.DIGITS, "2"))
    assert (found.cursor.node, found.cursor.values) == ("mail", (("score", "2"),))


def test_a_variable_can_be_forgotten(rules: Rules) -> None:
    cursor = replace(cursor_at("forget"), values=(("other", "1"), ("topic", "x")))
    found = following(rules, cursor, None)
    assert (found.do, found.cursor.values) == (("mail", NODES["mail"]), (("other", "1"),))


def test_a_call_is_handed_over_where_something_is_set_and_goes_on_from_there(rules: Rules) -> None:
    rules.put(Flow("acme", "main", (FlowRevision(3, 0.0, FlowGraph("note", NODES)),)))
    action = decided(rules, Call(calling="13900001234"), given=GIVEN).action
    assert isinstance(action, Dial)
    cursor = open_(action.stages[0].cursor, KEY)
    assert (cursor.node, cursor.values) == ("note", ())
    first = following(rules, cursor, None)
    assert (first.do, first.cursor.node, first.cursor.step) == (("bye", NODES["bye"]), "bye", 0)


def test_a_condition_on_what_is_known_needs_no_worker(rules: Rules) -> None:
    ask = ConditionNode("caller_province", (ConditionBranch(("内蒙古",), "plain"),), "gone")
    rules.put(Flow("acme", "main", (FlowRevision(3, 0.0, FlowGraph("ask", {"ask": ask, **NODES})),)))
    north = decided(rules, Call(calling="13900001234"), given=GIVEN)
    assert (north.why, north.caller_independent) == (Why.DIAL, False)
    trace: Trace = []
    south = decided(rules, Call(calling="13800001234"), trace, given=GIVEN)
    assert south.why is Why.HANG_UP
    assert Step("condition", "node ask: caller_province is 北京 → gone") in trace


def test_what_was_not_set_is_told_so(rules: Rules) -> None:
    ask = ConditionNode("language", (ConditionBranch(("en",), "plain"),), "gone")
    rules.put(Flow("acme", "main", (FlowRevision(3, 0.0, FlowGraph("ask", {"ask": ask, **NODES})),)))
    trace: Trace = []
    decided(rules, Call(), trace, given=GIVEN)
    assert Step("condition", "node ask: language is not set → gone") in trace


@pytest.mark.parametrize(
    ("node", "outcome", "code"),
    [
        ("mail", Outcome(Ended.DONE), 480),
        ("mail", Outcome(Ended.NO_INPUT), 480),
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
