"""Where does a call go? One engine: :func:`decide` answers, and tells its steps if it is given a trace.

The order: trunk, state of the number, loop guard, screening, limits, call flow. The flow is worked out before the
limits are asked for, because all that must be counted is asked for at once; a flow that ends the call takes nothing.
"""

from __future__ import annotations

from collections.abc import Generator
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, NamedTuple, Protocol

from signalbox.domain import egress, telling
from signalbox.domain.claims import Claim, Claimed, limit_name
from signalbox.domain.decided import Decision, Dial, Reject, Step, Why, reject
from signalbox.domain.flow import Flow
from signalbox.domain.layout import lay_out
from signalbox.domain.limits import limits_of
from signalbox.domain.numbering import national
from signalbox.domain.objects import DEFAULT_ZONE, NO_LIMITS, MediaMode
from signalbox.domain.plan import End, Plan, free_lines
from signalbox.domain.planner import Call, FlowPoint, Planner, Voice
from signalbox.domain.recording import media_of, unrecorded_of
from signalbox.domain.rules import decision_key
from signalbox.domain.screening import judge
from signalbox.domain.walk import Walk, Who

if TYPE_CHECKING:
    from collections.abc import Callable

    from signalbox.domain.claims import Limit
    from signalbox.domain.decided import Trace
    from signalbox.domain.objects import Line, Number
    from signalbox.domain.plan import Positions, Trial
    from signalbox.domain.rules import Rules
    from signalbox.domain.walk import Regions

    Cases = Callable[..., "Case"]

Deciding = Generator[Claim, Claimed, Decision]
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

    @property
    def edge(self) -> str:
        """Id of the proxy that sends the call on; "": none in particular."""


@dataclass(frozen=True, slots=True)
class Setup:
    """What decisions rest on beside the rules. ``max_diversions``: calls forwarded more often are refused. ``dead``:
    targets of trunks that no call is sent to. ``password_key``: what passwords in flows are sealed with;
    ``cursor_key``: what cursors and legs are."""

    regions: Regions
    voice: Voice
    max_diversions: int = 2
    dead: egress.Dead = field(default_factory=dict)
    password_key: bytes | None = None
    cursor_key: bytes | None = None


_TRUNK_UNKNOWN = Decision(reject(403), Why.TRUNK_UNKNOWN)
_TRUNK_DISABLED = Decision(reject(403), Why.TRUNK_DISABLED)
# Not for use again at an edge: there is no number to keep it under.
_NUMBER_UNKNOWN = Decision(reject(404), Why.NUMBER_UNKNOWN)

_OVER = {"trunk": Why.LIMIT_TRUNK, "number": Why.LIMIT_NUMBER, "tenant": Why.LIMIT_TENANT}
_OVER_CODES = {Why.LIMIT_TRUNK: 503, Why.LIMIT_NUMBER: 486, Why.LIMIT_TENANT: 486}
"""How a call ends that is over a limit: to the carrier of a trunk that is full another one may be open."""

_NOTHING_CLAIMED = Claimed()

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
    number = rules.number(national(question.called))
    if number is None or (counting and number.limits is not NO_LIMITS):
        return None
    trunk = rules.trunk(question.trunk)
    if trunk is None or trunk.disabled:
        return None
    if counting and not trunk.limits is rules.tenant(number.tenant).limits is NO_LIMITS:
        return None
    looped = question.diversions > max_diversions
    found: Decision | None = rules.recall(number.tenant, decision_key(number.number, looped))
    return found


