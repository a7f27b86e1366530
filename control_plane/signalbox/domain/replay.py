"""Past calls decided again: what a call comes to by the rules, and in what that differs from something else.

The engine decides, in a case of its own kind (:mod:`signalbox.domain.decision`): nothing is drawn, the lines of a dial
stand as they are written, and how they are chosen is told beside them. A worker with voice is supposed to be there;
what follows after it hangs on what callers key, so a call ends for us where it is handed over.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from signalbox.domain.claims import Claimed
from signalbox.domain.decided import Dial
from signalbox.domain.decision import Case, Setup, decide
from signalbox.domain.egress import carrier
from signalbox.domain.flow import Distribution, Flow
from signalbox.domain.flow_exits import exits
from signalbox.domain.objects import Line
from signalbox.domain.plan import Trial
from signalbox.domain.planner import Voice
from signalbox.domain.voice import Pool

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence
    from typing import Any

    from signalbox.domain.decided import Decision, Reject, Stage
    from signalbox.domain.flow import FlowGraph
    from signalbox.domain.plan import Plan
    from signalbox.domain.replay_counts import Counts
    from signalbox.domain.rules import Rules
    from signalbox.domain.walk import Regions

WORKER = "voice"
"""Id of the line that stands for a worker with voice."""

_VOICE = Voice(Pool([(Line("", WORKER, WORKER, "0.0.0.0"), 0.0)]), lambda cursor: cursor.node)
_NOTHING_REACHED = Claimed()
_AS_WRITTEN = (Distribution.SEQUENTIAL, Distribution.ALL)


@dataclass(frozen=True, slots=True)
class Recorded:
    """What is known of what became of a call: the step that decided it, the number that was matched, and the ids of the
    lines that were tried."""

    why: str = ""
    number: str = ""
    tried: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class PastCall:
    """A call that was: a question to the engine. ``begin`` and ``end``: epoch, seconds; ``end`` 0: not known."""

    id: str
    called: str
    calling: str
    begin: float
    end: float = 0.0
    trunk: str = ""
    asserted: str = ""
    diversions: int = 0
    recorded: Recorded = Recorded()

    @property
    def call_id(self) -> str:
        """What is drawn is drawn by the call's id: alike for all calls."""
        return ""

    @property
    def edge(self) -> str:
        """No target is dead to no proxy."""
        return ""


@dataclass(frozen=True, slots=True)
class Share:
    """How lines or trunks are chosen that are not tried in the order given; each with its weight."""

    how: Distribution
    among: tuple[tuple[str, int], ...]


@dataclass(frozen=True, slots=True)
class Outcome:
    """What a call comes to.

    ``action``, ``why``, ``tenant``, ``number`` and ``priority`` are of the decision, with lines as they are written; a
    stage with a cursor hands the call over at the flow's node of that id. ``flow`` and ``way``: the flow and its nodes
    up to the first that rings, speaks or hangs up; empty without a flow.
    """

    action: Reject | Dial
    why: str
    tenant: str = ""
    number: str = ""
    priority: bool = False
    shares: tuple[Share, ...] = ()
    flow: str = ""
    way: tuple[str, ...] = ()

    @property
    def kind(self) -> str:
        """reject, dial, or voice: it begins with a worker with voice."""
        if not isinstance(self.action, Dial):
            return "reject"
        return "voice" if self.action.stages[0].cursor else "dial"

    @property
    def code(self) -> int:
        """Status code of a refusal; 0: lines ring."""
        return 0 if isinstance(self.action, Dial) else self.action.code

    @property
    def stages(self) -> tuple[Stage, ...]:
        """What rings."""
        return self.action.stages if isinstance(self.action, Dial) else ()


class _AsWritten(Case):
    """A call of which nothing is drawn."""

    __slots__ = ("carried", "plan")

    def __init__(self, *given: Any) -> None:
        super().__init__(*given)
        self.flow = ""
        self.plan: Plan | None = None
        self.carried: list[Line] = []

    def trials(self, plan: Plan) -> tuple[Trial, ...]:
        """All lines, in the order given."""
        self.plan = plan
        return tuple([Trial(tuple(range(len(ring.lines))), False, None) for ring in plan.rings.values()])

    def attempts(self, line: Line) -> tuple[Line, ...]:
        """Where a line is reached."""
        if not line.host:
            self.carried.append(line)
        return super().attempts(line)


class Judge:
    """Decides past calls by one set of rules. What a call rests on must be in them when it comes, and stay as it is.

    ``counts``: what is counted of the calls, which must come in the order of their times; None: no limit is reached.
    """

    def __init__(self, rules: Rules, regions: Regions, counts: Counts | None = None) -> None:
        self._rules = rules
        self._setup = Setup(regions, _VOICE)
        self._counts = counts

    def outcome(self, call: PastCall) -> Outcome:
        """What the call comes to at its own time."""
        decision, case = self._decided(call)
        if case is None:
            return Outcome(decision.action, decision.why.value)
        shares = tuple(self._shares(case)) if isinstance(decision.action, Dial) else ()
        return Outcome(
            decision.action,
            decision.why.value,
            decision.tenant,
            decision.number,
            decision.priority,
            shares,
            case.flow,
            tuple(case.walk.way) if case.flow else (),
        )

    def graph(self, outcome: Outcome, at: float) -> FlowGraph | None:
        """The graph that the call was led through, if it was."""
        flow = self._rules.owned(Flow, outcome.tenant, outcome.flow)
        revision = flow.revision_at(at) if flow is not None else None
        return revision.graph if revision is not None else None

    def _decided(self, call: PastCall) -> tuple[Decision, _AsWritten | None]:
        """The decision, and the case in which it was made, if the number is known."""
        cases: list[_AsWritten] = []

        def made(*given: Any) -> _AsWritten:
            cases.append(_AsWritten(*given))
            return cases[0]

        deciding = decide(self._rules, call, call.begin, self._setup, None, made)
        counts = self._counts
        try:
            claim = next(deciding)
            while True:
                claim = deciding.send(_NOTHING_REACHED if counts is None else counts.settle(claim, call.begin))
        except StopIteration as end:
            decision: Decision = end.value
        if counts is not None:
            counts.decided(isinstance(decision.action, Dial), call.end)
        return decision, cases[0] if cases else None

    def _shares(self, case: _AsWritten) -> Iterator[Share]:
        for ring in case.plan.rings.values() if case.plan is not None else ():
            if ring.distribution not in _AS_WRITTEN:
                weighted = ring.distribution is Distribution.WEIGHTED
                weights = ring.weights if weighted else (1,) * len(ring.lines)
                yield Share(ring.distribution, tuple(zip((line.id for line in ring.lines), weights, strict=True)))
        for line in case.carried:
            group = carrier(self._rules, line)
            priorities = [one.priority for one in group.members] if group is not None else []
            if group is not None and len(set(priorities)) < len(priorities):
                yield Share(Distribution.WEIGHTED, tuple([(one.trunk, one.weight) for one in group.members]))


