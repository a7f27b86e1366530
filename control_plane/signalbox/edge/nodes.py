"""Media nodes that this proxy can use now: known to it and healthy."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Sequence


class MediaNodes:
    """Node numbers, changed whenever a snapshot is taken over.

    Until the first snapshot what routing assigns is passed on unseen.
    """

    def __init__(self) -> None:
        self._usable: Sequence[int] = ()
        self._members: frozenset[int] | None = None
        self._turn = 0

    def set(self, usable: Sequence[int]) -> None:
        """Replace the usable nodes."""
        self._usable = tuple(usable)
        self._members = frozenset(usable)

    def fit(self, node: int, spare: int) -> tuple[int, int]:
        """A pair that this proxy can use, as near to the given one as can be; 0 stands for none.

        None assigned stays none: routing knows which nodes are full, we do not.
        """
        members = self._members
        if members is None or not node:
            return node, spare
        if node in members:
            return node, spare if spare in members else 0
        if spare in members:
            return spare, 0
        return self.choose()

    def choose(self) -> tuple[int, int]:
        """A node and a spare in turn, when nobody assigned any."""
        count = len(self._usable)
        if count == 0:
            return 0, 0
        self._turn = (self._turn + 1) % count
        first = self._usable[self._turn]
        return first, self._usable[(self._turn + 1) % count] if count > 1 else 0
