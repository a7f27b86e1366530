"""The life of a service number before, while and after it takes calls: states, and who may change them when.

What may happen is a table, :data:`TRANSITIONS`. Times are seconds since the epoch.
"""

from __future__ import annotations

from collections.abc import Callable, Set
from dataclasses import dataclass, replace
from enum import Enum, IntEnum

RESERVATIONS_MAX = 100
"""Numbers that a tenant has reserved at once."""


class State(IntEnum):
    """Where in its life a number is. Values are stored."""

    AVAILABLE = 0
    RESERVED = 1
    """For one tenant, for a time."""
    APPLIED = 2
    """The tenant's documents are there to be judged."""
    APPROVED = 3
    """The tenant may put it in service."""
    ACTIVE = 4
    """It takes calls."""
    SUSPENDED = 5
    """Its calls are refused, its rule is kept."""
    RELEASED = 6
    """Given up: its calls are refused; kept until accounts are settled."""
    QUARANTINED = 7
    """Nobody's, and nobody gets it before a time, so that its callers forget it."""


class Actor(Enum):
    """Who changes a state."""

    OPERATOR = "operator"
    ADMINISTRATOR = "administrator of the tenant that has the number"
    CLOCK = "clock"
    """Nobody: a time has passed."""


class Transition(IntEnum):
    """What is done to a number. Values are stored."""

    RESERVE = 1
    EXPIRE = 2
    APPLY = 3
    APPROVE = 4
    REJECT = 5
    ACTIVATE = 6
    SUSPEND = 7
    RESUME = 8
    WITHDRAW = 9
    RELEASE = 10
    QUARANTINE = 11
    RECOVER = 12
    LAPSE = 13
    ADOPT = 14


class Document(IntEnum):
    """Kinds of documents. Values are stored."""

    OTHER = 0
    BUSINESS_LICENCE = 1
    LEGAL_PERSON_ID = 2
    SIGNED_ORDER = 3


REQUIRED_DOCUMENTS = frozenset({Document.BUSINESS_LICENCE, Document.LEGAL_PERSON_ID, Document.SIGNED_ORDER})


@dataclass(frozen=True)
class Terms:
    """What a number costs at least, as it was told when the number was reserved."""

    number_class: str = ""
    """Id of the class; "": an ordinary number."""
    minimum_spend: int = 0
    """A month, in the smallest unit of the currency (fen, cents)."""
    currency: str = ""
    """ISO 4217; "" where there is no minimum."""
    contract_months: int = 0


ORDINARY = Terms()


@dataclass(frozen=True)
class Holding:
    """One number as the inventory has it. An available one is nobody's."""

    state: State = State.AVAILABLE
    tenant: str = ""
    since: int = 0
    """When the state began."""
    until: int = 0
    """Reserved, quarantined: when that ends. Active, suspended: when the contract ends. 0: never."""
    version: int = 0
    """Grows with every transition in the number's page: its etag."""
    terms: Terms = ORDINARY


FREE = Holding()


@dataclass(frozen=True)
class Facts:
    """What a transition may need to know."""

    now: int
    tenant: str = ""
    """reserve, adopt: for whom."""
    until: int = 0
    """reserve, reject, quarantine: end of the time that begins."""
    terms: Terms = ORDINARY
    """reserve, adopt."""
    range_open: bool = True
    """reserve: the number's range takes reservations."""
    reserved: int = 0
    """reserve: numbers that the tenant has reserved already."""
    rule: State | None = None
    """reserve, activate, adopt: ACTIVE or SUSPENDED as the number's rule is now; None: it has none."""
    documents: Set[Document] = frozenset()
    """apply."""
    agreed_spend: int = 0
    """apply: the minimum spend that the tenant agrees to."""
    contract_end: int = 0
    """activate."""
    reason: str = ""
    """reject, suspend."""


class RefusedTransitionError(Exception):
    """A transition is not allowed; ``reason`` says why, in words that may be shown to the caller."""

    def __init__(self, transition: Transition, state: State, reason: str) -> None:
        super().__init__(f"{transition.name.lower()} is refused for a number that is {state.name.lower()}: {reason}")
        self.transition = transition
        self.state = state
        self.reason = reason


Check = Callable[[Holding, Facts], str]
"""What is missing, in words; "": nothing."""


@dataclass(frozen=True)
class Rule:
    """When a transition is allowed, and what it leads to."""

    before: Set[State]
    after: State
    actors: Set[Actor]
    checks: tuple[Check, ...] = ()
    administrator_checks: tuple[Check, ...] = ()
    """What an administrator must heed besides."""


def _range_open(holding: Holding, facts: Facts) -> str:
    return "" if facts.range_open else "its range takes no reservations"


def _no_rule(holding: Holding, facts: Facts) -> str:
    return "" if facts.rule is None else "it has a rule already"


def _has_rule(holding: Holding, facts: Facts) -> str:
    return "" if facts.rule is not None else "it has no rule"


def _room(holding: Holding, facts: Facts) -> str:
    if facts.reserved < RESERVATIONS_MAX:
        return ""
    return f"the tenant has {facts.reserved} numbers reserved, at most {RESERVATIONS_MAX} are allowed"


def _time_ahead(holding: Holding, facts: Facts) -> str:
    return "" if facts.until > facts.now else "the time that begins must end in the future"


def _time_passed(holding: Holding, facts: Facts) -> str:
    return "" if over(holding, facts.now) else "its time has not passed"


def _documents(holding: Holding, facts: Facts) -> str:
    missing = sorted(REQUIRED_DOCUMENTS - facts.documents)
    return f"documents are missing: {', '.join(kind.name.lower() for kind in missing)}" if missing else ""


