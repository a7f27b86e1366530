"""Plans from rules: a number's own stages, or a call flow with all that can follow without voice."""

from __future__ import annotations

import zlib
from dataclasses import dataclass
from typing import TYPE_CHECKING

from signalbox.domain.claims import Order
from signalbox.domain.cursor import Cursor
from signalbox.domain.decided import Why
from signalbox.domain.distribution import drawn, order_of
from signalbox.domain.egress import carrier
from signalbox.domain.flow import LINES_MAX, DialNode, Distribution, FlowGraph, LineGroup, needs_voice
from signalbox.domain.plan import End, Plan, Ring

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from signalbox.domain.flow import DialLine, Node
    from signalbox.domain.objects import Line, Number
    from signalbox.domain.plan import Target
    from signalbox.domain.rules import Rules
    from signalbox.domain.walk import Walk, Who

VOICE_WORKERS_TRIED = 2
VOICE_ANSWERS_MS = 10_000
"""A worker with voice that has not answered after this time is passed over."""

NO_VOICE = End(480, Why.NO_VOICE_WORKER)
LINES_BUSY = End(486, Why.LINES_BUSY)
NO_ANSWER = End(480, Why.NO_LINE)
LINES_FAILED = End(0, Why.NO_LINE)


@dataclass(frozen=True, slots=True)
class Voice:
    """The workers that execute flows from nodes that need voice on, as lines; ``seal`` makes a cursor's text."""

    workers: tuple[Line, ...]
    seal: Callable[[Cursor], str]


@dataclass(frozen=True, slots=True)
class FlowPoint:
    """A flow that a call is in: its id and the revision that the call obeys."""

    flow: str
    revision: int
    graph: FlowGraph


@dataclass(frozen=True, slots=True)
class Call:
    """What plans are made for. ``step``: how often the flow was continued; ``priority``: front of queues."""

    id: str
    tenant: str
    number: str
    who: Who
    priority: bool = False
    step: int = 0


