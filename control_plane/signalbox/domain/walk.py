"""A call on its way through a flow: branches and variables, up to the first node that is more than that."""

from __future__ import annotations

from datetime import datetime
from typing import TYPE_CHECKING, Any, Protocol

from signalbox.domain.decided import Step, Why
from signalbox.domain.flow import CallerListNode, FlowGraph, HangUpNode, Node, RegionNode, ScheduleNode
from signalbox.domain.flow_nodes import ConditionNode, SetVariableNode
from signalbox.domain.numbering import caller
from signalbox.domain.plan import End
from signalbox.domain.regions import RegionGroup
from signalbox.domain.schedules import Calendar, Schedule, period_at
from signalbox.domain.variables import TIME, Values, assigned, rendered

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

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

    ``values``: what the call has set, where it is carried on; None: it is not, and has set nothing.
    ``branches`` counts the branches that were passed; ``steps`` is told what was found, if there is one. ``way`` has
    the ids of the nodes from the entry to where the call landed first, in their order.
    """

    __slots__ = (
        "_now", "_number", "_passed", "_rules", "_tenant", "_who", "branches", "by_time", "steps", "values", "way",
    )  # fmt: skip

    def __init__(
        self,
        rules: Rules,
        tenant: Tenant,
        who: Who,
        number: str,
        now: float,
        steps: Trace | None,
        values: Values | None = None,
    ) -> None:
        self._rules = rules
        self._tenant = tenant
        self._who = who
        self._number = number
        self._now = now
        self._passed = _BRANCHES if values is None else _CARRIED
        self.values = values
        self.by_time = False
        self.branches = 0
        self.steps = steps
        self.way: Mapping[str, None] = {}

    def land(self, graph: FlowGraph, id: str) -> tuple[str, Node] | End:
        """Follow branches from a node on: the first node that rings or needs voice, with its id, or the end. Variables
        are set on the way, if they are carried on."""
        passed: dict[str, None] = {}
        self.way = self.way or passed
        while True:
            node = graph.nodes.get(id)
            if node is None or id in passed:
                self.tell("flow", f"node {id} does not exist" if node is None else f"node {id} leads back to itself")
                return End(480, Why.FLOW_BROKEN)
            branch = self._passed.get(type(node))
            if branch is None:
                break
            passed[id] = None
            self.branches += 1
            id = branch(self, id, node)
        passed[id] = None
        if isinstance(node, HangUpNode) and not node.prompt:
            self.tell("hang_up", f"node {id}: {node.cause.name.lower()}, {node.cause.value}")
            return End(node.cause.value, Why.HANG_UP)
        return id, node

    def value(self, name: str) -> str:
        """The value of a variable; "" if it has none."""
        match name:
            case "caller":
                return self._who.caller.number
            case "caller_province":
                return region.province if (region := self._who.region) is not None else ""
            case "caller_city":
                return region.city if (region := self._who.region) is not None else ""
            case "number":
                return self._number
            case _ if name == TIME:
                return datetime.fromtimestamp(self._now, self._tenant.zone).strftime("%Y-%m-%d %H:%M")
        return dict(self.values or ()).get(name, "")

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
            found = self._rules.screening_list(self._tenant.id, name)
            if found is None:
                self.tell("caller_list", f"node {id}: list {name} does not exist, passed over")
            elif entry := found.find(caller, region):
                self.tell("caller_list", f"node {id}: {self._who} is in list {name} by {entry} → {node.member}")
                return node.member
        self.tell("caller_list", f"node {id}: {self._who} is in no list → {node.otherwise}")
        return node.otherwise

    def _by_value(self, id: str, node: ConditionNode) -> str:
        value = self.value(node.variable)
        next = node.otherwise
        for branch in node.branches:
            if value in branch.values:
                next = branch.next
                break
        self.tell("condition", f"node {id}: {node.variable} is {value or 'not set'} → {next}")
        return next

    def _set(self, id: str, node: SetVariableNode) -> str:
        value = rendered(node.value, self.value)
        self.values = assigned(self.values or (), node.name, value)
        self.tell("set_variable", f"node {id}: {node.name} is {self.value(node.name) or 'not set'} → {node.next}")
        return node.next


_BRANCHES: Mapping[type[Node], Callable[[Walk, str, Any], str]] = {
    ScheduleNode: Walk._by_time,
    RegionNode: Walk._by_region,
    CallerListNode: Walk._by_list,
    ConditionNode: Walk._by_value,
}
"""The nodes without voice that lead on to another one, and to which."""
_CARRIED: Mapping[type[Node], Callable[[Walk, str, Any], str]] = {**_BRANCHES, SetVariableNode: Walk._set}
"""The same where what the call has set is carried on."""
