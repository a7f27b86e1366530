"""How telephone numbers are reached through trunks."""

from __future__ import annotations

from collections import Counter

import pytest
from signalbox.domain import egress
from signalbox.domain.decided import Dial, Trace
from signalbox.domain.objects import (
    DialStage,
    Line,
    Member,
    Number,
    NumberFormat,
    Target,
    Trunk,
    TrunkGroup,
)
from signalbox.domain.rules import Rules
from support.deciding import Call, decided

MOBILE = Line("acme", "m", "13900001111", "")


def trunk(id: str, *hosts: str, **fields: object) -> Trunk:
    return Trunk(id, targets=tuple(map(Target, hosts)), **fields)  # type: ignore[arg-type]


@pytest.fixture
def rules() -> Rules:
    rules = Rules()
    rules.put(Trunk("carrier"))
    for one in (trunk("one", "192.0.2.1", "192.0.2.2"), trunk("two", "192.0.2.3")):
        rules.put(one)
    rules.put(TrunkGroup("all", ("",), (Member("two", 1), Member("one", 0))))
    rules.put(MOBILE)
    return rules


def hosts(rules: Rules, line: Line = MOBILE, call_id: str = "call-1") -> list[str]:
    return [found.host for found in egress.attempts(rules, line, call_id)]


def test_a_line_with_an_address_goes_through_no_trunk(rules: Rules) -> None:
    line = Line("acme", "a", "1", "192.0.2.9")
    assert egress.attempts(rules, line, "call-1") == (line,)


def test_the_lowest_priority_comes_first_and_targets_in_their_order(rules: Rules) -> None:
    assert hosts(rules) == ["192.0.2.1", "192.0.2.2", "192.0.2.3"]


def test_the_longest_prefix_decides(rules: Rules) -> None:
    rules.put(trunk("mobile", "192.0.2.7"))
    rules.put(TrunkGroup("mobiles", ("139", "1380"), (Member("mobile"),)))
    assert hosts(rules) == ["192.0.2.7"]
    assert hosts(rules, Line("acme", "f", "01088886666", ""))[0] == "192.0.2.1"
    rules.put(TrunkGroup("mobiles", ("1380",), (Member("mobile"),)))
    assert hosts(rules)[0] == "192.0.2.1"
    rules.delete_trunk_group("mobiles")
    rules.delete_trunk_group("all")
    assert hosts(rules) == []


@pytest.mark.parametrize("user", ["13900001111", "+8613900001111", "008613900001111"])
@pytest.mark.parametrize(
    ("form", "written"),
    [
        (NumberFormat.NATIONAL, "13900001111"),
        (NumberFormat.E164, "+8613900001111"),
        (NumberFormat.INTERNATIONAL, "008613900001111"),
    ],
)
def test_a_number_is_written_as_the_trunk_takes_it(user: str, form: NumberFormat, written: str) -> None:
    rules = Rules()
    rules.put(trunk("one", "192.0.2.1", called_format=form))
    rules.put(TrunkGroup("all", ("139",), (Member("one"),)))
    (found,) = egress.attempts(rules, Line("acme", "m", user, ""), "call-1")
    assert (found.user, found.id) == (written, "m")


def test_trunks_out_of_service_or_unknown_are_passed_over(rules: Rules) -> None:
    rules.put(trunk("one", "192.0.2.1", disabled=True))
    assert hosts(rules) == ["192.0.2.3"]
    rules.delete_trunk("two")
    assert hosts(rules) == []


def test_trunks_of_one_priority_share_calls_by_weight_and_a_call_draws_alike(rules: Rules) -> None:
    rules.put(TrunkGroup("all", ("",), (Member("one", 0, 1), Member("two", 0, 3))))
    first = Counter(hosts(rules, call_id=f"call-{n}")[0] for n in range(2000))
    assert abs(first["192.0.2.3"] / 2000 - 0.75) < 0.04
    assert all(hosts(rules, call_id="x") == hosts(rules, call_id="x") for _ in range(5))


def test_the_next_trunk_follows_on_failure_but_not_on_busy_or_no_answer(rules: Rules) -> None:
    rules.put(Line("acme", "b", "1", "192.0.2.9"))
    rules.put(Number("4001234567", "acme", (DialStage(("m",)), DialStage(("b",)))))
    action = decided(rules, Call()).action
    assert isinstance(action, Dial)
    assert [(s.lines[0].host, s.on_busy, s.on_no_answer, s.on_failed) for s in action.stages] == [
        ("192.0.2.1", 4, 4, 2),
        ("192.0.2.2", 4, 4, 3),
        ("192.0.2.3", 4, 4, 4),
        ("192.0.2.9", 0, 0, 0),
    ]


def test_a_number_that_no_trunk_group_carries_is_passed_over(rules: Rules) -> None:
    rules.delete_trunk_group("all")
    rules.put(Number("4001234567", "acme", (DialStage(("m",)),)))
    trace: Trace = []
    assert decided(rules, Call(), trace).why.value == "no_line"
    assert "stage 1: line m is 13900001111, which no trunk group carries, passed over" in [s.finding for s in trace]


def test_a_changed_trunk_is_in_force_for_the_next_call(rules: Rules) -> None:
    rules.put(Number("4001234567", "acme", (DialStage(("m",)),)))
    before = decided(rules, Call())
    rules.put(trunk("one", "192.0.2.77"))
    after = decided(rules, Call())
    assert before != after
    assert isinstance(after.action, Dial)
    assert after.action.stages[0].lines[0].host == "192.0.2.77"
