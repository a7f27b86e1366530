"""What makes a call flow good: every node can be reached, every way comes to an end, no circle is silent, and what it
refers to exists.

Each fault is told with its field, as the graph was written (``nodes[3].dial.busy``), and with the id of its node.
"""

from __future__ import annotations

from collections import deque
from dataclasses import dataclass
from enum import Enum
from typing import TYPE_CHECKING

from signalbox.domain import flow_variables
from signalbox.domain.flow import (
    AnnounceNode,
    CallerListNode,
    DialNode,
    HangUpNode,
    MenuNode,
    RegionNode,
    ScheduleNode,
    SurveyNode,
    TransferNode,
    VoicemailNode,
)
from signalbox.domain.flow_exits import exits
from signalbox.domain.flow_nodes import (
    ConditionNode,
    MessageNode,
    PasswordNode,
    QueueNode,
    RequestNode,
    SetVariableNode,
)
from signalbox.domain.variables import names_variables

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping, Sequence
    from collections.abc import Set as AbstractSet

    from signalbox.domain.flow import FlowGraph, Node
    from signalbox.domain.flow_exits import Exit

    Ways = Mapping[str, tuple[Exit, ...]]


_DIAL = DialNode()


@dataclass(frozen=True, slots=True)
class Violation:
    """A field of a graph, ``nodes[3].dial.busy``, and what is wrong with it."""

    field: str
    reason: str


class Kind(Enum):
    """What a flow may refer to; the value is its name in errors."""

    LINE = "line"
    LINE_GROUP = "line group"
    SCHEDULE = "schedule"
    SCREENING_LIST = "screening list"
    REGION_GROUP = "region group"
    PROMPT = "prompt"
    API_KEY = "API key"


@dataclass(frozen=True, slots=True)
class Reference:
    """Another object that a graph names, the field and the id of the node that do so."""

    kind: Kind
    id: str
    field: str
    node: str


@dataclass(frozen=True, slots=True)
class Known:
    """What there is to refer to: ids by kind, and the names of the periods of each schedule."""

    ids: Mapping[Kind, AbstractSet[str]]
    periods: Mapping[str, AbstractSet[str]]


def validate(graph: FlowGraph, known: Known) -> list[Violation]:
    """All that is wrong with a graph that is to come in force; ids that it refers to are looked up in ``known``."""
    return [*structure(graph), *unknown(graph, known)]


def structure(graph: FlowGraph) -> list[Violation]:
    """What is wrong with a graph in itself: missing fields, missing nodes, ways without end, nodes without a way,
    variables that nothing sets."""
    if not graph.nodes:
        return [Violation("nodes", "must have at least one node")]
    found = []
    if not graph.entry:
        found.append(Violation("entry", "is required"))
    elif graph.entry not in graph.nodes:
        found.append(Violation("entry", f"there is no node {graph.entry}"))
    ways = {id: tuple(exits(node)) for id, node in graph.nodes.items()}
    for at, (id, node) in enumerate(graph.nodes.items()):
        found += [Violation(f"nodes[{at}].{field}", f"node {id}: {why}") for field, why in _incomplete(node)]
        found += [Violation(f"nodes[{at}].{field}", f"node {id}: {why}") for field, why in _nowhere(ways, id)]
        if isinstance(node, QueueNode) and not isinstance(graph.nodes.get(node.dial, _DIAL), DialNode):
            found.append(Violation(f"nodes[{at}].queue.dial", f"node {id}: node {node.dial} is no dial"))
    found += [Violation(field, reason) for field, reason in flow_variables.faults(graph)]
    return [*found, *_unreachable(graph.entry, ways), *_endless(ways), *_silent_circles(ways)]


def references(graph: FlowGraph) -> Iterator[Reference]:
    """Every object that a graph names, in the order of the fields."""
    for at, (id, node) in enumerate(graph.nodes.items()):
        for kind, field, name in _names(node):
            if name:
                yield Reference(kind, name, f"nodes[{at}].{field}", id)


def prompts(node: Node) -> Iterator[str]:
    """Ids of the prompts that a node names."""
    return (name for kind, _, name in _names(node) if kind is Kind.PROMPT and name)


def unknown(graph: FlowGraph, known: Known) -> Iterator[Violation]:
    """References to what does not exist, and branches by periods that a schedule does not have."""
    for reference in references(graph):
        if reference.id not in known.ids.get(reference.kind, ()):
            yield Violation(
                reference.field, f"node {reference.node}: there is no {reference.kind.value} {reference.id}"
            )
    for at, (id, node) in enumerate(graph.nodes.items()):
        if isinstance(node, ScheduleNode) and node.schedule in known.periods:
            for i, branch in enumerate(node.branches):
                if branch.period and branch.period not in known.periods[node.schedule]:
                    reason = f"node {id}: schedule {node.schedule} has no period {branch.period}"
                    yield Violation(f"nodes[{at}].schedule.branches[{i}].period", reason)