class Planner:
    """Makes the plan of one call. What is found on the way is told to ``walk``."""

    def __init__(self, rules: Rules, call: Call, walk: Walk, voice: Voice) -> None:
        self._rules = rules
        self._call = call
        self._walk = walk
        self._voice = voice
        self.handed_over = False
        """True if the plan has a worker with voice in it."""

    def of_stages(self, number: Number) -> Plan:
        """The plan of a number with stages: whatever becomes of one, the next follows."""
        rings: dict[str, Ring] = {}
        for position, stage in enumerate(number.stages, 1):
            name = f"stage {position}"
            last = position == len(number.stages)
            following: Target = LINES_FAILED if last else f"stage {position + 1}"
            lines = tuple(self._found(name, stage.lines))
            rings[name] = Ring(lines, stage.ring_time_ms, following, following, following, together=True)
        return Plan("stage 1", rings)

    def of_flow(self, at: FlowPoint) -> Plan:
        """The plan of a flow from its entry on. A node is expanded once, whoever leads to it."""
        rings: dict[str, Ring] = {}
        open: set[str] = set()

        def target(id: str, nowhere: End) -> Target:
            if not id:
                return nowhere
            landed = self._walk.land(at.graph, id)
            if isinstance(landed, End):
                return landed
            name, node = landed
            if name in open:
                self._walk.tell("flow", f"node {name} leads back to itself")
                return End(480, Why.FLOW_BROKEN)
            if name not in rings:
                # Kept at once, so that the plan has its dials in the order in which they are reached.
                rings[name] = _NOTHING
                open.add(name)
                made = expand(name, node)
                open.remove(name)
                if isinstance(made, End):
                    del rings[name]
                    return made
                rings[name] = made
            return name

        def expand(name: str, node: Node) -> Ring | End:
            if not isinstance(node, DialNode) or needs_voice(node):
                return self._hand_over(at, name)
            ends = (
                target(node.busy, LINES_BUSY),
                target(node.no_answer, NO_ANSWER),
                target(node.failed, LINES_FAILED),
            )
            return self.ring(at, name, node, *ends)

        return Plan(target(at.graph.entry, LINES_FAILED), rings)

    def ring(self, at: FlowPoint, name: str, node: DialNode, busy: Target, no_answer: Target, failed: Target) -> Ring:
        """A dial node with its lines in the order to try them, as far as nothing has to be counted for that."""
        label = f"node {name}"
        lines, distribution, owner = self._lines(at, name, node)
        found = {line.id: line for line in self._found(label, [one.line for one in lines])}
        known = [one for one in lines if one.line in found]
        order = order_of(distribution)
        key = f"{'sticky' if order is Order.STICKY else 'turn'}/{self._call.tenant}/{owner}"
        if order is Order.STICKY:
            number = self._call.who.caller.number
            order, key = (order, f"{key}/{number}") if number else (Order.GIVEN, "")
        ordered = drawn(distribution, known, [one.weight for one in known], f"{self._call.id}/{owner}")
        return Ring(
            tuple([found[one.line] for one in ordered]),
            node.ring_ms,
            busy,
            no_answer,
            failed,
            distribution is Distribution.ALL,
            order,
            "" if order is Order.GIVEN else key,
        )

    def _lines(self, at: FlowPoint, name: str, node: DialNode) -> tuple[Sequence[DialLine], Distribution, str]:
        """The lines of a dial, how they are chosen, and under which name that is counted."""
        if not node.line_group:
            self._walk.tell("distribution", f"node {name}: {node.distribution.value}, lines: {len(node.lines)}")
            return node.lines, node.distribution, f"flow/{at.flow}/{name}"
        group = self._rules.owned(LineGroup, self._call.tenant, node.line_group)
        if group is None:
            self._walk.tell("distribution", f"node {name}: line group {node.line_group} does not exist")
            return (), Distribution.SEQUENTIAL, ""
        how = f"{group.distribution.value}, lines: {len(group.lines)}"
        self._walk.tell("distribution", f"node {name}: line group {group.id}, {how}")
        return group.lines, group.distribution, f"group/{group.id}"

    def _found(self, label: str, ids: Sequence[str]) -> list[Line]:
        """The lines that exist and that something leads to; the others are passed over."""
        found = []
        tells = self._walk.steps is not None
        for at, id in enumerate(ids):
            line = self._rules.line(self._call.tenant, id)
            group = carrier(self._rules, line) if line is not None and not line.host else None
            usable = line is not None and (bool(line.host) or group is not None)
            if line is not None and usable:
                found.append(line)
            if not tells or (usable and at >= LINES_MAX):
                continue
            if line is None:
                state = "does not exist, passed over"
            elif group is not None:
                state = f"is {line.user} through trunk group {group.id}"
            elif line.host:
                state = f"is {line.user} at {line.host} port {line.port}"
            else:
                state = f"is {line.user}, which no trunk group carries, passed over"
            self._walk.tell("line", f"{label}: line {id} {state}")
        return found

    def _hand_over(self, at: FlowPoint, name: str) -> Ring | End:
        """To a worker with voice, or the next one: which of them is told by the call's id."""
        workers, call = self._voice.workers, self._call
        if not workers:
            self._walk.tell("voice", f"node {name} needs voice, and no worker has it")
            return NO_VOICE
        first = zlib.crc32(call.id.encode()) % len(workers)
        tried = (workers[first:] + workers[:first])[:VOICE_WORKERS_TRIED]
        cursor = Cursor(
            call.id, call.tenant, call.number, at.flow, at.revision, name, call.who.caller, call.priority, call.step
        )
        text = self._voice.seal(cursor)
        if not text:
            self._walk.tell("voice", f"node {name} needs voice, and the call's id is too long to be handed over")
            return NO_VOICE
        self.handed_over = True
        self._walk.tell("voice", f"node {name} needs voice: worker {tried[0].id}")
        return Ring(tried, VOICE_ANSWERS_MS, NO_VOICE, NO_VOICE, NO_VOICE, cursor=text)


_NOTHING = Ring((), 0, NO_VOICE, NO_VOICE, NO_VOICE)
