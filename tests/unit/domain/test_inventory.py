"""The life of a number: the table of transitions, and what never happens whatever is tried."""

from __future__ import annotations

from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st
from signalbox.domain.inventory import (
    FREE,
    REQUIRED_DOCUMENTS,
    RESERVATIONS_MAX,
    RULE_STATES,
    TRANSITIONS,
    Actor,
    Document,
    Facts,
    Holding,
    RefusedTransitionError,
    State,
    Terms,
    Transition,
    change,
    due,
)

NOW = 1_000_000
GOLD = Terms("gold", 200_000, "CNY", 24)
COMPLETE = Facts(
    now=NOW,
    tenant="acme",
    until=NOW + 3600,
    terms=GOLD,
    documents=REQUIRED_DOCUMENTS,
    agreed_spend=GOLD.minimum_spend,
    contract_end=NOW + 10_000,
    reason="unpaid",
)
HELD = {state: Holding(state, "acme", NOW - 10, 0, 7, GOLD) for state in State} | {
    State.AVAILABLE: FREE,
    State.RESERVED: Holding(State.RESERVED, "acme", NOW - 10, NOW + 10, 7, GOLD),
    State.QUARANTINED: Holding(State.QUARANTINED, "", NOW - 10, NOW + 10, 7),
}


def facts_for(transition: Transition) -> Facts:
    """Everything that a transition may ask for."""
    if transition is Transition.ADOPT:
        return replace(COMPLETE, rule=State.ACTIVE)
    return replace(COMPLETE, now=NOW + 10) if transition in (Transition.EXPIRE, Transition.LAPSE) else COMPLETE


@pytest.mark.parametrize("transition", Transition)
@pytest.mark.parametrize("state", State)
@pytest.mark.parametrize("actor", Actor)
def test_a_transition_is_what_the_table_says_or_is_refused_by_name(
    state: State, transition: Transition, actor: Actor
) -> None:
    rule, facts = TRANSITIONS[transition], facts_for(transition)
    if state in rule.before and actor in rule.actors:
        assert change(HELD[state], transition, actor, facts).state is rule.after
        return
    with pytest.raises(RefusedTransitionError) as refusal:
        change(HELD[state], transition, actor, facts)
    assert (refusal.value.transition, refusal.value.state) == (transition, state)
    assert state.name.lower() in str(refusal.value)


def test_the_whole_life() -> None:
    number = change(FREE, Transition.RESERVE, Actor.ADMINISTRATOR, COMPLETE)
    assert number == Holding(State.RESERVED, "acme", NOW, NOW + 3600, 0, GOLD)
    for transition, actor in (
        (Transition.APPLY, Actor.ADMINISTRATOR),
        (Transition.REJECT, Actor.OPERATOR),
        (Transition.APPLY, Actor.OPERATOR),
        (Transition.APPROVE, Actor.OPERATOR),
        (Transition.ACTIVATE, Actor.ADMINISTRATOR),
    ):
        number = change(number, transition, actor, COMPLETE)
    assert number == Holding(State.ACTIVE, "acme", NOW, NOW + 10_000, 0, GOLD)
    number = change(number, Transition.SUSPEND, Actor.OPERATOR, COMPLETE)
    assert number.until == NOW + 10_000, "the contract runs on"
    number = change(number, Transition.RELEASE, Actor.OPERATOR, COMPLETE)
    assert (number.state, number.tenant, number.until) == (State.RELEASED, "acme", 0)
    number = change(number, Transition.QUARANTINE, Actor.OPERATOR, COMPLETE)
    assert number == Holding(State.QUARANTINED, "", NOW, NOW + 3600)
    assert change(number, Transition.LAPSE, Actor.CLOCK, replace(COMPLETE, now=NOW + 3600)) == Holding(since=NOW + 3600)