def _names(node: Node) -> Iterator[tuple[Kind, str, str]]:
    """Kind, field and id of what a node refers to; an id that it cannot do without may be empty."""
    match node:
        case ScheduleNode():
            yield Kind.SCHEDULE, "schedule.schedule", node.schedule
        case RegionNode():
            for i, branch in enumerate(node.branches):
                for j, group in enumerate(branch.groups):
                    yield Kind.REGION_GROUP, f"region.branches[{i}].groups[{j}]", group
        case CallerListNode():
            for i, list in enumerate(node.lists):
                yield Kind.SCREENING_LIST, f"caller_list.lists[{i}]", list
        case DialNode():
            for i, line in enumerate(node.lines):
                yield Kind.LINE, f"dial.lines[{i}].line", line.line
            if node.line_group:
                yield Kind.LINE_GROUP, "dial.line_group", node.line_group
            if node.whisper:
                yield Kind.PROMPT, "dial.whisper", node.whisper
            if node.ring_back:
                yield Kind.PROMPT, "dial.ring_back", node.ring_back
            if node.announces is not None and node.announces.before:
                yield Kind.PROMPT, "dial.announce_line.before", node.announces.before
            if node.announces is not None and node.announces.after:
                yield Kind.PROMPT, "dial.announce_line.after", node.announces.after
        case TransferNode():
            if node.line:
                yield Kind.LINE, "transfer.line", node.line
            if node.ring_back:
                yield Kind.PROMPT, "transfer.ring_back", node.ring_back
        case HangUpNode():
            if node.prompt:
                yield Kind.PROMPT, "hang_up.prompt", node.prompt
        case AnnounceNode():
            yield Kind.PROMPT, "announce.prompt", node.prompt
        case MenuNode():
            yield Kind.PROMPT, "menu.prompt", node.prompt
            if node.no_input_prompt:
                yield Kind.PROMPT, "menu.no_input_prompt", node.no_input_prompt
            if node.no_match_prompt:
                yield Kind.PROMPT, "menu.no_match_prompt", node.no_match_prompt
        case VoicemailNode():
            yield Kind.PROMPT, "voicemail.prompt", node.prompt
        case PasswordNode():
            yield Kind.PROMPT, "password.prompt", node.prompt
            if node.wrong_prompt:
                yield Kind.PROMPT, "password.wrong_prompt", node.wrong_prompt
        case QueueNode():
            yield Kind.PROMPT, "queue.music", node.music
            if node.position_before:
                yield Kind.PROMPT, "queue.position_before", node.position_before
            if node.position_after:
                yield Kind.PROMPT, "queue.position_after", node.position_after
        case RequestNode():
            yield Kind.API_KEY, "request.api_key", node.api_key
        case SurveyNode():
            yield Kind.PROMPT, "survey.prompt", node.prompt
            if node.no_match_prompt:
                yield Kind.PROMPT, "survey.no_match_prompt", node.no_match_prompt


def _incomplete(node: Node) -> Iterator[tuple[str, str]]:
    """Fields of a node that are missing, apart from its ways out."""
    for _, field, id in _names(node):
        if not id:
            yield field, "is required"
    match node:
        case ScheduleNode():
            for i, period in enumerate(node.branches):
                if not period.period:
                    yield f"schedule.branches[{i}].period", "is required"
        case RegionNode():
            for i, region in enumerate(node.branches):
                if not (region.provinces or region.area_codes or region.groups or region.carriers):
                    yield f"region.branches[{i}]", "must name a province, an area code, a region group or a carrier"
        case CallerListNode(lists=()):
            yield "caller_list.lists", "must have at least one list"
        case TransferNode(line="", number=""):
            yield "transfer.line", "must be given, unless there is a number"
        case TransferNode(prefixes=()) if names_variables(node.number):
            yield "transfer.prefixes", "must have at least one entry for a number that names variables"
        case DialNode(lines=(), line_group=""):
            yield "dial.lines", "must have at least one line, unless there is a line group"
        case MenuNode():
            if not (node.branches or node.entered):
                yield "menu.branches", "must have at least one branch, unless there is entered"
            if node.entered and not node.variable:
                yield "menu.variable", "is required with entered"
            for i, key in enumerate(node.branches):
                if not key.digits:
                    yield f"menu.branches[{i}].digits", "is required"
        case PasswordNode(sealed=""):
            yield "password.digits", "is required"
        case SetVariableNode(name=""):
            yield "set_variable.name", "is required"
        case RequestNode():
            yield from _incomplete_request(node)
        case MessageNode():
            if not node.sender:
                yield "message.sender", "is required"
            if not node.text:
                yield "message.text", "is required"
        case ConditionNode():
            if not node.variable:
                yield "condition.variable", "is required"
            if not node.branches:
                yield "condition.branches", "must have at least one branch"
            for i, condition in enumerate(node.branches):
                if not condition.values:
                    yield f"condition.branches[{i}].values", "must have at least one value"


