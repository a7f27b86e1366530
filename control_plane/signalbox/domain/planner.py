"""Plans from rules: a number's own stages, or a call flow with all that can follow without voice.

For a flow the call is led through the branches each time. What is found for the dials that it comes to rests on the
tenant's rules alone, so it is kept in them: a plan for each way in which calls were led, until the rules change.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, NamedTuple

from signalbox.domain.cursor import Cursor
from signalbox.domain.decided import Why
from signalbox.domain.distribution import is_drawn
from signalbox.domain.egress import carrier
from signalbox.domain.flow import (
    LINES_MAX,
    DialNode,
    DialRecording,
    Distribution,
    FlowGraph,
    LineGroup,
    TransferNode,
    needs_voice,
)
from signalbox.domain.numbering import national
from signalbox.domain.objects import Line
from signalbox.domain.plan import End, Plan, Ring
from signalbox.domain.rules import stages_key
from signalbox.domain.variables import rendered

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    from signalbox.domain.flow import DialLine, Node
    from signalbox.domain.objects import Number
    from signalbox.domain.plan import Target
    from signalbox.domain.rules import Rules
    from signalbox.domain.voice import Pool
    from signalbox.domain.walk import Walk, Who

UNANSWERED_MS = 180_000
"""So long a flow may go on with a caller whom nobody has answered: as long as lines may ring. A worker that gives no
sign of itself is passed over much sooner, after the proxy's connect timeout."""

NO_VOICE = End(480, Why.NO_VOICE_WORKER)
LINES_BUSY = End(486, Why.LINES_BUSY)
NO_ANSWER = End(480, Why.NO_LINE)
LINES_FAILED = End(0, Why.NO_LINE)


@dataclass(frozen=True, slots=True)
class Voice:
    """The workers that execute flows from nodes that need voice on; ``seal`` makes a cursor's text."""

    workers: Pool
    seal: Callable[[Cursor], str]


class FlowPoint(NamedTuple):
    """A flow that a call is in: its id and the revision that the call obeys."""

    flow: str
    revision: int
    graph: FlowGraph


class Call(NamedTuple):
    """What plans are made for. ``step``: how often the flow was continued; ``priority``: front of queues."""

    id: str
    tenant: str
    number: str
    who: Who
    priority: bool = False
    step: int = 0


class Exits(NamedTuple):
    """Where a dial leads."""

    busy: Target
    no_answer: Target
    failed: Target


