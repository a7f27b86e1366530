"""The steps of a flow that a worker with voice executes, from the decision that hands the call over on."""

from __future__ import annotations

from dataclasses import replace
from functools import partial
from typing import TYPE_CHECKING
from zoneinfo import ZoneInfo

import pytest
from signalbox.domain.claims import Claim, supposed
from signalbox.domain.continuing import Next, proceed
from signalbox.domain.cursor import MAX_CONTINUED, Cursor, CursorError, open_, seal
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
    LineGroup,
    MenuBranch,
    MenuNode,
    Node,
    SurveyNode,
    TransferNode,
    VoicemailNode,
)
from signalbox.domain.flow_nodes import ConditionBranch, ConditionNode, SetVariableNode
from signalbox.domain.numbering import Caller, CallerKind
from signalbox.domain.objects import HealthCheck, Line, MediaMode, Member, Number, Target, Tenant, Trunk, TrunkGroup
from signalbox.domain.outcomes import Ended, Outcome, OutcomeError
from signalbox.domain.planner import Voice
from signalbox.domain.regions import Region
from signalbox.domain.rules import Rules
from signalbox.domain.voice import Pool
from support import reference
from support.deciding import NOW, Call, Places, decided, setup
from support.reference import PLACES

if TYPE_CHECKING:
    from signalbox.domain.decision import Setup
    from signalbox.domain.variables import Values

KEY = b"key"
WORKERS = (Line("", "ivr-1", "ivr", "192.0.2.21"), Line("", "ivr-2", "ivr", "192.0.2.22"))
VOICE = Voice(Pool([(worker, 0.0) for worker in WORKERS]), partial(seal, key=KEY))
GIVEN = setup(PLACES, VOICE)
NOTED = "4001234567 2027-01-15 16:00 内蒙古呼和浩特 "
NODES: dict[str, Node] = {
    "north": reference.region("内蒙古", "menu", "sales"),
    "menu": MenuNode("welcome", (MenuBranch("1", "sales"), MenuBranch("2", "mail")), "mail", "bye"),
    "order": MenuNode(
        "your-order", (MenuBranch("0", "mail"), MenuBranch("8", "again", "en")), "bye", "bye",
        variable="order", entered="by-order", min_digits=3,
    ),
    "by-order": ConditionNode("order", (ConditionBranch(("123",), "mail"),), "bye"),
    "again": AnnounceNode("hello", True, "order"),
    "sales": DialNode(
        (DialLine("a"), DialLine("b")), Distribution.ROUND_ROBIN, busy="menu", after="survey", whisper="a-call",
        transfer_keys="*2", transfer="mail",
    ),
    "asks": DialNode((DialLine("a"),), transfer_keys="*2", transfer="to-b"),
    "to-b": TransferNode("b", attended=True, busy="mail", failed="bye"),
    "hands-on": DialNode((DialLine("a"),), transfer_keys="*2", transfer="blind-to-b"),
    "blind-to-b": TransferNode("b", busy="mail"),
    "asks-for-number": DialNode((DialLine("a"),), transfer_keys="*2", transfer="to-number"),
    "to-number": TransferNode(number="1", attended=True, failed="bye"),
    "mail": VoicemailNode("speak"),
    "survey": SurveyNode("score"),
    "to-mail": VoicemailNode("speak", next="scored", no_message="bye"),
    "scored": SurveyNode("score", next="by-score", variable="score"),
    "by-score": ConditionNode("score", (ConditionBranch(("1", "2"), "mail"),), "bye"),
    "greet": AnnounceNode("hello", True, "plain"),
    "plain": DialNode((DialLine("a"),), no_answer="bye"),
    "bye": HangUpNode(HangUpCause.BUSY, "sorry"),
    "gone": HangUpNode(HangUpCause.FORBIDDEN),
    "to-gone": AnnounceNode("hello", False, "gone"),
    "noted": AnnounceNode("hello", False, "note"),
    "note": SetVariableNode("topic", "{number} {time} {caller_province}{caller_city} {topic}", "by-topic"),
    "by-topic": ConditionNode("topic", (ConditionBranch((NOTED,), "mail"),), "bye"),
    "forget": SetVariableNode("topic", "", "by-nothing"),
    "by-nothing": ConditionNode("topic", (ConditionBranch(("x",), "bye"), ConditionBranch(("", "y"), "mail")), "bye"),
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
    node: str | Cursor,
    outcome: Outcome | None,
    counts: dict[str, int] | None = None,
    claims: list[Claim] | None = None,
    given: Setup = GIVEN,
    edge: str = "",
    talking: bool = False,
) -> Next:
    cursor = node if isinstance(node, Cursor) else cursor_at(node)
    deciding = proceed(rules, cursor, outcome, NOW, given, edge, talking=talking)
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


