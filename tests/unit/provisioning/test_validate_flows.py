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
    "a line of its own time": {
        "dial": {"lines": [{"line": "a", "ringTime": "180s"}], "earlyMedia": "EARLY_MEDIA_REPLACE"}
    },
    "keys of a conversation": {
        "dial": {
            "pauseKeys": "*1",
            "resumeKeys": "*1",
            "transferKeys": "*2",
            "transfer": "x",
            "ringBack": "p",
            "announceLine": {"before": "p", "after": "p"},
        }
    },
    "a dial that is recorded": {"dial": {"lines": [{"line": "a"}], "recording": "DIAL_RECORDING_ON"}},
    "16 lists": {"callerList": {"lists": [f"l{n}" for n in range(16)]}},
    "every key": {"menu": {"branches": [{"digits": "0123456789*#ABCD"}], "timeout": "60s", "repeats": 9}},
    "digits of any length": {
        "menu": {
            "maxDigits": 20,
            "minDigits": 20,
            "terminator": "#",
            "interDigitTimeout": "1s",
            "variable": "a",
            "entered": "x",
            "noInputPrompt": "p",
            "noMatchPrompt": "p",
            "branches": [{"digits": "*", "language": "zh-CN"}],
        }
    },
    "branches without keys yet": {"menu": {"branches": [{}, {}]}},
    "the longest message": {"voicemail": {"maxDuration": "600s", "maxSilence": "60s", "minDuration": "60s"}},
    "the shortest message": {"voicemail": {"maxDuration": "1s", "maxSilence": "1s", "minDuration": "0s"}},
    "an end of a message": {"voicemail": {"finishKeys": "*#", "noBeep": True, "noMessage": "x"}},
    "keys of a survey": {"survey": {"keys": "123", "timeout": "60s", "repeats": 9, "variable": "a"}},
    "an announcement": {"announce": {"prompt": "p", "answer": True, "next": "x"}},
    "an empty variable": {"setVariable": {}},
    "the longest value": {"setVariable": {"name": "x" * 32, "value": "号" * 256, "next": "x"}},
    "a template": {"setVariable": {"name": "a_1", "value": "{{ {caller} }}"}},
    "an empty request": {"request": {}},
    "a request": {
        "request": {
            "url": "https://[2001:db8::1]:8443/a?b=c",
            "timeout": "10s",
            "send": [f"v{n}" for n in range(16)],
            "receive": [{"key": "a.b", "variable": "a"}, {}, {}],
            "branchKey": "号",
            "apiKey": "k",
            "branches": [{"values": ["1"]}],
        }
    },
    "an empty transfer": {"transfer": {}},
    "a transfer to a line": {
        "transfer": {"line": "a", "ringTime": "180s", "attended": True, "completeKeys": "*1", "returnKeys": "*2"}
    },
    "transfers to numbers": {"transfer": {"number": "02812345678", "prefixes": ["028", "1" * 15], "ringBack": "p"}},
    "a transfer to a number that was keyed": {"transfer": {"number": "028{keyed}"}},
    "an empty password": {"password": {}},
    "a password": {
        "password": {"sealed": "A" * 32, "tries": 9, "timeout": "60s", "interDigitTimeout": "30s", "terminator": "*"}
    },
    "an empty queue": {"queue": {}},
    "a queue": {
        "queue": {"announceEvery": "300s", "maxWait": "3600s", "maxLength": 1000, "leaveKeys": "*1", "left": "x"}
    },
    "an empty message": {"message": {}},
    "a message": {"message": {"sender": "+1069A", "to": "13900001111", "text": "{caller}" + "x" * 492, "next": "x"}},
    "an empty condition": {"condition": {}},
    "values of a condition": {"condition": {"variable": "a", "branches": [{"values": ["", "1"]}, {"values": ["2"]}]}},
    "an end": {"hangUp": {"cause": "HANG_UP_CAUSE_BUSY", "prompt": "p"}},
}


@pytest.mark.parametrize("node", GOOD.values(), ids=GOOD)
def test_well_made_nodes(node: dict[str, Any]) -> None:
    assert not told(validate_flows.form(graph("a", a=node), "g"))


