"""Which media nodes there are when their entries end."""

from __future__ import annotations

import pytest
from signalbox.api.routing.v1.routing_pb2 import MediaNode
from signalbox.domain.media import takes_calls
from signalbox.store.livenodes import TOGETHER_S, LiveNodes
from structlog.testing import capture_logs
from support import routing

Live = LiveNodes[MediaNode]


class Seconds:
    """A clock that is set."""

    now = 0.0

    def __call__(self) -> float:
        return self.now


@pytest.fixture
def clock() -> Seconds:
    return Seconds()


@pytest.fixture
def live(clock: Seconds) -> Live:
    live = LiveNodes("media", takes_calls, clock)
    live.reset([routing.node(1), routing.node(2), routing.node(3)])
    return live


def test_a_node_that_vanished_is_not_used_while_another_takes_calls(live: Live) -> None:
    live.delete("m1")
    assert sorted(live.nodes) == ["m2", "m3"]


def test_those_that_vanished_together_are_used_when_none_is_left(live: Live, clock: Seconds) -> None:
    live.delete("m1")
    clock.now += TOGETHER_S + 1
    live.delete("m2")
    clock.now += TOGETHER_S - 1
    with capture_logs() as logs:
        live.delete("m3")
        live.delete("m3")
    assert sorted(live.nodes) == ["m2", "m3"]
    assert [(entry["event"], entry["goes_on_with"]) for entry in logs] == [("no_node_registered", ["m2", "m3"])]


def test_one_that_takes_calls_again_is_enough(live: Live) -> None:
    live.reset([])
    assert sorted(live.nodes) == ["m1", "m2", "m3"]
    live.put(routing.node(1, healthy=False))
    assert sorted(live.nodes) == ["m1", "m2", "m3"], "it is known now not to be well"
    assert not live.nodes["m1"].healthy
    with capture_logs() as logs:
        live.put(routing.node(4))
    assert sorted(live.nodes) == ["m1", "m4"]
    assert [entry["event"] for entry in logs] == ["nodes_registered_again"]


def test_a_node_that_was_drained_or_did_not_answer_is_not_kept(live: Live) -> None:
    live.reset([routing.node(1, draining=True), routing.node(2, healthy=False), routing.node(3, calls=5, capacity=5)])
    live.reset([])
    assert not live.nodes


def test_a_listing_is_compared_with_what_was_registered(live: Live) -> None:
    live.reset([routing.node(2, draining=True)])
    assert sorted(live.nodes) == ["m1", "m2", "m3"]
    live.reset([routing.node(1)])
    assert sorted(live.nodes) == ["m1"]
