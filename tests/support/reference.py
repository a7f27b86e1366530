"""A call decided and rung the obvious way: step by step, one thing at a time, with no plan and no stages.

It knows a world of plain values; :func:`rules_of` makes the rules of it that the engine decides by.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from typing import TYPE_CHECKING
from zoneinfo import ZoneInfo

from signalbox.domain.decided import Reject
from signalbox.domain.flow import (
    CallerListNode,
    DialLine,
    DialNode,
    Distribution,
    Flow,
    FlowGraph,
    FlowRevision,
    HangUpCause,
    HangUpNode,
    RegionBranch,
    RegionNode,
    ScheduleBranch,
    ScheduleNode,
)
from signalbox.domain.objects import Limits, Line, Number, Tenant, Trunk
from signalbox.domain.regions import Region
from signalbox.domain.rules import Rules
from signalbox.domain.schedules import Hours, Period, Schedule, ScheduleRules, Weekly
from signalbox.domain.screening import Page, ScreeningRules, page_of

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from signalbox.domain.decided import Decision
    from signalbox.domain.flow import Node

SHANGHAI = ZoneInfo("Asia/Shanghai")
CALLERS = ("13800001234", "13900001234", "01088886666", "")
"""From Beijing, from Inner Mongolia, from Beijing, and without a number."""
PLACES = {"138": Region("北京"), "139": Region("内蒙古"), "010": Region("北京")}
LINES = ("a", "b", "c", "d", "e")
BUSY, VAIN, DEAD, TAKEN = "busy", "no answer", "failure", "taken"


@dataclass(frozen=True)
class World:
    """``nodes``: a flow from its first node on; ``open``: minutes of the day; ``caps`` and ``counts``: by name."""

    nodes: Mapping[str, Node]
    over_nodes: Mapping[str, Node] | None
    open: tuple[int, int]
    blacklist: frozenset[str]
    whitelist: frozenset[str]
    whitelist_only: bool
    refuse_anonymous: bool
    caps: Mapping[str, int]
    missing: frozenset[str]
    limits: Mapping[str, int | None]
    counts: Mapping[str, int]


Rung = tuple[list[frozenset[str]], str | int]
"""The lines that rang, those that rang together each, and who took the call, or the status code; 0: the lines'."""


def rules_of(world: World) -> Rules:
    """The world as rules: number 4001234567 of acme."""
    rules = Rules()
    limits = {name: Limits(most) for name, most in world.limits.items()}
    rules.put(Trunk("carrier", limits=limits["trunk/carrier"]))
    rules.put(Tenant("acme", SHANGHAI, limits["tenant/acme"]))
    for id in LINES:
        if id not in world.missing:
            rules.put(Line("acme", id, "1", "192.0.2.1", concurrent_calls=world.caps.get(id, 0)))
    hours = Hours(*world.open)
    period = Period("open", Weekly(frozenset(range(1, 8)), hours))
    rules.put(Schedule("acme", "hours", ((0.0, ScheduleRules(None, "", (period,))),)))
    for id, entries in (("bad", world.blacklist), ("good", world.whitelist)):
        rules.put_screening_list("acme", id)
        for entry in entries:
            page = page_of(entry)
            rules.put_screening_page("acme", id, page, Page.of([e for e in entries if page_of(e) == page]))
    rules.put(_flow("main", world.nodes))
    if world.over_nodes:
        rules.put(_flow("over", world.over_nodes))
    screening = ScreeningRules(("bad",), ("good",), world.whitelist_only, world.refuse_anonymous)
    rules.put(
        Number(
            "4001234567", "acme", (), flow="main", screening=screening, limits=limits["number/4001234567"],
            over_limit_flow="over" if world.over_nodes else "",
        )
    )  # fmt: skip
    return rules


def _flow(id: str, nodes: Mapping[str, Node]) -> Flow:
    return Flow("acme", id, (FlowRevision(1, 0.0, FlowGraph(next(iter(nodes)), nodes)),))


def expected(world: World, caller: str, now: float, lines: Mapping[str, str]) -> Rung:
    """What becomes of a call; ``lines`` says what becomes of each line that rings."""
    if not caller and world.refuse_anonymous:
        return [], 433
    if _listed(caller, world.blacklist):
        return [], 403
    if world.whitelist_only and not _listed(caller, world.whitelist):
        return [], 403
    rung: list[frozenset[str]] = []
    nodes = world.nodes
    if not _ends_at_once(world, nodes, caller, now):
        over = [name for name, most in world.limits.items() if most is not None and world.counts.get(name, 0) >= most]
        if "trunk/carrier" in over:
            return [], 503
        if over:
            if world.over_nodes is None:
                return [], 486
            nodes = world.over_nodes
    id = next(iter(nodes))
    while True:
        id = _branches(world, nodes, id, caller, now)
        node = nodes[id]
        if isinstance(node, HangUpNode):
            return rung, node.cause.value
        assert isinstance(node, DialNode)
        way = _ring(world, node, lines, rung)
        if way not in (BUSY, VAIN, DEAD):
            return rung, way
        id = {BUSY: node.busy, VAIN: node.no_answer, DEAD: node.failed}[way]
        if not id:
            # A failure ends with what the lines said, if one of them said anything.
            return rung, {BUSY: 486, VAIN: 480, DEAD: 0 if rung else 480}[way]


