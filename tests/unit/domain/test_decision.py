"""Where a call goes, and why."""

from __future__ import annotations

import pytest
from signalbox.domain.decided import Decision, Dial, Reject, Stage, Step, Why
from signalbox.domain.objects import DialStage, Line, MediaMode, Number, Trunk
from signalbox.domain.rules import Rules
from support.deciding import MAX_DIVERSIONS, Call, decided

LONGEST_S = 12 * 3600


LINE_A = Line("acme", "a", "13900001111", "192.0.2.7")
LINE_B = Line("acme", "b", "13900002222", "192.0.2.8")


def number(**changes: object) -> Number:
    fields: dict[str, object] = {
        "number": "4001234567",
        "tenant": "acme",
        "stages": (DialStage(("a",), 20_000), DialStage(("b",))),
    }
    return Number(**{**fields, **changes})  # type: ignore[arg-type]


@pytest.fixture
def rules() -> Rules:
    rules = Rules()
    for item in (Trunk("carrier"), Trunk("off", disabled=True), LINE_A, LINE_B, number()):
        rules.put(item)
    return rules


def ask(rules: Rules, **call: object) -> Decision:
    return decided(rules, Call(**call))  # type: ignore[arg-type]


def remembered(rules: Rules) -> Decision:
    """The decision, asked for often enough to be remembered."""
    ask(rules)
    return ask(rules)


def test_a_known_number_dials_its_stages_in_order(rules: Rules) -> None:
    stages = (Stage((LINE_A,), 20_000, 2, 2, 2), Stage((LINE_B,), 30_000))
    expected = Decision(
        Dial(stages, MediaMode.ANCHOR, LONGEST_S), Why.DIAL, "acme", "4001234567", caller_independent=True
    )
    assert ask(rules) == expected
    assert ask(rules, called="+864001234567") == expected


def test_lines_of_one_stage_ring_together(rules: Rules) -> None:
    rules.put(number(stages=(DialStage(("b", "a")),), media=MediaMode.BYPASS))
    assert ask(rules).action == Dial((Stage((LINE_B, LINE_A), 30_000),), MediaMode.BYPASS, LONGEST_S)


@pytest.mark.parametrize(
    ("call", "code", "why", "known"),
    [
        ({"trunk": "nobody"}, 403, Why.TRUNK_UNKNOWN, False),
        ({"trunk": "off"}, 403, Why.TRUNK_DISABLED, False),
        ({"called": "4009999999"}, 404, Why.NUMBER_UNKNOWN, False),
        ({"called": "alice"}, 404, Why.NUMBER_UNKNOWN, False),
        ({"diversions": 3}, 482, Why.LOOP_GUARD, True),
    ],
)
def test_a_refusal_names_the_step_that_decided(
    rules: Rules, call: dict[str, object], code: int, why: Why, known: bool
) -> None:
    decision = ask(rules, **call)
    assert isinstance(decision.action, Reject)
    assert (decision.action.code, decision.why) == (code, why)
    assert (decision.tenant, decision.number) == (("acme", "4001234567") if known else ("", ""))
    assert not decision.caller_independent


def test_forwards_up_to_the_limit_are_let_through(rules: Rules) -> None:
    assert ask(rules, diversions=MAX_DIVERSIONS).why is Why.DIAL


def test_a_suspended_number_is_refused_whoever_calls(rules: Rules) -> None:
    rules.put(number(suspended=True))
    decision = ask(rules, diversions=9)
    assert decision.action == Reject(403, "Forbidden")
    assert decision.why is Why.NUMBER_SUSPENDED
    assert decision.caller_independent


def test_a_missing_line_is_passed_over(rules: Rules) -> None:
    rules.put(number(stages=(DialStage(("gone",)), DialStage(("gone", "b")))))
    assert ask(rules).action == Dial((Stage((LINE_B,), 30_000),), MediaMode.ANCHOR, LONGEST_S)


def test_a_number_without_any_line_left_is_unavailable(rules: Rules) -> None:
    rules.put(number(stages=(DialStage(("gone",)),)))
    decision = ask(rules)
    assert decision.action == Reject(480, "Temporarily Unavailable")
    assert decision.why is Why.NO_LINE


