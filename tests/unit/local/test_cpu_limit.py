"""Processes under a CPU limit."""

from __future__ import annotations

import os
import subprocess
import sys
import threading
import time
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from signalbox_local.cpu_limit import limited

if TYPE_CHECKING:
    from collections.abc import Iterator

WAIT_S = 20.0


@pytest.fixture
def busy() -> Iterator[subprocess.Popen[bytes]]:
    with subprocess.Popen([sys.executable, "-c", "while True: pass"]) as process:
        yield process
        process.kill()


def state(process: subprocess.Popen[bytes]) -> str:
    return Path(f"/proc/{process.pid}/stat").read_text().rpartition(")")[2].split()[0]


def seen(process: subprocess.Popen[bytes], wanted: str) -> bool:
    """Whether it comes to be in that state."""
    deadline = time.monotonic() + WAIT_S
    while state(process) != wanted:
        if time.monotonic() > deadline:
            return False
        time.sleep(0.001)
    return True


def test_it_runs_for_a_part_of_the_time(busy: subprocess.Popen[bytes]) -> None:
    with limited(busy.pid, 0.5):
        for _ in range(3):
            assert seen(busy, "T")
            assert seen(busy, "R")


def interrupted(process: subprocess.Popen[bytes]) -> None:
    with limited(process.pid, 0.01):
        assert seen(process, "T")
        raise KeyError


def test_in_the_end_it_goes_on(busy: subprocess.Popen[bytes]) -> None:
    with pytest.raises(KeyError):
        interrupted(busy)
    assert seen(busy, "R")


def test_one_that_has_ended_harms_nobody(monkeypatch: pytest.MonkeyPatch) -> None:
    asked = threading.Event()

    def kill(pid: int, number: int) -> None:
        asked.set()
        raise ProcessLookupError

    monkeypatch.setattr(os, "kill", kill)
    with limited(1, 0.5):
        assert asked.wait(WAIT_S)


@pytest.mark.parametrize("share", [0.0, 1.0, -1.0, 2.0])
def test_a_share_that_is_none(share: float) -> None:
    with pytest.raises(ValueError, match="share"), limited(1, share):
        pass
