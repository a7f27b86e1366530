"""Keys that mean something while people talk: *9 leads the caller on, whatever was pressed before."""

from __future__ import annotations

from typing import TYPE_CHECKING, Generic, TypeVar

if TYPE_CHECKING:
    from collections.abc import Mapping

T = TypeVar("T")

APART_S = 3.0
"""Keys that come so long after one another do not belong together: as menus wait for a further key."""


class KeySequences(Generic[T]):
    """``meanings``: what each sequence means, none the beginning of another; an empty sequence is none.

    What was pressed last counts: keys before it, to somebody else's menu, are no part of it.
    """

    def __init__(self, meanings: Mapping[str, T]) -> None:
        self._meanings = {keys: meaning for keys, meaning in meanings.items() if keys}
        self._longest = max(map(len, self._meanings), default=0)
        self._pressed = ""
        self._last_at = 0.0

    def press(self, digit: str, at: float) -> T | None:
        """What is meant now that this key was pressed, at that time in seconds; None: nothing yet."""
        if at - self._last_at > APART_S:
            self._pressed = ""
        self._pressed, self._last_at = (self._pressed + digit)[-self._longest :] if self._longest else "", at
        for keys, meaning in self._meanings.items():
            if self._pressed.endswith(keys):
                self._pressed = ""
                return meaning
        return None