def _incomplete_request(node: RequestNode) -> Iterator[tuple[str, str]]:
    if not node.url:
        yield "request.url", "is required"
    for i, name in enumerate(node.send):
        if not name:
            yield f"request.send[{i}]", "is required"
    for i, value in enumerate(node.receive):
        if not value.key:
            yield f"request.receive[{i}].key", "is required"
        if not value.variable:
            yield f"request.receive[{i}].variable", "is required"
    if node.branches and not node.branch_key:
        yield "request.branch_key", "is required with branches"
    for i, branch in enumerate(node.branches):
        if not branch.values:
            yield f"request.branches[{i}].values", "must have at least one value"


def _nowhere(ways: Ways, id: str) -> Iterator[tuple[str, str]]:
    """Ways out of a node that lead to no node, though they have to."""
    for way in ways[id]:
        if way.target and way.target not in ways:
            yield way.field, f"there is no node {way.target}"
        elif way.required and not way.target:
            yield way.field, "is required"


def _unreachable(entry: str, ways: Ways) -> Iterator[Violation]:
    if entry not in ways:
        return
    reached = _closure([entry], {id: [way.target for way in out if way.target in ways] for id, out in ways.items()})
    for at, id in enumerate(ways):
        if id not in reached:
            yield Violation(f"nodes[{at}].id", f"node {id}: no way leads here from the entry")


def _endless(ways: Ways) -> Iterator[Violation]:
    """Nodes from which no way ends the call. A way to nowhere counts as an end here: it is a fault of its own."""
    before: dict[str, list[str]] = {id: [] for id in ways}
    ending = []
    for id, out in ways.items():
        if not out or any(way.target not in ways for way in out):
            ending.append(id)
        for way in out:
            if way.target in before:
                before[way.target].append(id)
    ends = _closure(ending, before)
    for at, id in enumerate(ways):
        if id not in ends:
            yield Violation(f"nodes[{at}].id", f"node {id}: no way from here ends the call")


def _silent_circles(ways: Ways) -> Iterator[Violation]:
    """Circles that are run through without anything being played or said: one of each knot of them, with its way."""
    onward = {id: [way.target for way in out if way.silent and way.target in ways] for id, out in ways.items()}
    circling = _leading_to_circles(onward)
    told: set[str] = set()
    for at, id in enumerate(ways):
        if id not in circling or id in told:
            continue
        circle = _way_back(id, onward)
        if circle:
            field = next(way.field for way in ways[id] if way.silent and way.target == circle[1])
            told |= _knot(id, onward)
            yield Violation(
                f"nodes[{at}].{field}", f"node {id}: a circle in which nothing is played: {' → '.join(circle)}"
            )


def _leading_to_circles(onward: Mapping[str, Sequence[str]]) -> set[str]:
    """Nodes from which a circle can be reached: what is left when nodes that lead nowhere go, one after the other."""
    before = _turned(onward)
    left = {id: len(targets) for id, targets in onward.items()}
    queue = [id for id, targets in onward.items() if not targets]
    while queue:
        id = queue.pop()
        del left[id]
        for one in before[id]:
            left[one] -= 1
            if not left[one]:
                queue.append(one)
    return set(left)


def _way_back(start: str, onward: Mapping[str, Sequence[str]]) -> list[str]:
    """The shortest circle through a node, from it and to it; empty if there is none."""
    came: dict[str, str] = {}
    queue = deque([start])
    while queue:
        id = queue.popleft()
        for target in onward[id]:
            if target == start:
                way = [start]
                while id != start:
                    way.append(id)
                    id = came[id]
                return [start, *reversed(way)]
            if target not in came:
                came[target] = id
                queue.append(target)
    return []


def _knot(id: str, onward: Mapping[str, Sequence[str]]) -> set[str]:
    """The nodes that are on a circle with a node."""
    return _closure([id], onward) & _closure([id], _turned(onward))


def _turned(onward: Mapping[str, Sequence[str]]) -> dict[str, list[str]]:
    """The same ways, walked backwards."""
    back: dict[str, list[str]] = {id: [] for id in onward}
    for id, targets in onward.items():
        for target in targets:
            back[target].append(id)
    return back


def _closure(start: Iterable[str], onward: Mapping[str, Sequence[str]]) -> set[str]:
    """The nodes that can be reached, with those to start from."""
    reached = set(start)
    queue = list(reached)
    while queue:
        for target in onward[queue.pop()]:
            if target not in reached:
                reached.add(target)
                queue.append(target)
    return reached
