"""Which rtpengine carries a call, and which one stands in for it.

The choice follows from the call's id and the nodes that take calls, so every replica makes the same one: a question
asked twice gets the same node. Shares follow capacities, and a node that comes or goes moves only its own share
(weighted rendezvous hashing, Schindelhauer and Schomaker 2005), worked out once per change for a fixed number of slots.
"""

from __future__ import annotations

import math
import random
import zlib
from dataclasses import dataclass
from typing import TYPE_CHECKING, Protocol

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

SLOTS = 1024


class MediaNode(Protocol):
    """An rtpengine as its sidecar last reported it. ``routing.v1.MediaNode`` is one."""

    @property
    def number(self) -> int:
        """Number of the node, 1 and up."""

    @property
    def capacity(self) -> int:
        """Calls that it may carry at once."""

    @property
    def calls(self) -> int:
        """Calls that it carries."""

    @property
    def healthy(self) -> bool:
        """It answers."""

    @property
    def draining(self) -> bool:
        """It takes no new calls."""


@dataclass(frozen=True, slots=True)
class Assignment:
    """Numbers of the node for a call and of its spare; 0: none."""

    node: int = 0
    spare: int = 0


class MediaTable:
    """Assignments over the nodes that take calls."""

    __slots__ = ("_slots", "_weights")

    def __init__(self, nodes: Iterable[MediaNode] = ()) -> None:
        self._weights = _weights(nodes)
        self._slots = _fill(self._weights)

    def fits(self, nodes: Iterable[MediaNode]) -> bool:
        """True if a table made for these nodes would be the same."""
        return self._weights == _weights(nodes)

    def assign(self, call_id: str) -> Assignment:
        """The nodes for a call."""
        return self._slots[zlib.crc32(call_id.encode()) % SLOTS]


def _weights(nodes: Iterable[MediaNode]) -> dict[int, int]:
    """Capacities of the nodes that a new call may go to."""
    return {n.number: n.capacity for n in nodes if n.healthy and not n.draining and n.calls < n.capacity}


def _fill(weights: dict[int, int]) -> Sequence[Assignment]:
    """The best and the second-best node of every slot."""
    numbers = sorted(weights)
    columns = [_distances(number, weights[number]) for number in numbers]
    slots = []
    for row in zip(*columns, strict=True):
        ranked = [number for _, number in sorted(zip(row, numbers, strict=True))[:2]]
        slots.append(Assignment(*ranked))
    return slots or [Assignment()] * SLOTS


def _distances(number: int, weight: int) -> list[float]:
    """A node's distance to every slot: exponentially distributed, so that the nearest node follows the weights.

    The generator is seeded with the node's number: Python promises the same sequence on every machine.
    """
    uniform = random.Random(number).random
    return [-math.log(1.0 - uniform()) / weight for _ in range(SLOTS)]
