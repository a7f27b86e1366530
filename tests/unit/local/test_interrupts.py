"""Signals end a command in order, and never in the middle of what must be whole."""

from __future__ import annotations

import signal
import threading
from typing import TYPE_CHECKING

import pytest
from signalbox_local import interrupts

if TYPE_CHECKING:
    from collections.abc import Iterator


@pytest.fixture(autouse=True)
def _handlers() -> Iterator[None]:
    before = {number: signal.getsignal(number) for number in interrupts.SIGNALS}
    interrupts.install()
    yield
    for number, handler in before.items():
        signal.signal(number, handler)


@pytest.mark.parametrize("number", interrupts.SIGNALS)
def test_each_signal_interrupts(number: signal.Signals) -> None:
    with pytest.raises(KeyboardInterrupt, match=number.name):
        signal.raise_signal(number)


def test_a_signal_inside_a_deferred_block_interrupts_at_its_end() -> None:
    done = []

    def work() -> None:
        with interrupts.deferred():
            signal.raise_signal(signal.SIGTERM)
            signal.raise_signal(signal.SIGINT)
            done.append("all of it")

    with pytest.raises(KeyboardInterrupt, match="SIGTERM"):
        work()
    assert done == ["all of it"]
    with pytest.raises(KeyboardInterrupt, match="SIGINT"):
        signal.raise_signal(signal.SIGINT)


def test_a_deferred_block_does_nothing_in_another_thread() -> None:
    entered = threading.Event()

    def body() -> None:
        with interrupts.deferred():
            entered.set()

    thread = threading.Thread(target=body)
    thread.start()
    thread.join()
    assert entered.is_set()
