"""What benchmarks share: medians with their spread, what the machine is, and the JSON file that keeps a run."""

from __future__ import annotations

import contextlib
import datetime as dt
import json
import os
import platform
import statistics
import subprocess
from dataclasses import dataclass
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import TYPE_CHECKING

from signalbox.files import write_atomically

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

_PROGRAMS = {
    "kamailio": ["kamailio", "-v"],
    "rtpengine": ["rtpengine", "--version"],
    "etcd": ["etcd", "--version"],
    "redis": ["redis-server", "--version"],
    "sipp": ["sipp", "-v"],
}
_PACKAGES = ("signalbox", "grpcio", "uvloop", "protobuf", "sippy")


@dataclass(frozen=True, slots=True)
class Spread:
    """Median, least and greatest of some measurements."""

    median: float
    least: float
    greatest: float

    @classmethod
    def of(cls, values: Sequence[float]) -> Spread:
        """Raises ValueError without a value."""
        if not values:
            raise ValueError("nothing was measured")
        return cls(statistics.median(values), min(values), max(values))

    def __format__(self, spec: str) -> str:
        spec = spec or ".2f"
        return f"{self.median:{spec}} ({self.least:{spec}}–{self.greatest:{spec}})"

    def json(self, digits: int = 4) -> dict[str, float]:
        """For programs."""
        return {
            "median": round(self.median, digits),
            "min": round(self.least, digits),
            "max": round(self.greatest, digits),
        }


def percentile(values: Sequence[float], share: float) -> float:
    """Nearest-rank percentile; ``share`` between 0 and 1."""
    ranked = sorted(values)
    return ranked[min(len(ranked) - 1, int(share * len(ranked)))]


def machine() -> dict[str, object]:
    """Processor, cores, system, and the versions of what is installed."""
    model = "unknown"
    for line in Path("/proc/cpuinfo").read_text().splitlines():
        if line.startswith("model name"):
            model = line.partition(":")[2].strip()
            break
    versions = {name: _first_version_line(command) for name, command in _PROGRAMS.items()}
    for name in _PACKAGES:
        with contextlib.suppress(PackageNotFoundError):
            versions[name] = version(name)
    return {
        "date": dt.datetime.now(dt.UTC).isoformat(timespec="seconds"),
        "processor": model,
        "cores": len(os.sched_getaffinity(0)),
        "system": platform.platform(),
        "distribution": platform.freedesktop_os_release().get("PRETTY_NAME", "unknown"),
        "python": platform.python_version(),
        "versions": versions,
    }


def write_json(file: Path, value: Mapping[str, object]) -> None:
    """Write a run in one step."""
    text = json.dumps(value, indent=2, ensure_ascii=False) + "\n"
    write_atomically(file, text.encode(), mode=0o644)


def _first_version_line(command: Sequence[str]) -> str:
    try:
        done = subprocess.run(command, capture_output=True, text=True, check=False)
    except OSError:
        # Valkey in place of redis, or a program that this benchmark does without.
        return "not installed"
    lines = [line.strip() for line in (done.stdout + done.stderr).splitlines() if line.strip()]
    return lines[0] if lines else "unknown"
