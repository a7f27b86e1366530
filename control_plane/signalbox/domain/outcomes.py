"""How steps of call flows end that a worker with voice executes, and where a call goes on then."""

from __future__ import annotations

from dataclasses import dataclass, field
from enum import Enum
from typing import TYPE_CHECKING, NamedTuple

from signalbox.domain.flow import (
    AnnounceNode,
    DialNode,
    HangUpNode,
    MenuNode,
    SurveyNode,
    TransferNode,
    VoicemailNode,
)
from signalbox.domain.flow_nodes import MessageNode, QueueNode, RequestNode
from signalbox.domain.variables import LANGUAGE, SINCE

if TYPE_CHECKING:
    from collections.abc import Mapping

    from signalbox.domain.flow import Node


class Ended(Enum):
    """How a step of a flow ended."""

    DONE = "done"
    DIGITS = "digits"
    NO_INPUT = "no_input"
    NO_MATCH = "no_match"
    BUSY = "busy"
    NO_ANSWER = "no_answer"
    FAILED = "failed"
    LINE_LEFT = "line_left"
    TRANSFER = "transfer"
    WAITED = "waited"


class OutcomeError(ValueError):
    """A step cannot have ended so."""


@dataclass(frozen=True, slots=True)
class Outcome:
    """How a step ended; ``digits`` is what was keyed, ``values`` are of an answer, by its keys."""

    ended: Ended
    digits: str = ""
    values: Mapping[str, str] = field(default_factory=dict)


class Turn(NamedTuple):
    """What follows a step: the next node, "": the call ends; and what variables it gives which values, "": none."""

    next: str
    sets: tuple[tuple[str, str], ...] = ()


_NO_LONGER_WAITING = ((SINCE, ""),)


def following(node: Node, outcome: Outcome) -> Turn:
    """What follows a node that ended so. Raises OutcomeError."""
    ended = outcome.ended
    if outcome.values and not (isinstance(node, RequestNode) and ended is Ended.DONE):
        raise OutcomeError("values are of a request that was answered")
    match node, ended:
        case (AnnounceNode() | VoicemailNode(), Ended.DONE):
            return Turn(node.next)
        case VoicemailNode(), Ended.NO_INPUT | Ended.FAILED:
            return Turn(node.no_message or node.next)
        case SurveyNode(), Ended.DONE | Ended.DIGITS | Ended.NO_INPUT | Ended.NO_MATCH:
            scored = node.variable and len(outcome.digits) == 1 and outcome.digits in node.keys
            return Turn(node.next, ((node.variable, outcome.digits),) if scored else ())
        case HangUpNode(), Ended.DONE:
            return Turn("")
        case MenuNode(), Ended.DIGITS:
            return _keyed(node, outcome.digits)
        case MenuNode(), Ended.NO_INPUT:
            return Turn(node.no_input)
        case MenuNode(), Ended.NO_MATCH:
            return Turn(node.no_match)
        case RequestNode(), Ended.DONE:
            return _answered(node, outcome.values)
        case RequestNode(), Ended.FAILED:
            return Turn(node.failed)
        case MessageNode(), Ended.DONE:
            return Turn(node.next)
        case MessageNode(), Ended.FAILED:
            return Turn(node.failed or node.next)
        case (DialNode() | TransferNode(), Ended.BUSY):
            return Turn(node.busy)
        case (DialNode() | TransferNode(), Ended.NO_ANSWER):
            return Turn(node.no_answer)
        case (DialNode() | TransferNode(), Ended.FAILED):
            return Turn(node.failed)
        case (DialNode() | TransferNode(), Ended.LINE_LEFT):
            return Turn(node.after, _NO_LONGER_WAITING)
        case DialNode(transfer_keys=keys), Ended.TRANSFER if keys:
            return Turn(node.transfer, _NO_LONGER_WAITING)
        case QueueNode(leave_keys=keys), Ended.DIGITS if outcome.digits == keys:
            return Turn(node.left, _NO_LONGER_WAITING)
        case QueueNode(), Ended.NO_INPUT:
            return Turn(node.timed_out, _NO_LONGER_WAITING)
        case QueueNode(), Ended.NO_MATCH:
            return Turn(node.full, _NO_LONGER_WAITING)
    raise OutcomeError(f"a node of this kind does not end so: {ended.value}")


def _keyed(node: MenuNode, digits: str) -> Turn:
    kept = ((node.variable, digits),) if node.variable else ()
    for branch in node.branches:
        if branch.digits == digits:
            return Turn(branch.next, (*kept, (LANGUAGE, branch.language)) if branch.language else kept)
    if node.entered and len(digits) >= node.min_digits:
        return Turn(node.entered, kept)
    return Turn(node.no_match)


def _answered(node: RequestNode, values: Mapping[str, str]) -> Turn:
    known = {one.key for one in node.receive} | {node.branch_key}
    if strange := sorted(values.keys() - known):
        raise OutcomeError(f"the node asks for no key {strange[0]}")
    sets = tuple([(one.variable, values.get(one.key, "")) for one in node.receive])
    value = values.get(node.branch_key, "")
    for branch in node.branches:
        if value in branch.values:
            return Turn(branch.next, sets)
    return Turn(node.otherwise, sets)
