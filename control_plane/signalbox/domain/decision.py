"""Where does a call go? One engine: :func:`decide` answers, and tells its steps if it is given a trace.

The order: trunk, state of the number, loop guard, screening, limits, call flow. The flow is worked out before the
limits are asked for, because all that must be counted is asked for at once; a flow that ends the call takes nothing.
"""

from __future__ import annotations

from collections.abc import Generator
from dataclasses import dataclass
from typing import TYPE_CHECKING, Protocol

from signalbox.domain import egress
from signalbox.domain.claims import Claim, Order, limit_name
from signalbox.domain.decided import Decision, Dial, Step, Why, reject
from signalbox.domain.flow import Flow
from signalbox.domain.limits import limits_of
from signalbox.domain.numbering import national
from signalbox.domain.objects import DEFAULT_ZONE, NO_LIMITS
from signalbox.domain.plan import End, Plan, lay_out
from signalbox.domain.planner import Call, FlowPoint, Planner, Voice
from signalbox.domain.screening import judge
from signalbox.domain.walk import Walk, Who

if TYPE_CHECKING:
    from signalbox.domain.claims import Claimed, DialClaim, Limit
    from signalbox.domain.decided import Reject, Trace
    from signalbox.domain.objects import Line, Number
    from signalbox.domain.rules import Rules
    from signalbox.domain.walk import Regions

Deciding = Generator[Claim, "Claimed", Decision]
"""A decision on its way: yields what has to be counted, and is sent what came of it."""


class Question(Protocol):
    """The call. ``routing.v1.DecideRequest`` is one."""

    @property
    def call_id(self) -> str:
        """The call's id."""

    @property
    def trunk(self) -> str:
        """Id of the trunk; "" stands for any."""

    @property
    def called(self) -> str:
        """The number dialled, as written."""

    @property
    def calling(self) -> str:
        """User part of From."""

    @property
    def asserted(self) -> str:
        """User part of P-Asserted-Identity (RFC 3325)."""

    @property
    def diversions(self) -> int:
        """Forwards before us (RFC 5806, RFC 7044)."""


@dataclass(frozen=True, slots=True)
class Setup:
    """What decisions rest on beside the rules. ``max_diversions``: calls forwarded more often are refused."""

    regions: Regions
    voice: Voice
    max_diversions: int = 2


_TRUNK_UNKNOWN = Decision(reject(403), Why.TRUNK_UNKNOWN)
_TRUNK_DISABLED = Decision(reject(403), Why.TRUNK_DISABLED)
# Not for use again at an edge: there is no number to keep it under.
_NUMBER_UNKNOWN = Decision(reject(404), Why.NUMBER_UNKNOWN)

_OVER = {"trunk": Why.LIMIT_TRUNK, "number": Why.LIMIT_NUMBER, "tenant": Why.LIMIT_TENANT}
_OVER_CODES = {Why.LIMIT_TRUNK: 503, Why.LIMIT_NUMBER: 486, Why.LIMIT_TENANT: 486}
"""How a call ends that is over a limit: to the carrier of a trunk that is full another one may be open."""

_Planned = tuple[Plan, Planner, Walk]

_ENDS = {
    Why.NO_LINE: "no line is left to ring",
    Why.LINES_BUSY: "no line takes another call",
    Why.HANG_UP: "the flow ends the call",
    Why.FLOW_MISSING: "there is no flow in force",
    Why.FLOW_BROKEN: "the flow leads nowhere",
    Why.NO_VOICE_WORKER: "no worker with voice is there",
}


def known(rules: Rules, question: Question, max_diversions: int, *, counting: bool) -> Decision | None:
    """What :func:`decide` would decide, if that is remembered: nothing has to be worked out.

    ``counting``: None for a call that has to be counted; else it is decided as if there were no limits.
    """
    trunk = rules.trunk(question.trunk)
    if trunk is None or trunk.disabled:
        return None
    number = rules.number(national(question.called))
    if number is None:
        return None
    if counting and not number.limits is trunk.limits is rules.tenant(number.tenant).limits is NO_LIMITS:
        return None
    return rules.recall(number, question.diversions > max_diversions)


