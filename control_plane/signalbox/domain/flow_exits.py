"""The ways out of the nodes of a call flow."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from signalbox.domain.flow import (
    AnnounceNode,
    CallerListNode,
    DialNode,
    MenuNode,
    RegionNode,
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

if TYPE_CHECKING:
    from collections.abc import Iterator

    from signalbox.domain.flow import Node


@dataclass(frozen=True, slots=True)
class Exit:
    """A way out of a node.

    ``field`` is its path in the node, e.g. ``menu.branches[2].next``; ``target`` the next node's id, ``""`` if there is
    none; ``required``: without a next node the call would be nowhere, else it ends. ``silent``: a call can take this
    way without anything having been played or said, so that a circle of such ways would be run through without end.
    """

    field: str
    target: str
    required: bool = True
    silent: bool = False


def exits(node: Node) -> Iterator[Exit]:
    """All ways out of a node; none from a node that hangs up."""
    match node:
        case ScheduleNode():
            for i, period in enumerate(node.branches):
                yield Exit(f"schedule.branches[{i}].next", period.next, silent=True)
            yield Exit("schedule.otherwise", node.otherwise, silent=True)
        case RegionNode():
            for i, region in enumerate(node.branches):
                yield Exit(f"region.branches[{i}].next", region.next, silent=True)
            yield Exit("region.otherwise", node.otherwise, silent=True)
        case CallerListNode():
            yield Exit("caller_list.member", node.member, silent=True)
            yield Exit("caller_list.otherwise", node.otherwise, silent=True)
        case ConditionNode():
            for i, condition in enumerate(node.branches):
                yield Exit(f"condition.branches[{i}].next", condition.next, silent=True)
            yield Exit("condition.otherwise", node.otherwise, silent=True)
        case SetVariableNode():
            yield Exit("set_variable.next", node.next, silent=True)
        case RequestNode():
            # An answer may come at once.
            for i, answer in enumerate(node.branches):
                yield Exit(f"request.branches[{i}].next", answer.next, silent=True)
            yield Exit("request.otherwise", node.otherwise, silent=True)
            yield Exit("request.failed", node.failed, silent=True)
        case PasswordNode():
            yield Exit("password.ok", node.ok)
            yield Exit("password.failed", node.failed)
        case QueueNode():
            # A caller who comes here again has to wait.
            yield Exit("queue.dial", node.dial)
            yield Exit("queue.full", node.full, silent=True)
            yield Exit("queue.timed_out", node.timed_out)
            if node.leave_keys:
                yield Exit("queue.left", node.left)
        case MessageNode():
            yield Exit("message.next", node.next, required=False, silent=True)
            if node.failed:
                yield Exit("message.failed", node.failed, silent=True)
        case DialNode():
            # A line that is busy or away is told at once, also to a worker with voice.
            yield Exit("dial.busy", node.busy, required=False, silent=True)
            yield Exit("dial.no_answer", node.no_answer, required=False, silent=True)
            yield Exit("dial.failed", node.failed, required=False, silent=True)
            yield Exit("dial.after", node.after, required=False)
            if node.transfer_keys:
                yield Exit("dial.transfer", node.transfer)
        case TransferNode():
            yield Exit("transfer.busy", node.busy, required=False, silent=True)
            yield Exit("transfer.no_answer", node.no_answer, required=False, silent=True)
            yield Exit("transfer.failed", node.failed, required=False, silent=True)
            yield Exit("transfer.after", node.after, required=False)
        case AnnounceNode():
            yield Exit("announce.next", node.next)
        case MenuNode():
            for i, branch in enumerate(node.branches):
                yield Exit(f"menu.branches[{i}].next", branch.next)
            if node.entered:
                yield Exit("menu.entered", node.entered)
            yield Exit("menu.no_input", node.no_input)
            yield Exit("menu.no_match", node.no_match)
        case VoicemailNode():
            yield Exit("voicemail.next", node.next, required=False)
            if node.no_message:
                yield Exit("voicemail.no_message", node.no_message)
        case SurveyNode():
            yield Exit("survey.next", node.next, required=False)
