"""Ctrl-C, a closed terminal and ``kill`` end a command the same way: KeyboardInterrupt in the main thread, once."""

from __future__ import annotations

import contextlib
import signal
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterator
    from types import FrameType

SIGNALS = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)


def install() -> None:
    """From now on each of the signals raises KeyboardInterrupt."""
    for number in SIGNALS:
        signal.signal(number, _raise)


def ignore() -> None:
    """From now on none of them does anything: the end has begun, and it is bounded in time."""
    for number in SIGNALS:
        signal.signal(number, signal.SIG_IGN)


@contextlib.contextmanager
def deferred() -> Iterator[None]:
    """Signals that arrive inside are acted on at the end, so that a process just started is never lost sight of."""
    arrived: list[tuple[int, FrameType | None]] = []
    before = {number: signal.getsignal(number) for number in SIGNALS}
    for number in SIGNALS:
        if before[number] is not signal.SIG_IGN:
            signal.signal(number, lambda *caught: arrived.append(caught))
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
    for caught in arrived:
        signal.raise_signal(caught[0])


def _raise(number: int, frame: FrameType | None) -> None:
    raise KeyboardInterrupt(signal.Signals(number).name)
