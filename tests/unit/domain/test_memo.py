"""What is remembered is what the rules say now, also when they change while a call is counted."""

from __future__ import annotations

import weakref

import pytest
from signalbox.domain.claims import Claim, Claimed
from signalbox.domain.decided import Decision, Dial
from signalbox.domain.decision import decide
from signalbox.domain.flow import DialLine, DialNode, Distribution, Flow, FlowGraph, FlowRevision, LineGroup
from signalbox.domain.memo import Memo
from signalbox.domain.objects import DialStage, Limits, Line, Member, Number, Target, Trunk, TrunkGroup
from signalbox.domain.rules import Item, Rules
from support import reference
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
    decided(rules, Call())
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


def flow(*nodes: DialNode) -> Flow:
    graph = FlowGraph("n0", {f"n{at}": node for at, node in enumerate(nodes)})
    return Flow("acme", "main", (FlowRevision(1, 0.0, graph),))


def group(*lines: str, distribution: Distribution = Distribution.ROUND_ROBIN) -> LineGroup:
    return LineGroup("acme", "desks", tuple(map(DialLine, lines)), distribution)


ITEMS: tuple[Item, ...] = (
    Trunk("carrier", targets=(Target("192.0.2.100"),)),
    LINE,
    Line("acme", "b", "13900002222", "192.0.2.9"),
    Line("acme", "far", "13900003333", ""),
    TrunkGroup("all", ("",), (Member("carrier"),)),
    group("a", "b", "far"),
    flow(DialNode(line_group="desks", busy="n1"), DialNode((DialLine("b"),))),
    Number("4001234567", "acme", (), flow="main"),
)


@pytest.mark.parametrize(
    "change",
    [
        Line("acme", "a", "13900001111", "192.0.2.8"),
        Line("acme", "b", "13900002222", "192.0.2.9", concurrent_calls=1),
        Line("acme", "far", "13900003333", "192.0.2.10"),
        group("b", "a"),
        group("a", "b", distribution=Distribution.ALL),
        flow(DialNode((DialLine("b"),))),
        TrunkGroup("all", ("110",), (Member("carrier"),)),
        Trunk("carrier", targets=(Target("192.0.2.101"),)),
    ],
)
def test_a_flow_leads_to_what_the_rules_say_now(change: Item) -> None:
    rules, fresh = Rules(), Rules()
    for item in ITEMS:
        rules.put(item)
        fresh.put(item)
    counts = {"turn/acme/group/desks": 1}
    before = decided(rules, Call(), counts=counts)
    assert decided(rules, Call(), counts=counts) == before
    fresh.put(change)
    rules.put(change)
    assert decided(rules, Call(), counts=counts) == decided(fresh, Call(), counts=counts)


@pytest.mark.parametrize(
    ("kind", "id"), [(Line, "a"), (Line, "far"), (LineGroup, "desks"), (Flow, "main"), (TrunkGroup, "all")]
)
def test_a_flow_leads_to_nothing_that_is_gone(kind: type, id: str) -> None:
    rules, fresh = Rules(), Rules()
    for item in ITEMS:
        rules.put(item)
        if not (isinstance(item, kind) and item.id == id):
            fresh.put(item)
    before = [decided(rules, Call()) for _ in range(2)][-1]
    if kind is TrunkGroup:
        rules.delete_trunk_group(id)
    else:
        rules.delete(kind, "acme", id)
    assert decided(rules, Call()) == decided(fresh, Call()) != before


def test_a_flow_that_leads_calls_different_ways_keeps_them_apart() -> None:
    rules = reference.rules_of(
        reference.World(
            {
                "n0": reference.region("北京", "n1", "n2"),
                "n1": reference.dial("a", Distribution.SEQUENTIAL, "", "", "n2"),
                "n2": reference.dial("b", Distribution.SEQUENTIAL, "", "", ""),
            },
            None, (0, 60), frozenset(), frozenset(), False, False, {}, frozenset(),
            dict.fromkeys(("trunk/carrier", "tenant/acme", "number/4001234567")), {},
        )
    )  # fmt: skip
    for _ in range(2):
        for calling, lines in (("13800001234", "ab"), ("13900001234", "b"), ("", "b")):
            action = decided(rules, Call(calling=calling), given=setup(reference.PLACES)).action
            assert isinstance(action, Dial)
            assert "".join(stage.lines[0].id for stage in action.stages) == lines


