"""Prometheus metrics of the recorder."""

from __future__ import annotations

from typing import TYPE_CHECKING

from prometheus_client import REGISTRY, Counter, Gauge, Histogram

if TYPE_CHECKING:
    from prometheus_client import CollectorRegistry

_JOB_BUCKETS_S = (0.25, 0.5, 1, 2.5, 5, 10, 30, 60, 300, 1800)


class RecorderMetrics:
    """All of them, in one registry."""

    def __init__(self, registry: CollectorRegistry = REGISTRY) -> None:
        def counter(name: str, text: str, *labels: str) -> Counter:
            return Counter(f"signalbox_recorder_{name}", text, labels, registry=registry)

        def gauge(name: str, text: str, *labels: str) -> Gauge:
            return Gauge(f"signalbox_recorder_{name}", text, labels, registry=registry)

        self.stored = counter("stored", "Recordings that were stored.")
        self.partial = counter("partial", "Recordings that were stored and are partial.")
        self.missing = counter("missing", "Recordings that were found to be missing, by reason.", "reason")
        self.failures = counter("failures", "Attempts at a capture that failed, by kind.", "kind")
        self.claims = counter("claims", "Captures that were claimed, by media node.", "node")
        self.promises = counter("promises", "Promises that were taken in.")
        self.audio_seconds = counter("audio_seconds", "Audio that was rendered, seconds.")
        self.render_seconds = counter("render_seconds", "Time that rendering took, seconds.")
        self.pulled_bytes = counter("pulled_bytes", "What was pulled from media nodes, bytes.")
        self.lost_packets = counter("lost_packets", "Packets that never reached a media node, in stored recordings.")
        self.gaps = counter("gaps", "Holes that these left.")
        self.job_seconds = Histogram(
            "signalbox_recorder_job_seconds",
            "Time from the claim of a capture to its confirmation, seconds.",
            buckets=_JOB_BUCKETS_S,
            registry=registry,
        )
        self.jobs = gauge("jobs", "Captures that are worked on now.")
        self.away = gauge("need_away", "1 while work waits for it, by what it is.", "need")
        self.captures = gauge("captures", "Captures at a media node, by state.", "node", "state")
        self.oldest_wait_seconds = gauge(
            "oldest_wait_seconds", "How long the capture waits that has been seen waiting for longest, seconds."
        )
        self.unreachable_nodes = gauge(
            "unreachable_nodes", "Media nodes with captures or open promises that cannot be reached."
        )
        self.not_captured = gauge(
            "calls_not_captured", "Calls that go on, are to be recorded, and of which nothing is captured."
        )
        self.without_facts = gauge(
            "captures_without_facts", "Captures of which nobody has said for minutes whose call they are."
        )
        self.unreadable = gauge("captures_unreadable", "Captures that cannot be rendered, or joined to what is stored.")
