"""Whether a call flow is good: every fault, each with an example."""

from __future__ import annotations

import pytest
from signalbox.domain.flow import (
    AnnounceNode,
    CallerListNode,
    DialLine,
    DialNode,
    FlowGraph,
    HangUpNode,
    LineAnnouncement,
    MenuBranch,
    MenuNode,
    Node,
    RegionBranch,
    RegionNode,
    ScheduleBranch,
    ScheduleNode,
    SurveyNode,
    TransferNode,
    VoicemailNode,
)
from signalbox.domain.flow_check import Kind, Known, Reference, references, structure, unknown, validate
from signalbox.domain.flow_nodes import (
    ConditionBranch,
    ConditionNode,
    MessageNode,
    PasswordNode,
    QueueNode,
    ReceivedValue,
    RequestNode,
    SetVariableNode,
)

END = HangUpNode()
NOTHING = Known({}, {})


def dial(line: str = "a", **ways: str) -> DialNode:
    return DialNode((DialLine(line),), **ways)


def announce(next: str) -> AnnounceNode:
    return AnnounceNode("hello", answer=False, next=next)


def faults(entry: str, **nodes: Node) -> dict[str, str]:
    return {one.field: one.reason for one in structure(FlowGraph(entry, nodes))}


def test_a_good_flow() -> None:
    assert not faults(
        "hours",
        hours=ScheduleNode("office", (ScheduleBranch("open", "menu"),), "closed"),
        menu=MenuNode("welcome", (MenuBranch("1", "sales"),), "menu", "menu"),
        sales=dial(busy="closed"),
        closed=HangUpNode(prompt="closed"),
    )


def test_a_flow_without_nodes() -> None:
    assert faults("") == {"nodes": "must have at least one node"}


def test_an_entry_that_is_missing() -> None:
    assert faults("", a=END)["entry"] == "is required"
    assert faults("b", a=END) == {"entry": "there is no node b"}


def test_ways_to_nowhere() -> None:
    assert faults("a", a=dial(busy="x", no_answer="y", failed="z", after="w")) == {
        "nodes[0].dial.busy": "node a: there is no node x",
        "nodes[0].dial.no_answer": "node a: there is no node y",
        "nodes[0].dial.failed": "node a: there is no node z",
        "nodes[0].dial.after": "node a: there is no node w",
    }


def test_ways_that_must_lead_somewhere() -> None:
    menu = MenuNode("p", (MenuBranch("1", ""),), "", "")
    assert faults("a", a=menu) == {
        "nodes[0].menu.branches[0].next": "node a: is required",
        "nodes[0].menu.no_input": "node a: is required",
        "nodes[0].menu.no_match": "node a: is required",
    }


def test_a_node_that_no_way_leads_to() -> None:
    found = faults("a", a=END, b=announce("c"), c=END)
    assert found == {
        "nodes[1].id": "node b: no way leads here from the entry",
        "nodes[2].id": "node c: no way leads here from the entry",
    }


def test_a_circle_without_an_end() -> None:
    assert faults("a", a=announce("b"), b=announce("a")) == {
        "nodes[0].id": "node a: no way from here ends the call",
        "nodes[1].id": "node b: no way from here ends the call",
    }


def test_a_menu_may_lead_back_to_itself() -> None:
    assert not faults("a", a=MenuNode("p", (MenuBranch("1", "b"),), "a", "a"), b=dial(busy="a"))


def test_a_circle_in_which_nothing_is_played() -> None:
    assert faults("a", a=announce("b"), b=dial(busy="c"), c=CallerListNode(("vip",), "d", "b"), d=END) == {
        "nodes[1].dial.busy": "node b: a circle in which nothing is played: b → c → b"
    }