def test_a_line_of_another_tenant_is_not_dialled(rules: Rules) -> None:
    rules.put(Line("other", "c", "1", "192.0.2.9"))
    rules.put(number(stages=(DialStage(("c",)),)))
    assert ask(rules).why is Why.NO_LINE


def test_a_changed_line_is_in_force_for_the_next_call(rules: Rules) -> None:
    remembered(rules)
    moved = Line("acme", "a", "13900003333", "192.0.2.99")
    rules.put(moved)
    action = ask(rules).action
    assert isinstance(action, Dial)
    assert action.stages[0].lines == (moved,)
    rules.delete(Line, "acme", "a")
    action = ask(rules).action
    assert isinstance(action, Dial)
    assert [stage.lines for stage in action.stages] == [(LINE_B,)]


def test_a_changed_or_deleted_number_is_in_force_for_the_next_call(rules: Rules) -> None:
    remembered(rules)
    rules.put(number(stages=(DialStage(("b",)),)))
    assert ask(rules).action == Dial((Stage((LINE_B,), 30_000),), MediaMode.ANCHOR, LONGEST_S)
    rules.delete_number("4001234567")
    assert ask(rules).why is Why.NUMBER_UNKNOWN


def test_a_number_that_comes_back_at_another_tenant_has_no_memory(rules: Rules) -> None:
    remembered(rules)
    rules.put(number(tenant="other"))
    assert ask(rules).why is Why.NO_LINE
    rules.put(number())
    rules.put(Line("acme", "a", "1", "192.0.2.1"))
    action = ask(rules).action
    assert isinstance(action, Dial)
    assert action.stages[0].lines[0].user == "1"


def test_equal_questions_get_the_identical_decision_until_something_changes(rules: Rules) -> None:
    first = remembered(rules)
    assert ask(rules, called="00864001234567") is first
    rules.put(Line("other", "a", "1", "192.0.2.9"))
    assert ask(rules) is first
    rules.put(LINE_A)
    assert ask(rules) is not first
    assert ask(rules) == first


def test_the_memo_stays_within_its_limit(rules: Rules, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("signalbox.domain.memo.LIMIT", 10)
    for n in range(100):
        rules.put(number(number=f"400000{n:04d}"))
    for _ in range(2):
        decisions = [ask(rules, called=f"400000{n:04d}") for n in range(100)]
    assert sum(ask(rules, called=f"400000{n:04d}") is decisions[n] for n in range(90, 100)) <= 10
    assert all(ask(rules, called=f"400000{n:04d}") == decisions[n] for n in range(100))


@pytest.mark.parametrize(
    "call",
    [
        Call(),
        Call(trunk="nobody"),
        Call(trunk="off"),
        Call(called="4009999999"),
        Call(called="alice"),
        Call(diversions=7),
    ],
)
def test_an_explained_decision_is_the_one_that_is_taken(rules: Rules, call: Call) -> None:
    trace: list[Step] = []
    assert decided(rules, call, trace) == decided(rules, call)
    assert [step.decisive for step in trace] == [False] * (len(trace) - 1) + [True]


def test_an_explanation_tells_every_step_also_when_the_decision_is_remembered(rules: Rules) -> None:
    rules.put(number(stages=(DialStage(("gone", "a")),)))
    remembered(rules)
    trace: list[Step] = []
    decided(rules, Call(trunk="", called="+864001234567"), trace)
    assert [(step.rule, step.finding) for step in trace] == [
        ("trunk", "any trunk"),
        ("number", "dialled +864001234567: 4001234567 of tenant acme"),
        ("number_state", "active"),
        ("loop_guard", "not forwarded too often"),
        ("limit", "number/4001234567: most 10, not counted"),
        ("line", "stage 1: line gone does not exist, passed over"),
        ("line", "stage 1: line a is 13900001111 at 192.0.2.7 port 5060"),
        ("recording", "off by the number's media, anchor"),
        ("dial", "stages: 1, media: anchor"),
    ]
