"""Questions whose decisions need something counted: settled together, in as few round trips as can be."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Any

import pytest
from signalbox.api.types.v1 import types_pb2
from signalbox.domain.claims import Claimed, supposed
from signalbox.domain.decision import Case
from signalbox.routing import answers
from signalbox.routing.answers import Answerer
from signalbox.routing.book import Book
from signalbox.routing.stats import Stats
from support import routing
from support.deciding import setup
from support.routing import call, questions

if TYPE_CHECKING:
    from collections.abc import Sequence

    from signalbox.api.routing.v1 import routing_pb2
    from signalbox.domain.claims import Claim
    from signalbox.domain.decided import Decision


class Counts:
    """Counts that stand still, and what was asked of them."""

    def __init__(self, **counts: int) -> None:
        self.counts = {name.replace("_", "/"): count for name, count in counts.items()}
        self.rounds: list[list[Claim]] = []
        self.given_back: list[Claim] = []
        self.answers = asyncio.Event()
        self.answers.set()

    async def settle(self, claims: Sequence[Claim]) -> list[Claimed]:
        self.rounds.append(list(claims))
        await self.answers.wait()
        return [supposed(claim, self.counts) for claim in claims]

    def give_back(self, claims: Sequence[Claim]) -> None:
        self.given_back += claims


@pytest.fixture
def stats() -> Stats:
    return Stats(dict)


def answerer(stats: Stats, counts: Counts | None, *numbers: types_pb2.Number) -> Answerer:
    book = Book(lambda: None)
    overflow = routing.flow("overflow", routing.dial_node("desk", "b"))
    lines = routing.line(), routing.line("b", concurrent_calls=2)
    listed = routing.listing(routing.trunk(), *lines, overflow, *(numbers or (routing.number(),)))
    routing.at_once(book.reset_rules(listed))
    book.reset_live(routing.listing(routing.node(1)))
    return Answerer(book, lambda: 1, stats, setup(), counts)


async def ask(answerer: Answerer, *calls: routing_pb2.DecideRequest) -> list[tuple[int, str]]:
    round = answerer.begin(questions(*calls))
    await answerer.settle(round)
    return sorted((answer.id, answer.decision.why) for answer in round.response.answers)


async def test_all_claims_of_a_message_are_settled_together(stats: Stats) -> None:
    counts = Counts()
    found = await ask(answerer(stats, counts), call(call_id="c1"), call("110"), call(call_id="c2"))
    assert found == [(1, "dial"), (2, "number_unknown"), (3, "dial")]
    assert [[claim.call_id for claim in claims] for claims in counts.rounds] == [["c1", "c2"]]
    assert stats.decisions == {"dial": 2, "number_unknown": 1}
    assert stats.uncounted == 0


async def test_a_remembered_decision_is_counted_too(stats: Stats) -> None:
    counts = Counts()
    one = answerer(stats, counts)
    for _ in range(3):
        assert await ask(one, call()) == [(1, "dial")]
    assert len(counts.rounds) == 3
    counts.counts["number/4001234567"] = 10
    assert await ask(one, call()) == [(1, "limit_number")]
    assert (await one.answer_unary(call())).decision.reject.code == 486


async def test_a_message_without_claims_awaits_nothing(stats: Stats) -> None:
    counts = Counts()
    counts.answers.clear()
    assert await ask(answerer(stats, counts), call("110")) == [(1, "number_unknown")]
    assert counts.rounds == []


async def test_a_call_over_a_limit_claims_again_for_the_flow_that_takes_it(stats: Stats) -> None:
    counts = Counts(number_4001234567=10)
    over = routing.number(over_limit_flow="overflow")
    other = routing.number("4007654321")
    found = await ask(answerer(stats, counts, over, other), call(call_id="c1"), call("4007654321", call_id="c2"))
    assert found == [(1, "dial"), (2, "dial")]
    assert [[(claim.call_id, claim.part) for claim in claims] for claims in counts.rounds] == [
        [("c1", ""), ("c2", "")],
        [("c1", "over")],
    ]
    assert counts.rounds[1][0].limits == ()


async def test_a_call_over_a_limit_of_its_trunk_is_refused_so_that_another_way_is_tried(stats: Stats) -> None:
    counts = Counts(trunk_carrier=5)
    book = Book(lambda: None)
    limited = routing.trunk(limits=types_pb2.Limits(concurrent_calls=5))
    over = routing.number(over_limit_flow="overflow")
    routing.at_once(book.reset_rules(routing.listing(limited, routing.line(), over)))
    book.reset_live(routing.listing())
    decision = (await Answerer(book, lambda: 1, stats, setup(), counts).answer_unary(call())).decision
    assert (decision.why, decision.reject.code, decision.caller_independent) == ("limit_trunk", 503, False)


async def test_an_answer_that_comes_too_late_is_dropped_and_given_back(stats: Stats) -> None:
    counts = Counts()
    counts.answers.clear()
    one = answerer(stats, counts)
    request = questions(call(call_id="late"), call(call_id="patient"), call("110"))
    request.questions[0].deadline_ms = 10
    round = one.begin(request)
    settling = asyncio.create_task(one.settle(round))
    await asyncio.sleep(0.05)  # The deadline passes.
    counts.answers.set()
    await settling
    assert sorted(answer.id for answer in round.response.answers) == [2, 3]
    assert [claim.call_id for claim in counts.given_back] == ["late"]
    assert stats.expired == 1


async def test_a_decision_that_fails_after_it_was_counted_is_given_back(
    stats: Stats, monkeypatch: pytest.MonkeyPatch
) -> None:
    counts = Counts()
    one = answerer(stats, counts, routing.number(), routing.number("4007654321"))
    ends = Case._dialled

    def dialled(case: Case, *rest: Any) -> Decision:
        if case._number.number == "4007654321":
            raise ValueError("no such trunk")
        return ends(case, *rest)

    monkeypatch.setattr(Case, "_dialled", dialled)
    found = one.begin(questions(call(call_id="c1"), call("4007654321", call_id="c2")))
    await one.settle(found)
    assert {answer.id: answer.error for answer in found.response.answers} == {1: 0, 2: types_pb2.INTERNAL}
    assert [claim.call_id for claim in counts.given_back] == ["c2"]
    assert [claim.call_id for claim in found.claims] == ["c1"]


async def test_a_call_for_which_no_line_is_free_gives_back_what_it_took(stats: Stats) -> None:
    counts = Counts(line_acme_b=2)
    one = answerer(stats, counts, routing.number(), routing.number("4007654321", ("b",)))
    round = one.begin(questions(call("4007654321", call_id="c1"), call(call_id="c2")))
    await one.settle(round)
    assert [answer.decision.why for answer in round.response.answers] == ["lines_busy", "dial"]
    assert [claim.call_id for claim in counts.given_back] == ["c1"]
    assert [claim.call_id for claim in round.claims] == ["c2"], "what was given back is not given back again"
    assert (await one.answer_unary(call("4007654321", call_id="c3"))).decision.why == "lines_busy"
    assert [claim.call_id for claim in counts.given_back] == ["c1", "c3"]


async def test_a_single_question_that_is_given_up_gives_back(stats: Stats) -> None:
    counts = Counts()
    counts.answers.clear()
    asking = asyncio.create_task(answerer(stats, counts).answer_unary(call()))
    await asyncio.sleep(0)
    asking.cancel()
    with pytest.raises(asyncio.CancelledError):
        await asking
    assert [claim.call_id for claim in counts.given_back] == ["edge-1-65f0a1-1-2"]


async def test_without_counters_limits_are_not_enforced_and_that_is_counted(stats: Stats) -> None:
    none = routing.number(limits=types_pb2.Limits(concurrent_calls=1))
    one = answerer(stats, None, none, routing.number("4007654321", ("b",)))
    for _ in range(2):
        assert await ask(one, call(), call("4007654321"), call("110")) == [
            (1, "dial"), (2, "dial"), (3, "number_unknown"),
        ]  # fmt: skip
    assert stats.uncounted == 4


async def test_equal_decisions_of_different_calls_are_sent_as_one_message(stats: Stats) -> None:
    number = types_pb2.Number(number="4001234567", tenant="acme", flow="overflow")
    one = answerer(stats, Counts(), number)
    round = one.begin(questions(call(call_id="c1"), call(call_id="c2", calling="13900001234")))
    await one.settle(round)
    first, second = round.response.answers
    assert first.decision == second.decision
    assert first.decision.fingerprint
    assert first.decision.dial.stages[0].branches[0].line == "b"


async def test_a_call_that_is_not_limited_is_answered_from_memory_and_waits_for_nobody(stats: Stats) -> None:
    free = routing.number(limits=types_pb2.Limits(concurrent_calls=0))
    one = answerer(stats, Counts(), free)
    for _ in range(3):
        round = one.begin(questions(call()))
        assert [answer.decision.why for answer in round.response.answers] == ["dial"]
        assert round.waiting == []
    assert stats.uncounted == 0


async def test_messages_of_decisions_that_do_not_come_again_stay_within_their_limit(
    stats: Stats, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(answers, "DIALS_LIMIT", 1)
    one = answerer(stats, Counts(), types_pb2.Number(number="4001234567", tenant="acme", flow="overflow"))
    for _ in range(3):
        assert await ask(one, call(), call("110")) == [(1, "dial"), (2, "number_unknown")]


# --- recording -------------------------------------------------------------------------------------------------------


def recorder(unrecordable: types_pb2.Unrecordable.ValueType) -> Book:
    """A tenant with a recorded number, and a media node that records nothing."""
    book = Book(lambda: None)
    tenant = types_pb2.Tenant(id="acme", recording=types_pb2.RecordingPolicy(unrecordable=unrecordable))
    recorded = routing.number(media=types_pb2.MEDIA_MODE_RECORD)
    routing.at_once(book.reset_rules(routing.listing(routing.trunk(), routing.line(), tenant, recorded)))
    book.reset_live(routing.listing(routing.node(1)))
    return book


@pytest.mark.parametrize("alone", [True, False])
async def test_a_call_that_is_refused_for_want_of_a_node_that_records_gives_back_what_it_claimed(
    stats: Stats, alone: bool
) -> None:
    counts = Counts()
    book = recorder(types_pb2.UNRECORDABLE_CALL_IS_REFUSED)
    one = Answerer(book, lambda: 1, stats, setup(), counts)
    for id in ("c1", "c2", "c3"):
        if alone:
            assert (await one.answer_unary(call(call_id=id))).decision.why == "recording_unavailable"
        else:
            assert await ask(one, call(call_id=id)) == [(1, "recording_unavailable")]
    assert [claim.call_id for claim in counts.given_back] == ["c1", "c2", "c3"]
    assert stats.unrecordable == {"goes_on": 0, "refused": 3}
    assert stats.decisions == {"recording_unavailable": 3}


async def test_a_call_over_a_limit_that_is_not_recorded_gives_nothing_back(stats: Stats) -> None:
    counts = Counts(number_4001234567=10)
    book = recorder(types_pb2.UNRECORDABLE_CALL_IS_REFUSED)
    one = Answerer(book, lambda: 1, stats, setup(), counts)
    assert await ask(one, call()) == [(1, "limit_number")]
    assert (await one.answer_unary(call())).decision.why == "limit_number"
    assert counts.given_back == []
    assert stats.unrecordable == {"goes_on": 0, "refused": 0}


async def test_a_call_that_goes_on_unrecorded_keeps_what_it_claimed(stats: Stats) -> None:
    counts = Counts()
    book = recorder(types_pb2.UNRECORDABLE_UNSPECIFIED)
    response = await Answerer(book, lambda: 1, stats, setup(), counts).answer_unary(call())
    assert (response.decision.why, response.decision.dial.media) == ("dial", types_pb2.MEDIA_MODE_ANCHOR)
    assert counts.given_back == []
    assert stats.unrecordable == {"goes_on": 1, "refused": 0}
