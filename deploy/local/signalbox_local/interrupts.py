"""Ctrl-C, a closed terminal and ``kill`` end a command the same way: KeyboardInterrupt in the main thread, once."""

from __future__ import annotations

import contextlib
import signal
import threading
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterator
    from types import FrameType

SIGNALS = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)


def install() -> None:
    """From now on each of the signals raises KeyboardInterrupt."""
    for number in SIGNALS:
        signal.signal(number, _raise)


@contextlib.contextmanager
def deferred() -> Iterator[None]:
    """Signals that arrive inside are acted on at the end: for what must not be left half done.

    Does nothing outside the main thread, which Python's signal handlers never interrupt.
    """
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    arrived: list[int] = []
    handlers = {number: signal.getsignal(number) for number in SIGNALS}
    for number in SIGNALS:
        if callable(handlers[number]):
            signal.signal(number, lambda caught, frame: arrived.append(caught))
    try:
        yield
    finally:
        for number, handler in handlers.items():
            if callable(handler):
                signal.signal(number, handler)
        if arrived:
            signal.raise_signal(arrived[0])


def _raise(number: int, frame: FrameType | None) -> None:
    raise KeyboardInterrupt(signal.Signals(number).name)
