"""A process that may run for a part of the time only, as under a CPU limit (CFS bandwidth control), by signals.

What a core carries shows where there is no more of it to be had: a process that is always short of time finds all that
came meanwhile at once. One that is mostly idle is awoken for each datagram, and the caches are somebody else's by then.
"""

from __future__ import annotations

import contextlib
import os
import signal
import threading
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterator

PERIOD_S = 0.1
"""As the kernel's usual one."""


@contextlib.contextmanager
def limited(pid: int, share: float, period_s: float = PERIOD_S) -> Iterator[None]:
    """Within, a process of ours may run for ``share`` of each period, between 0 and 1. In the end it goes on."""
    if not 0 < share < 1:
        raise ValueError(f"share: must be between 0 and 1, not {share}")
    over = threading.Event()

    def ration() -> None:
        try:
            while not over.is_set():
                os.kill(pid, signal.SIGSTOP)
                over.wait((1 - share) * period_s)
                os.kill(pid, signal.SIGCONT)
                over.wait(share * period_s)
        except ProcessLookupError:
            return

    rationing = threading.Thread(target=ration, name=f"limit {pid}", daemon=True)
    rationing.start()
    try:
        yield
    finally:
        over.set()
        rationing.join()
        with contextlib.suppress(ProcessLookupError):
            os.kill(pid, signal.SIGCONT)
