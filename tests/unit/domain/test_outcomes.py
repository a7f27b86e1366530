"""What follows the steps of a flow that a worker has taken: each kind of node, each way in which it ends."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest
from signalbox.domain.flow import AnnounceNode, MenuNode, TransferNode
from signalbox.domain.flow_nodes import ConditionBranch, MessageNode, QueueNode, ReceivedValue, RequestNode
from signalbox.domain.outcomes import Ended, Outcome, OutcomeError, Turn, following

if TYPE_CHECKING:
    from signalbox.domain.flow import Node

REQUEST = RequestNode(
    "https://example.com/",
    "crm",
    "other",
    "failed",
    receive=(ReceivedValue("level", "vip"), ReceivedValue("name", "name")),
    branch_key="route",
    branches=(ConditionBranch(("sales", "1"), "sales"), ConditionBranch(("",), "nothing")),
)


@pytest.mark.parametrize(
    ("values", "next"),
    [({"route": "sales"}, "sales"), ({"route": "1"}, "sales"), ({"route": "x"}, "other"), ({}, "nothing")],
)
def test_an_answer_leads_where_its_value_says(values: dict[str, str], next: str) -> None:
    assert following(REQUEST, Outcome(Ended.DONE, values=values)).next == next


def test_values_of_an_answer_become_variables_and_what_is_missing_is_empty() -> None:
    found = following(REQUEST, Outcome(Ended.DONE, values={"level": "gold", "route": "x"}))
    assert found == Turn("other", (("vip", "gold"), ("name", "")))


def test_a_request_without_branches_goes_on() -> None:
    assert following(RequestNode("u", "k", "other", "failed"), Outcome(Ended.DONE)) == Turn("other")


def test_a_request_without_a_good_answer_sets_nothing() -> None:
    assert following(REQUEST, Outcome(Ended.FAILED)) == Turn("failed")


@pytest.mark.parametrize(
    ("failed", "ended", "next"),
    [("", Ended.DONE, "on"), ("", Ended.FAILED, "on"), ("sorry", Ended.FAILED, "sorry"), ("sorry", Ended.DONE, "on")],
)
def test_a_call_goes_on_whether_a_message_was_sent_or_not(failed: str, ended: Ended, next: str) -> None:
    assert following(MessageNode("106", "hi", next="on", failed=failed), Outcome(ended)) == Turn(next)


@pytest.mark.parametrize(
    ("ended", "next"),
    [(Ended.BUSY, "b"), (Ended.NO_ANSWER, "n"), (Ended.FAILED, "f"), (Ended.LINE_LEFT, "a")],
)
def test_a_transfer_ends_as_a_dial_does(ended: Ended, next: str) -> None:
    assert following(TransferNode("x", busy="b", no_answer="n", failed="f", after="a"), Outcome(ended)).next == next


@pytest.mark.parametrize(
    ("outcome", "next"),
    [(Outcome(Ended.NO_INPUT), "late"), (Outcome(Ended.NO_MATCH), "full"), (Outcome(Ended.DIGITS, "*1"), "left")],
)
def test_a_queue_is_left_and_nobody_waits_in_it_any_more(outcome: Outcome, next: str) -> None:
    queue = QueueNode("d", "p", "full", "late", leave_keys="*1", left="left")
    assert following(queue, outcome) == Turn(next, (("?since", ""),))


WRONG: list[tuple[Node, Outcome, str]] = [
    (REQUEST, Outcome(Ended.DONE, values={"level": "1", "secret": "1"}), "the node asks for no key secret"),
    (REQUEST, Outcome(Ended.FAILED, values={"level": "1"}), "values are of a request that was answered"),
    (REQUEST, Outcome(Ended.DIGITS, "1"), "does not end so: digits"),
    (AnnounceNode("p", False, "x"), Outcome(Ended.DONE, values={"a": "1"}), "values are of a request"),
    (QueueNode("d", "p", "x", "y", leave_keys="*"), Outcome(Ended.DIGITS, "1"), "does not end so: digits"),
    (QueueNode("d", "p", "x", "y"), Outcome(Ended.DONE), "does not end so: done"),
    (TransferNode("x"), Outcome(Ended.TRANSFER), "does not end so: transfer"),
    (MessageNode("106", "hi"), Outcome(Ended.NO_INPUT), "does not end so: no_input"),
    (MenuNode("p", (), "x", "x"), Outcome(Ended.LINE_LEFT), "does not end so: line_left"),
]


@pytest.mark.parametrize(("node", "outcome", "reason"), WRONG, ids=[one[2] for one in WRONG])
def test_what_a_node_cannot_end_with(node: Node, outcome: Outcome, reason: str) -> None:
    with pytest.raises(OutcomeError, match=reason):
        following(node, outcome)
