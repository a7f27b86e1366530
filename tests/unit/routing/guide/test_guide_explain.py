"""Explanations and simulations, as the service gives them from what is stored."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest
from google.protobuf.timestamp_pb2 import Timestamp
from signalbox.api.routing.v1 import routing_pb2
from signalbox.domain.claims import supposed
from signalbox.errors import InvalidFieldError
from signalbox.store.base import Change
from signalbox.store.codec import key_of
from support import routing
from support.guides import MONDAY_10, MONDAY_20, explained, guide, rules, told

if TYPE_CHECKING:
    from signalbox.routing.book import Book
    from signalbox.store.codec import Object


def test_every_step_of_a_call_is_told_with_what_was_found(book: Book) -> None:
    counts = {"number/4001234567": 3, "line/acme/b": 1, "turn/acme/flow/main/desk": 1}
    response = explained(book, "13900001234", MONDAY_10, counts)
    assert told(response) == [
        ("trunk", "any trunk"),
        ("number", "dialled 4001234567: 4001234567 of tenant acme"),
        ("number_state", "active"),
        ("loop_guard", "not forwarded too often"),
        ("screening", "list lost does not exist, passed over"),
        ("screening", "13900001234 (内蒙古 呼和浩特): caller_unlisted"),
        ("limit", "number/4001234567: 3 of 10"),
        ("flow", "main, revision 1"),
        ("schedule", "node hours: schedule office is in period open → place"),
        ("region", "node place: 13900001234 (内蒙古 呼和浩特) → local"),
        ("distribution", "node local: sequential, lines: 1"),
        ("line", "node local: line b is 13900001111 at 192.0.2.7 port 5060"),
        ("distribution", "node desk: round_robin, lines: 2"),
        ("line", "node desk: line a is 13900001111 at 192.0.2.7 port 5060"),
        ("line", "node desk: line b is 13900001111 at 192.0.2.7 port 5060"),
        ("line_cap", "local: line/acme/b at the cap, passed over"),
        ("line_cap", "desk: line/acme/b at the cap, passed over"),
        ("turn", "desk: a is first by turn (turn/acme/flow/main/desk)"),
        ("recording", "off by the number's media, anchor"),
        ("dial", "stages: 1, media: anchor"),
    ]
    assert [branch.line for branch in response.decision.dial.stages[0].branches] == ["a"]


def test_a_blacklisted_caller_is_refused_by_the_entry_that_is_told(book: Book) -> None:
    response = explained(book, "13700001234", MONDAY_10)
    assert told(response)[-1] == ("screening", "13700001234: caller_blacklisted by n13700001234 in list bad")
    assert (response.decision.reject.code, response.decision.why) == (403, "caller_blacklisted")


def test_a_simulated_call_over_a_limit_is_busy(book: Book) -> None:
    response = explained(book, "13900001234", MONDAY_10, {"number/4001234567": 10})
    assert told(response)[-2:] == [
        ("limit", "number/4001234567: 10 of 10"),
        ("limit_number", "no further call is taken"),
    ]
    assert response.decision.reject.code == 486


@pytest.mark.parametrize("time", [Timestamp(seconds=2**62), Timestamp(seconds=-(10**14)), Timestamp(nanos=-1)])
def test_what_is_no_time_is_refused(book: Book, time: Timestamp) -> None:
    with pytest.raises(InvalidFieldError, match="time: is no time"):
        explained(book, "13900001234", time)


def test_what_comes_later_is_told_for_its_time(book: Book) -> None:
    closed = explained(book, "13900001234", MONDAY_20, call_id="c")
    assert ("schedule", "node hours: schedule office is in no period → menu") in told(closed)
    assert ("voice", "node menu needs voice: worker ivr-1") in told(closed)
    holiday = Timestamp(seconds=MONDAY_10.seconds + 86_400)
    assert explained(book, "13900001234", holiday, call_id="c").decision.why == "voice"


def test_an_explanation_looks_at_the_counts_of_now_and_takes_nothing(book: Book) -> None:
    class Counts:
        async def settle(self, claims: list[Any]) -> list[Any]:
            assert all(claim.look for claim in claims)
            return [supposed(claim, {"number/4001234567": 10}) for claim in claims]

    question = routing_pb2.DecideRequest(called=routing.NUMBER, calling="13900001234")
    request = routing_pb2.ExplainRequest(request=question, time=MONDAY_10)
    response = routing.at_once(guide(book, counters=Counts()).explain(request))
    assert response.decision.why == "limit_number"


def test_objects_that_go_are_no_longer_obeyed(book: Book) -> None:
    def gone(message: Object) -> None:
        book.change_rules([Change(key_of(message), None, 2)])

    by_key = {type(message).__name__: message for message in rules()}
    gone(by_key["RegionGroup"])
    assert ("region", "node place: 13900001234 (内蒙古 呼和浩特) → desk") in told(
        explained(book, "13900001234", MONDAY_10)
    )
    gone(by_key["Calendar"])
    assert "calendar cn does not exist" in str(explained(book, "13900001234", MONDAY_10))
    gone(by_key["Schedule"])
    assert "schedule office does not exist" in str(explained(book, "13900001234", MONDAY_10))
    gone(by_key["ScreeningPage"])
    assert explained(book, "13700001234", MONDAY_10, call_id="c").decision.why == "voice"
    gone(by_key["Flow"])
    response = explained(book, "13900001234", MONDAY_10)
    assert (response.decision.why, response.decision.reject.code) == ("flow_missing", 480)
    assert ("flow", "main does not exist or has no revision in force") in told(response)
