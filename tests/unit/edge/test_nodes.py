"""Media nodes that calls are given."""

from __future__ import annotations

from signalbox.edge.nodes import MediaNodes


def test_before_the_first_snapshot_the_assignment_passes() -> None:
    assert MediaNodes().fit(3, 4) == (3, 4)
    assert MediaNodes().choose() == (0, 0)


def test_a_usable_node_stays() -> None:
    nodes = MediaNodes()
    nodes.set([1, 2])
    assert nodes.fit(2, 1) == (2, 1)
    assert nodes.fit(2, 9) == (2, 0), "a spare that the proxy does not have is none"


def test_the_spare_takes_the_place_of_a_node_that_the_proxy_does_not_have() -> None:
    nodes = MediaNodes()
    nodes.set([1, 2])
    assert nodes.fit(9, 2) == (2, 0)


def test_nodes_are_chosen_in_turn() -> None:
    nodes = MediaNodes()
    nodes.set([1, 2, 3])
    assert {nodes.fit(8, 9) for _ in range(3)} == {(1, 2), (2, 3), (3, 1)}
    nodes.set([5])
    assert nodes.choose() == (5, 0)


def test_where_routing_assigned_none_or_none_is_usable_there_is_none() -> None:
    nodes = MediaNodes()
    nodes.set([1, 2])
    assert nodes.fit(0, 0) == (0, 0)
    nodes.set([])
    assert nodes.fit(1, 2) == (0, 0)
    assert nodes.choose() == (0, 0)