def test_a_dial_says_how_it_failed_and_what_the_line_hears(rules: Rules) -> None:
    claims: list[Claim] = []
    found = following(rules, "menu", Outcome(Ended.DIGITS, "1"), {"turn/acme/flow/main/sales": 1}, claims)
    assert isinstance(found.do, Dial)
    assert found.dial == NODES["sales"]
    assert (found.do.media, found.do.max_duration_s) == (MediaMode.BYPASS, 60)
    assert [stage.lines[0].id for stage in found.do.stages] == ["b", "a", "a", "a"]
    ends = {way for stage in found.do.stages for way in (stage.on_busy, stage.on_no_answer, stage.on_failed)}
    assert ends - {1, 2, 3, 4} == {486, 480, 0}
    assert (claims[0].part, claims[0].limits, claims[0].dials[0].takes) == ("step 1", (), 1)


@pytest.mark.parametrize(
    ("ended", "node"), [(Ended.LINE_LEFT, "survey"), (Ended.TRANSFER, "mail"), (Ended.BUSY, "menu")]
)
def test_what_follows_a_dial_lets_go_of_its_lines_first(rules: Rules, ended: Ended, node: str) -> None:
    claims: list[Claim] = []
    assert following(rules, replace(cursor_at("sales"), step=4), Outcome(ended), claims=claims).do == (
        node, NODES[node],
    )  # fmt: skip
    assert claims == [Claim("call-1", "acme", (), (), "after step 4")]
    # To ask for a step again lets go of nothing.
    assert isinstance(following(rules, "sales", None, claims=claims).do, Dial)
    assert [claim.part for claim in claims] == ["after step 4", "step 0"]


@pytest.mark.parametrize(("edge", "hosts"), [("edge-1", ["192.0.2.8"]), ("edge-2", ["192.0.2.7"])])
def test_a_dial_passes_over_targets_that_are_dead_to_the_edge(rules: Rules, edge: str, hosts: list[str]) -> None:
    dead, alive = Target("192.0.2.7"), Target("192.0.2.8")
    rules.put(Line("acme", "a", "13900001111", ""))
    rules.put(Trunk("out", targets=(dead, alive), health_check=HealthCheck()))
    rules.put(TrunkGroup("all", ("",), (Member("out"),)))
    given = replace(GIVEN, dead={"edge-1": frozenset({dead})})
    found = following(rules, "plain", None, given=given, edge=edge).do
    assert isinstance(found, Dial)
    assert [stage.lines[0].host for stage in found.stages] == hosts


def test_lines_ring_for_their_own_times(rules: Rules) -> None:
    lines = (DialLine("a"), DialLine("b", ring_ms=5_000), DialLine("gone"))
    times = {}
    for distribution in (Distribution.SEQUENTIAL, Distribution.ALL):
        node = DialNode(lines, distribution, ring_ms=20_000)
        rules.put(Flow("acme", "main", (FlowRevision(3, 0.0, FlowGraph("n", {**NODES, "n": node})),)))
        action = decided(rules, Call(), given=GIVEN).action
        assert isinstance(action, Dial)
        times[distribution] = [(one.lines[0].id, one.ring_time_ms) for one in action.stages]
    assert set(times[Distribution.SEQUENTIAL]) == {("a", 20_000), ("b", 5_000)}
    assert times[Distribution.ALL] == [("a", 20_000)]


