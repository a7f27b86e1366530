"""Nodes that work with variables, as messages and as objects of the domain: a part of :mod:`flowgraph`."""

from __future__ import annotations

from typing import TYPE_CHECKING

from signalbox.api.types.v1 import flows_pb2
from signalbox.domain.flow import MENU_NEXT_DIGIT_MS_DEFAULT, MENU_TIMEOUT_MS_DEFAULT
from signalbox.domain.flow_nodes import (
    PASSWORD_TERMINATOR_DEFAULT,
    PASSWORD_TRIES_DEFAULT,
    QUEUE_LENGTH_DEFAULT,
    QUEUE_WAIT_MS_DEFAULT,
    REQUEST_TIMEOUT_MS_DEFAULT,
    ConditionBranch,
    ConditionNode,
    MessageNode,
    PasswordNode,
    QueueNode,
    ReceivedValue,
    RequestNode,
    SetVariableNode,
)
from signalbox.store import durations

if TYPE_CHECKING:
    from collections.abc import Iterable

    from signalbox.domain.flow import Node


def node(message: flows_pb2.FlowNode) -> Node | None:
    """The node of a message; None if it is of no kind that is known here."""
    match message.WhichOneof("node"):
        case "set_variable":
            its = message.set_variable
            return SetVariableNode(its.name, its.value, its.next)
        case "condition":
            return ConditionNode(
                message.condition.variable, _branches(message.condition.branches), message.condition.otherwise
            )
        case "request":
            return _request(message.request)
        case "password":
            return _password(message.password)
        case "queue":
            return _queue(message.queue)
        case "message":
            sent = message.message
            return MessageNode(sent.sender, sent.text, sent.to, sent.next, sent.failed)
    return None


def set_variable(node: SetVariableNode) -> flows_pb2.SetVariableNode:
    """A node as a message."""
    return flows_pb2.SetVariableNode(name=node.name, value=node.value, next=node.next)


def condition(node: ConditionNode) -> flows_pb2.ConditionNode:
    """A node as a message."""
    branches = _branch_messages(node.branches)
    return flows_pb2.ConditionNode(variable=node.variable, branches=branches, otherwise=node.otherwise)


def request(node: RequestNode) -> flows_pb2.RequestNode:
    """A node as a message."""
    return flows_pb2.RequestNode(
        url=node.url,
        api_key=node.api_key,
        timeout=durations.message(node.timeout_ms),
        send=node.send,
        receive=[flows_pb2.ReceivedValue(key=one.key, variable=one.variable) for one in node.receive],
        branch_key=node.branch_key,
        branches=_branch_messages(node.branches),
        otherwise=node.otherwise,
        failed=node.failed,
    )


def password(node: PasswordNode) -> flows_pb2.PasswordNode:
    """A node as a message."""
    return flows_pb2.PasswordNode(
        prompt=node.prompt,
        sealed=node.sealed,
        tries=node.tries,
        timeout=durations.message(node.timeout_ms),
        inter_digit_timeout=durations.message(node.next_digit_ms),
        terminator=node.terminator,
        wrong_prompt=node.wrong_prompt,
        ok=node.ok,
        failed=node.failed,
    )


def _password(message: flows_pb2.PasswordNode) -> PasswordNode:
    return PasswordNode(
        message.prompt,
        message.sealed,
        message.ok,
        message.failed,
        message.tries or PASSWORD_TRIES_DEFAULT,
        durations.ms(message, "timeout", MENU_TIMEOUT_MS_DEFAULT),
        durations.ms(message, "inter_digit_timeout", MENU_NEXT_DIGIT_MS_DEFAULT),
        message.terminator or PASSWORD_TERMINATOR_DEFAULT,
        message.wrong_prompt,
    )


def queue(node: QueueNode) -> flows_pb2.QueueNode:
    """A node as a message."""
    return flows_pb2.QueueNode(
        dial=node.dial,
        music=node.music,
        announce_every=durations.message(node.announce_ms) if node.announce_ms else None,
        position_before=node.position_before,
        position_after=node.position_after,
        max_wait=durations.message(node.max_wait_ms),
        max_length=node.max_length,
        full=node.full,
        timed_out=node.timed_out,
        leave_keys=node.leave_keys,
        left=node.left,
    )


def _queue(message: flows_pb2.QueueNode) -> QueueNode:
    return QueueNode(
        message.dial,
        message.music,
        message.full,
        message.timed_out,
        durations.ms(message, "announce_every", 0),
        message.position_before,
        message.position_after,
        durations.ms(message, "max_wait", QUEUE_WAIT_MS_DEFAULT),
        message.max_length or QUEUE_LENGTH_DEFAULT,
        message.leave_keys,
        message.left,
    )


def message(node: MessageNode) -> flows_pb2.MessageNode:
    """A node as a message."""
    return flows_pb2.MessageNode(sender=node.sender, to=node.to, text=node.text, next=node.next, failed=node.failed)


def _request(message: flows_pb2.RequestNode) -> RequestNode:
    return RequestNode(
        message.url,
        message.api_key,
        message.otherwise,
        message.failed,
        durations.ms(message, "timeout", REQUEST_TIMEOUT_MS_DEFAULT),
        tuple(message.send),
        tuple(ReceivedValue(one.key, one.variable) for one in message.receive),
        message.branch_key,
        _branches(message.branches),
    )


def _branches(messages: Iterable[flows_pb2.ConditionBranch]) -> tuple[ConditionBranch, ...]:
    return tuple(ConditionBranch(tuple(one.values), one.next) for one in messages)


def _branch_messages(branches: Iterable[ConditionBranch]) -> list[flows_pb2.ConditionBranch]:
    return [flows_pb2.ConditionBranch(values=one.values, next=one.next) for one in branches]
