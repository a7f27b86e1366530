"""Prometheus metrics of the media sidecar."""

from __future__ import annotations

from typing import TYPE_CHECKING

from prometheus_client import REGISTRY, Counter, Gauge, Histogram

if TYPE_CHECKING:
    from prometheus_client import CollectorRegistry

_LATENCY_BUCKETS_S = (0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25)


class MediaMetrics:
    """All of them, in one registry."""

    def __init__(self, registry: CollectorRegistry = REGISTRY) -> None:
        self.healthy = Gauge("signalbox_media_rtpengine_healthy", "1 if the rtpengine answers.", registry=registry)
        self.calls = Gauge("signalbox_media_calls", "Calls that the rtpengine carries.", registry=registry)
        self.capacity = Gauge("signalbox_media_capacity_calls", "Calls that it may carry.", registry=registry)
        self.registered = Gauge(
            "signalbox_media_registered", "1 if the store has the newest state of the node.", registry=registry
        )
        self.draining = Gauge("signalbox_media_draining", "1 if the node takes no new calls.", registry=registry)
        self._pings = Histogram(
            "signalbox_media_ping_seconds",
            "Time for the rtpengine to answer a ping.",
            buckets=_LATENCY_BUCKETS_S,
            registry=registry,
        )
        self._misses = Counter("signalbox_media_ping_misses", "Pings without an answer in time.", registry=registry)
        self.dead = Gauge(
            "signalbox_media_dead_calls", "Calls with dead media that have not been ended yet.", registry=registry
        )
        self._looks = Counter("signalbox_media_looks", "Looks at whether a call's media live.", registry=registry)
        self._reports = Counter("signalbox_media_reports", "Reports that routing has taken.", registry=registry)
        self._refusals = Counter(
            "signalbox_media_reports_refused", "Messages of reports that no routing replica took.", registry=registry
        )
        self._given_up = Counter(
            "signalbox_media_reports_given_up", "Reports that routing refuses for good.", registry=registry
        )

    def pinged(self, latency_s: float) -> None:
        """A ping was answered."""
        self._pings.observe(latency_s)

    def missed(self) -> None:
        """A ping was not answered."""
        self._misses.inc()

    def looked(self) -> None:
        """A call was looked at."""
        self._looks.inc()

    def reported(self, count: int) -> None:
        """A routing replica took so many reports."""
        self._reports.inc(count)

    def report_refused(self) -> None:
        """No replica took a message."""
        self._refusals.inc()

    def report_given_up(self) -> None:
        """Routing refuses a report for good."""
        self._given_up.inc()
