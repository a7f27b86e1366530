"""What comes next in a call flow that a worker with voice executes."""

from __future__ import annotations

from dataclasses import dataclass, replace
from enum import Enum
from typing import TYPE_CHECKING

from signalbox.domain import egress
from signalbox.domain.claims import Claim
from signalbox.domain.cursor import Cursor, CursorError
from signalbox.domain.decided import Dial, Reject, Why, reject
from signalbox.domain.flow import (
    AnnounceNode,
    DialNode,
    Flow,
    FlowGraph,
    HangUpNode,
    MenuNode,
    Node,
    SurveyNode,
    VoicemailNode,
)
from signalbox.domain.objects import MediaMode
from signalbox.domain.plan import End, Plan, lay_out
from signalbox.domain.planner import LINES_BUSY, LINES_FAILED, NO_ANSWER, Call, FlowPoint, Planner
from signalbox.domain.walk import Walk, Who

if TYPE_CHECKING:
    from collections.abc import Generator

    from signalbox.domain.claims import Claimed, DialClaim
    from signalbox.domain.decision import Setup
    from signalbox.domain.rules import Rules


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


class OutcomeError(ValueError):
    """A step cannot have ended so."""


@dataclass(frozen=True, slots=True)
class Outcome:
    """How a step ended; ``digits`` is what was keyed."""

    ended: Ended
    digits: str = ""


@dataclass(frozen=True, slots=True)
class Next:
    """The next step. ``do``: execute the node, ring, or end the call; ``cursor``: where the call is then."""

    do: tuple[str, Node] | Dial | Reject
    cursor: Cursor
    whisper: str = ""
    """Prompt that the line hears before it is connected, for a dial."""


def proceed(
    rules: Rules, cursor: Cursor, outcome: Outcome | None, now: float, setup: Setup
) -> Generator[Claim, Claimed, Next]:
    """The next step of the call at ``cursor``; ``outcome`` None: the step of the cursor itself, which has not begun.

    A generator as :func:`~signalbox.domain.decision.decide`. The graph is that of the revision in the cursor; schedules
    are looked at with ``now`` (epoch, seconds). Raises CursorError if the revision is no longer kept, OutcomeError if
    the node cannot end so.
    """
    graph = _graph(rules, cursor)
    node = graph.nodes.get(cursor.node)
    if node is None:
        raise CursorError("node is not in the flow")
    who = Who.known(cursor.caller, setup.regions)
    walk = Walk(rules, rules.tenant(cursor.tenant), who, now, None)
    at, landed = cursor, (cursor.node, node)
    if outcome is not None:
        id = _following(node, outcome)
        found = walk.land(graph, id) if id else End(_code(node, outcome), Why.HANG_UP)
        at = replace(cursor, step=cursor.step + 1)
        if isinstance(found, End):
            return Next(reject(found.code), at)
        landed = found
    name, node = landed
    at = replace(at, node=name)
    if not isinstance(node, DialNode):
        return Next(landed, at)
    call = Call(cursor.call_id, cursor.tenant, cursor.number, who, cursor.priority, at.step)
    planner = Planner(rules, call, walk, setup.voice)
    point = FlowPoint(cursor.flow, cursor.revision, graph)
    ring = planner.ring(point, name, node, LINES_BUSY, NO_ANSWER, LINES_FAILED)
    plan = Plan(name, {name: ring})
    free = ring.lines
    claim: DialClaim | None = ring.claim(takes=True)
    if claim is not None:
        claimed = yield Claim(cursor.call_id, cursor.tenant, (), (claim,), f"step {at.step}")
        free = tuple([ring.lines[position] for position in claimed.dials[0]])
    stages = lay_out(plan, {name: free}, lambda line: egress.attempts(rules, line, cursor.call_id))
    if isinstance(stages, End):
        # Nothing to ring is as if it had been rung in vain.
        vain = Ended.BUSY if stages.why is Why.LINES_BUSY else Ended.FAILED
        return (yield from proceed(rules, at, Outcome(vain), now, setup))
    number = rules.number(cursor.number)
    media = number.media if number is not None else MediaMode.ANCHOR
    return Next(Dial(stages, media, number.max_duration_s if number is not None else 0), at, node.whisper)


def _graph(rules: Rules, cursor: Cursor) -> FlowGraph:
    flow = rules.owned(Flow, cursor.tenant, cursor.flow)
    revision = flow.revision(cursor.revision) if flow is not None else None
    if revision is None:
        raise CursorError("the flow or its revision is no longer kept")
    return revision.graph


def _code(node: Node, outcome: Outcome) -> int:
    """What a caller is told whose call was not answered, at the end of a flow."""
    if isinstance(node, HangUpNode):
        return node.cause.value
    return 486 if outcome.ended is Ended.BUSY else 480


def _following(node: Node, outcome: Outcome) -> str:
    """The node after one that ended so; "": the call ends. Raises OutcomeError."""
    ended = outcome.ended
    match node, ended:
        case (AnnounceNode() | VoicemailNode(), Ended.DONE):
            return node.next
        case SurveyNode(), Ended.DONE | Ended.DIGITS | Ended.NO_INPUT | Ended.NO_MATCH:
            return node.next
        case HangUpNode(), Ended.DONE:
            return ""
        case MenuNode(), Ended.DIGITS:
            return next((one.next for one in node.branches if one.digits == outcome.digits), node.no_match)
        case MenuNode(), Ended.NO_INPUT:
            return node.no_input
        case MenuNode(), Ended.NO_MATCH:
            return node.no_match
        case DialNode(), Ended.BUSY:
            return node.busy
        case DialNode(), Ended.NO_ANSWER:
            return node.no_answer
        case DialNode(), Ended.FAILED:
            return node.failed
        case DialNode(), Ended.LINE_LEFT:
            return node.after
    raise OutcomeError(f"a node of this kind does not end so: {ended.value}")