def decide(
    rules: Rules, question: Question, now: float, setup: Setup, trace: Trace | None = None, case: Cases | None = None
) -> Deciding:
    """Decide one call by the rules at ``now`` (epoch, seconds). With a trace every step is evaluated and told.

    A generator: what it yields has to be counted, and is answered by what came of it. Mostly it yields once or not at
    all, twice for a call over a limit. With a trace, claims only look. Pure but for the memo in ``rules``: equal
    questions under unchanged rules that rest on nothing else get the identical object, so that callers can keep what
    they make of it. ``case`` makes the :class:`Case` of a call to a known number, in place of that class.
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
    its = (case or Case)(rules, number, question, now, setup, trace)
    found = its.begin()
    while isinstance(found, _Attempt):
        claim = its.claim(found)
        found = its.end(found, (yield claim) if claim is not None else _NOTHING_CLAIMED)
    return found


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


class _Attempt(NamedTuple):
    """What a call would come to, if nothing that is counted is in its way: a plan, or a remembered decision.

    ``limits`` are asked for under ``part``; ``steps`` tell how it was found.
    """

    found: Plan | Decision
    limits: tuple[Limit, ...]
    part: str
    trials: tuple[Trial, ...] = ()
    steps: Trace | None = None


class Case:
    """A call to a known number; ``flow`` is the one that it is led through, ``walk`` its way there."""

    __slots__ = (
        "_forgotten", "_independent", "_key", "_looped", "_now", "_number", "_priority", "_question", "_rules",
        "_setup", "_tenant", "_trace", "_who", "flow", "walk",
    )  # fmt: skip

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
        self._key = decision_key(number.number, self._looped)
        self._tenant = rules.tenant(number.tenant)
        self._who = Who(question.calling, question.asserted, setup.regions)
        self._priority = False
        self._independent = True

    def begin(self) -> Decision | _Attempt:
        remembered = self._recall() if self._trace is None else None
        if remembered is None:
            refusal = self._refusal()
            return refusal if refusal is not None else self._attempt(self._number.flow, "")
        if isinstance(remembered.action, Reject):
            return remembered
        return _Attempt(remembered, self._trunk_limits() + self._own_limits(), "")

    def claim(self, attempt: _Attempt) -> Claim | None:
        """What has to be counted; None: nothing."""
        dials = tuple([trial.claim for trial in attempt.trials if trial.claim is not None])
        if not attempt.limits and not dials:
            return None
        look = self._trace is not None
        return Claim(self._question.call_id, self._number.tenant, attempt.limits, dials, attempt.part, look)

    def end(self, attempt: _Attempt, claimed: Claimed) -> Decision | _Attempt:
        """What it comes to by what was counted."""
        plan, limits, part, trials, steps = attempt
        if self._trace is not None:
            for at, limit in enumerate(limits):
                count = f"{claimed.counts[at]} of {limit.most}" if claimed.counts else f"most {limit.most}, not counted"
                self._tell("limit", f"{limit_name(limit)}: {count}")
        if claimed.over >= 0:
            return self._over(_OVER[limits[claimed.over].name.partition("/")[0]], part)
        if isinstance(plan, Decision):
            return plan
        if self._trace is not None:
            self._trace.extend(steps or ())
            self._trace.extend(telling.counted(plan, trials, claimed.dials))
        return self._dialled(plan, trials, claimed.dials)

    def _refusal(self) -> Decision | None:
        """What the number's state, the loop guard and screening say against the call."""
        number, tells = self._number, self._trace is not None
        if tells:
            self._tell("number_state", "suspended" if number.suspended else "active", number.suspended)
        if number.suspended:
            return self._remember(self._made(reject(403), Why.NUMBER_SUSPENDED))
        if tells:
            self._tell("loop_guard", f"{'' if self._looped else 'not '}forwarded too often", self._looped)
        if self._looped:
            self._independent = False
            return self._remember(self._made(reject(482), Why.LOOP_GUARD))
        return self._screen()

    def _screen(self) -> Decision | None:
        rules, number, who = self._rules, self._number, self._who
        if not number.screens:
            return None
        region = who.region if number.screening.blacklists or number.screening.whitelists else None
        verdict = judge(number.screening, lambda id: rules.screening_list(number.tenant, id), who.caller, region)
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

    def _attempt(self, flow: str, part: str) -> Decision | _Attempt:
        """What the number's rule comes to for this call, or the flow for calls over a limit. A flow that ends the call
        takes nothing."""
        steps: Trace | None = None if self._trace is None else []
        number, question = self._number, self._question
        walk = self.walk = Walk(self._rules, self._tenant, self._who, number.number, self._now, steps)
        self.flow = flow
        call = Call(question.call_id, number.tenant, number.number, self._who, self._priority)
        planner = Planner(self._rules, call, walk, self._setup.voice)
        point = self._point(flow) if flow else None
        if point is not None:
            if steps is not None:
                walk.tell("flow", f"{point.flow}, revision {point.revision}")
            plan = planner.of_flow(point)
        elif flow:
            walk.tell("flow", f"{flow} does not exist or has no revision in force")
            plan = Plan(End(480, Why.FLOW_MISSING), {})
        else:
            plan = planner.of_stages(number)
        if walk.by_time or planner.handed_over:
            self._independent = False
        if isinstance(plan.entry, End):
            if self._trace is not None:
                self._trace.extend(steps or ())
            return self._dialled(plan, (), ())
        limits = self._trunk_limits() if part else self._trunk_limits() + self._own_limits()
        return _Attempt(plan, limits, part, self.trials(plan), steps)

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

    def _dialled(self, plan: Plan, trials: tuple[Trial, ...], counted: tuple[Positions, ...]) -> Decision:
        """The decision that a plan comes to."""
        media = self._number.media
        otherwise = MediaMode.ANCHOR
        records = media is MediaMode.RECORD
        stages = lay_out(plan, free_lines(trials, counted), self.attempts, records)
        if isinstance(stages, End):
            self._tell(stages.why.value, _ENDS[stages.why], True)
            return self._made(reject(stages.code), stages.why)
        why = Why.VOICE if stages[0].cursor else Why.DIAL
        if self._trace is not None:
            self._trace.append(telling.recording(media, plan))
        if records or plan.own_recording:
            media, otherwise = media_of(media, stages), unrecorded_of(media)
        if self._trace is not None:
            self._tell(why.value, f"stages: {len(stages)}, media: {media.value}", True)
        decision = self._made(Dial(stages, media, self._number.max_duration_s, otherwise), why)
        return self._remember(decision) if self._is_plain(plan, trials) else decision

    def trials(self, plan: Plan) -> tuple[Trial, ...]:
        """What the dials of the plan try."""
        return plan.trials(self._question.call_id, self._who)

    def attempts(self, line: Line) -> tuple[Line, ...]:
        """Where a line is reached."""
        question, tell = self._question, None if self._trace is None else self._tell
        dead = self._setup.dead.get(question.edge, frozenset())
        return egress.attempts(self._rules, line, question.call_id, dead, tell)

    def _is_plain(self, plan: Plan, trials: tuple[Trial, ...]) -> bool:
        """True if a decision rests on nothing but the number and lines of its tenant."""
        number = self._number
        if number.flow or number.screens or not (plan.direct and self._independent):
            return False
        return all(trial.claim is None for trial in trials)

    def _over(self, why: Why, part: str) -> Decision | _Attempt:
        """What becomes of a call over a limit: the flow for that if there is one, else it is refused."""
        self._independent = False
        flow = self._number.over_limit_flow
        if not part and why is not Why.LIMIT_TRUNK and self._point(flow) is not None:
            self._tell("over_limit", f"{why.value}: goes on in flow {flow}")
            # The trunk's limits hold all the same.
            return self._attempt(flow, "over")
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

    def _recall(self) -> Decision | None:
        found: Decision | None = self._rules.recall(self._number.tenant, self._key)
        return found

    def _remember(self, decision: Decision) -> Decision:
        # The rules may have changed while something was counted.
        if self._trace is None and self._rules.forgotten == self._forgotten:
            self._rules.remember(self._number.tenant, self._key, decision)
        return decision

    def _tell(self, rule: str, finding: str, decisive: bool = False) -> None:
        if self._trace is not None:
            self._trace.append(Step(rule, finding, decisive))
