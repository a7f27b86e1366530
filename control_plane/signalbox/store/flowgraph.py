"""Call-flow graphs as messages and as objects of the domain.

Who writes flows checks them as the domain's objects, and who decides calls reads them as these: both get them here.
"""

from __future__ import annotations

import sys
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, cast

from signalbox.api.types.v1 import flows_pb2
from signalbox.domain.flow import (
    RING_MS_DEFAULT,
    AnnounceNode,
    CallerListNode,
    DialLine,
    DialNode,
    DialRecording,
    Distribution,
    FlowGraph,
    HangUpCause,
    HangUpNode,
    LineAnnouncement,
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
from signalbox.domain.flow_nodes import (
    ConditionNode,
    MessageNode,
    PasswordNode,
    QueueNode,
    RequestNode,
    SetVariableNode,
)
from signalbox.domain.regions import Carrier
from signalbox.store import durations, flownodes, flowvoice

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from signalbox.api.types.v1 import screening_pb2

_DISTRIBUTIONS = {
    flows_pb2.DISTRIBUTION_UNSPECIFIED: Distribution.SEQUENTIAL,
    **{flows_pb2.Distribution.Value(f"DISTRIBUTION_{one.name}"): one for one in Distribution},
}
_CAUSES = {
    flows_pb2.HANG_UP_CAUSE_UNSPECIFIED: HangUpCause.DECLINED,
    **{flows_pb2.HangUpCause.Value(f"HANG_UP_CAUSE_{one.name}"): one for one in HangUpCause},
}
_RECORDINGS = {flows_pb2.DialRecording.Value(f"DIAL_RECORDING_{one.value.upper()}"): one for one in DialRecording}
_REPLACES = {
    flows_pb2.EARLY_MEDIA_UNSPECIFIED: False,
    flows_pb2.EARLY_MEDIA_PASS: False,
    flows_pb2.EARLY_MEDIA_REPLACE: True,
}
_DISTRIBUTION_NUMBERS = {one: number for number, one in _DISTRIBUTIONS.items()}
_CAUSE_NUMBERS = {one: number for number, one in _CAUSES.items()}
_RECORDING_NUMBERS = {one: number for number, one in _RECORDINGS.items()}


def graph(message: flows_pb2.FlowGraph) -> FlowGraph:
    """The graph of a message. Raises ValueError for two nodes of one id, and for what only a newer release knows."""
    nodes = {sys.intern(one.id): node(one) for one in message.nodes}
    if len(nodes) < len(message.nodes):
        raise ValueError("two nodes have one id")
    return FlowGraph(message.entry, nodes)


def known_graph(message: flows_pb2.FlowGraph) -> FlowGraph:
    """The graph of a message of which it is known that :func:`graph` takes it: a node is made when it is looked at,
    for a call sees few of them."""
    return FlowGraph(message.entry, _Nodes(message))


class _Nodes(Mapping[str, Node]):
    """Nodes by their ids, in the order in which they were written."""

    __slots__ = ("_made", "_messages")

    def __init__(self, graph: flows_pb2.FlowGraph) -> None:
        self._messages = {one.id: one for one in graph.nodes}
        self._made: dict[str, Node] = {}

    def __getitem__(self, id: str) -> Node:
        made = self._made.get(id)
        if made is None:
            made = self._made[id] = node(self._messages[id])
        return made

    def get(self, id: str, otherwise: object = None) -> Any:
        return self[id] if id in self._messages else otherwise

    def __iter__(self) -> Iterator[str]:
        return iter(self._messages)

    def __len__(self) -> int:
        return len(self._messages)


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
        case "transfer":
            return _transfer(message.transfer)
        case "hang_up":
            return HangUpNode(_CAUSES[message.hang_up.cause], message.hang_up.prompt)
        case "announce":
            return AnnounceNode(message.announce.prompt, message.announce.answer, message.announce.next)
        case "menu":
            return flowvoice.menu(message.menu)
        case "voicemail":
            return flowvoice.voicemail(message.voicemail)
        case "survey":
            return flowvoice.survey(message.survey)
    found = flownodes.node(message)
    if found is None:
        raise ValueError(f"node {message.id}: is of no known kind")
    return found


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
        durations.ms(message, "ring_time", RING_MS_DEFAULT),
        message.busy,
        message.no_answer,
        message.failed,
        message.after,
        message.whisper,
        _RECORDINGS[message.recording],
        message.ring_back,
        _REPLACES[message.early_media],
        LineAnnouncement(message.announce_line.before, message.announce_line.after)
        if message.HasField("announce_line")
        else None,
        message.pause_keys,
        message.resume_keys,
        message.transfer_keys,
        message.transfer,
    )