def decide(rules: Rules, question: Question, now: float, setup: Setup, trace: Trace | None = None) -> Deciding:
    """Decide one call by the rules at ``now`` (epoch, seconds). With a trace every step is evaluated and told.

    A generator: what it yields has to be counted, and is answered by what came of it. Mostly it yields once or not at
    all, twice for a call over a limit. With a trace, claims only look. Pure but for the memo in ``rules``: equal
    questions under unchanged rules that rest on nothing else get the identical object, so that callers can keep what
    they make of it.
    """
    if (refused := _check_trunk(rules, question.trunk, trace)) is not None:
        return refused
    digits = national(question.called)
    number = rules.number(digits)
    if number is None:
        if trace is not None:
            form = f"in national form {digits}" if digits else "which is no number of this country"
            trace.append(Step("number", f"dialled {question.called}, {form}: unknown", decisive=True))
        return _NUMBER_UNKNOWN
    if trace is not None:
        trace.append(Step("number", f"dialled {question.called}: {digits} of tenant {number.tenant}"))
    return (yield from _Case(rules, number, question, now, setup, trace).decide())


def _check_trunk(rules: Rules, id: str, trace: Trace | None) -> Decision | None:
    """The refusal that the trunk's state calls for, if any."""
    if not id:
        if trace is not None:
            trace.append(Step("trunk", "any trunk"))
        return None
    trunk = rules.trunk(id)
    if trunk is None:
        if trace is not None:
            trace.append(Step("trunk", f"{id} is unknown", decisive=True))
        return _TRUNK_UNKNOWN
    if trace is not None:
        state = "disabled" if trunk.disabled else "in service"
        trace.append(Step("trunk", f"{id} is {state}", decisive=trunk.disabled))
    return _TRUNK_DISABLED if trunk.disabled else None


