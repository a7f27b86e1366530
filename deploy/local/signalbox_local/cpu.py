"""Processor time from ``/proc`` (proc(5))."""

from __future__ import annotations

import contextlib
import os
from pathlib import Path

_TICKS_PER_S = os.sysconf("SC_CLK_TCK")


def group_cpu_seconds(leader: int) -> float:
    """User and system time of a process group, with that of children which have ended and were waited for, seconds."""
    ticks = 0
    for entry in Path("/proc").iterdir():
        if not entry.name.isdecimal():
            continue
        with contextlib.suppress(OSError):
            # The second field, the command in parentheses, may hold spaces: count from behind it.
            fields = (entry / "stat").read_text().rpartition(")")[2].split()
            if int(fields[2]) == leader:
                ticks += sum(map(int, fields[11:15]))
    return ticks / _TICKS_PER_S
