"""Calls that outlast the drain of a node: routing is told that their media die."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest
from prometheus_client import CollectorRegistry
from signalbox.media.metrics import MediaMetrics
from signalbox.media.watcher import Watcher
from signalbox.ng import NgTimeoutError
from signalbox.settings import MediaSettings

if TYPE_CHECKING:
    from collections.abc import Sequence


class Node:
    """An rtpengine with two calls, and who is told of them."""

    connections = 1

    def __init__(self) -> None:
        self.silent = False
        self.told: list[tuple[Sequence[str], Sequence[str], int]] = []

    async def calls(self) -> frozenset[str]:
        """As Lister.calls."""
        if self.silent:
            raise NgTimeoutError("frozen")
        return frozenset(["call-2", "call-1"])

    async def tell(self, alive: Sequence[str], dead: Sequence[str], node: int) -> bool:
        """As Reporter.tell."""
        self.told.append((alive, dead, node))
        return True


def watcher(node: Node, number: int) -> Watcher:
    fake: Any = node
    return Watcher(MediaSettings(), fake, fake, fake, MediaMetrics(CollectorRegistry()), lambda: number)


async def test_all_calls_of_the_node_are_told_to_be_dead() -> None:
    node = Node()
    await watcher(node, 7).give_up()
    assert node.told == [([], ["call-1", "call-2"], 7)]


async def test_a_node_without_a_number_has_no_calls_that_routing_knows() -> None:
    node = Node()
    await watcher(node, 0).give_up()
    assert node.told == []


async def test_calls_that_cannot_be_listed_are_told_of_by_an_error() -> None:
    node = Node()
    node.silent = True
    with pytest.raises(NgTimeoutError):
        await watcher(node, 7).give_up()
    assert node.told == []
