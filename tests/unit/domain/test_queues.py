"""Queues: who goes on to the dial, who waits, and who has waited for too long."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

import pytest
from signalbox.domain.claims import Claim, Claimed, Place, Waiting, supposed
from signalbox.domain.continuing import Next, proceed
from signalbox.domain.cursor import Cursor
from signalbox.domain.decided import Dial
from signalbox.domain.flow import AnnounceNode, DialLine, DialNode, Flow, FlowGraph, FlowRevision, HangUpNode, Node
from signalbox.domain.flow_nodes import QueueNode
from signalbox.domain.numbering import Caller, CallerKind
from signalbox.domain.objects import Line, Number
from signalbox.domain.outcomes import Ended, Outcome
from signalbox.domain.rules import Rules
from support.deciding import NOW, setup

if TYPE_CHECKING:
    from collections.abc import Mapping

NODES: dict[str, Node] = {
    "queue": QueueNode("desk", "jazz", "full", "late", max_wait_ms=60_000, max_length=7, leave_keys="*", left="left"),
    "desk": DialNode((DialLine("a"),), busy="queue", no_answer="queue", failed="late", after="again"),
    "again": AnnounceNode("p", True, "queue"),
    "full": AnnounceNode("p", True, "end"),
    "late": AnnounceNode("p", True, "end"),
    "left": AnnounceNode("p", True, "end"),
    "end": HangUpNode(),
}
START = Cursor("call-1", "acme", "4001234567", "main", 1, "queue", Caller(CallerKind.MOBILE, "13900001234"), True)
FIRST = Place(1)
BUSY = {"line/acme/a": 1}
WAITED = Outcome(Ended.WAITED)
WAITING = Waiting("acme/main/queue", "call-1", int(NOW * 1000), True, 7)
LETS_GO = Claim("call-1", "acme", (), (), "after step 0")


@pytest.fixture
def rules() -> Rules:
    rules = Rules()
    rules.put(Line("acme", "a", "1", "192.0.2.1", concurrent_calls=1))
    rules.put(Flow("acme", "main", (FlowRevision(1, 0.0, FlowGraph("queue", NODES)),)))
    rules.put(Number("4001234567", "acme", (), flow="main"))
    return rules


def step(
    rules: Rules,
    cursor: Cursor,
    outcome: Outcome | None = None,
    place: Place = FIRST,
    counts: Mapping[str, int] | None = None,
    after_s: float = 0.0,
) -> tuple[Next, list[Claim | Waiting]]:
    """The next step, and what was asked for on the way."""
    asked: list[Claim | Waiting] = []
    going = proceed(rules, cursor, outcome, NOW + after_s, setup())
    try:
        one = next(going)
        while True:
            asked.append(one)
            answer: Place | Claimed = place if isinstance(one, Waiting) else supposed(one, counts or {})
            one = going.send(answer)
    except StopIteration as end:
        found: Next = end.value
        return found, asked


def test_who_comes_while_a_line_is_free_goes_on_at_once(rules: Rules) -> None:
    found, asked = step(rules, START)
    assert isinstance(found.do, Dial)
    assert (found.cursor.node, found.dial) == ("desk", NODES["desk"])
    assert [one.leaves for one in asked if isinstance(one, Waiting)] == [False, True]
    assert [one.look for one in asked if isinstance(one, Claim)] == [True, False]


def test_who_comes_while_none_is_waits_and_takes_nothing(rules: Rules) -> None:
    found, asked = step(rules, START, counts=BUSY)
    assert (found.do, found.position) == (("queue", NODES["queue"]), 1)
    assert found.cursor == replace(START, values=(("?since", f"queue {int(NOW * 1000)}"),))
    assert asked[0] == WAITING
    assert [one.look for one in asked if isinstance(one, Claim)] == [True]
    again, asked = step(rules, found.cursor, WAITED, counts=BUSY, after_s=2)
    assert (again.do, again.cursor.step, asked[0]) == (found.do, 1, WAITING)


def test_only_the_first_goes_on(rules: Rules) -> None:
    found, asked = step(rules, START, place=Place(2))
    assert (found.do, found.position, asked) == (("queue", NODES["queue"]), 2, [WAITING])
    assert isinstance(step(rules, found.cursor, WAITED, after_s=2)[0].do, Dial)


def test_where_no_places_are_known_all_go_on_who_ask(rules: Rules) -> None:
    assert isinstance(step(rules, START, place=Place())[0].do, Dial)


@pytest.mark.parametrize("ended", [Ended.BUSY, Ended.NO_ANSWER])
def test_who_comes_back_from_the_dial_has_the_old_place_and_waits_before_ringing_again(
    rules: Rules, ended: Ended
) -> None:
    dialled, _ = step(rules, START)
    back, asked = step(rules, dialled.cursor, Outcome(ended), after_s=30)
    assert (back.do, asked) == (("queue", NODES["queue"]), [LETS_GO, WAITING])
    assert isinstance(step(rules, back.cursor, WAITED, after_s=32)[0].do, Dial)


def test_who_has_spoken_with_a_line_waits_as_if_for_the_first_time(rules: Rules) -> None:
    dialled, _ = step(rules, START)
    left, _ = step(rules, dialled.cursor, Outcome(Ended.LINE_LEFT), after_s=500)
    assert (left.cursor.node, left.cursor.values) == ("again", ())
    assert isinstance(step(rules, left.cursor, Outcome(Ended.DONE), after_s=510)[0].do, Dial)


def test_a_full_queue_takes_nobody(rules: Rules) -> None:
    found, asked = step(rules, START, place=Place(full=True))
    assert (found.cursor.node, found.cursor.values, asked) == ("full", (), [WAITING])


def test_who_has_waited_for_too_long_goes_and_leaves_the_queue(rules: Rules) -> None:
    waits, _ = step(rules, START, counts=BUSY)
    assert step(rules, waits.cursor, WAITED, counts=BUSY, after_s=59.9)[0].cursor.node == "queue"
    found, asked = step(rules, waits.cursor, WAITED, after_s=60)
    assert (found.cursor.node, found.cursor.values) == ("late", ())
    assert asked == [WAITING._replace(leaves=True)]


def test_who_keys_the_keys_leaves(rules: Rules) -> None:
    waits, _ = step(rules, START, counts=BUSY)
    found, _ = step(rules, waits.cursor, Outcome(Ended.DIGITS, "*"))
    assert (found.cursor.node, found.cursor.values) == ("left", ())
