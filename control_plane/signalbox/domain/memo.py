"""What was worked out and is likely to be wanted again, for as long as what it rests on is as it was."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Hashable

LIMIT = 16_384
"""Most that is kept, some KiB each."""
SEEN_LIMIT = 65_536
"""Most keys of which it is known that they were wanted once, some tens of bytes each."""

_Kept = dict[str, dict["Hashable", Any]]


class Seen:
    """Which keys were seen lately, by their hashes: a few of many are taken for others."""

    __slots__ = ("_marks",)

    def __init__(self) -> None:
        self._marks: set[int] = set()

    def again(self, key: Hashable) -> bool:
        """True if a key was seen before; it is seen now."""
        mark = hash(key)
        if mark in self._marks:
            return True
        if len(self._marks) >= SEEN_LIMIT:
            self._marks.clear()
        self._marks.add(mark)
        return False


class Memo:
    """By owner and key: all that is an owner's can be forgotten at once.

    What is wanted once is not kept, only what is wanted again soon: among millions of numbers most are called so seldom
    that to keep them would only cost time, and push out the others. Nor is kept what was not wanted for long: there are
    a young and an old generation, what is wanted of the old becomes young, and when the young is full the old goes.
    """

    __slots__ = ("_forgot", "_old", "_seen", "_size", "_young")

    def __init__(self) -> None:
        self._young: _Kept = {}
        self._old: _Kept = {}
        self._size = 0
        """Of the young; what was forgotten of it counts, too."""
        self._seen = Seen()
        self._forgot: list[dict[Hashable, Any]] = []

    def get(self, owner: str, key: Hashable) -> Any:
        """What is kept; None: nothing."""
        found = self._young.get(owner)
        if found is not None and key in found:
            return found[key]
        found = self._old.get(owner)
        if found is None or key not in found:
            return None
        self._put(owner, key, kept := found.pop(key))
        return kept

    def put(self, owner: str, key: Hashable, made: object) -> None:
        """Keep something, if it is not wanted for the first time."""
        self._let_go()
        if self._seen.again((owner, key)):
            self._put(owner, key, made)

    def _put(self, owner: str, key: Hashable, made: object) -> None:
        if self._size >= LIMIT // 2:
            self._forgot += self._old.values()
            self._young, self._old, self._size = {}, self._young, 0
        self._young.setdefault(owner, {})[key] = made
        self._size += 1

    def drop(self, owner: str, key: Hashable) -> None:
        """Forget one thing."""
        for kept in (self._young, self._old):
            if owner in kept:
                kept[owner].pop(key, None)

    def drop_all_of(self, owner: str) -> None:
        """Forget all that is an owner's."""
        for kept in (self._young, self._old):
            if (gone := kept.pop(owner, None)) is not None:
                self._forgot.append(gone)

    def clear(self) -> None:
        """Forget everything."""
        self._forgot += [*self._young.values(), *self._old.values()]
        self._young, self._old, self._size = {}, {}, 0

    def shrink(self) -> bool:
        """Let go of some of what is in here, when it is no longer used; False: there is nothing."""
        if self._young or self._old:
            self.clear()
        self._let_go()
        return bool(self._forgot)

    def _let_go(self) -> None:
        """Free some of what was forgotten, more than comes: neither a change nor a call must wait until all is."""
        for _ in range(2):
            if self._forgot:
                gone = self._forgot[-1]
                if gone:
                    gone.popitem()
                else:
                    self._forgot.pop()