class _Case:
    """A call to a known number."""

    def __init__(
        self, rules: Rules, number: Number, question: Question, now: float, setup: Setup, trace: Trace | None
    ) -> None:
        self._rules = rules
        self._forgotten = rules.forgotten
        self._number = number
        self._question = question
        self._now = now
        self._setup = setup
        self._trace = trace
        self._looped = question.diversions > setup.max_diversions
        self._tenant = rules.tenant(number.tenant)
        self._who = Who(question.calling, question.asserted, setup.regions)
        self._priority = False
        self._independent = True

    def decide(self) -> Deciding:
        remembered = self._rules.recall(self._number, self._looped) if self._trace is None else None
        if remembered is None:
            if (refusal := self._refusal()) is not None:
                return refusal
            steps: Trace | None = None if self._trace is None else []
            found = yield from self._follow(self._plan(steps), self._trunk_limits() + self._own_limits(), "", steps)
        elif isinstance(remembered.action, Dial):
            counted = yield from self._count(self._trunk_limits() + self._own_limits(), {}, "")
            found = counted if isinstance(counted, Why) else remembered
        else:
            return remembered
        return (yield from self._over(found)) if isinstance(found, Why) else found

    def _refusal(self) -> Decision | None:
        """What the number's state, the loop guard and screening say against the call."""
        number = self._number
        self._tell("number_state", "suspended" if number.suspended else "active", number.suspended)
        if number.suspended:
            return self._remember(self._made(reject(403), Why.NUMBER_SUSPENDED))
        finding = "forwarded too often" if self._looped else "not forwarded too often"
        self._tell("loop_guard", finding, self._looped)
        if self._looped:
            self._independent = False
            return self._remember(self._made(reject(482), Why.LOOP_GUARD))
        return self._screen()

    def _screen(self) -> Decision | None:
        rules, number, who = self._rules, self._number, self._who
        if not number.screens:
            return None
        region = who.region if number.screening.blacklists or number.screening.whitelists else None
        verdict = judge(number.screening, lambda id: rules.lists.get(number.tenant, id), who.caller, region)
        self._priority = verdict.priority
        if self._trace is not None:
            for missing in verdict.missing:
                self._tell("screening", f"list {missing} does not exist, passed over")
            entry = f" by {verdict.entry} in list {verdict.list}" if verdict.entry else ""
            self._tell("screening", f"{who}: {verdict.reason}{entry}", verdict.refused)
        if not verdict.refused:
            return None
        why = Why(verdict.reason)
        return self._made(reject(433 if why is Why.CALLER_ANONYMOUS else 403), why)

    def _plan(self, steps: Trace | None) -> _Planned:
        """What the number's rule comes to for this call."""
        if not self._number.flow:
            planner, walk = self._planner(steps)
            return planner.of_stages(self._number), planner, walk
        point = self._point(self._number.flow)
        if point is not None:
            return self._plan_flow(point, steps)
        planner, walk = self._planner(steps)
        walk.tell("flow", f"{self._number.flow} does not exist or has no revision in force")
        return Plan(End(480, Why.FLOW_MISSING), {}), planner, walk

    def _point(self, id: str) -> FlowPoint | None:
        """The revision of a flow that is in force, if there is one."""
        flow = self._rules.owned(Flow, self._number.tenant, id)
        revision = flow.revision_at(self._now) if flow is not None else None
        if flow is None or revision is None:
            return None
        if flow.revisions[-1] is not revision:
            # What comes in force later changes what the number does, and an edge would not know.
            self._independent = False
        return FlowPoint(id, revision.number, revision.graph)

    def _plan_flow(self, point: FlowPoint, steps: Trace | None) -> _Planned:
        planner, walk = self._planner(steps)
        walk.tell("flow", f"{point.flow}, revision {point.revision}")
        return planner.of_flow(point), planner, walk

    def _planner(self, steps: Trace | None) -> tuple[Planner, Walk]:
        walk = Walk(self._rules, self._tenant, self._who, self._now, steps)
        number = self._number
        call = Call(self._question.call_id, number.tenant, number.number, self._who, self._priority)
        return Planner(self._rules, call, walk, self._setup.voice), walk

    def _follow(
        self, planned: _Planned, limits: tuple[Limit, ...], part: str, steps: Trace | None
    ) -> Generator[Claim, Claimed, Decision | Why]:
        """The decision that a plan comes to, or which limit is in its way."""
        plan, planner, walk = planned
        dials: dict[str, DialClaim] = {}
        free: dict[str, tuple[Line, ...]] = {name: ring.lines for name, ring in plan.rings.items()}
        if not isinstance(plan.entry, End):
            dials = _claims(plan)
            counted = yield from self._count(limits, dials, part)
            if isinstance(counted, Why):
                return counted
            for (name, dial), positions in zip(dials.items(), counted, strict=True):
                lines = plan.rings[name].lines
                free[name] = tuple([lines[at] for at in positions])
                if steps is not None:
                    steps.extend(_told(name, dial, positions))
        if self._trace is not None:
            self._trace.extend(steps or ())
        stages = lay_out(plan, free, lambda line: egress.attempts(self._rules, line, self._question.call_id))
        if walk.by_time or planner.handed_over:
            self._independent = False
        if isinstance(stages, End):
            self._tell(stages.why.value, _ENDS[stages.why], True)
            return self._made(reject(stages.code), stages.why)
        why = Why.VOICE if stages[0].cursor else Why.DIAL
        media = self._number.media
        self._tell(why.value, f"stages: {len(stages)}, media: {media.value}", True)
        decision = self._made(Dial(stages, media, self._number.max_duration_s), why)
        return self._remember(decision) if self._is_plain(plan, dials) else decision

    def _is_plain(self, plan: Plan, dials: dict[str, DialClaim]) -> bool:
        """True if a decision rests on nothing but the number and lines of its tenant."""
        number = self._number
        if number.flow or number.screens or dials or not self._independent:
            return False
        return all(line.host for ring in plan.rings.values() for line in ring.lines)

    def _count(
        self, limits: tuple[Limit, ...], dials: dict[str, DialClaim], part: str
    ) -> Generator[Claim, Claimed, tuple[tuple[int, ...], ...] | Why]:
        """The free lines of the dials, or the limit that is reached."""
        if not limits and not dials:
            return ()
        look = self._trace is not None
        call_id = self._question.call_id
        claimed = yield Claim(call_id, self._number.tenant, limits, tuple(dials.values()), part, look)
        if look:
            for at, limit in enumerate(limits):
                count = f"{claimed.counts[at]} of {limit.most}" if claimed.counts else f"most {limit.most}, not counted"
                self._tell("limit", f"{limit_name(limit)}: {count}")
        if claimed.over < 0:
            return claimed.dials
        return _OVER[limits[claimed.over].name.partition("/")[0]]

    def _over(self, why: Why) -> Deciding:
        """What becomes of a call over a limit: the flow for that if there is one, else it is refused."""
        self._independent = False
        point = self._point(self._number.over_limit_flow) if why is not Why.LIMIT_TRUNK else None
        if point is not None:
            self._tell("over_limit", f"{why.value}: goes on in flow {point.flow}")
            steps: Trace | None = None if self._trace is None else []
            # The trunk's limits hold all the same.
            found = yield from self._follow(self._plan_flow(point, steps), self._trunk_limits(), "over", steps)
            if not isinstance(found, Why):
                return found
            why = found
        self._tell(why.value, "no further call is taken", True)
        return self._made(reject(_OVER_CODES[why]), why)

    def _trunk_limits(self) -> tuple[Limit, ...]:
        """Limits of the trunk that the call comes from."""
        trunk = self._rules.trunk(self._question.trunk)
        if trunk is None or trunk.limits is NO_LIMITS:
            return ()
        return limits_of(f"trunk/{trunk.id}", trunk.limits, DEFAULT_ZONE, self._now)

    def _own_limits(self) -> tuple[Limit, ...]:
        """Limits of the number and its tenant."""
        number, tenant, now = self._number, self._tenant, self._now
        found = limits_of(f"number/{number.number}", number.limits, tenant.zone, now)
        if tenant.limits is not NO_LIMITS:
            found += limits_of(f"tenant/{tenant.id}", tenant.limits, tenant.zone, now)
        return found

    def _made(self, action: Reject | Dial, why: Why) -> Decision:
        number = self._number
        independent = self._independent and not self._who.asked
        return Decision(action, why, number.tenant, number.number, independent, self._priority)

    def _remember(self, decision: Decision) -> Decision:
        # The rules may have changed while something was counted.
        if self._trace is None and self._rules.forgotten == self._forgotten:
            self._rules.remember(self._number, self._looped, decision)
        return decision

    def _tell(self, rule: str, finding: str, decisive: bool = False) -> None:
        if self._trace is not None:
            self._trace.append(Step(rule, finding, decisive))


def _claims(plan: Plan) -> dict[str, DialClaim]:
    """What the dials of a plan have to have counted. The one that the call begins with rings at once."""
    found = {name: ring.claim(name == plan.entry) for name, ring in plan.rings.items()}
    return {name: claim for name, claim in found.items() if claim is not None}


def _told(name: str, dial: DialClaim, positions: tuple[int, ...]) -> list[Step]:
    """What was counted for a dial, for people."""
    steps = []
    if len(positions) < min(dial.most, len(dial.lines)):
        busy = [dial.lines[at] for at in range(len(dial.lines)) if at not in positions]
        steps.append(Step("line_cap", f"{name}: {', '.join(busy)} at the cap, passed over"))
    if dial.order is not Order.GIVEN and positions:
        first = dial.lines[positions[0]].rpartition("/")[2]
        steps.append(Step("turn", f"{name}: {first} is first by {dial.order.value} ({dial.key})"))
    return steps