def test_variables_take_no_time_of_the_caller() -> None:
    ask = ConditionNode("caller", (ConditionBranch(("1",), "a"),), "end")
    assert faults("a", a=SetVariableNode("v", "1", "b"), b=ask, end=END) == {
        "nodes[0].set_variable.next": "node a: a circle in which nothing is played: a → b → a"
    }
    assert faults("a", a=RequestNode("u", "k", "end", "a"), end=END) == {
        "nodes[0].request.failed": "node a: a circle in which nothing is played: a → a"
    }
    assert faults("a", a=MessageNode("106", "hi", next="end", failed="a"), end=END) == {
        "nodes[0].message.failed": "node a: a circle in which nothing is played: a → a"
    }


def test_a_dial_that_is_repeated_for_ever() -> None:
    for way in ("busy", "no_answer", "failed"):
        found = faults("a", a=dial(**{way: "a"}))
        assert found == {f"nodes[0].dial.{way}": "node a: a circle in which nothing is played: a → a"}


def test_a_dial_with_voice_is_silent_when_no_line_takes_the_call() -> None:
    assert "nodes[0].dial.busy" in faults("a", a=dial(busy="a", whisper="hello", after="b"), b=END)


def test_a_circle_through_a_conversation_is_good() -> None:
    assert not faults("a", a=dial(after="a"))
    assert not faults("a", a=dial(transfer_keys="*2", transfer="a"))


def test_a_queue_is_before_a_dial_which_may_lead_back_to_it() -> None:
    assert not faults("q", q=QueueNode("d", "p", "end", "end"), d=dial(busy="q", no_answer="q"), end=END)
    assert faults("q", q=QueueNode("end", "p", "end", "end"), end=END) == {
        "nodes[0].queue.dial": "node q: node end is no dial"
    }
    assert faults("q", q=QueueNode("d", "p", "q", "end"), d=dial(), end=END) == {
        "nodes[0].queue.full": "node q: a circle in which nothing is played: q → q"
    }
    assert faults("q", q=QueueNode("", "p", "end", "end", leave_keys="*"), end=END) == {
        "nodes[0].queue.dial": "node q: is required",
        "nodes[0].queue.left": "node q: is required",
    }


def test_transfer_keys_lead_somewhere() -> None:
    assert faults("a", a=dial(transfer_keys="*2")) == {"nodes[0].dial.transfer": "node a: is required"}


def test_two_circles_are_told_apart() -> None:
    found = faults("a", a=dial(busy="b", failed="d"), b=dial(busy="c"), c=dial(busy="b"), d=dial(busy="d"))
    assert set(found) == {"nodes[1].dial.busy", "nodes[3].dial.busy"}


