"""What the nodes of a flow set and name of a call's variables, and what is wrong with that.

A flow knows the variables that are known of every call, the language, and what any of its nodes sets: on another way a
call may come to a node without it, and finds it empty.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

from signalbox.domain.flow import MenuNode, SurveyNode, TransferNode
from signalbox.domain.flow_nodes import ConditionNode, MessageNode, RequestNode, SetVariableNode
from signalbox.domain.variables import KNOWN, LANGUAGE, SET_MAX, TIME, TemplateError, names

if TYPE_CHECKING:
    from collections.abc import Iterator

    from signalbox.domain.flow import FlowGraph, Node


class Text(NamedTuple):
    """A template, with its field in the node."""

    field: str
    template: str


class Named(NamedTuple):
    """A variable, with its field in the node."""

    field: str
    name: str


def set_by(node: Node) -> Iterator[Named]:
    """The variables that a node sets; "" where the name is missing."""
    match node:
        case SetVariableNode():
            yield Named("set_variable.name", node.name)
        case MenuNode():
            if node.variable:
                yield Named("menu.variable", node.variable)
            for i, branch in enumerate(node.branches):
                if branch.language:
                    yield Named(f"menu.branches[{i}].language", LANGUAGE)
        case SurveyNode():
            if node.variable:
                yield Named("survey.variable", node.variable)
        case RequestNode():
            for i, value in enumerate(node.receive):
                yield Named(f"request.receive[{i}].variable", value.variable)


def read_by(node: Node) -> Iterator[Named]:
    """The variables that a node reads apart from its templates; "" where the name is missing."""
    match node:
        case ConditionNode():
            yield Named("condition.variable", node.variable)
        case RequestNode():
            for i, name in enumerate(node.send):
                yield Named(f"request.send[{i}]", name)


def templates(node: Node) -> Iterator[Text]:
    """The templates of a node."""
    match node:
        case SetVariableNode():
            yield Text("set_variable.value", node.value)
        case MessageNode():
            yield Text("message.text", node.text)
        case TransferNode():
            yield Text("transfer.number", node.number)


def faults(graph: FlowGraph) -> Iterator[tuple[str, str]]:
    """Fields of a graph, ``nodes[3].condition.variable``, in which variables are wrong, and what is."""
    settable: set[str] = set()
    for at, (id, node) in enumerate(graph.nodes.items()):
        for field, name in set_by(node):
            if name in KNOWN:
                yield f"nodes[{at}].{field}", f"node {id}: {name} is known of every call and cannot be set"
            elif name and name not in settable and len(settable) == SET_MAX:
                yield f"nodes[{at}].{field}", f"node {id}: the nodes of a flow set at most {SET_MAX} variables"
            elif name:
                settable.add(name)
    known = settable | KNOWN | {LANGUAGE}
    for at, (id, node) in enumerate(graph.nodes.items()):
        for field, reason in _misread(node, known):
            yield f"nodes[{at}].{field}", f"node {id}: {reason}"


def _misread(node: Node, known: set[str]) -> Iterator[tuple[str, str]]:
    for field, name in read_by(node):
        if name == TIME and isinstance(node, ConditionNode):
            yield field, f"{TIME} is for templates; a schedule branches by the time"
        elif name and name not in known:
            yield field, f"no node sets the variable {name}"
    for field, template in templates(node):
        try:
            named = names(template)
        except TemplateError as error:
            yield field, str(error)
            continue
        for name in dict.fromkeys(named):
            if name not in known:
                yield field, f"no node sets the variable {name}"
