"""What processes have in memory, from ``/proc`` (proc(5))."""

from __future__ import annotations

import contextlib
import re
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

_LINE = re.compile(r"^(\w+):\s+(\d+) kB$", re.MULTILINE)
_MAPPING = re.compile(r"^[0-9a-f]+-[0-9a-f]+ ", re.MULTILINE)


@dataclass(frozen=True, slots=True)
class Memory:
    """Of some processes together, MiB."""

    pss: float
    """What is shared counts in part for each that shares it, so once in all."""
    private: float
    """What nobody shares."""
    shared: float
    """What is shared, once for each process."""
    mapped: float
    """What of ``pss`` is of the file that was asked for: the pages of it that were looked at."""


def of(pids: Iterable[int], file: Path | None = None) -> Memory:
    """Of processes, which may map a file; one that has ended has none."""
    found, mapped = [], 0
    for pid in pids:
        with contextlib.suppress(OSError):
            found.append(parse(Path(f"/proc/{pid}/smaps_rollup").read_text()))
            mapped += mapped_kib(Path(f"/proc/{pid}/smaps").read_text(), file) if file else 0

    def total(*names: str) -> float:
        return sum(one.get(name, 0) for one in found for name in names) / 1024

    return Memory(
        total("Pss"), total("Private_Clean", "Private_Dirty"), total("Shared_Clean", "Shared_Dirty"), mapped / 1024
    )  # fmt: skip


def parse(rollup: str) -> Mapping[str, int]:
    """The figures of a ``smaps_rollup``, or of one mapping of ``smaps``, KiB by name."""
    return {name: int(kib) for name, kib in _LINE.findall(rollup)}


def mapped_kib(smaps: str, file: Path) -> int:
    """The share in a file's pages that a process has, by its ``smaps``, KiB."""
    starts = [found.start() for found in _MAPPING.finditer(smaps)]
    mappings = [smaps[start:end] for start, end in zip(starts, [*starts[1:], len(smaps)], strict=True)]
    return sum(parse(one).get("Pss", 0) for one in mappings if one.partition("\n")[0].endswith(f" {file}"))


def group(leader: int) -> list[int]:
    """The processes of a process group."""
    pids = []
    for entry in Path("/proc").iterdir():
        if not entry.name.isdecimal():
            continue
        with contextlib.suppress(OSError):
            # The second field, the command in parentheses, may hold spaces: count from behind it.
            fields = (entry / "stat").read_text().rpartition(")")[2].split()
            if int(fields[2]) == leader:
                pids.append(int(entry.name))
    return pids