INCOMPLETE: list[tuple[Node, str, str]] = [
    (ScheduleNode("", (), "end"), "schedule.schedule", "is required"),
    (ScheduleNode("s", (ScheduleBranch("", "end"),), "end"), "schedule.branches[0].period", "is required"),
    (
        RegionNode((RegionBranch(frozenset(), frozenset(), (), frozenset(), "end"),), "end"),
        "region.branches[0]",
        "must name a province, an area code, a region group or a carrier",
    ),
    (CallerListNode((), "end", "end"), "caller_list.lists", "must have at least one list"),
    (CallerListNode(("",), "end", "end"), "caller_list.lists[0]", "is required"),
    (DialNode(), "dial.lines", "must have at least one line, unless there is a line group"),
    (dial(""), "dial.lines[0].line", "is required"),
    (AnnounceNode("", answer=True, next="end"), "announce.prompt", "is required"),
    (MenuNode("", (MenuBranch("1", "end"),), "end", "end"), "menu.prompt", "is required"),
    (
        MenuNode("p", (), "end", "end"),
        "menu.branches",
        "must have at least one branch, unless there is entered",
    ),
    (MenuNode("p", (), "end", "end", entered="end"), "menu.variable", "is required with entered"),
    (MenuNode("p", (MenuBranch("", "end"),), "end", "end"), "menu.branches[0].digits", "is required"),
    (VoicemailNode(""), "voicemail.prompt", "is required"),
    (SurveyNode(""), "survey.prompt", "is required"),
    (SetVariableNode("", "x", "end"), "set_variable.name", "is required"),
    (RequestNode("", "k", "end", "end"), "request.url", "is required"),
    (RequestNode("u", "", "end", "end"), "request.api_key", "is required"),
    (RequestNode("u", "k", "end", "end", send=("",)), "request.send[0]", "is required"),
    (RequestNode("u", "k", "end", "end", receive=(ReceivedValue("", "v"),)), "request.receive[0].key", "is required"),
    (
        RequestNode("u", "k", "end", "end", receive=(ReceivedValue("v", ""),)),
        "request.receive[0].variable",
        "is required",
    ),
    (
        RequestNode("u", "k", "end", "end", branches=(ConditionBranch(("1",), "end"),)),
        "request.branch_key",
        "is required with branches",
    ),
    (
        RequestNode("u", "k", "end", "end", branch_key="x", branches=(ConditionBranch((), "end"),)),
        "request.branches[0].values",
        "must have at least one value",
    ),
    (TransferNode(), "transfer.line", "must be given, unless there is a number"),
    (
        TransferNode(number="0{caller}"),
        "transfer.prefixes",
        "must have at least one entry for a number that names variables",
    ),
    (PasswordNode("", "s", "end", "end"), "password.prompt", "is required"),
    (PasswordNode("p", "", "end", "end"), "password.digits", "is required"),
    (MessageNode("", "hi"), "message.sender", "is required"),
    (MessageNode("106", ""), "message.text", "is required"),
    (ConditionNode("", (ConditionBranch(("x",), "end"),), "end"), "condition.variable", "is required"),
    (ConditionNode("caller", (), "end"), "condition.branches", "must have at least one branch"),
    (
        ConditionNode("caller", (ConditionBranch((), "end"),), "end"),
        "condition.branches[0].values",
        "must have at least one value",
    ),
]


@pytest.mark.parametrize(("node", "field", "reason"), INCOMPLETE, ids=[one[1] for one in INCOMPLETE])
def test_a_node_that_lacks_something(node: Node, field: str, reason: str) -> None:
    graph = FlowGraph("a", {"a": MenuNode("p", (MenuBranch("1", "b"),), "end", "end"), "b": node, "end": END})
    assert [(one.field, one.reason) for one in structure(graph)] == [(f"nodes[1].{field}", f"node b: {reason}")]