def _spend_agreed(holding: Holding, facts: Facts) -> str:
    if facts.agreed_spend == holding.terms.minimum_spend:
        return ""
    return f"the minimum spend is {holding.terms.minimum_spend}, not {facts.agreed_spend}"


def _reason(holding: Holding, facts: Facts) -> str:
    return "" if facts.reason else "a reason is needed"


def _contract_over(holding: Holding, facts: Facts) -> str:
    return "" if holding.until <= facts.now else "the contract is not over"


_S = State
_OPERATOR = frozenset({Actor.OPERATOR})
_CLOCK = frozenset({Actor.CLOCK})
_BOTH = frozenset({Actor.OPERATOR, Actor.ADMINISTRATOR})

TRANSITIONS: dict[Transition, Rule] = {
    Transition.RESERVE: Rule({_S.AVAILABLE}, _S.RESERVED, _BOTH, (_range_open, _no_rule, _room, _time_ahead)),
    Transition.EXPIRE: Rule({_S.RESERVED}, _S.AVAILABLE, _CLOCK, (_time_passed,)),
    Transition.APPLY: Rule({_S.RESERVED}, _S.APPLIED, _BOTH, (_documents, _spend_agreed)),
    Transition.APPROVE: Rule({_S.APPLIED}, _S.APPROVED, _OPERATOR),
    Transition.REJECT: Rule({_S.APPLIED}, _S.RESERVED, _OPERATOR, (_reason, _time_ahead)),
    Transition.ACTIVATE: Rule({_S.APPROVED}, _S.ACTIVE, _BOTH, (_no_rule,)),
    Transition.SUSPEND: Rule({_S.ACTIVE}, _S.SUSPENDED, _OPERATOR, (_reason,)),
    Transition.RESUME: Rule({_S.SUSPENDED}, _S.ACTIVE, _OPERATOR),
    Transition.WITHDRAW: Rule({_S.RESERVED, _S.APPLIED, _S.APPROVED}, _S.AVAILABLE, _BOTH),
    Transition.RELEASE: Rule({_S.ACTIVE, _S.SUSPENDED}, _S.RELEASED, _BOTH, (), (_contract_over,)),
    Transition.QUARANTINE: Rule({_S.RELEASED}, _S.QUARANTINED, _OPERATOR, (_time_ahead,)),
    Transition.RECOVER: Rule({_S.QUARANTINED}, _S.AVAILABLE, _OPERATOR),
    Transition.LAPSE: Rule({_S.QUARANTINED}, _S.AVAILABLE, _CLOCK, (_time_passed,)),
    # To which of the two, the number's rule says.
    Transition.ADOPT: Rule({_S.AVAILABLE}, _S.ACTIVE, _OPERATOR, (_has_rule,)),
}

_LAPSES = {State.RESERVED: Transition.EXPIRE, State.QUARANTINED: Transition.LAPSE}

RULE_STATES: dict[State, State] = {
    State.ACTIVE: State.ACTIVE,
    State.SUSPENDED: State.SUSPENDED,
    State.RELEASED: State.SUSPENDED,
}
"""The state that a number's rule has while the number is in one of these; in the others it has no rule."""


def over(holding: Holding, now: int) -> bool:
    """True if the time of a reservation or a quarantine has passed."""
    return holding.state in _LAPSES and holding.until <= now


def due(holding: Holding, now: int) -> Transition | None:
    """The transition of the clock that is due, if any. To be made before any other."""
    return _LAPSES[holding.state] if over(holding, now) else None


def change(holding: Holding, transition: Transition, actor: Actor, facts: Facts) -> Holding:
    """The number after a transition, with the version that it had before.

    Raises RefusedTransitionError. That an administrator acts on what is its tenant's is for the caller to see to.
    """
    rule = TRANSITIONS[transition]
    if actor not in rule.actors:
        raise RefusedTransitionError(transition, holding.state, f"the {actor.value} may not do it")
    late = due(holding, facts.now)
    if late is not None and transition is not late:
        reason = "its reservation has expired" if late is Transition.EXPIRE else "its quarantine has ended"
        raise RefusedTransitionError(transition, holding.state, reason)
    if holding.state not in rule.before:
        states = " or ".join(state.name.lower() for state in sorted(rule.before))
        raise RefusedTransitionError(transition, holding.state, f"it must be {states}")
    for check in (*rule.checks, *(rule.administrator_checks if actor is Actor.ADMINISTRATOR else ())):
        if missing := check(holding, facts):
            raise RefusedTransitionError(transition, holding.state, missing)
    return _changed(holding, transition, rule, facts)


def _changed(holding: Holding, transition: Transition, rule: Rule, facts: Facts) -> Holding:
    if rule.after is State.AVAILABLE:
        return Holding(since=facts.now, version=holding.version)
    changed = replace(holding, state=rule.after, since=facts.now, until=0)
    match transition:
        case Transition.RESERVE:
            return replace(changed, tenant=facts.tenant, until=facts.until, terms=facts.terms)
        case Transition.REJECT:
            return replace(changed, until=facts.until)
        case Transition.QUARANTINE:
            return replace(changed, tenant="", until=facts.until, terms=ORDINARY)
        case Transition.ACTIVATE:
            return replace(changed, until=facts.contract_end)
        case Transition.SUSPEND | Transition.RESUME:
            return replace(changed, until=holding.until)
        case Transition.ADOPT:
            assert facts.rule is not None, "checked before"
            return replace(changed, state=facts.rule, tenant=facts.tenant, terms=facts.terms)
    return changed
