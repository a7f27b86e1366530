"""Call-flow graphs as messages and as objects of the domain.

Who writes flows checks them as the domain's objects, and who decides calls reads them as these: both get them here.
"""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING, cast

from google.protobuf.duration_pb2 import Duration

from signalbox.api.types.v1 import flows_pb2
from signalbox.domain.flow import (
    MENU_TIMEOUT_MS_DEFAULT,
    RING_MS_DEFAULT,
    SURVEY_KEYS_DEFAULT,
    VOICEMAIL_MS_DEFAULT,
    AnnounceNode,
    CallerListNode,
    DialLine,
    DialNode,
    Distribution,
    FlowGraph,
    HangUpCause,
    HangUpNode,
    MenuBranch,
    MenuNode,
    Node,
    RegionBranch,
    RegionNode,
    ScheduleBranch,
    ScheduleNode,
    SurveyNode,
    VoicemailNode,
)
from signalbox.domain.regions import Carrier

if TYPE_CHECKING:
    from collections.abc import Iterable

    from signalbox.api.types.v1 import screening_pb2

_DISTRIBUTIONS = {
    flows_pb2.DISTRIBUTION_UNSPECIFIED: Distribution.SEQUENTIAL,
    **{flows_pb2.Distribution.Value(f"DISTRIBUTION_{one.name}"): one for one in Distribution},
}
_CAUSES = {
    flows_pb2.HANG_UP_CAUSE_UNSPECIFIED: HangUpCause.DECLINED,
    **{flows_pb2.HangUpCause.Value(f"HANG_UP_CAUSE_{one.name}"): one for one in HangUpCause},
}
_DISTRIBUTION_NUMBERS = {one: number for number, one in _DISTRIBUTIONS.items()}
_CAUSE_NUMBERS = {one: number for number, one in _CAUSES.items()}


def graph(message: flows_pb2.FlowGraph) -> FlowGraph:
    """The graph of a message. Raises ValueError for two nodes of one id, and for what only a newer release knows."""
    nodes = {sys.intern(one.id): node(one) for one in message.nodes}
    if len(nodes) < len(message.nodes):
        raise ValueError("two nodes have one id")
    return FlowGraph(message.entry, nodes)


def node(message: flows_pb2.FlowNode) -> Node:
    """The node of a message. Raises ValueError for a kind or a value that is not known."""
    try:
        return _node(message)
    except KeyError as error:
        raise ValueError(f"node {message.id}: has the unknown value {error}") from error


def _node(message: flows_pb2.FlowNode) -> Node:
    match message.WhichOneof("node"):
        case "schedule":
            return _schedule(message.schedule)
        case "region":
            return _region(message.region)
        case "caller_list":
            its = message.caller_list
            return CallerListNode(tuple(map(sys.intern, its.lists)), its.member, its.otherwise)
        case "dial":
            return _dial(message.dial)
        case "hang_up":
            return HangUpNode(_CAUSES[message.hang_up.cause], message.hang_up.prompt)
        case "announce":
            return AnnounceNode(message.announce.prompt, message.announce.answer, message.announce.next)
        case "menu":
            return _menu(message.menu)
        case "voicemail":
            mail = message.voicemail
            longest = mail.max_duration.ToMilliseconds() if mail.HasField("max_duration") else VOICEMAIL_MS_DEFAULT
            return VoicemailNode(mail.prompt, longest, mail.next)
        case "survey":
            return SurveyNode(message.survey.prompt, message.survey.keys or SURVEY_KEYS_DEFAULT, message.survey.next)
    raise ValueError(f"node {message.id}: is of no known kind")


def _schedule(message: flows_pb2.ScheduleNode) -> ScheduleNode:
    branches = tuple(ScheduleBranch(sys.intern(one.period), one.next) for one in message.branches)
    return ScheduleNode(sys.intern(message.schedule), branches, message.otherwise)


def _region(message: flows_pb2.RegionNode) -> RegionNode:
    branches = tuple(
        RegionBranch(
            frozenset(map(sys.intern, one.provinces)),
            frozenset(map(sys.intern, one.area_codes)),
            tuple(map(sys.intern, one.groups)),
            frozenset(map(Carrier, one.carriers)),
            one.next,
        )
        for one in message.branches
    )
    return RegionNode(branches, message.otherwise)


