"""What is remembered of a decision is what the rules say now, also when they change while the call is counted."""

from __future__ import annotations

import pytest
from signalbox.domain.claims import Claim, Claimed
from signalbox.domain.decided import Decision, Dial
from signalbox.domain.decision import decide
from signalbox.domain.objects import DialStage, Limits, Line, Number, Trunk
from signalbox.domain.rules import Rules
from support.deciding import NOW, Call, decided, setup

LINE = Line("acme", "a", "13900001111", "192.0.2.7")


def number(*stages: DialStage) -> Number:
    return Number("4001234567", "acme", stages, limits=Limits(concurrent_calls=10))


@pytest.mark.parametrize(
    ("change", "stages", "host"),
    [
        (number(DialStage(("a",)), DialStage(("a",))), 2, "192.0.2.7"),
        (Line("acme", "a", "13900001111", "192.0.2.8"), 1, "192.0.2.8"),
    ],
)
def test_a_change_while_a_call_is_counted_is_obeyed_by_the_next_call(
    change: Number | Line, stages: int, host: str
) -> None:
    rules = Rules()
    for item in (Trunk("carrier"), LINE, number(DialStage(("a",)))):
        rules.put(item)
    deciding = decide(rules, Call(), NOW, setup())
    assert isinstance(next(deciding), Claim)
    rules.put(change)
    with pytest.raises(StopIteration) as end:
        deciding.send(Claimed())
    before: Decision = end.value.value
    assert isinstance(before.action, Dial)
    assert len(before.action.stages) == 1
    after = decided(rules, Call(call_id="call-2")).action
    assert isinstance(after, Dial)
    assert len(after.stages) == stages
    assert after.stages[0].lines[0].host == host
