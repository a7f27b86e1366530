"""Figures of the routing service, kept as plain integers: on the hot path a counter must cost next to nothing."""

from __future__ import annotations

from collections import Counter
from typing import TYPE_CHECKING

from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, HistogramMetricFamily
from prometheus_client.registry import Collector

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping

    from prometheus_client import Metric


class PowersOfTwo:
    """A histogram of non-negative integers with the bounds 2**0, 2**1, ... 2**``highest``."""

    __slots__ = ("_counts", "_highest", "total")

    def __init__(self, highest: int) -> None:
        self._highest = highest
        self._counts = [0] * (highest + 2)
        self.total = 0

    def observe(self, value: int) -> None:
        """Count one value."""
        bucket = (value - 1).bit_length() if value > 0 else 0
        self._counts[min(bucket, self._highest + 1)] += 1
        self.total += value

    def buckets(self, scale: float) -> list[tuple[str, float]]:
        """Cumulative counts, each with its upper bound times ``scale``."""
        result: list[tuple[str, float]] = []
        running = 0
        for power, count in enumerate(self._counts):
            running += count
            result.append(("+Inf" if power > self._highest else str(2**power * scale), running))
        return result


class Stats(Collector):
    """What the service has done. ``gauges`` is asked for the present state at every scrape."""

    def __init__(self, gauges: Callable[[], Mapping[str, float]]) -> None:
        self._gauges = gauges
        self.decisions: Counter[str] = Counter()
        self.refused: Counter[str] = Counter()
        self.unrecordable: Counter[str] = Counter({"goes_on": 0, "refused": 0})
        self.expired = 0
        self.uncounted = 0
        self.snapshots_sent = 0
        self.snapshots_refused = 0
        self.batch = PowersOfTwo(10)
        self.took_us = PowersOfTwo(20)

    def collect(self) -> Iterable[Metric]:
        """For the Prometheus registry."""
        decisions = CounterMetricFamily("signalbox_routing_decisions", "Calls decided, by reason.", labels=["why"])
        for why, count in self.decisions.items():
            decisions.add_metric([why], count)
        refused = CounterMetricFamily(
            "signalbox_routing_questions_refused", "Questions without a decision, by error reason.", labels=["reason"]
        )
        for reason, count in self.refused.items():
            refused.add_metric([reason], count)
        unrecordable = CounterMetricFamily(
            "signalbox_routing_unrecordable_calls",
            "Calls to be recorded that came while no media node promised to, by what became of them.",
            labels=["outcome"],
        )
        for outcome, count in self.unrecordable.items():
            unrecordable.add_metric([outcome], count)
        yield decisions
        yield refused
        yield unrecordable
        yield CounterMetricFamily(
            "signalbox_routing_questions_expired", "Questions past their deadline.", value=self.expired
        )
        yield CounterMetricFamily(
            "signalbox_routing_decisions_uncounted",
            "Decisions without limits and turns, because nothing counts them.",
            value=self.uncounted,
        )
        yield CounterMetricFamily(
            "signalbox_routing_edge_snapshots_sent", "Snapshots sent to edges.", value=self.snapshots_sent
        )
        yield CounterMetricFamily(
            "signalbox_routing_edge_snapshots_refused", "Snapshots refused by edges.", value=self.snapshots_refused
        )
        yield HistogramMetricFamily(
            "signalbox_routing_batch_questions",
            "Questions per message.",
            buckets=self.batch.buckets(1),
            sum_value=self.batch.total,
        )
        yield HistogramMetricFamily(
            "signalbox_routing_answer_seconds",
            "Time from a message of questions to its answers, sent.",
            buckets=self.took_us.buckets(1e-6),
            sum_value=self.took_us.total / 1e6,
        )
        for name, value in self._gauges().items():
            yield GaugeMetricFamily(f"signalbox_routing_{name}", _GAUGES[name], value=value)


_GAUGES = {
    "rule_revision": "etcd revision of the rules in force.",
    "rule_age_seconds": "Time since the rules were last known to be current.",
    "numbers": "Service numbers in memory.",
    "directory_map_revision": "etcd revision of the memory map of what tenants own; 0: it is not in use.",
    "directory_unwritten": "Objects of tenants in memory that the memory map has not got yet.",
    "directory_digest": "Digest of all pages of what tenants own: equal in replicas that have the same.",
    "directory_repaired": "Pages that were not as etcd has them, and were repaired, since the start.",
    "directory_differed": "Times the memory map had other pages than those that the watch told of, since the start.",
    "damaged_values": "Stored values that cannot be used.",
    "snapshot_age_seconds": "Time since the snapshot on disk was last known to be current.",
    "store_available": "1 if etcd answers.",
    "streams": "Open streams of questions.",
    "edges": "Edges that watch here.",
    "worker_starts": "How often this worker was started.",
}
