"""Last good decisions: whose they are, how old, and how many."""

from __future__ import annotations

from signalbox.api.routing.v1.routing_pb2 import DecideRequest, Decision, Reject
from signalbox.edge.lastgood import LastGood
from signalbox.edge.question import Question
from signalbox.edge.reply import render
from support.routing_fake import dial


def ask(called: str = "4001234567", trunk: str = "carrier-a", diversions: int = 0) -> Question:
    return Question(1, 2, DecideRequest(call_id="c", trunk=trunk, called=called, diversions=diversions))


def test_a_decision_for_every_caller_is_kept() -> None:
    kept = LastGood(60)
    kept.keep(ask(), render(dial()), now=100.0)
    found = kept.find(ask(), now=159.0)
    assert found is not None
    assert found.fields["by"] == "last_good"


def test_it_grows_too_old() -> None:
    kept = LastGood(60)
    kept.keep(ask(), render(dial()), now=100.0)
    assert kept.find(ask(), now=161.0) is None


def test_another_number_or_trunk_does_not_get_it() -> None:
    kept = LastGood(60)
    kept.keep(ask(), render(dial()), now=100.0)
    assert kept.find(ask(called="4007654321"), now=100.0) is None
    assert kept.find(ask(trunk="carrier-b"), now=100.0) is None


def test_a_decision_for_one_caller_is_never_kept_and_removes_the_one_before() -> None:
    kept = LastGood(60)
    kept.keep(ask(), render(dial()), now=100.0)
    kept.keep(ask(), render(dial(caller_independent=False)), now=101.0)
    assert kept.find(ask(), now=102.0) is None


def test_a_leg_gets_none_and_leaves_none() -> None:
    kept = LastGood(60)
    kept.keep(ask(), render(dial()), now=100.0)
    leg = ask()
    leg.request.leg = "signed"
    assert kept.find(leg, now=100.0) is None
    kept.keep(leg, render(dial(caller_independent=False)), now=101.0)
    assert kept.find(ask(), now=101.0) is not None


def test_unknown_numbers_are_not_kept() -> None:
    kept = LastGood(60)
    refusal = Decision(reject=Reject(code=404, phrase="Not Found"), why="number_unknown", caller_independent=True)
    kept.keep(ask(), render(refusal), now=100.0)
    assert len(kept) == 0


def test_a_call_forwarded_more_often_does_not_get_it() -> None:
    kept = LastGood(60)
    kept.keep(ask(diversions=1), render(dial()), now=100.0)
    assert kept.find(ask(diversions=0), now=100.0) is not None
    assert kept.find(ask(diversions=2), now=100.0) is None


def test_the_numbers_not_called_for_longest_go_first() -> None:
    kept = LastGood(60, limit=2)
    for called in ("1", "2", "1", "3"):
        kept.keep(ask(called=called), render(dial()), now=100.0)
    assert len(kept) == 2
    assert kept.find(ask(called="2"), now=100.0) is None
    assert kept.find(ask(called="1"), now=100.0) is not None


def test_an_age_of_zero_keeps_nothing() -> None:
    kept = LastGood(0)
    kept.keep(ask(), render(dial()), now=100.0)
    assert len(kept) == 0
