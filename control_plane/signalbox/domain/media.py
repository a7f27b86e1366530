"""Which rtpengine carries a call, and which one stands in for it.

The choice follows from the call's id and the nodes that take calls, so every replica makes the same one: a question
asked twice gets the same node. Shares follow capacities, and a node that comes or goes moves only its own share
(weighted rendezvous hashing, Schindelhauer and Schomaker 2005), worked out once per change for a fixed number of slots.
A call that is to be recorded goes to a node that records; its spare is one too if there is another, for a call must
not be lost for want of it.
"""

from __future__ import annotations

import math
import random
import zlib
from dataclasses import dataclass
from typing import TYPE_CHECKING, Protocol

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence, Set

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

    @property
    def records(self) -> bool:
        """It promises to record calls."""


@dataclass(frozen=True, slots=True)
class Assignment:
    """Numbers of the node for a call and of its spare; 0: none."""

    node: int = 0
    spare: int = 0


def takes_calls(node: MediaNode) -> bool:
    """A new call may go to it."""
    return node.healthy and not node.draining and node.calls < node.capacity


class MediaTable:
    """Assignments over the nodes that take calls. ``records``: one of them records."""

    __slots__ = ("_known", "_recording_slots", "_slots", "records")

    def __init__(self, nodes: Iterable[MediaNode] = ()) -> None:
        self._known = _known(nodes)
        recording = {number for number, (_, records) in self._known.items() if records}
        self.records = bool(recording)
        self._slots = _fill(self._known, set())
        mixed = 0 < len(recording) < len(self._known)
        self._recording_slots = _fill(self._known, recording) if mixed else self._slots

    def fits(self, nodes: Iterable[MediaNode]) -> bool:
        """True if a table made for these nodes would be the same."""
        return self._known == _known(nodes)

    def assign(self, call_id: str) -> Assignment:
        """The nodes for a call."""
        return self._slots[zlib.crc32(call_id.encode()) % SLOTS]

    def assign_recording(self, call_id: str) -> Assignment:
        """The nodes for a call that is to be recorded; they can keep that only if :attr:`records`."""
        return self._recording_slots[zlib.crc32(call_id.encode()) % SLOTS]


def _known(nodes: Iterable[MediaNode]) -> dict[int, tuple[int, bool]]:
    """Capacities of the nodes that a new call may go to, and whether they record."""
    return {node.number: (node.capacity, node.records) for node in nodes if takes_calls(node)}


def _fill(known: Mapping[int, tuple[int, bool]], preferred: Set[int]) -> Sequence[Assignment]:
    """The best and the second-best node of every slot; all of those preferred are better than any other."""
    numbers = sorted(known)
    behind = [number not in preferred for number in numbers]
    columns = [_distances(number, known[number][0]) for number in numbers]
    slots = []
    for row in zip(*columns, strict=True):
        ranked = [number for _, _, number in sorted(zip(behind, row, numbers, strict=True))[:2]]
        slots.append(Assignment(*ranked))
    return slots or [Assignment()] * SLOTS


def _distances(number: int, weight: int) -> list[float]:
    """A node's distance to every slot: exponentially distributed, so that the nearest node follows the weights.

    The generator is seeded with the node's number: Python promises the same sequence on every machine.
    """
    uniform = random.Random(number).random
    return [-math.log(1.0 - uniform()) / weight for _ in range(SLOTS)]
