"""How often captures have failed in a row, and how."""

from __future__ import annotations

import time
from collections import Counter
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping


class Strikes:
    """Of captures that this process has failed at."""

    def __init__(self, forget_s: float, clock: Callable[[], float] = time.monotonic) -> None:
        """``forget_s``: what was not failed at for so long is another's, or begins anew."""
        self._forget_s = forget_s
        self._clock = clock
        self._counts: dict[str, Counter[str]] = {}
        self._last: dict[str, float] = {}

    def of(self, call_id: str) -> Mapping[str, int]:
        """How often, by the kind of the failure; 0 of what there was none."""
        return self._counts.get(call_id, Counter())

    def note(self, call_id: str, kind: str) -> None:
        """It has failed once more."""
        now = self._clock()
        for old in [one for one, last in self._last.items() if now - last > self._forget_s]:
            self.over(old)
        self._counts.setdefault(call_id, Counter())[kind] += 1
        self._last[call_id] = now

    def over(self, call_id: str) -> None:
        """It has succeeded."""
        self._counts.pop(call_id, None)
        self._last.pop(call_id, None)
