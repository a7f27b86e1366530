"""The figures of ``make bench-ivr``, from what was measured. Pure."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Any

from rich.table import Table

from signalbox_local.bench import Spread
from signalbox_local.flow_rounds import HOLD_S, KIND

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from signalbox_local.flow_rounds import Level, Window

SETUPS, SETUPS_AIM = 200, 500
CALLS, CALLS_AIM = 3_000, 10_000
MEMORY_MB = 1_000
"""To reach."""


@dataclass(frozen=True, slots=True)
class Part:
    """What the calls at one cluster gave."""

    figures: Mapping[str, Any]
    failed: Mapping[str, int]
    """How many calls, by why."""
    resent: Mapping[str, int]
    """SIP messages that were sent again, by kind."""
    unfinished: int
    """Calls that were not over when all were awaited."""
    left: Mapping[str, int]
    """Of calls, when all were over: at the worker, at rtpengine, in redis."""

    @property
    def clean(self) -> bool:
        """No call failed, and nothing was left of any."""
        return not (self.failed or self.unfinished or any(self.left.values()))


def setups(windows: Sequence[Window], idle: Mapping[str, float], highest: float) -> dict[str, Any]:
    """Of windows, with what was used without calls, and the highest rate that was carried before them (0: unknown)."""
    parts = {kind: Spread.of([one.per_call_ms[kind] for one in windows]) for kind in windows[0].cpu_s}
    per_core = Spread.of([one.setups_per_s_core for one in windows])
    return {
        "setups_per_s_core": round(per_core.median, 1),
        "setups": {
            "per_s_core": per_core.json(1),
            "worker_ms_per_call": parts[KIND].json(3),
            "parts_ms_per_call": {kind: spread.json(3) for kind, spread in parts.items()},
            "idle_cores": {kind: round(share, 4) for kind, share in idle.items()},
            "rate": windows[0].rate,
            "highest_rate_carried": highest,
            "held_s": HOLD_S,
            "answer_p99_ms": Spread.of([one.answer_p99_ms for one in windows]).json(1),
            "connect_p99_ms": Spread.of([one.connect_p99_ms for one in windows]).json(1),
            "windows": [asdict(one) for one in windows],
        },
    }


def concurrent(levels: Sequence[Level], fresh_mb: float, after_mb: float) -> dict[str, Any]:
    """Of levels, from least to most; memory of the worker before all calls, and after them."""
    most = max((one for one in levels if one.carried), key=lambda one: one.calls, default=levels[0])
    return {
        "concurrent_calls": most.alive,
        "worker_rss_mb": round(most.rss_mb),
        "concurrent": {
            "levels": [asdict(one) for one in levels],
            "fresh_rss_mb": round(fresh_mb, 1),
            "after_rss_mb": round(after_mb, 1),
            "kb_per_call": round((most.rss_mb - fresh_mb) * 1000 / max(1, most.alive), 1),
        },
    }


def summary(parts: Mapping[str, Part]) -> dict[str, Any]:
    """All figures, and how each part ended."""
    figures: dict[str, Any] = {}
    for part in parts.values():
        figures |= part.figures
    ends = {
        name: {
            "failed": dict(part.failed),
            "resent": dict(part.resent),
            "unfinished": part.unfinished,
            "left": dict(part.left),
        }
        for name, part in parts.items()
    }
    return figures | {"failed": sum(sum(part.failed.values()) for part in parts.values()), "ends": ends}


def table(figures: Mapping[str, Any]) -> Table:
    """What was measured, with what is to be reached."""
    rows = Table("figure", "measured", "to reach", box=None, pad_edge=False)
    wanted = {
        "setups_per_s_core": f"≥ {SETUPS}, aim {SETUPS_AIM}",
        "concurrent_calls": f"≥ {CALLS}, aim {CALLS_AIM}",
        "worker_rss_mb": f"≤ {MEMORY_MB}",
        "failed": "0",
    }
    for name, asked in wanted.items():
        if name in figures:
            rows.add_row(name, str(figures[name]), asked)
    return rows