def kept(memo: Memo, owner: str = "acme", count: int = 100) -> list[int]:
    return [at for at in range(count) if memo.get(owner, at) is not None]


def put(memo: Memo, owner: str, at: int, made: object) -> None:
    """Twice: only then is it kept."""
    memo.put(owner, at, made)
    memo.put(owner, at, made)


def test_what_is_wanted_once_is_not_kept(monkeypatch: pytest.MonkeyPatch) -> None:
    memo = Memo()
    for at in range(10):
        memo.put("acme", at, at + 1)
        memo.put("other", at, at + 1)
    assert kept(memo) == []
    memo.put("acme", 3, 4)
    assert kept(memo) == [3]
    assert memo.get("acme", 3) == 4
    monkeypatch.setattr("signalbox.domain.memo.SEEN_LIMIT", 10)
    memo.put("acme", 20, 1)
    memo.put("acme", 5, 6)
    assert kept(memo) == [3], "what was wanted long ago is wanted for the first time again"


def test_what_is_wanted_again_stays_and_what_is_not_goes(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("signalbox.domain.memo.LIMIT", 20)
    memo = Memo()
    put(memo, "acme", 0, 1)
    for at in range(1, 60):
        put(memo, "acme", at, at + 1)
        assert memo.get("acme", 0) == 1
    found = kept(memo)
    assert len(found) <= 20
    assert {0, 59} <= set(found)
    assert not set(found) & set(range(1, 30))


def test_what_an_owner_has_is_forgotten_of_both_generations(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("signalbox.domain.memo.LIMIT", 20)
    memo = Memo()
    for at in range(15):
        put(memo, ("acme", "other")[at % 2], at, at + 1)
    monkeypatch.setattr("signalbox.domain.memo.LIMIT", 100)
    memo.drop("acme", 2)
    memo.drop("acme", 14)
    memo.drop("nobody", 1)
    assert kept(memo) == [0, 4, 6, 8, 10, 12]
    memo.drop_all_of("acme")
    assert kept(memo) == []
    assert kept(memo, "other") == [1, 3, 5, 7, 9, 11, 13]
    memo.clear()
    assert kept(memo, "other") == []


def test_what_is_forgotten_is_let_go_of_bit_by_bit() -> None:
    class Made:
        """What weak references can be held to."""

    memo = Memo()
    made = [Made() for _ in range(20)]
    alive = [weakref.ref(one) for one in made]
    for at in range(20):
        put(memo, f"tenant-{at % 2}", at, made.pop())
    memo.drop_all_of("tenant-0")
    memo.clear()
    left = []
    for at in range(12):
        memo.put("acme", at, at)
        left.append(sum(one() is not None for one in alive))
    assert left[0] >= 18
    assert left[-1] == 0
    assert not memo.shrink()


def test_what_is_no_longer_used_shrinks_bit_by_bit() -> None:
    memo = Memo()
    for at in range(100):
        put(memo, "acme", at, at + 1)
    steps = 0
    while memo.shrink():
        steps += 1
    assert 50 <= steps <= 60
    assert kept(memo) == []


def test_decisions_rest_on_rules_that_forget() -> None:
    rules = Rules()
    for _ in range(2):
        rules.remember("acme", 1, 1)
        rules.remember("other", 1, 1)
    rules.put(LINE)
    assert rules.recall("acme", 1) is None
    assert rules.recall("other", 1) == 1
    rules.put(TrunkGroup("all", ("",), (Member("carrier"),)))
    assert rules.recall("other", 1) is None
