"""Counters of the hot path: plain integers, turned into Prometheus metrics only when somebody asks."""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Callable, Iterable, Iterator
from typing import TYPE_CHECKING

from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, HistogramMetricFamily
from prometheus_client.registry import Collector

if TYPE_CHECKING:
    from prometheus_client import Metric

LATENCY_BOUNDS_S = (0.001, 0.002, 0.003, 0.005, 0.0075, 0.01, 0.02, 0.05, 0.1, 0.2, 0.35, 0.5)


class Stats:
    """What happened to questions since the start."""

    __slots__ = (
        "errors", "hedge_wins", "hedges", "last_good", "late_answers", "latency_counts", "latency_sum", "malformed",
        "moved", "questions", "refused_source", "routed", "send_failed", "shed", "timeouts", "unavailable",
        "unreadable", "unusable",
    )  # fmt: skip

    def __init__(self) -> None:
        self.questions = 0
        self.routed = 0
        self.last_good = 0
        self.unavailable = 0
        self.shed = 0
        self.malformed = 0
        self.unusable = 0
        self.errors = 0
        self.unreadable = 0
        self.refused_source = 0
        self.hedges = 0
        self.hedge_wins = 0
        self.late_answers = 0
        self.timeouts = 0
        self.moved = 0
        self.send_failed = 0
        self.latency_counts = [0] * (len(LATENCY_BOUNDS_S) + 1)
        self.latency_sum = 0.0

    def observe(self, seconds: float) -> None:
        """Time from a question to its answer."""
        self.latency_counts[bisect_left(LATENCY_BOUNDS_S, seconds)] += 1
        self.latency_sum += seconds


_COUNTERS = {
    "questions": "Questions taken from the proxy.",
    "hedges": "Questions put to a second replica because the first was late.",
    "hedge_wins": "Questions that the second replica answered first.",
    "late_answers": "Answers dropped because the question was already answered or given up.",
    "timeouts": "Questions that no replica answered in time.",
    "moved": "Questions put to another replica because theirs was lost or could not decide.",
    "unreadable": "Datagrams dropped because they name no transaction.",
    "refused_source": "Datagrams dropped because they did not come from this machine.",
    "send_failed": "Decisions that could not be sent to the proxy.",
}
_SOURCES = {
    "routing": "routed",
    "last_good": "last_good",
    "unavailable": "unavailable",
    "overload": "shed",
    "malformed": "malformed",
    "unusable": "unusable",
    "error": "errors",
}

Gauges = Callable[[], Iterable[tuple[str, str, float, dict[str, str]]]]
"""Gives (name without prefix, help, value, labels) of every gauge."""


class EdgeCollector(Collector):
    """Exports :class:`Stats` and the gauges of the other parts as ``signalbox_edge_*``."""

    def __init__(self, stats: Stats, gauges: Gauges) -> None:
        self._stats = stats
        self._gauges = gauges

    def collect(self) -> Iterator[Metric]:
        """One set of metrics (prometheus_client calls this)."""
        stats = self._stats
        for name, text in _COUNTERS.items():
            yield CounterMetricFamily(f"signalbox_edge_{name}", text, value=getattr(stats, name))
        answers = CounterMetricFamily(
            "signalbox_edge_answers", "Decisions given to the proxy, by where they came from.", labels=["source"]
        )
        for source, name in _SOURCES.items():
            answers.add_metric([source], getattr(stats, name))
        yield answers
        buckets: list[tuple[str, float]] = []
        total = 0
        for bound, count in zip((*map(str, LATENCY_BOUNDS_S), "+Inf"), stats.latency_counts, strict=True):
            total += count
            buckets.append((bound, total))
        yield HistogramMetricFamily(
            "signalbox_edge_answer_seconds", "Time from a question to its answer by routing.", buckets=buckets,
            sum_value=stats.latency_sum,
        )  # fmt: skip
        families: dict[str, GaugeMetricFamily] = {}
        for name, text, value, labels in self._gauges():
            family = families.get(name)
            if family is None:
                family = GaugeMetricFamily(f"signalbox_edge_{name}", text, labels=list(labels))
                families[name] = family
            family.add_metric(list(labels.values()), value)
        yield from families.values()