def test_a_line_of_a_group_rings_for_its_own_time_through_every_trunk(rules: Rules) -> None:
    rules.put(Line("acme", "a", "13900001111", ""))
    rules.put(Trunk("out", targets=(Target("192.0.2.7"), Target("192.0.2.8"))))
    rules.put(TrunkGroup("all", ("",), (Member("out"),)))
    rules.put(LineGroup("acme", "team", (DialLine("a", ring_ms=7_000), DialLine("b"))))
    node = DialNode(line_group="team")
    rules.put(Flow("acme", "main", (FlowRevision(3, 0.0, FlowGraph("n", {**NODES, "n": node})),)))
    action = decided(rules, Call(), given=GIVEN).action
    assert isinstance(action, Dial)
    assert {(one.lines[0].host, one.ring_time_ms) for one in action.stages} == {
        ("192.0.2.7", 7_000), ("192.0.2.8", 7_000), ("192.0.2.2", 30_000)
    }  # fmt: skip


def test_a_dial_without_a_free_line_leads_on_at_once(rules: Rules) -> None:
    rules.delete(Line, "acme", "a")
    busy = following(rules, "menu", Outcome(Ended.DIGITS, "1"), {"line/acme/b": 1})
    assert (busy.do, busy.cursor.step) == (("menu", NODES["menu"]), 2)
    rules.delete(Line, "acme", "b")
    failed = following(rules, "menu", Outcome(Ended.DIGITS, "1"))
    assert failed.do == Reject(480, "Temporarily Unavailable")


@pytest.mark.parametrize(
    ("at", "node", "vain"), [("asks", "to-b", Ended.BUSY), ("asks-for-number", "to-number", Ended.FAILED)]
)
def test_a_line_that_would_speak_with_somebody_who_cannot_be_rung_keeps_the_call(
    rules: Rules, at: str, node: str, vain: Ended
) -> None:
    full = {"line/acme/b": 1}
    found = following(rules, at, Outcome(Ended.TRANSFER), full, talking=True)
    assert isinstance(found.do, Dial)
    assert (found.do.stages, found.cursor.node, found.vain) == ((), node, vain)
    assert found.dial is NODES[node]
    # Without a line that could keep it the flow goes on.
    gone = following(rules, at, Outcome(Ended.TRANSFER), full)
    assert (gone.cursor.node, gone.vain) == ("mail" if vain is Ended.BUSY else "bye", None)


def test_an_attended_transfer_that_finds_somebody_and_a_blind_one_that_does_not(rules: Rules) -> None:
    found = following(rules, "asks", Outcome(Ended.TRANSFER), talking=True)
    assert isinstance(found.do, Dial)
    assert ([line.id for stage in found.do.stages for line in stage.lines], found.vain) == (["b"], None)
    blind = following(rules, "hands-on", Outcome(Ended.TRANSFER), {"line/acme/b": 1}, talking=True)
    assert blind.cursor.node == "mail"


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
    [
        ("note", Ended.DONE),
        ("greet", Ended.BUSY),
        ("menu", Ended.DONE),
        ("sales", Ended.DIGITS),
        ("plain", Ended.TRANSFER),
        ("bye", Ended.NO_INPUT),
    ],
)
def test_a_step_cannot_end_as_one_of_another_kind(rules: Rules, node: str, ended: Ended) -> None:
    with pytest.raises(OutcomeError):
        following(rules, node, Outcome(ended))


def test_a_call_goes_on_when_its_number_is_gone(rules: Rules) -> None:
    rules.delete_number("4001234567")
    found = following(rules, "greet", Outcome(Ended.DONE)).do
    assert isinstance(found, Dial)
    assert found.media is MediaMode.ANCHOR
