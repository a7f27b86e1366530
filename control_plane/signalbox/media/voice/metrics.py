"""Prometheus metrics of what a media node does for workers with voice."""

from __future__ import annotations

from typing import TYPE_CHECKING

from prometheus_client import REGISTRY, Counter, Gauge

if TYPE_CHECKING:
    from prometheus_client import CollectorRegistry

KEY, NOBODYS, NO_KEY, MALFORMED = "key", "nobodys", "no_key", "malformed"
FAILURES = ("objects_unavailable", "content_lost", "cache_unusable")


class VoiceMetrics:
    """All of them, in one registry. Made by a node that speaks."""

    def __init__(self, registry: CollectorRegistry = REGISTRY) -> None:
        self._events = Counter(
            "signalbox_media_key_events",
            "Datagrams that told of keys: of a worker's call, of nobody's, of what is no key, or malformed.",
            ["kind"],
            registry=registry,
        )
        self._lost = Counter(
            "signalbox_media_keys_lost", "Keys that no worker has asked for in time.", registry=registry
        )
        self.watchers = Gauge("signalbox_media_key_watchers", "Streams of keys to workers.", registry=registry)
        self._asked = Counter(
            "signalbox_media_audio_requests",
            "Requests for audio, by whether it was on the disk.",
            ["cached"],
            registry=registry,
        )
        self._failed = Counter(
            "signalbox_media_audio_failed", "Requests for audio without a file, by why.", ["reason"], registry=registry
        )
        self._fetched = Counter(
            "signalbox_media_audio_fetched_bytes", "Content that came from the object store.", registry=registry
        )
        self._evicted = Counter(
            "signalbox_media_audio_evicted", "Files that were deleted to have room for others.", registry=registry
        )
        self.bytes = Gauge("signalbox_media_audio_bytes", "Size of the files on the disk.", registry=registry)
        self.files = Gauge("signalbox_media_audio_files", "Files on the disk.", registry=registry)
        for kind in (KEY, NOBODYS, NO_KEY, MALFORMED):
            self._events.labels(kind)
        for cached in ("true", "false"):
            self._asked.labels(cached)
        for reason in FAILURES:
            self._failed.labels(reason)

    def heard(self, kind: str) -> None:
        """A datagram came."""
        self._events.labels(kind).inc()

    def lost(self) -> None:
        """A key is forgotten that was sent to nobody."""
        self._lost.inc()

    def asked(self, *, cached: bool) -> None:
        """A file was asked for."""
        self._asked.labels("true" if cached else "false").inc()

    def failed(self, reason: str) -> None:
        """No file could be given."""
        self._failed.labels(reason).inc()

    def fetched(self, count: int) -> None:
        """So many bytes came."""
        self._fetched.inc(count)

    def evicted(self) -> None:
        """A file was deleted."""
        self._evicted.inc()
