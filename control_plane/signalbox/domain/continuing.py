"""What comes next in a call flow that a worker with voice executes."""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any, NamedTuple

from signalbox.domain import egress, passwords
from signalbox.domain.claims import Claim, Waiting
from signalbox.domain.cursor import Cursor, CursorError
from signalbox.domain.decided import Dial, Reject, Why, reject
from signalbox.domain.flow import DialNode, Flow, FlowGraph, HangUpNode, Node, TransferNode
from signalbox.domain.flow_nodes import MESSAGE_MAX, MessageNode, PasswordNode, QueueNode, RequestNode
from signalbox.domain.layout import lay_out
from signalbox.domain.objects import MediaMode
from signalbox.domain.outcomes import Ended, Outcome, Turn, following
from signalbox.domain.plan import End, free_lines
from signalbox.domain.planner import Call, FlowPoint, Planner
from signalbox.domain.recording import media_of, unrecorded_of
from signalbox.domain.variables import SINCE, TRIES, assigned, rendered
from signalbox.domain.walk import Walk, Who

if TYPE_CHECKING:
    from collections.abc import Generator, Mapping

    from signalbox.domain.claims import Place
    from signalbox.domain.decision import Setup
    from signalbox.domain.plan import Plan, Positions
    from signalbox.domain.rules import Rules


@dataclass(frozen=True, slots=True)
class Next:
    """The next step. ``do``: execute the node, ring, or end the call; ``cursor``: where the call is then."""

    do: tuple[str, Node] | Dial | Reject
    cursor: Cursor
    sends: Mapping[str, str] = field(default_factory=dict)
    """For a request variables with their values; for a message ``to`` and ``text``."""
    dial: DialNode | TransferNode | None = None
    """The node that rings, for a dial."""
    position: int = 0
    """The place in a queue, from 1 on; 0: it is not known."""
    vain: Ended | None = None
    """Of an attended transfer that has nothing to ring: the line keeps the call, or else it ended so."""


def proceed(
    rules: Rules,
    cursor: Cursor,
    outcome: Outcome | None,
    now: float,
    setup: Setup,
    edge: str = "",
    *,
    talking: bool = False,
) -> Generator[Claim | Waiting, Any, Next]:
    """The next step of the call at ``cursor``; ``outcome`` None: the step of the cursor itself, which has not begun.

    A generator as :func:`~signalbox.domain.decision.decide`, which also yields who waits, and is sent the place. The
    graph is that of the revision in the cursor; schedules are looked at with ``now`` (epoch, seconds). ``edge``: the
    proxy that sends the call to lines. ``talking``: a line has the call still, and may keep it. Raises CursorError if
    the revision is no longer kept, OutcomeError if the node cannot end so. Without a key for passwords none is right.
    """
    graph = _graph(rules, cursor)
    node = graph.nodes.get(cursor.node)
    if node is None:
        raise CursorError("node is not in the flow")
    who = Who.known(cursor.caller, setup.regions)
    turn = Turn(cursor.node) if outcome is None else _turn(cursor, node, outcome, setup.password_key)
    values = cursor.values
    for name, value in turn.sets:
        values = assigned(values, name, value)
    walk = Walk(rules, rules.tenant(cursor.tenant), who, cursor.number, now, None, values)
    found = walk.land(graph, turn.next) if turn.next else End(_code(node, outcome), Why.HANG_UP)
    steps = cursor.step if outcome is None else cursor.step + 1
    at = replace(cursor, step=steps, values=walk.values or ())
    if isinstance(found, End):
        return Next(reject(found.code), at)
    if outcome is not None and isinstance(node, DialNode | TransferNode):
        # Others may have its lines, whatever comes now and however long it takes.
        yield Claim(cursor.call_id, cursor.tenant, (), (), f"after step {cursor.step}")
    name, node = found
    at = replace(at, node=name)
    step = _Step(rules, at, now, setup, edge, walk, who)
    match node:
        case QueueNode():
            return (yield from _wait(step, node, graph, outcome))
        case DialNode() | TransferNode():
            rung = yield from _ring(step, node, graph)
            if isinstance(rung, Next):
                return rung
            # Nothing to ring is as if it had been rung in vain.
            vain = Ended.BUSY if rung.why is Why.LINES_BUSY else Ended.FAILED
            if talking and isinstance(node, TransferNode) and node.attended:
                return Next(Dial((), MediaMode.BYPASS, 0), at, dial=node, vain=vain)
            return (yield from proceed(rules, at, Outcome(vain), now, setup, edge, talking=talking))
    return Next((name, node), at, sends=_sends(node, walk))


class _Step(NamedTuple):
    """What a step rests on: the call is ``at`` its node."""

    rules: Rules
    at: Cursor
    now: float
    setup: Setup
    edge: str
    walk: Walk
    who: Who

    def plan(self, graph: FlowGraph, name: str, node: DialNode | TransferNode) -> Plan:
        """What a node rings."""
        at = self.at
        call = Call(at.call_id, at.tenant, at.number, self.who, at.priority, at.step)
        planner = Planner(self.rules, call, self.walk, self.setup.voice)
        if isinstance(node, TransferNode):
            return planner.of_transfer(name, node)
        return planner.of_dial(FlowPoint(at.flow, at.revision, graph), name)