def _transfer(message: flows_pb2.TransferNode) -> TransferNode:
    return TransferNode(
        message.line,
        message.number,
        tuple(message.prefixes),
        durations.ms(message, "ring_time", RING_MS_DEFAULT),
        message.attended,
        message.complete_keys,
        message.return_keys,
        message.ring_back,
        _RECORDINGS[message.recording],
        message.busy,
        message.no_answer,
        message.failed,
        message.after,
    )


def dial_lines(messages: Iterable[flows_pb2.DialLine]) -> tuple[DialLine, ...]:
    """The lines of a dial or a group."""
    return tuple(DialLine(sys.intern(one.line), one.weight or 1, durations.ms(one, "ring_time", 0)) for one in messages)


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
            return flows_pb2.FlowNode(id=id, dial=dial_message(node))
        case TransferNode():
            return flows_pb2.FlowNode(id=id, transfer=transfer_message(node))
        case HangUpNode():
            end = flows_pb2.HangUpNode(cause=_CAUSE_NUMBERS[node.cause], prompt=node.prompt)
            return flows_pb2.FlowNode(id=id, hang_up=end)
        case AnnounceNode():
            announce = flows_pb2.AnnounceNode(prompt=node.prompt, answer=node.answer, next=node.next)
            return flows_pb2.FlowNode(id=id, announce=announce)
        case MenuNode():
            return flows_pb2.FlowNode(id=id, menu=flowvoice.menu_message(node))
        case VoicemailNode():
            return flows_pb2.FlowNode(id=id, voicemail=flowvoice.voicemail_message(node))
        case SurveyNode():
            return flows_pb2.FlowNode(id=id, survey=flowvoice.survey_message(node))
        case SetVariableNode():
            return flows_pb2.FlowNode(id=id, set_variable=flownodes.set_variable(node))
        case ConditionNode():
            return flows_pb2.FlowNode(id=id, condition=flownodes.condition(node))
        case RequestNode():
            return flows_pb2.FlowNode(id=id, request=flownodes.request(node))
        case QueueNode():
            return flows_pb2.FlowNode(id=id, queue=flownodes.queue(node))
        case PasswordNode():
            return flows_pb2.FlowNode(id=id, password=flownodes.password(node))
        case MessageNode():
            return flows_pb2.FlowNode(id=id, message=flownodes.message(node))


def _region_branch(branch: RegionBranch) -> flows_pb2.RegionBranch:
    return flows_pb2.RegionBranch(
        provinces=sorted(branch.provinces),
        area_codes=sorted(branch.area_codes),
        groups=branch.groups,
        carriers=cast("list[screening_pb2.Carrier.ValueType]", sorted(carrier.value for carrier in branch.carriers)),
        next=branch.next,
    )


def dial_message(node: DialNode) -> flows_pb2.DialNode:
    """A dial node as a message, defaults filled in."""
    return flows_pb2.DialNode(
        lines=[_line_message(one) for one in node.lines],
        distribution=_DISTRIBUTION_NUMBERS[node.distribution],
        line_group=node.line_group,
        ring_time=durations.message(node.ring_ms),
        busy=node.busy,
        no_answer=node.no_answer,
        failed=node.failed,
        after=node.after,
        whisper=node.whisper,
        recording=_RECORDING_NUMBERS[node.recording],
        ring_back=node.ring_back,
        early_media=flows_pb2.EARLY_MEDIA_REPLACE if node.replaces_early_media else flows_pb2.EARLY_MEDIA_PASS,
        announce_line=_announcement_message(node.announces),
        pause_keys=node.pause_keys,
        resume_keys=node.resume_keys,
        transfer_keys=node.transfer_keys,
        transfer=node.transfer,
    )


def transfer_message(node: TransferNode) -> flows_pb2.TransferNode:
    """A transfer node as a message, defaults filled in."""
    return flows_pb2.TransferNode(
        line=node.line,
        number=node.number,
        prefixes=node.prefixes,
        ring_time=durations.message(node.ring_ms),
        attended=node.attended,
        complete_keys=node.complete_keys,
        return_keys=node.return_keys,
        ring_back=node.ring_back,
        recording=_RECORDING_NUMBERS[node.recording],
        busy=node.busy,
        no_answer=node.no_answer,
        failed=node.failed,
        after=node.after,
    )


def _line_message(line: DialLine) -> flows_pb2.DialLine:
    time = durations.message(line.ring_ms) if line.ring_ms else None
    return flows_pb2.DialLine(line=line.line, weight=line.weight, ring_time=time)


def _announcement_message(announcement: LineAnnouncement | None) -> flows_pb2.LineAnnouncement | None:
    if announcement is None:
        return None
    return flows_pb2.LineAnnouncement(before=announcement.before, after=announcement.after)
