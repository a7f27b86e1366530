"""Prometheus metrics of what a media node captures."""

from __future__ import annotations

from typing import TYPE_CHECKING

from prometheus_client import REGISTRY, Counter, Gauge

if TYPE_CHECKING:
    from prometheus_client import CollectorRegistry

    from signalbox.media.captures import Captures
    from signalbox.media.claims import Claims

ACTIVE, READY, CLAIMED = "active", "ready", "claimed"


class CaptureMetrics:
    """All of them, in one registry. Made by a node that captures."""

    def __init__(self, registry: CollectorRegistry = REGISTRY) -> None:
        self._captures = Gauge(
            "signalbox_media_captures", "Captures on the node's disk, by state.", ["state"], registry=registry
        )
        self._bytes = Gauge(
            "signalbox_media_captures_bytes", "Size of captures that are ready or claimed.", registry=registry
        )
        self._oldest = Gauge(
            "signalbox_media_captures_oldest_seconds",
            "Time since the capture became ready that waits longest; after a restart of the sidecar since that.",
            registry=registry,
        )
        self.free = Gauge(
            "signalbox_media_spool_free_bytes", "What is free on the disk of captures.", registry=registry
        )
        self.records = Gauge(
            "signalbox_media_records", "1 if the node promises to record more calls.", registry=registry
        )
        self._segments = Counter("signalbox_media_segments", "Segments that rtpengine began.", registry=registry)
        self._over = Counter(
            "signalbox_media_captures_ready",
            "Captures whose calls were over, by whether rtpengine ended all segments in order.",
            ["whole"],
            registry=registry,
        )
        self._confirmed = Counter(
            "signalbox_media_captures_confirmed", "Captures that were stored and deleted here.", registry=registry
        )
        self._lapsed = Counter(
            "signalbox_media_claims_lapsed", "Claims of recorders that were not heard of any more.", registry=registry
        )
        for state in (ACTIVE, READY, CLAIMED):
            self._captures.labels(state)
        for whole in ("true", "false"):
            self._over.labels(whole)

    def began(self) -> None:
        """A segment began."""
        self._segments.inc()

    def over(self, whole: bool) -> None:
        """A capture became ready."""
        self._over.labels("true" if whole else "false").inc()

    def confirmed(self) -> None:
        """A capture was deleted because it is stored."""
        self._confirmed.inc()

    def lapsed(self) -> None:
        """A claim ran out."""
        self._lapsed.inc()

    def count(self, captures: Captures, claims: Claims, now: float) -> None:
        """Tell what there is; ``now`` is of the clock that captures have their times of."""
        ready = [capture for capture in captures if capture.ready_since is not None]
        claimed = sum(claims.claimed(capture.call_id, now) for capture in ready)
        self._captures.labels(ACTIVE).set(len(captures) - len(ready))
        self._captures.labels(READY).set(len(ready) - claimed)
        self._captures.labels(CLAIMED).set(claimed)
        self._bytes.set(sum(segment.size for capture in ready for segment in capture.segments))
        self._oldest.set(max((now - (capture.ready_since or now) for capture in ready), default=0.0))
