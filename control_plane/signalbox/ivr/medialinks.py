"""The media nodes of the cluster and their sidecars: which there are, their keys to their calls, files at them."""

from __future__ import annotations

import asyncio
from functools import partial
from typing import TYPE_CHECKING

import structlog

from signalbox.ivr.media.keys import Key
from signalbox.ivr.ports import AudioUnavailableError, RecordingAwayError
from signalbox.ivr.voicelink import VoiceLink

if TYPE_CHECKING:
    from collections.abc import Collection, Sequence

    from signalbox.api.media.v1 import media_pb2
    from signalbox.api.routing.v1 import routing_pb2
    from signalbox.ivr.media.nodes import MediaNodes
    from signalbox.ivr.metrics import IvrMetrics
    from signalbox.ivr.ports import MessageLimits, Prepared
    from signalbox.settings import ClientTlsSettings

logger = structlog.get_logger(__name__)

LOOK_S = 5.0
"""A sidecar that left is let go so soon after the last call at its node."""

_Where = tuple[str, str]
"""A node's id, and where its sidecar serves voice."""


class MediaLinks:
    """The :class:`~signalbox.ivr.ports.Audio`, the :class:`~signalbox.ivr.ports.Recordings`, and what feeds
    :class:`MediaNodes`. Only nodes that speak are of use.

    :meth:`run` is the long-lived coroutine. A sidecar that vanished keeps its link while calls of ours are at its node:
    it may have lost the store, and not its life.
    """

    def __init__(self, worker: str, nodes: MediaNodes, tls: ClientTlsSettings, metrics: IvrMetrics) -> None:
        self._worker = worker
        self._nodes = nodes
        self._tls = tls
        self._metrics = metrics
        self._links: dict[_Where, VoiceLink] = {}
        self._wanted: frozenset[_Where] = frozenset()
        self._current: dict[str, VoiceLink] = {}
        self._changed = asyncio.Event()

    @property
    def up(self) -> int:
        """Sidecars whose keys come."""
        return sum(link.up for link in self._links.values())

    async def update(self, infos: Collection[routing_pb2.MediaNode]) -> None:
        """All media nodes that there are now."""
        speaking = [info for info in infos if info.voice_address]
        await self._nodes.update(speaking)
        self._wanted = frozenset((info.id, info.voice_address) for info in speaking)
        for where in self._wanted - self._links.keys():
            deliver = partial(self._deliver, where[0])
            self._links[where] = VoiceLink(self._worker, *where, self._tls, deliver, self._metrics)
        self._current |= {where[0]: self._links[where] for where in self._wanted}
        self._changed.set()

    async def prepare(self, node: str, parts: Sequence[media_pb2.AudioPart], *, anew: bool = False) -> Prepared:
        """As :meth:`signalbox.ivr.ports.Audio.prepare`. No other node can help: a file is where it is played."""
        link = self._current.get(node)
        if link is None:
            raise AudioUnavailableError(f"{node}: is not known")
        try:
            return await link.prepare(parts, anew=anew)
        except AudioUnavailableError:
            self._metrics.audio_failed.inc()
            raise

    async def silent(self, node: str, call_id: str, silence_s: float) -> None:
        """As :meth:`signalbox.ivr.ports.Recordings.silent`."""
        await self._link(node).silent(call_id, silence_s)

    async def pause(self, node: str, call_id: str, *, paused: bool) -> None:
        """As :meth:`signalbox.ivr.ports.Recordings.pause`."""
        await self._link(node).pause(call_id, paused=paused)

    async def end(self, node: str, call_id: str, message: MessageLimits | None = None) -> bool:
        """As :meth:`signalbox.ivr.ports.Recordings.end`."""
        return await self._link(node).end(call_id, message)

    def _link(self, node: str) -> VoiceLink:
        link = self._current.get(node)
        if link is None:
            raise RecordingAwayError(f"{node}: is not known")
        return link

    async def run(self) -> None:
        """Long-lived coroutine."""
        running: dict[_Where, asyncio.Task[None]] = {}
        async with asyncio.TaskGroup() as tasks:
            while True:
                for where, link in self._links.items():
                    if where not in running:
                        running[where] = tasks.create_task(link.run(), name=f"keys {where[0]}")
                for where in [where for where in running if self._let_go(where)]:
                    running.pop(where).cancel()
                    link = self._links.pop(where)
                    if self._current.get(where[0]) is link:
                        del self._current[where[0]]
                self._changed.clear()
                try:
                    async with asyncio.timeout(LOOK_S):
                        await self._changed.wait()
                except TimeoutError:
                    continue

    def _let_go(self, where: _Where) -> bool:
        """It is no longer there, and another one serves the node, or nothing of ours is there."""
        if where in self._wanted:
            return False
        return self._current.get(where[0]) is not self._links[where] or not self._nodes.has_calls(where[0])

    def _deliver(self, node: str, key: media_pb2.Key) -> None:
        """A node tells of its own calls: what it says of others is nobody's."""
        session = self._nodes.session(key.call_id, node)
        if session is None:
            self._metrics.keys_of_nobody.inc()
        else:
            session.key(key.tag, Key(key.digit, key.duration_ms))