ID = "must be 1 to 63 of a-z, 0-9 and '-', beginning with a letter"
NAME = "must be 1 to 32 of a-z, 0-9 and '_', beginning with a letter"
NATIONAL = "must be a telephone number of this country in national form"
CONVERSATION = "must be 1 to 4 of 0-9 * # A-D"
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
    ({"dial": {"recording": 77}}, "dial.recording", "has no value 77"),
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
    *(
        ({"dial": {name: "A"}}, f"dial.{name}", ID)
        for name in ("busy", "no_answer", "failed", "after", "whisper", "ring_back")
    ),
    ({"dial": {"transfer": "A", "transferKeys": "*"}}, "dial.transfer", ID),
    ({"dial": {"announceLine": {"before": "A"}}}, "dial.announce_line.before", ID),
    ({"dial": {"announceLine": {"after": "A"}}}, "dial.announce_line.after", ID),
    ({"dial": {"earlyMedia": 77}}, "dial.early_media", "has no value 77"),
    ({"dial": {"lines": [{"line": "a", "ringTime": "0.5s"}]}}, "dial.lines[0].ring_time", RING),
    ({"dial": {"pauseKeys": "x"}}, "dial.pause_keys", CONVERSATION),
    ({"dial": {"pauseKeys": "1", "resumeKeys": "00000"}}, "dial.resume_keys", CONVERSATION),
    ({"dial": {"transferKeys": "E"}}, "dial.transfer_keys", CONVERSATION),
    (
        {"dial": {"pauseKeys": "*", "recording": "DIAL_RECORDING_OFF"}},
        "dial.pause_keys",
        "is for calls that are recorded",
    ),
    ({"dial": {"resumeKeys": "*"}}, "dial.resume_keys", "is for pause_keys alone"),
    (
        {"dial": {"pauseKeys": "*", "resumeKeys": "*1"}},
        "dial.resume_keys",
        "must not begin as pause_keys does, nor the other way",
    ),
    (
        {"dial": {"pauseKeys": "*1", "transferKeys": "*"}},
        "dial.transfer_keys",
        "must not begin as pause_keys does, nor the other way",
    ),
    (
        {"dial": {"pauseKeys": "1", "resumeKeys": "2", "transferKeys": "21"}},
        "dial.transfer_keys",
        "must not begin as resume_keys does, nor the other way",
    ),
    ({"dial": {"transfer": "x"}}, "dial.transfer", "is for transfer_keys alone"),
    ({"setVariable": {"name": "A"}}, "set_variable.name", NAME),
    ({"setVariable": {"name": "x" * 33}}, "set_variable.name", NAME),
    ({"setVariable": {"value": "x" * 257}}, "set_variable.value", "must have at most 256 characters"),
    ({"setVariable": {"value": "a\nb"}}, "set_variable.value", "must not have control characters"),
    (
        {"setVariable": {"value": "{a"}},
        "set_variable.value",
        "has a single {, must be {{ or stand about the name of a variable",
    ),
    ({"setVariable": {"next": "A"}}, "set_variable.next", ID),
    *(
        ({"request": {"url": url}}, "request.url", reason)
        for url, reason in [
            ("https://x/" + "a" * 991, "must be at most 1000 printable ASCII characters"),
            ("https://例子.cn/", "must be at most 1000 printable ASCII characters"),
            ("https://x/a b", "must be at most 1000 printable ASCII characters"),
            ("https://[::1/", "is no URL: Invalid IPv6 URL"),
            ("https://x:99999/", "is no URL: Port out of range 0-65535"),
            ("ftp://x/", "must be http or https with a host"),
            ("/path", "must be http or https with a host"),
            ("https://:443/", "must be http or https with a host"),
            ("https://x:0/", "must be http or https with a host"),
            ("http://x:25/", "must have port 80, 443, or one from 1024 on"),
            ("https://x:1023/", "must have port 80, 443, or one from 1024 on"),
            ("https://me:pass@x/", "must not have a user or a fragment"),
            ("https://x/#there", "must not have a user or a fragment"),
        ]
    ),
    ({"request": {"timeout": "10.5s"}}, "request.timeout", "must be 1 s to 10 s in whole milliseconds"),
    *(({"request": {name: "A"}}, f"request.{name}", ID) for name in ("api_key", "otherwise", "failed")),
    ({"request": {"send": [f"v{n}" for n in range(17)]}}, "request.send", "must have at most 16 entries"),
    ({"request": {"send": ["A"]}}, "request.send[0]", NAME),
    ({"request": {"send": ["a", "a"]}}, "request.send[1]", "there is variable a already"),
    ({"request": {"receive": [{}] * 17}}, "request.receive", "must have at most 16 entries"),
    ({"request": {"receive": [{"variable": "A"}]}}, "request.receive[0].variable", NAME),
    ({"request": {"receive": [{"key": "x" * 65}]}}, "request.receive[0].key", "must have at most 64 characters"),
    ({"request": {"branchKey": "\x00"}}, "request.branch_key", "must not have control characters"),
    ({"request": {"receive": [{"key": "a"}, {"key": "a"}]}}, "request.receive[1].key", "there is key a already"),
    (
        {"request": {"receive": [{"variable": "a"}, {"variable": "a"}]}},
        "request.receive[1].variable",
        "there is variable a already",
    ),
    (
        {"request": {"branches": [{"values": ["1"]}, {"values": ["1"]}]}},
        "request.branches[1].values[0]",
        '"1" is branches[0].values[0] already',
    ),
    *(
        ({"transfer": {name: "A"}}, f"transfer.{name}", ID)
        for name in ("line", "ring_back", "busy", "no_answer", "failed", "after")
    ),
    ({"transfer": {"recording": 77}}, "transfer.recording", "has no value 77"),
    ({"transfer": {"line": "a", "number": "10010"}}, "transfer.number", "excludes line"),
    *(
        ({"transfer": {"number": number}}, "transfer.number", NATIONAL)
        for number in ("+8613900001111", "abc", "8613900001111", "0044123456789")
    ),
    (
        {"transfer": {"number": "{a"}},
        "transfer.number",
        "has a single {, must be {{ or stand about the name of a variable",
    ),
    ({"transfer": {"number": "{{" * 33}}, "transfer.number", "must have at most 64 characters"),
    ({"transfer": {"prefixes": [str(n) for n in range(10, 27)]}}, "transfer.prefixes", "must have at most 16 entries"),
    ({"transfer": {"prefixes": [""]}}, "transfer.prefixes[0]", "must be 1 to 15 digits"),
    ({"transfer": {"prefixes": ["1", "1"]}}, "transfer.prefixes[1]", "there is prefix 1 already"),
    ({"transfer": {"ringTime": "0s"}}, "transfer.ring_time", RING),
    ({"transfer": {"attended": True, "returnKeys": "12345"}}, "transfer.return_keys", CONVERSATION),
    ({"transfer": {"completeKeys": "1"}}, "transfer.complete_keys", "is for attended transfers alone"),
    (
        {"transfer": {"attended": True, "completeKeys": "1", "returnKeys": "1"}},
        "transfer.return_keys",
        "must not begin as complete_keys does, nor the other way",
    ),
    *(({"password": {name: "A"}}, f"password.{name}", ID) for name in ("prompt", "wrong_prompt", "ok", "failed")),
    ({"password": {"digits": "123"}}, "password.digits", "must be 4 to 20 digits"),
    (
        {"password": {"digits": "1234"}},
        "password.digits",
        "cannot be kept: provisioning.password_key_file is not set",
    ),
    ({"password": {"sealed": "1234"}}, "password.sealed", "was not made by this service"),
    ({"password": {"tries": 10}}, "password.tries", "must be 0 to 9"),
    ({"password": {"timeout": "0s"}}, "password.timeout", "must be 1 s to 60 s in whole milliseconds"),
    (
        {"password": {"interDigitTimeout": "31s"}},
        "password.inter_digit_timeout",
        "must be 1 s to 30 s in whole milliseconds",
    ),
    ({"password": {"terminator": "1"}}, "password.terminator", "must be * # or one of A-D"),
    *(
        ({"queue": {name: "A"}}, f"queue.{name}", ID)
        for name in ("dial", "music", "position_before", "position_after", "full", "timed_out")
    ),
    ({"queue": {"left": "A", "leaveKeys": "1"}}, "queue.left", ID),
    ({"queue": {"left": "x"}}, "queue.left", "is for leave_keys alone"),
    ({"queue": {"leaveKeys": "12345"}}, "queue.leave_keys", CONVERSATION),
    ({"queue": {"announceEvery": "9s"}}, "queue.announce_every", "must be 10 s to 300 s in whole milliseconds"),
    ({"queue": {"maxWait": "3601s"}}, "queue.max_wait", "must be 10 s to 3600 s in whole milliseconds"),
    ({"queue": {"maxLength": 1001}}, "queue.max_length", "must be 0 to 1000"),
    ({"message": {"sender": "a b"}}, "message.sender", "must be 1 to 20 of A-Z a-z 0-9 and +"),
    ({"message": {"sender": "1" * 21}}, "message.sender", "must be 1 to 20 of A-Z a-z 0-9 and +"),
    ({"message": {"to": "+8613900001111"}}, "message.to", "must be 3 to 20 digits"),
    ({"message": {"text": "x" * 501}}, "message.text", "must have at most 500 characters"),
    (
        {"message": {"text": "a}"}},
        "message.text",
        "has a single }, must be }} or stand about the name of a variable",
    ),
    *(({"message": {name: "A"}}, f"message.{name}", ID) for name in ("next", "failed")),
    ({"condition": {"variable": "A"}}, "condition.variable", NAME),
    ({"condition": {"otherwise": "A"}}, "condition.otherwise", ID),
    ({"condition": {"branches": [{"next": "A"}]}}, "condition.branches[0].next", ID),
    ({"condition": {"branches": [{}] * 101}}, "condition.branches", "must have at most 100 entries"),
    (
        {"condition": {"branches": [{"values": [str(n) for n in range(101)]}]}},
        "condition.branches[0].values",
        "must have at most 100 entries",
    ),
    (
        {"condition": {"branches": [{"values": ["x" * 257]}]}},
        "condition.branches[0].values[0]",
        "must have at most 256 characters",
    ),
    (
        {"condition": {"branches": [{"values": ["\t"]}]}},
        "condition.branches[0].values[0]",
        "must not have control characters",
    ),
    (
        {"condition": {"branches": [{"values": ["", "1"]}, {"values": ["1"]}]}},
        "condition.branches[1].values[0]",
        '"1" is branches[0].values[1] already',
    ),
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
    *(
        ({"menu": {name: "A"}}, f"menu.{name}", ID)
        for name in ("prompt", "no_input", "no_match", "no_input_prompt", "no_match_prompt", "entered")
    ),
    ({"menu": {"variable": "A"}}, "menu.variable", NAME),
    ({"menu": {"maxDigits": 21}}, "menu.max_digits", "must be 0 to 20"),
    ({"menu": {"minDigits": 21, "entered": "x"}}, "menu.min_digits", "must be 0 to 20"),
    ({"menu": {"minDigits": 3, "maxDigits": 2, "entered": "x"}}, "menu.min_digits", "is more than max_digits, 2"),
    ({"menu": {"minDigits": 3}}, "menu.min_digits", "is for entered alone"),
    ({"menu": {"terminator": "##"}}, "menu.terminator", "must be one of 0-9 * # A-D"),
    ({"menu": {"interDigitTimeout": "0.5s"}}, "menu.inter_digit_timeout", "must be 1 s to 30 s in whole milliseconds"),
    (
        {"menu": {"branches": [{"digits": "123"}], "maxDigits": 2}},
        "menu.branches[0].digits",
        "has more than max_digits, 2",
    ),
    (
        {"menu": {"branches": [{"digits": "1#"}], "terminator": "#"}},
        "menu.branches[0].digits",
        "has the terminator #",
    ),
    (
        {"menu": {"branches": [{"language": "zh_CN"}]}},
        "menu.branches[0].language",
        'must be a language tag such as "zh-CN" (BCP 47)',
    ),
    ({"voicemail": {"noMessage": "A"}}, "voicemail.no_message", ID),
    ({"voicemail": {"maxSilence": "0.9s"}}, "voicemail.max_silence", "must be 1 s to 60 s in whole milliseconds"),
    ({"voicemail": {"minDuration": "61s"}}, "voicemail.min_duration", "must be 0 s to 60 s in whole milliseconds"),
    (
        {"voicemail": {"minDuration": "2s", "maxDuration": "1s"}},
        "voicemail.min_duration",
        "must not be more than max_duration",
    ),
    ({"voicemail": {"finishKeys": "##"}}, "voicemail.finish_keys", "must be different ones of 0-9 * # A-D"),
    ({"survey": {"noMatchPrompt": "A"}}, "survey.no_match_prompt", ID),
    ({"survey": {"timeout": "0s"}}, "survey.timeout", "must be 1 s to 60 s in whole milliseconds"),
    ({"survey": {"repeats": 10}}, "survey.repeats", "must be 0 to 9"),
    ({"survey": {"variable": "A"}}, "survey.variable", NAME),
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
        ({"lines": [{"line": "a", "ringTime": "181s"}]}, "lines[0].ring_time", RING),
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
