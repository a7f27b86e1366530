"""How long the machine gives a process that wants to run no time: what goes wrong then may be the machine's doing."""

from __future__ import annotations

import threading
import time
from typing import Self

EVERY_S = 0.02


class Stalls:
    """Looks 50 times a second in a thread of its own."""

    def __init__(self) -> None:
        self._over = threading.Event()
        self._longest = 0.0
        self._thread = threading.Thread(target=self._look, name="stalls", daemon=True)

    def longest_s(self) -> float:
        """The longest since this was asked last, seconds."""
        found, self._longest = self._longest, 0.0
        return found

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(self, *error: object) -> None:
        self._over.set()
        self._thread.join()

    def _look(self) -> None:
        last = time.monotonic()
        while not self._over.wait(EVERY_S):
            now = time.monotonic()
            self._longest = max(self._longest, now - last - EVERY_S)
            last = now