def _claims(plan: Plan, step: _Step, *, look: bool = False) -> Claim | None:
    """What has to be counted for a plan; None: nothing."""
    claims = tuple([trial.claim for trial in plan.trials(step.at.call_id, step.who) if trial.claim is not None])
    at = step.at
    return Claim(at.call_id, at.tenant, (), claims, f"step {at.step}", look) if claims else None


def _ring(step: _Step, node: DialNode | TransferNode, graph: FlowGraph) -> Generator[Claim | Waiting, Any, Next | End]:
    """Ring the lines of the node where the call is, or how that ended before it began."""
    rules, at = step.rules, step.at
    plan = step.plan(graph, at.node, node)
    claim = _claims(plan, step)
    counted: tuple[Positions, ...] = (yield claim).dials if claim is not None else ()
    dead = step.setup.dead.get(step.edge, frozenset())
    number = rules.number(at.number)
    media = number.media if number is not None else MediaMode.ANCHOR
    stages = lay_out(
        plan,
        free_lines(plan.trials(at.call_id, step.who), counted),
        # The worker rings lines, not ways to them: what follows a way that has failed is the proxy's.
        lambda line: egress.attempts(rules, line, at.call_id, dead)[:1],
        media is MediaMode.RECORD,
    )
    if isinstance(stages, End):
        return stages
    longest_s = number.max_duration_s if number is not None else 0
    return Next(Dial(stages, media_of(media, stages), longest_s, unrecorded_of(media)), at, dial=node)


def _wait(
    step: _Step, node: QueueNode, graph: FlowGraph, outcome: Outcome | None
) -> Generator[Claim | Waiting, Any, Next]:
    """Let the call wait in the queue where it is, or go on from there.

    Who comes here first, or has waited, may go on to the dial. Who comes back from the dial has to wait.
    """
    rules, at, now, setup, edge = step.rules, step.at, step.now, step.setup, step.edge
    name, _, told = dict(at.values).get(SINCE, "").partition(" ")
    comes = name != at.node
    since = int(now * 1000) if comes else int(told)
    waiting = Waiting(f"{at.tenant}/{at.flow}/{at.node}", at.call_id, since, at.priority, node.max_length)
    at = replace(at, values=assigned(at.values, SINCE, f"{at.node} {since}"))
    if now * 1000 - since >= node.max_wait_ms or (SINCE, f"{at.node} {since}") not in at.values:
        yield waiting._replace(leaves=True)
        return (yield from proceed(rules, at, Outcome(Ended.NO_INPUT), now, setup, edge))
    place: Place = yield waiting
    if place.full:
        return (yield from proceed(rules, at, Outcome(Ended.NO_MATCH), now, setup, edge))
    has_waited = outcome is not None and outcome.ended is Ended.WAITED
    dial = graph.nodes[node.dial]
    if place.position <= 1 and (comes or has_waited) and isinstance(dial, DialNode):
        ringing = step._replace(at=replace(at, node=node.dial))
        if (yield from _is_free(ringing, dial, graph)):
            found = yield from _ring(ringing, dial, graph)
            if isinstance(found, Next):
                yield waiting._replace(leaves=True)
                return found
    return Next((at.node, node), at, position=place.position)


def _is_free(step: _Step, dial: DialNode, graph: FlowGraph) -> Generator[Claim | Waiting, Any, bool]:
    """True if a dial has a line that is free; nothing is taken, no turn either."""
    claim = _claims(step.plan(graph, step.at.node, dial), step, look=True)
    return claim is None or any((yield claim).dials)


def _turn(cursor: Cursor, node: Node, outcome: Outcome, password_key: bytes | None) -> Turn:
    if isinstance(node, QueueNode) and outcome.ended is Ended.WAITED and not outcome.values:
        return Turn(cursor.node)
    if not isinstance(node, PasswordNode):
        return following(node, outcome)
    if outcome.ended not in (Ended.DIGITS, Ended.NO_INPUT) or outcome.values:
        return following(node, outcome)
    told = outcome.ended is Ended.DIGITS and password_key is not None
    if told and passwords.fits(password_key or b"", cursor.tenant, node.sealed, outcome.digits):
        return Turn(node.ok, ((TRIES, ""),))
    tried = str(tries(cursor) + 1)
    counted = (TRIES, tried) in assigned(cursor.values, TRIES, tried)
    if int(tried) < node.tries and counted:
        return Turn(cursor.node, ((TRIES, tried),))
    return Turn(node.failed, ((TRIES, ""),))


def tries(cursor: Cursor) -> int:
    """How often the password of the cursor's node was tried."""
    return int(dict(cursor.values).get(TRIES, "0"))


def _graph(rules: Rules, cursor: Cursor) -> FlowGraph:
    flow = rules.owned(Flow, cursor.tenant, cursor.flow)
    revision = flow.revision(cursor.revision) if flow is not None else None
    if revision is None:
        raise CursorError("the flow or its revision is no longer kept")
    return revision.graph


def _code(node: Node, outcome: Outcome | None) -> int:
    """What a caller is told whose call was not answered, at the end of a flow."""
    if isinstance(node, HangUpNode):
        return node.cause.value
    return 486 if outcome is not None and outcome.ended is Ended.BUSY else 480


def _sends(node: Node, walk: Walk) -> Mapping[str, str]:
    match node:
        case RequestNode():
            return {name: walk.value(name) for name in node.send}
        case MessageNode():
            return {"to": node.to or walk.value("caller"), "text": rendered(node.text, walk.value)[:MESSAGE_MAX]}
    return {}