@dataclass(frozen=True, slots=True)
class Comparison:
    """A call by two sets of rules. ``differs`` names the fields in which the outcomes differ, in the order of FIELDS;
    ``behind``: they do not, but the flow differs behind a node at which the call is handed over."""

    call: PastCall
    before: Outcome
    after: Outcome
    differs: tuple[str, ...]
    behind: bool = False


FIELDS = ("action", "why", "code", "lines", "jumps", "shares", "media", "duration", "priority", "number", "way")
"""In what outcomes can differ. ``jumps``: what follows when a stage fails; ``duration``: the longest call."""


class Replay:
    """Compares past calls by two sets of rules."""

    def __init__(self, before: Judge, after: Judge) -> None:
        self._before = before
        self._after = after
        self._parts: dict[tuple[int, int, str], tuple[object, object, bool]] = {}

    def compare(self, call: PastCall) -> Comparison:
        """The call by both."""
        before, after = self._before.outcome(call), self._after.outcome(call)
        differs = differences(before, after)
        return Comparison(call, before, after, differs, not differs and self._behind(before, after, call.begin))

    def _behind(self, before: Outcome, after: Outcome, at: float) -> bool:
        nodes = [stage.cursor for stage in before.stages if stage.cursor]
        if not nodes:
            return False
        first, second = self._before.graph(before, at), self._after.graph(after, at)
        if first is second or first is None or second is None:
            return False
        return any(self._part_differs(first, second, node) for node in nodes)

    def _part_differs(self, first: FlowGraph, second: FlowGraph, node: str) -> bool:
        key = (id(first), id(second), node)
        if key not in self._parts:
            # Kept with the graphs, so that their ids cannot come to stand for others.
            self._parts[key] = first, second, _part(first, node) != _part(second, node)
        return self._parts[key][2]


def _part(graph: FlowGraph, entry: str) -> dict[str, object]:
    """The nodes that can be reached from one, by their ids."""
    found: dict[str, object] = {}
    left = [entry]
    while left:
        id = left.pop()
        node = graph.nodes.get(id)
        if node is not None and id not in found:
            found[id] = node
            left += [exit.target for exit in exits(node)]
    return found


def differences(before: Outcome, after: Outcome) -> tuple[str, ...]:
    """The fields in which two outcomes differ, in the order of FIELDS. Caps of lines make no difference; with a refusal
    all that has to do with ringing is left out."""
    if before == after:
        return ()
    found = {
        "action": before.kind != after.kind,
        "why": before.why != after.why,
        "code": before.code != after.code,
        "number": (before.number, before.tenant) != (after.number, after.tenant),
        "way": (before.flow, before.way) != (after.flow, after.way),
    }
    if isinstance(before.action, Dial) and isinstance(after.action, Dial):
        rung = before.stages == after.stages or _rung(before.stages) == _rung(after.stages)
        found |= {
            "lines": not rung,
            "jumps": rung and _jumps(before.stages) != _jumps(after.stages),
            "shares": before.shares != after.shares,
            "media": before.action.media is not after.action.media
            or (rung and _recorded(before.stages) != _recorded(after.stages)),
            "duration": before.action.max_duration_s != after.action.max_duration_s,
            "priority": before.priority != after.priority,
        }
    return tuple([name for name in FIELDS if found.get(name)])


def _rung(stages: Sequence[Stage]) -> list[tuple[object, ...]]:
    return [
        (tuple([replace(line, concurrent_calls=0) for line in stage.lines]), stage.ring_time_ms, stage.cursor)
        for stage in stages
    ]


def _jumps(stages: Sequence[Stage]) -> list[tuple[int, int, int]]:
    return [(stage.on_busy, stage.on_no_answer, stage.on_failed) for stage in stages]


def _recorded(stages: Sequence[Stage]) -> list[bool]:
    return [stage.record for stage in stages]


def from_recorded(recorded: Recorded, outcome: Outcome) -> tuple[str, ...]:
    """The fields in which what was recorded of a call cannot have been this outcome, as far as it was recorded."""
    lines = {line.id for stage in outcome.stages for line in stage.lines}
    found = {
        "why": recorded.why not in ("", outcome.why),
        "lines": not lines.issuperset(recorded.tried) and not any(stage.cursor for stage in outcome.stages),
        "number": recorded.number not in ("", outcome.number),
    }
    return tuple([name for name in FIELDS if found.get(name)])