EVERYTHING = FlowGraph(
    "hours",
    {
        "hours": ScheduleNode("office", (ScheduleBranch("open", "place"), ScheduleBranch("lunch", "place")), "end"),
        "place": RegionNode((RegionBranch(frozenset(), frozenset(), ("north",), frozenset(), "who"),), "who"),
        "who": CallerListNode(("vip", "staff"), "hello", "hello"),
        "hello": AnnounceNode("greeting", answer=False, next="menu"),
        "menu": MenuNode(
            "choices", (MenuBranch("1", "group"),), "mail", "end", no_input_prompt="what", no_match_prompt="wrong"
        ),
        "group": DialNode(
            line_group="sales",
            whisper="new-call",
            busy="lines",
            ring_back="jingle",
            announces=LineAnnouncement("you-speak-to", "thanks"),
        ),
        "lines": DialNode((DialLine("a"), DialLine("b")), after="ask"),
        "ask": SurveyNode("how-was-it", no_match_prompt="one-to-five"),
        "mail": VoicemailNode("beep", next="crm"),
        "crm": RequestNode("https://example.com/", "signs", "pin", "end"),
        "pin": PasswordNode("your-pin", "s", "branch", "wait", wrong_prompt="no-pin"),
        "wait": QueueNode("lines", "jazz", "end", "end", position_before="you-are", position_after="in-line"),
        "branch": TransferNode("c", ring_back="waltz", after="end"),
        "end": HangUpNode(prompt="goodbye"),
    },
)
USED = [
    (Kind.SCHEDULE, "office", "nodes[0].schedule.schedule", "hours"),
    (Kind.REGION_GROUP, "north", "nodes[1].region.branches[0].groups[0]", "place"),
    (Kind.SCREENING_LIST, "vip", "nodes[2].caller_list.lists[0]", "who"),
    (Kind.SCREENING_LIST, "staff", "nodes[2].caller_list.lists[1]", "who"),
    (Kind.PROMPT, "greeting", "nodes[3].announce.prompt", "hello"),
    (Kind.PROMPT, "choices", "nodes[4].menu.prompt", "menu"),
    (Kind.PROMPT, "what", "nodes[4].menu.no_input_prompt", "menu"),
    (Kind.PROMPT, "wrong", "nodes[4].menu.no_match_prompt", "menu"),
    (Kind.LINE_GROUP, "sales", "nodes[5].dial.line_group", "group"),
    (Kind.PROMPT, "new-call", "nodes[5].dial.whisper", "group"),
    (Kind.PROMPT, "jingle", "nodes[5].dial.ring_back", "group"),
    (Kind.PROMPT, "you-speak-to", "nodes[5].dial.announce_line.before", "group"),
    (Kind.PROMPT, "thanks", "nodes[5].dial.announce_line.after", "group"),
    (Kind.LINE, "a", "nodes[6].dial.lines[0].line", "lines"),
    (Kind.LINE, "b", "nodes[6].dial.lines[1].line", "lines"),
    (Kind.PROMPT, "how-was-it", "nodes[7].survey.prompt", "ask"),
    (Kind.PROMPT, "one-to-five", "nodes[7].survey.no_match_prompt", "ask"),
    (Kind.PROMPT, "beep", "nodes[8].voicemail.prompt", "mail"),
    (Kind.API_KEY, "signs", "nodes[9].request.api_key", "crm"),
    (Kind.PROMPT, "your-pin", "nodes[10].password.prompt", "pin"),
    (Kind.PROMPT, "no-pin", "nodes[10].password.wrong_prompt", "pin"),
    (Kind.PROMPT, "jazz", "nodes[11].queue.music", "wait"),
    (Kind.PROMPT, "you-are", "nodes[11].queue.position_before", "wait"),
    (Kind.PROMPT, "in-line", "nodes[11].queue.position_after", "wait"),
    (Kind.LINE, "c", "nodes[12].transfer.line", "branch"),
    (Kind.PROMPT, "waltz", "nodes[12].transfer.ring_back", "branch"),
    (Kind.PROMPT, "goodbye", "nodes[13].hang_up.prompt", "end"),
]


def all_of(graph: FlowGraph, *, but: str = "") -> Known:
    ids: dict[Kind, set[str]] = {}
    for one in references(graph):
        if one.field != but:
            ids.setdefault(one.kind, set()).add(one.id)
    return Known(ids, {"office": {"open", "lunch"}})


def test_everything_that_a_flow_refers_to_is_found() -> None:
    assert list(references(EVERYTHING)) == [Reference(*one) for one in USED]
    assert not validate(EVERYTHING, all_of(EVERYTHING))


@pytest.mark.parametrize(("kind", "id", "field", "node"), USED, ids=[one[2] for one in USED])
def test_a_reference_to_what_does_not_exist(kind: Kind, id: str, field: str, node: str) -> None:
    found = list(unknown(EVERYTHING, all_of(EVERYTHING, but=field)))
    assert [(one.field, one.reason) for one in found] == [(field, f"node {node}: there is no {kind.value} {id}")]


def test_a_period_that_the_schedule_does_not_have() -> None:
    known = Known(all_of(EVERYTHING).ids, {"office": {"open"}})
    assert [(one.field, one.reason) for one in unknown(EVERYTHING, known)] == [
        ("nodes[0].schedule.branches[1].period", "node hours: schedule office has no period lunch")
    ]


def test_faults_of_all_kinds_are_told_together() -> None:
    graph = FlowGraph("a", {"a": dial("nobody", busy="nowhere")})
    assert [one.field for one in validate(graph, NOTHING)] == ["nodes[0].dial.busy", "nodes[0].dial.lines[0].line"]
