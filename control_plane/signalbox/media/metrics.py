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

    def pinged(self, latency_s: float) -> None:
        """A ping was answered."""
        self._pings.observe(latency_s)

    def missed(self) -> None:
        """A ping was not answered."""
        self._misses.inc()