def _ring(world: World, node: DialNode, lines: Mapping[str, str], rung: list[frozenset[str]]) -> str:
    there = [one.line for one in node.lines if one.line not in world.missing]
    if node.distribution is Distribution.ROUND_ROBIN and there:
        first = world.counts.get("turn", 0) % len(there)
        there = there[first:] + there[:first]
    free = [
        id for id in there if not world.caps.get(id) or world.counts.get(f"line/acme/{id}", 0) < world.caps[id]
    ]  # fmt: skip
    if not there:
        return DEAD
    if not free:
        return BUSY
    together = node.distribution is Distribution.ALL
    seen = set()
    for group in [free] if together else [[id] for id in free]:
        rung.append(frozenset(group))
        for id in group:
            if lines[id] == TAKEN:
                return id
            seen.add(lines[id])
    return BUSY if BUSY in seen else VAIN if VAIN in seen else DEAD


def _branches(world: World, nodes: Mapping[str, Node], id: str, caller: str, now: float) -> str:
    while True:
        node = nodes[id]
        if isinstance(node, ScheduleNode):
            local = datetime.fromtimestamp(now, SHANGHAI)
            is_open = world.open[0] <= local.hour * 60 + local.minute < world.open[1]
            id = node.branches[0].next if is_open else node.otherwise
        elif isinstance(node, RegionNode):
            place = PLACES.get(caller[:3])
            provinces = node.branches[0].provinces
            id = node.branches[0].next if place is not None and place.province in provinces else node.otherwise
        elif isinstance(node, CallerListNode):
            id = node.member if _listed(caller, world.whitelist) else node.otherwise
        else:
            return id


def _ends_at_once(world: World, nodes: Mapping[str, Node], caller: str, now: float) -> bool:
    """A flow that leads the call to its end without a dial on the way takes nothing."""
    return isinstance(nodes[_branches(world, nodes, next(iter(nodes)), caller, now)], HangUpNode)


def _listed(caller: str, entries: frozenset[str]) -> bool:
    if not caller:
        return "x" in entries
    return any(
        (e[0] == "n" and caller == e[1:])
        or (e[0] == "p" and caller.startswith(e[1:]))
        or (e[0] == "r" and PLACES[caller[:3]].province == e[1:])
        for e in entries
    )


def rung_by(decision: Decision, lines: Mapping[str, str]) -> Rung:
    """What a proxy makes of a decision, as kamailio/README.md says: stage after stage, by how the lines failed."""
    if isinstance(decision.action, Reject):
        return [], decision.action.code
    rung: list[frozenset[str]] = []
    at = 1
    while True:
        stage = decision.action.stages[at - 1]
        ids = [line.id for line in stage.lines]
        rung.append(frozenset(ids))
        assert len(rung) <= 16
        states = [lines[id] for id in ids]
        if TAKEN in states:
            return rung, ids[states.index(TAKEN)]
        following = stage.on_busy if BUSY in states else stage.on_no_answer if VAIN in states else stage.on_failed
        if not 1 <= following <= 16:
            return rung, following
        at = following


def schedule(yes: str, no: str) -> ScheduleNode:
    """Branches by the schedule."""
    return ScheduleNode("hours", (ScheduleBranch("open", yes),), no)


def region(province: str, yes: str, no: str) -> RegionNode:
    """Branches by one province."""
    return RegionNode((RegionBranch(frozenset({province}), frozenset(), (), frozenset(), yes),), no)


def dial(ids: Sequence[str], distribution: Distribution, busy: str, no_answer: str, failed: str) -> DialNode:
    """Rings lines."""
    return DialNode(tuple(map(DialLine, ids)), distribution, busy=busy, no_answer=no_answer, failed=failed)


def caller_list(yes: str, no: str) -> CallerListNode:
    """Branches by the whitelist."""
    return CallerListNode(("good",), yes, no)


def hang_up(cause: HangUpCause) -> HangUpNode:
    """Ends the call."""
    return HangUpNode(cause)
