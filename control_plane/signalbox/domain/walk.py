"""A call on its way through a flow: the nodes without voice, up to the first that is more than a branch."""

from __future__ import annotations

from typing import TYPE_CHECKING, Protocol

from signalbox.domain.decided import Step, Why
from signalbox.domain.flow import CallerListNode, FlowGraph, HangUpNode, Node, RegionNode, ScheduleNode
from signalbox.domain.numbering import caller
from signalbox.domain.plan import End
from signalbox.domain.regions import RegionGroup
from signalbox.domain.schedules import Calendar, Schedule, period_at

if TYPE_CHECKING:
    from signalbox.domain.decided import Trace
    from signalbox.domain.flow import RegionBranch
    from signalbox.domain.numbering import Caller
    from signalbox.domain.objects import Tenant
    from signalbox.domain.regions import Region
    from signalbox.domain.rules import Rules


class Regions(Protocol):
    """Where numbers are. :class:`~signalbox.domain.regions.RegionTable` is one."""

    def find(self, caller: Caller) -> Region | None:
        """The caller's region, if it is known."""


class Who:
    """Who calls, worked out when it is asked for first. ``asked``: it was."""

    __slots__ = ("_asserted", "_caller", "_calling", "_region", "_regions", "asked")

    def __init__(self, calling: str, asserted: str, regions: Regions) -> None:
        self._calling = calling
        self._asserted = asserted
        self._regions = regions
        self._caller: Caller | None = None
        self._region: tuple[Region | None] | None = None
        self.asked = False

    @classmethod
    def known(cls, caller: Caller, regions: Regions) -> Who:
        """Somebody whose number is known already."""
        who = cls("", "", regions)
        who._caller = caller
        return who

    @property
    def caller(self) -> Caller:
        """The caller by number."""
        if self._caller is None:
            self._caller = caller(self._calling, self._asserted)
            self.asked = True
        return self._caller

    @property
    def region(self) -> Region | None:
        """Where the caller is."""
        if self._region is None:
            self._region = (self._regions.find(self.caller),)
        return self._region[0]

    def __str__(self) -> str:
        """For people: number and place."""
        region = self.region
        number = self.caller.number or f"a caller without a number ({self.caller.kind.value})"
        return f"{number} ({region.province} {region.city})" if region is not None else number


class Walk:
    """What the branches of a flow rest on. ``by_time``: a step went by the time, so that later calls may go elsewhere.

    ``steps`` is told what was found, if there is one.
    """

    __slots__ = ("_now", "_rules", "_tenant", "_who", "by_time", "steps")

    def __init__(self, rules: Rules, tenant: Tenant, who: Who, now: float, steps: Trace | None) -> None:
        self._rules = rules
        self._tenant = tenant
        self._who = who
        self._now = now
        self.by_time = False
        self.steps = steps

    def land(self, graph: FlowGraph, id: str) -> tuple[str, Node] | End:
        """Follow branches from a node on: the first node that rings or needs voice, with its id, or the end."""
        passed = set()
        while True:
            node = graph.nodes.get(id)
            if node is None or id in passed:
                self.tell("flow", f"node {id} does not exist" if node is None else f"node {id} leads back to itself")
                return End(480, Why.FLOW_BROKEN)
            passed.add(id)
            match node:
                case ScheduleNode():
                    id = self._by_time(id, node)
                case RegionNode():
                    id = self._by_region(id, node)
                case CallerListNode():
                    id = self._by_list(id, node)
                case HangUpNode(prompt=""):
                    self.tell("hang_up", f"node {id}: {node.cause.name.lower()}, {node.cause.value}")
                    return End(node.cause.value, Why.HANG_UP)
                case _:
                    return id, node

    def tell(self, rule: str, finding: str) -> None:
        """Add a step to those that are told."""
        if self.steps is not None:
            self.steps.append(Step(rule, finding))

    def _by_time(self, id: str, node: ScheduleNode) -> str:
        self.by_time = True
        tenant = self._tenant
        schedule = self._rules.owned(Schedule, tenant.id, node.schedule)
        rules = schedule.rules_at(self._now) if schedule is not None else None
        if rules is None:
            why = "has no rules in force" if schedule is not None else "does not exist"
            self.tell("schedule", f"node {id}: schedule {node.schedule} {why} → {node.otherwise}")
            return node.otherwise
        calendar = self._rules.shared(Calendar, tenant.id, rules.calendar) if rules.calendar else None
        period = period_at(rules, calendar, tenant.zone, self._now)
        next = node.otherwise
        for branch in node.branches:
            if branch.period == period:
                next = branch.next
                break
        if self.steps is not None:
            lost = f", calendar {rules.calendar} does not exist" if rules.calendar and calendar is None else ""
            found = f"is in period {period}" if period else "is in no period"
            self.tell("schedule", f"node {id}: schedule {node.schedule} {found}{lost} → {next}")
        return next

    def _by_region(self, id: str, node: RegionNode) -> str:
        region = self._who.region
        next = node.otherwise
        if region is not None:
            for branch in node.branches:
                if self._is_in(region, branch):
                    next = branch.next
                    break
        if self.steps is not None:
            unknown = "" if region is not None else ", region not known"
            self.tell("region", f"node {id}: {self._who}{unknown} → {next}")
        return next

    def _is_in(self, region: Region, branch: RegionBranch) -> bool:
        if region.province in branch.provinces or region.area_code in branch.area_codes:
            return True
        if region.carrier in branch.carriers:
            return True
        for id in branch.groups:
            group = self._rules.shared(RegionGroup, self._tenant.id, id)
            if group is not None and group.holds(region):
                return True
        return False

    def _by_list(self, id: str, node: CallerListNode) -> str:
        caller, region = self._who.caller, self._who.region
        for name in node.lists:
            found = self._rules.lists.get(self._tenant.id, name)
            if found is None:
                self.tell("caller_list", f"node {id}: list {name} does not exist, passed over")
            elif entry := found.find(caller, region):
                self.tell("caller_list", f"node {id}: {self._who} is in list {name} by {entry} → {node.member}")
                return node.member
        self.tell("caller_list", f"node {id}: {self._who} is in no list → {node.otherwise}")
        return node.otherwise