def _dial(message: flows_pb2.DialNode) -> DialNode:
    return DialNode(
        dial_lines(message.lines),
        distribution(message.distribution),
        sys.intern(message.line_group),
        message.ring_time.ToMilliseconds() if message.HasField("ring_time") else RING_MS_DEFAULT,
        message.busy,
        message.no_answer,
        message.failed,
        message.after,
        message.whisper,
    )


def _menu(message: flows_pb2.MenuNode) -> MenuNode:
    return MenuNode(
        message.prompt,
        tuple(MenuBranch(one.digits, one.next) for one in message.branches),
        message.no_input,
        message.no_match,
        message.timeout.ToMilliseconds() if message.HasField("timeout") else MENU_TIMEOUT_MS_DEFAULT,
        message.repeats,
    )


def dial_lines(messages: Iterable[flows_pb2.DialLine]) -> tuple[DialLine, ...]:
    """The lines of a dial or a group."""
    return tuple(DialLine(sys.intern(one.line), one.weight or 1) for one in messages)


def distribution(number: flows_pb2.Distribution.ValueType) -> Distribution:
    """The distribution of a number of ``types.v1.Distribution``. Raises KeyError for an unknown one."""
    return _DISTRIBUTIONS[number]


def node_message(id: str, node: Node) -> flows_pb2.FlowNode:
    """A node as a message, defaults filled in: what a worker with voice is told."""
    match node:
        case ScheduleNode():
            periods = [flows_pb2.ScheduleBranch(period=one.period, next=one.next) for one in node.branches]
            schedule = flows_pb2.ScheduleNode(schedule=node.schedule, branches=periods, otherwise=node.otherwise)
            return flows_pb2.FlowNode(id=id, schedule=schedule)
        case RegionNode():
            regions = [_region_branch(one) for one in node.branches]
            return flows_pb2.FlowNode(id=id, region=flows_pb2.RegionNode(branches=regions, otherwise=node.otherwise))
        case CallerListNode():
            lists = flows_pb2.CallerListNode(lists=node.lists, member=node.member, otherwise=node.otherwise)
            return flows_pb2.FlowNode(id=id, caller_list=lists)
        case DialNode():
            return flows_pb2.FlowNode(id=id, dial=_dial_message(node))
        case HangUpNode():
            end = flows_pb2.HangUpNode(cause=_CAUSE_NUMBERS[node.cause], prompt=node.prompt)
            return flows_pb2.FlowNode(id=id, hang_up=end)
        case AnnounceNode():
            announce = flows_pb2.AnnounceNode(prompt=node.prompt, answer=node.answer, next=node.next)
            return flows_pb2.FlowNode(id=id, announce=announce)
        case MenuNode():
            return flows_pb2.FlowNode(id=id, menu=_menu_message(node))
        case VoicemailNode():
            mail = flows_pb2.VoicemailNode(prompt=node.prompt, max_duration=_duration(node.max_ms), next=node.next)
            return flows_pb2.FlowNode(id=id, voicemail=mail)
        case SurveyNode():
            survey = flows_pb2.SurveyNode(prompt=node.prompt, keys=node.keys, next=node.next)
            return flows_pb2.FlowNode(id=id, survey=survey)


def _region_branch(branch: RegionBranch) -> flows_pb2.RegionBranch:
    return flows_pb2.RegionBranch(
        provinces=sorted(branch.provinces),
        area_codes=sorted(branch.area_codes),
        groups=branch.groups,
        carriers=cast("list[screening_pb2.Carrier.ValueType]", sorted(carrier.value for carrier in branch.carriers)),
        next=branch.next,
    )


def _dial_message(node: DialNode) -> flows_pb2.DialNode:
    return flows_pb2.DialNode(
        lines=[flows_pb2.DialLine(line=one.line, weight=one.weight) for one in node.lines],
        distribution=_DISTRIBUTION_NUMBERS[node.distribution],
        line_group=node.line_group,
        ring_time=_duration(node.ring_ms),
        busy=node.busy,
        no_answer=node.no_answer,
        failed=node.failed,
        after=node.after,
        whisper=node.whisper,
    )


def _menu_message(node: MenuNode) -> flows_pb2.MenuNode:
    return flows_pb2.MenuNode(
        prompt=node.prompt,
        branches=[flows_pb2.MenuBranch(digits=one.digits, next=one.next) for one in node.branches],
        timeout=_duration(node.timeout_ms),
        repeats=node.repeats,
        no_input=node.no_input,
        no_match=node.no_match,
    )


def _duration(milliseconds: int) -> Duration:
    duration = Duration()
    duration.FromMilliseconds(milliseconds)
    return duration