class Planner:
    """Makes the plan of one call. What is found on the way is told to ``walk``."""

    def __init__(self, rules: Rules, call: Call, walk: Walk, voice: Voice) -> None:
        self._rules = rules
        self._call = call
        self._walk = walk
        self._voice = voice
        self.handed_over = False
        """True if the plan has a worker with voice in it."""
        self._needs_voice = False

    def of_stages(self, number: Number) -> Plan:
        """The plan of a number with stages: whatever becomes of one, the next follows."""
        key = stages_key(number.number)
        plan: Plan | None = self._rules.recall(number.tenant, key) if self._walk.steps is None else None
        if plan is None:
            plan = self._of_stages(number)
            self._rules.remember(number.tenant, key, plan)
        return plan

    def _of_stages(self, number: Number) -> Plan:
        rings: dict[str, Ring] = {}
        for position, stage in enumerate(number.stages, 1):
            name = f"stage {position}"
            last = position == len(number.stages)
            following: Target = LINES_FAILED if last else f"stage {position + 1}"
            lines = tuple([line for line in self._found(name, stage.lines) if line is not None])
            rings[name] = Ring(lines, stage.ring_time_ms, following, following, following, Distribution.ALL)
        return Plan("stage 1", rings)

    def of_flow(self, at: FlowPoint) -> Plan:
        """The plan of a flow from its entry on."""
        landed = self._walk.land(at.graph, at.graph.entry)
        if isinstance(landed, End):
            return Plan(landed, {})
        # Where no branch follows the first dial, it tells all the others.
        key = (at.flow, at.revision, landed[0])
        plan: Plan | None = self._rules.recall(self._call.tenant, key) if self._walk.steps is None else None
        if plan is not None:
            return plan
        branches = self._walk.branches
        entry, dials = self._expanded(at, *landed)
        if self._walk.branches > branches or self._needs_voice:
            return self._kept(at, entry, dials)
        plan = self._made(at, entry, dials)
        self._rules.remember(self._call.tenant, key, plan)
        return plan

    def _expanded(self, at: FlowPoint, name: str, node: Node) -> tuple[Target, Mapping[str, Exits | Ring]]:
        """Where the call goes from the first dial, and that and all the others by name. A node is expanded once,
        whoever leads to it."""
        dials: dict[str, Exits | Ring] = {}
        open: set[str] = set()

        def target(id: str, nowhere: End) -> Target:
            if not id:
                return nowhere
            landed = self._walk.land(at.graph, id)
            return landed if isinstance(landed, End) else dial(*landed)

        def dial(name: str, node: Node) -> Target:
            if name in open:
                self._walk.tell("flow", f"node {name} leads back to itself")
                return End(480, Why.FLOW_BROKEN)
            if name not in dials:
                # Kept at once, so that the plan has its dials in the order in which they are reached.
                dials[name] = _NOTHING
                open.add(name)
                made = exits(name, node)
                open.remove(name)
                if isinstance(made, End):
                    del dials[name]
                    return made
                dials[name] = made
            return name

        def exits(name: str, node: Node) -> Exits | Ring | End:
            if not isinstance(node, DialNode) or needs_voice(node):
                return self._hand_over(at, name)
            return Exits(
                target(node.busy, LINES_BUSY), target(node.no_answer, NO_ANSWER), target(node.failed, LINES_FAILED)
            )

        return dial(name, node), dials

    def of_dial(self, at: FlowPoint, name: str) -> Plan:
        """The plan of a single dial node: the call ends when it has failed."""
        return self._kept(at, name, {name: _ALONE})

    def of_transfer(self, name: str, node: TransferNode) -> Plan:
        """The plan of a single transfer: the call ends when it has failed."""
        if node.line:
            line = self._rules.line(self._call.tenant, node.line)
        else:
            line = self._telephone(rendered(node.number, self._walk.value), node.prefixes)
        lines = (line,) if line is not None else ()
        return Plan(name, {name: Ring(lines, node.ring_ms, *_ALONE, recording=node.recording)})

    def _telephone(self, written: str, prefixes: tuple[str, ...]) -> Line | None:
        """A telephone number as a line of that id; None for what is none, or begins with none of the prefixes."""
        number = national(written)
        if not number or (prefixes and not number.startswith(prefixes)):
            return None
        return Line(self._call.tenant, number, number, "")

    def _kept(self, at: FlowPoint, entry: Target, dials: Mapping[str, Exits | Ring]) -> Plan:
        if self.handed_over:
            return self._made(at, entry, dials)
        tenant, key = self._call.tenant, (at.flow, at.revision, entry, tuple(dials.items()))
        plan: Plan | None = self._rules.recall(tenant, key)
        if plan is None or self._walk.steps is not None:
            made = self._made(at, entry, dials)
            if plan is None:
                self._rules.remember(tenant, key, made)
                plan = made
        return plan

    def _made(self, at: FlowPoint, entry: Target, dials: Mapping[str, Exits | Ring]) -> Plan:
        rings = {}
        for name, exits in dials.items():
            node = at.graph.nodes[name]
            if isinstance(exits, Ring):
                rings[name] = exits
            else:
                assert isinstance(node, DialNode)
                rings[name] = self._ring(at, name, node, exits)
        return Plan(entry, rings)

    def _ring(self, at: FlowPoint, name: str, node: DialNode, exits: Exits) -> Ring:
        """A dial node with the lines that it may ring."""
        lines, distribution, owner = self._lines(at, name, node)
        found = self._found(f"node {name}", [one.line for one in lines])
        known = [(line, one) for line, one in zip(found, lines, strict=True) if line is not None]
        times = tuple([one.ring_ms for _, one in known])
        key = owner
        if not is_drawn(distribution):
            key = f"{'sticky' if distribution is Distribution.STICKY else 'turn'}/{self._call.tenant}/{owner}"
        return Ring(
            tuple([line for line, _ in known]),
            node.ring_ms,
            *exits,
            distribution,
            key,
            tuple([one.weight for _, one in known]),
            recording=node.recording,
            times=times if any(times) else (),
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

    def _found(self, label: str, ids: Sequence[str]) -> list[Line | None]:
        """The lines of these ids; None for one that does not exist or that nothing leads to: it is passed over."""
        found = []
        tells = self._walk.steps is not None
        for at, id in enumerate(ids):
            line = self._rules.line(self._call.tenant, id)
            group = carrier(self._rules, line) if line is not None and not line.host else None
            usable = line is not None and (bool(line.host) or group is not None)
            found.append(line if usable else None)
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
        """To a worker with voice, or another one."""
        self._needs_voice = True
        call = self._call
        workers = self._voice.workers.tried(call.id)
        if not workers:
            self._walk.tell("voice", f"node {name} needs voice, and no worker has it")
            return NO_VOICE
        cursor = Cursor(
            call.id, call.tenant, call.number, at.flow, at.revision, name, call.who.caller, call.priority, call.step
        )
        text = self._voice.seal(cursor)
        if not text:
            self._walk.tell("voice", f"node {name} needs voice, and the call's id is too long to be handed over")
            return NO_VOICE
        self.handed_over = True
        self._walk.tell("voice", f"node {name} needs voice: worker {workers[0].id}")
        # What is said to a worker, and keyed, is no conversation: the lines that it rings are recorded, or not.
        return Ring(workers, UNANSWERED_MS, *_NOTHING, cursor=text, recording=DialRecording.OFF)


_ALONE = Exits(LINES_BUSY, NO_ANSWER, LINES_FAILED)
_NOTHING = Exits(NO_VOICE, NO_VOICE, NO_VOICE)
