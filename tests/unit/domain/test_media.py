"""Which rtpengine carries a call."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, replace

import pytest
from signalbox.domain.media import Assignment, MediaTable

CALLS = [f"edge-1-65f0a{n:03x}-{n % 97}-{n * 7919}" for n in range(4000)]


@dataclass(frozen=True)
class Node:
    number: int
    capacity: int = 100
    calls: int = 0
    healthy: bool = True
    draining: bool = False
    records: bool = False


def test_no_node_means_no_media() -> None:
    assert MediaTable().assign("x") == Assignment(0, 0)


def test_a_single_node_has_no_spare() -> None:
    assert MediaTable([Node(7)]).assign("x") == Assignment(7, 0)


def test_the_spare_is_another_node() -> None:
    table = MediaTable([Node(1), Node(2), Node(3)])
    assignments = [table.assign(call) for call in CALLS]
    assert all(a.node != a.spare and a.spare for a in assignments)


@pytest.mark.parametrize("change", [{"healthy": False}, {"draining": True}, {"calls": 100}, {"capacity": 0}])
def test_a_node_that_takes_no_calls_gets_none(change: dict[str, int]) -> None:
    table = MediaTable([Node(1), replace(Node(2), **change)])
    assert {table.assign(call) for call in CALLS} == {Assignment(1, 0)}


def test_calls_spread_by_capacity() -> None:
    table = MediaTable([Node(1, 100), Node(2, 100), Node(3, 200)])
    shares = Counter(table.assign(call).node for call in CALLS)
    assert shares[1] == pytest.approx(1000, rel=0.15)
    assert shares[2] == pytest.approx(1000, rel=0.15)
    assert shares[3] == pytest.approx(2000, rel=0.15)


def test_every_replica_assigns_alike_in_whatever_order_it_learned_of_the_nodes() -> None:
    one, other = MediaTable([Node(1), Node(2), Node(3)]), MediaTable([Node(3), Node(1, calls=50), Node(2)])
    assert all(one.assign(call) == other.assign(call) for call in CALLS)


def test_a_node_that_goes_moves_its_own_calls_to_their_spares_alone() -> None:
    before, after = MediaTable([Node(1), Node(2), Node(3)]), MediaTable([Node(1), Node(3)])
    for call in CALLS:
        was = before.assign(call)
        assert after.assign(call).node == (was.spare if was.node == 2 else was.node)


def test_a_table_fits_until_a_node_comes_goes_or_changes_its_weight() -> None:
    table = MediaTable([Node(1), Node(2)])
    assert table.fits([Node(2, calls=99), Node(1)])
    assert not table.fits([Node(1)])
    assert not table.fits([Node(1), Node(2, calls=100)])
    assert not table.fits([Node(1), Node(2, capacity=50)])
    assert not table.fits([Node(1), Node(2, records=True)])


def test_a_call_that_is_to_be_recorded_goes_to_nodes_that_record_and_others_anywhere() -> None:
    nodes = [Node(1), Node(2, records=True), Node(3), Node(4, 300, records=True)]
    table = MediaTable(nodes)
    assert table.records
    recording = [table.assign_recording(call) for call in CALLS]
    assert {frozenset((a.node, a.spare)) for a in recording} == {frozenset((2, 4))}
    assert Counter(a.node for a in recording)[4] == pytest.approx(3000, rel=0.15)
    silent = MediaTable([replace(node, records=False) for node in nodes])
    assert [table.assign(call) for call in CALLS] == [silent.assign(call) for call in CALLS]


def test_a_spare_that_does_not_record_serves_if_no_other_does() -> None:
    table = MediaTable([Node(1), Node(2, records=True), Node(3)])
    recording = [table.assign_recording(call) for call in CALLS]
    assert {a.node for a in recording} == {2}
    assert {a.spare for a in recording} == {1, 3}
    assert MediaTable([Node(2, records=True)]).assign_recording("x") == Assignment(2, 0)


def test_where_all_record_recorded_calls_go_where_all_go() -> None:
    table = MediaTable([Node(1, records=True), Node(2, records=True)])
    assert [table.assign_recording(call) for call in CALLS] == [table.assign(call) for call in CALLS]


@pytest.mark.parametrize("change", [{"healthy": False}, {"draining": True}, {"calls": 100}, {"records": False}])
def test_nobody_records_while_those_that_would_take_no_calls(change: dict[str, int]) -> None:
    assert not MediaTable([Node(1), replace(Node(2, records=True), **change)]).records
    assert not MediaTable().records
