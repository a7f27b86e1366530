"""The form of flows, line groups and prompts: every rule, each with what breaks it."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest
from google.protobuf import json_format
from hypothesis import given
from hypothesis import strategies as st
from signalbox.api.types.v1 import flows_pb2, types_pb2
from signalbox.domain import flow_check
from signalbox.provisioning import validate_flows
from signalbox.store import flowgraph
from support.flows import dial, graph

if TYPE_CHECKING:
    from collections.abc import Iterable

    from signalbox.errors import FieldViolation

A16 = [{"line": f"l{n}"} for n in range(16)]


def told(violations: Iterable[FieldViolation]) -> dict[str, str]:
    return {one.field: one.reason for one in violations}


GOOD: dict[str, dict[str, Any]] = {
    "an empty schedule": {"schedule": {}},
    "an empty region": {"region": {}},
    "an empty caller list": {"callerList": {}},
    "an empty dial": {"dial": {}},
    "an empty menu": {"menu": {}},
    "16 lines": {"dial": {"lines": A16, "ringTime": "1s", "distribution": "DISTRIBUTION_WEIGHTED"}},
    "8 lines together": {"dial": {"lines": A16[:8], "ringTime": "180s", "distribution": "DISTRIBUTION_ALL"}},
    "the largest weight": {"dial": {"lines": [{"line": "a", "weight": 1000}]}},
    "a region branch": {
        "region": {
            "branches": [
                {
                    "provinces": ["内蒙古"],
                    "areaCodes": ["0471", "010"],
                    "groups": ["g"],
                    "carriers": [1, 4],
                    "next": "x",
                }
            ]
        }
    },
    "16 lists": {"callerList": {"lists": [f"l{n}" for n in range(16)]}},
    "every key": {"menu": {"branches": [{"digits": "0123456789*#ABCD"}], "timeout": "60s", "repeats": 9}},
    "branches without keys yet": {"menu": {"branches": [{}, {}]}},
    "the longest message": {"voicemail": {"maxDuration": "600s"}},
    "keys of a survey": {"survey": {"keys": "123"}},
    "an announcement": {"announce": {"prompt": "p", "answer": True, "next": "x"}},
    "an end": {"hangUp": {"cause": "HANG_UP_CAUSE_BUSY", "prompt": "p"}},
}


@pytest.mark.parametrize("node", GOOD.values(), ids=GOOD)
def test_well_made_nodes(node: dict[str, Any]) -> None:
    assert not told(validate_flows.form(graph("a", a=node), "g"))


ID = "must be 1 to 63 of a-z, 0-9 and '-', beginning with a letter"
RING = "must be 1 s to 180 s in whole milliseconds"
BAD: list[tuple[dict[str, Any], str, str]] = [
    ({"schedule": {"schedule": "A"}}, "schedule.schedule", ID),
    ({"schedule": {"otherwise": "A"}}, "schedule.otherwise", ID),
    ({"schedule": {"branches": [{"period": "A"}]}}, "schedule.branches[0].period", ID),
    ({"schedule": {"branches": [{"next": "A"}]}}, "schedule.branches[0].next", ID),
    (
        {"schedule": {"branches": [{"period": "p"}, {"period": "p"}]}},
        "schedule.branches[1].period",
        "there is a branch for period p already",
    ),
    ({"region": {"otherwise": "A"}}, "region.otherwise", ID),
    ({"region": {"branches": [{"next": "A"}]}}, "region.branches[0].next", ID),
    (
        {"region": {"branches": [{"provinces": ["北京市"]}]}},
        "region.branches[0].provinces[0]",
        "must be a province by its Chinese name without suffix, like 内蒙古",
    ),
    (
        {"region": {"branches": [{"areaCodes": ["471"]}]}},
        "region.branches[0].area_codes[0]",
        "must be an area code with its 0, like 0471",
    ),
    ({"region": {"branches": [{"groups": ["A"]}]}}, "region.branches[0].groups[0]", ID),
    ({"region": {"branches": [{"carriers": [0]}]}}, "region.branches[0].carriers[0]", "has no value 0"),
    ({"region": {"branches": [{"carriers": [77]}]}}, "region.branches[0].carriers[0]", "has no value 77"),
    ({"callerList": {"lists": [f"l{n}" for n in range(17)]}}, "caller_list.lists", "must have at most 16 entries"),
    ({"callerList": {"lists": ["A"]}}, "caller_list.lists[0]", ID),
    ({"callerList": {"lists": ["a", "a"]}}, "caller_list.lists[1]", "there is list a already"),
    ({"callerList": {"member": "A"}}, "caller_list.member", ID),
    ({"callerList": {"otherwise": "A"}}, "caller_list.otherwise", ID),
    ({"dial": {"distribution": 77}}, "dial.distribution", "has no value 77"),
    ({"dial": {"lines": [*A16, {"line": "m"}]}}, "dial.lines", "must have at most 16 entries"),
    ({"dial": {"lines": [{"line": "A"}]}}, "dial.lines[0].line", ID),
    ({"dial": {"lines": [{"line": "a"}, {"line": "a"}]}}, "dial.lines[1].line", "there is line a already"),
    ({"dial": {"lines": [{"line": "a", "weight": 1001}]}}, "dial.lines[0].weight", "must be 0 to 1000"),
    (
        {"dial": {"lines": A16[:9], "distribution": "DISTRIBUTION_ALL"}},
        "dial.lines",
        "must have at most 8 entries that ring all together",
    ),
    ({"dial": {"lines": A16[:1], "lineGroup": "g"}}, "dial.line_group", "excludes lines"),
    ({"dial": {"lineGroup": "A"}}, "dial.line_group", ID),
    ({"dial": {"ringTime": "0.999s"}}, "dial.ring_time", RING),
    ({"dial": {"ringTime": "180.001s"}}, "dial.ring_time", RING),
    ({"dial": {"ringTime": "1.0001s"}}, "dial.ring_time", RING),
    *(({"dial": {name: "A"}}, f"dial.{name}", ID) for name in ("busy", "no_answer", "failed", "after", "whisper")),
    ({"hangUp": {"cause": 77}}, "hang_up.cause", "has no value 77"),
    ({"hangUp": {"prompt": "A"}}, "hang_up.prompt", ID),
    ({"announce": {"prompt": "A"}}, "announce.prompt", ID),
    ({"announce": {"next": "A"}}, "announce.next", ID),
    ({"menu": {"branches": [{"digits": "x"}]}}, "menu.branches[0].digits", "must be 1 to 20 of 0-9 * # A-D"),
    ({"menu": {"branches": [{"digits": "1" * 21}]}}, "menu.branches[0].digits", "must be 1 to 20 of 0-9 * # A-D"),
    ({"menu": {"branches": [{"next": "A"}]}}, "menu.branches[0].next", ID),
    (
        {"menu": {"branches": [{"digits": "1"}, {"digits": "1"}]}},
        "menu.branches[1].digits",
        "there is a branch for 1 already",
    ),
    ({"menu": {"timeout": "61s"}}, "menu.timeout", "must be 1 s to 60 s in whole milliseconds"),
    ({"menu": {"repeats": 10}}, "menu.repeats", "must be 0 to 9"),
    *(({"menu": {name: "A"}}, f"menu.{name}", ID) for name in ("prompt", "no_input", "no_match")),
    ({"voicemail": {"prompt": "A"}}, "voicemail.prompt", ID),
    ({"voicemail": {"next": "A"}}, "voicemail.next", ID),
    ({"voicemail": {"maxDuration": "601s"}}, "voicemail.max_duration", "must be 1 s to 600 s in whole milliseconds"),
    ({"survey": {"prompt": "A"}}, "survey.prompt", ID),
    ({"survey": {"next": "A"}}, "survey.next", ID),
    ({"survey": {"keys": "11"}}, "survey.keys", "must be different ones of 0-9 * # A-D"),
    ({"survey": {"keys": "x"}}, "survey.keys", "must be different ones of 0-9 * # A-D"),
]


@pytest.mark.parametrize(("node", "field", "reason"), BAD, ids=[f"{n}-{one[1]}" for n, one in enumerate(BAD)])
def test_malformed_nodes(node: dict[str, Any], field: str, reason: str) -> None:
    found = told(validate_flows.form(graph("a", a=node), "flow.draft"))
    assert found == {f"flow.draft.nodes[0].{field}": f"node a: {reason}"}


def test_ids_of_nodes() -> None:
    draft = flows_pb2.FlowGraph(entry="E", nodes=[flows_pb2.FlowNode(id=id) for id in ("a", "", "B", "a")])
    assert told(validate_flows.form(draft, "g")) == {
        "g.entry": ID,
        "g.nodes[1].id": "is required",
        "g.nodes[2].id": ID,
        "g.nodes[3].id": "node a is nodes[0] already",
    }


def test_too_many_nodes() -> None:
    draft = flows_pb2.FlowGraph(nodes=[flows_pb2.FlowNode(id=f"n{n}") for n in range(201)])
    assert told(validate_flows.form(draft, "g")) == {"g.nodes": "must have at most 200 entries"}


def test_a_flow_of_200_nodes_is_checked_quickly() -> None:
    nodes = {f"n{n}": dial(busy=f"n{n + 1}" if n < 199 else "n0") for n in range(200)}
    draft = graph("n0", **nodes)
    assert not told(validate_flows.form(draft, "g"))
    (found,) = [one.reason for one in flow_check.structure(validate_flows.finished(draft))]
    assert "a circle in which nothing is played: n0 → n1 → " in found


def group(**fields: Any) -> flows_pb2.LineGroup:
    return json_format.ParseDict(
        {"tenant": "acme", "id": "g", "lines": [{"line": "a"}], **fields}, flows_pb2.LineGroup()
    )


def test_a_good_line_group() -> None:
    assert not told(validate_flows.line_group(group(lines=[{"line": f"l{n}"} for n in range(1000)])))


@pytest.mark.parametrize(
    ("fields", "field", "reason"),
    [
        ({"tenant": ""}, "tenant", "is required"),
        ({"id": "G"}, "id", ID),
        ({"displayName": "a\n"}, "display_name", "must not have control characters"),
        ({"lines": []}, "lines", "must have 1 to 1000 entries"),
        ({"lines": [{"line": f"l{n}"} for n in range(1001)]}, "lines", "must have 1 to 1000 entries"),
        ({"lines": [{"line": ""}]}, "lines[0].line", "is required"),
        ({"lines": [{"line": "a"}, {"line": "a"}]}, "lines[1].line", "there is line a already"),
        ({"lines": [{"line": "a", "weight": 1001}]}, "lines[0].weight", "must be 0 to 1000"),
        ({"distribution": 77}, "distribution", "has no value 77"),
        (
            {"distribution": "DISTRIBUTION_ALL", "lines": A16[:9]},
            "lines",
            "must have at most 8 entries that ring all together",
        ),
    ],
)
def test_a_bad_line_group(fields: dict[str, Any], field: str, reason: str) -> None:
    assert told(validate_flows.line_group(group(**fields))) == {f"line_group.{field}": reason}


@pytest.mark.parametrize("language", ["", "zh", "zh-CN", "zh-Hans-CN", "en-US", "yue"])
def test_a_good_prompt(language: str) -> None:
    prompt = types_pb2.Prompt(tenant="acme", id="hello", language=language, text="您好,\n请稍候。")
    assert not told(validate_flows.prompt(prompt))


@pytest.mark.parametrize(
    ("fields", "field", "reason"),
    [
        ({"tenant": "A"}, "tenant", ID),
        ({"id": ""}, "id", "is required"),
        ({"display_name": "x" * 201}, "display_name", "must have at most 200 characters"),
        ({"language": "zh_CN"}, "language", 'must be a language tag such as "zh-CN" (BCP 47)'),
        ({"text": "x" * 2001}, "text", "must have at most 2000 characters"),
        ({"text": "a\x00"}, "text", "must not have control characters, but line feeds"),
    ],
)
def test_a_bad_prompt(fields: dict[str, str], field: str, reason: str) -> None:
    prompt = types_pb2.Prompt(**{"tenant": "acme", "id": "hello", **fields})
    assert told(validate_flows.prompt(prompt)) == {f"prompt.{field}": reason}


FLOW_NODES = st.sampled_from([*GOOD.values(), *(one[0] for one in BAD)])


@given(st.lists(FLOW_NODES, max_size=6))
def test_what_has_no_faults_of_form_can_be_read(nodes: list[dict[str, Any]]) -> None:
    draft = graph("n0", **{f"n{n}": node for n, node in enumerate(nodes)})
    if not told(validate_flows.form(draft, "g")):
        assert len(flowgraph.graph(draft).nodes) == len(nodes)
        assert flowgraph.graph(draft) == validate_flows.finished(draft)
