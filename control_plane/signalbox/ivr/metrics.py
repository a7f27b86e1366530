"""Prometheus metrics of a worker with voice."""

from __future__ import annotations

from typing import TYPE_CHECKING

from prometheus_client import REGISTRY, Counter, Gauge, Histogram
from prometheus_client.core import CounterMetricFamily
from prometheus_client.registry import Collector

from signalbox.api.types.v1 import recordings_pb2

if TYPE_CHECKING:
    from collections.abc import Iterator

    from prometheus_client import CollectorRegistry

    from signalbox.api.events.v1 import events_pb2
    from signalbox.sip.stats import Stats

_STEP_BUCKETS_S = (0.1, 0.5, 1, 2, 5, 10, 20, 60, 300)
_FIRST_BUCKETS_S = (0.02, 0.05, 0.1, 0.2, 0.5, 1, 2, 5, 10)
NOT_TOLD = "cut_short"
"""Outcome of a step in which its call ended."""
REFUSALS = ("no_cursor", "full")
_KINDS = {
    recordings_pb2.RECORDING_KIND_UNSPECIFIED: "conversation",
    recordings_pb2.RECORDING_KIND_MESSAGE: "message",
}


class IvrMetrics:
    """All of them, in one registry."""

    def __init__(self, registry: CollectorRegistry = REGISTRY) -> None:
        self._registry = registry
        self.calls = Gauge("signalbox_ivr_calls", "Calls whose flows run.", registry=registry)
        self.capacity = Gauge("signalbox_ivr_capacity_calls", "Calls that there may be.", registry=registry)
        self.legs = Gauge("signalbox_ivr_legs", "Lines that are being called, or have a call.", registry=registry)
        self.registered = Gauge(
            "signalbox_ivr_registered", "1 if the store has the newest state of the worker.", registry=registry
        )
        self.draining = Gauge("signalbox_ivr_draining", "1 if the worker takes no new calls.", registry=registry)
        self.sidecars = Gauge("signalbox_ivr_sidecars", "Media nodes whose keys come.", registry=registry)
        self._refused = Counter(
            "signalbox_ivr_invites_refused",
            "INVITEs that were refused without asking routing.",
            ["why"],
            registry=registry,
        )
        self._steps = Counter(
            "signalbox_ivr_steps",
            "Steps that ended, by kind of node and outcome.",
            ["kind", "outcome"],
            registry=registry,
        )
        self._step_seconds = Histogram(
            "signalbox_ivr_step_seconds",
            "How long steps took.",
            ["kind"],
            buckets=_STEP_BUCKETS_S,
            registry=registry,
        )
        self.first_sound = Histogram(
            "signalbox_ivr_first_sound_seconds",
            "From the INVITE until the first sound could be played.",
            buckets=_FIRST_BUCKETS_S,
            registry=registry,
        )
        self._ended = Counter("signalbox_ivr_flows_ended", "Flows that ended, by cause.", ["cause"], registry=registry)
        self.steps_asked_again = Counter(
            "signalbox_ivr_routing_failures",
            "Replicas that did not give a step that they were asked for.",
            registry=registry,
        )
        self.reports_given_up = Counter(
            "signalbox_ivr_reports_given_up", "Reports that routing refuses, or that were too many.", registry=registry
        )
        self.key_gaps = Counter(
            "signalbox_ivr_key_gaps", "Times that keys may have been lost between a sidecar and us.", registry=registry
        )
        self.keys_of_nobody = Counter("signalbox_ivr_keys_of_nobody", "Keys of calls that are over.", registry=registry)
        self.audio_failed = Counter(
            "signalbox_ivr_audio_failed", "Sounds that no file could be had for.", registry=registry
        )
        self.events_lost = Counter(
            "signalbox_ivr_events_lost", "Events that did not come into the journal.", registry=registry
        )
        self._recordings = Counter(
            "signalbox_ivr_recordings",
            "Recordings that were promised, by kind: conversations when they begin, messages when they are kept.",
            ["kind"],
            registry=registry,
        )
        for why in REFUSALS:
            self._refused.labels(why)
        for kind in _KINDS.values():
            self._recordings.labels(kind)

    def follow_sip(self, stats: Stats) -> None:
        """Tell what SIP counts."""
        self._registry.register(_SipCollector(stats))

    def refused(self, why: str) -> None:
        """An INVITE was refused: one of REFUSALS."""
        self._refused.labels(why).inc()

    def count(self, event: events_pb2.CallEvent) -> None:
        """What an event of a call says."""
        match event.WhichOneof("event"):
            case "flow_step":
                step = event.flow_step
                self._steps.labels(step.kind, step.outcome or NOT_TOLD).inc()
                self._step_seconds.labels(step.kind).observe(step.took_ms / 1000)
            case "flow_ended":
                self._ended.labels(event.flow_ended.cause).inc()
            case "recording_started":
                self._recordings.labels(_KINDS.get(event.recording_started.kind, "unknown")).inc()


class _SipCollector(Collector):
    """The plain counters of SIP, as metrics when somebody asks."""

    def __init__(self, stats: Stats) -> None:
        self._stats = stats

    def collect(self) -> Iterator[CounterMetricFamily]:
        family = CounterMetricFamily("signalbox_ivr_sip", "What SIP has counted, by name.", labels=["name"])
        for name in self._stats.__slots__:
            family.add_metric([name], getattr(self._stats, name))
        yield family