@pytest.mark.parametrize(
    ("state", "transition", "facts", "told"),
    [
        (State.AVAILABLE, Transition.RESERVE, {"range_open": False}, "its range takes no reservations"),
        (State.AVAILABLE, Transition.RESERVE, {"rule": State.ACTIVE}, "it has a rule already"),
        (State.AVAILABLE, Transition.RESERVE, {"reserved": RESERVATIONS_MAX}, "100 numbers reserved"),
        (State.AVAILABLE, Transition.RESERVE, {"until": NOW}, "must end in the future"),
        (State.AVAILABLE, Transition.ADOPT, {"rule": None}, "it has no rule"),
        (State.RESERVED, Transition.APPLY, {"documents": {Document.SIGNED_ORDER}}, "business_licence, legal_person_id"),
        (State.RESERVED, Transition.APPLY, {"agreed_spend": 0}, "the minimum spend is 200000, not 0"),
        (State.RESERVED, Transition.APPLY, {"now": NOW + 10}, "its reservation has expired"),
        (State.RESERVED, Transition.EXPIRE, {}, "its time has not passed"),
        (State.APPLIED, Transition.REJECT, {"reason": ""}, "a reason is needed"),
        (State.APPROVED, Transition.ACTIVATE, {"rule": State.ACTIVE}, "it has a rule already"),
        (State.ACTIVE, Transition.SUSPEND, {"reason": ""}, "a reason is needed"),
        (State.QUARANTINED, Transition.RECOVER, {"now": NOW + 10}, "its quarantine has ended"),
        (State.QUARANTINED, Transition.LAPSE, {}, "its time has not passed"),
    ],
)
def test_a_missing_fact_is_named(state: State, transition: Transition, facts: dict[str, object], told: str) -> None:
    actor = Actor.CLOCK if transition in (Transition.EXPIRE, Transition.LAPSE) else Actor.OPERATOR
    with pytest.raises(RefusedTransitionError, match=told) as refusal:
        change(HELD[state], transition, actor, replace(COMPLETE, **facts))  # type: ignore[arg-type]
    assert refusal.value.state is state


def test_a_tenant_gives_a_number_up_when_its_contract_is_over_and_the_operator_at_any_time() -> None:
    bound = replace(HELD[State.ACTIVE], until=NOW + 1)
    with pytest.raises(RefusedTransitionError, match="the contract is not over"):
        change(bound, Transition.RELEASE, Actor.ADMINISTRATOR, COMPLETE)
    assert change(bound, Transition.RELEASE, Actor.OPERATOR, COMPLETE).state is State.RELEASED
    late = replace(COMPLETE, now=NOW + 1)
    assert change(bound, Transition.RELEASE, Actor.ADMINISTRATOR, late).state is State.RELEASED


def test_a_suspended_rule_is_adopted_as_suspended() -> None:
    facts = replace(COMPLETE, rule=State.SUSPENDED)
    assert change(FREE, Transition.ADOPT, Actor.OPERATOR, facts).state is State.SUSPENDED


_facts = st.builds(
    Facts,
    now=st.integers(NOW, NOW + 100),
    tenant=st.sampled_from(["acme", "best"]),
    until=st.integers(NOW, NOW + 200),
    terms=st.sampled_from([GOLD, Terms()]),
    range_open=st.booleans(),
    reserved=st.integers(0, RESERVATIONS_MAX),
    rule=st.sampled_from([None, State.ACTIVE, State.SUSPENDED]),
    documents=st.frozensets(st.sampled_from(Document)),
    agreed_spend=st.sampled_from([0, GOLD.minimum_spend]),
    contract_end=st.integers(NOW, NOW + 200),
    reason=st.sampled_from(["", "unpaid"]),
)


@given(st.lists(st.tuples(st.sampled_from(Transition), st.sampled_from(Actor), _facts), max_size=40))
def test_whatever_is_tried(steps: list[tuple[Transition, Actor, Facts]]) -> None:
    """Nothing but the table leads from state to state, and what a state means holds in each."""
    number, now = FREE, 0
    for transition, actor, given_facts in steps:
        now = max(now, given_facts.now)
        facts = replace(given_facts, now=now)
        before = number
        try:
            number = change(number, transition, actor, facts)
        except RefusedTransitionError:
            continue
        rule = TRANSITIONS[transition]
        assert before.state in rule.before
        assert actor in rule.actors
        assert number.since == now
        assert (number.tenant == "") == (number.state in (State.AVAILABLE, State.QUARANTINED))
        if number.state in (State.AVAILABLE, State.QUARANTINED):
            assert number.terms == Terms(), "the next one has its own"
        elif before.tenant:
            assert (number.tenant, number.terms) == (before.tenant, before.terms), "only through available to another"
        if number.state in (State.RESERVED, State.QUARANTINED):
            assert number.until > now
        if transition in (Transition.EXPIRE, Transition.LAPSE):
            assert before.until <= now
        elif before.state in (State.RESERVED, State.QUARANTINED):
            assert before.until > now, "what is over is nobody's before anything else"
        assert due(number, now) is None


def test_calls_are_taken_or_refused_only_where_there_is_a_rule() -> None:
    assert set(RULE_STATES) == {State.ACTIVE, State.SUSPENDED, State.RELEASED}
