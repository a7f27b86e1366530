"""Calls that a worker records: rtpengine, its sidecar and a recorder are real, in the test's own process."""

from __future__ import annotations

import asyncio
import contextlib
import io
import wave
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
from prometheus_client import CollectorRegistry
from signalbox.api.routing.v1 import routing_pb2
from signalbox.api.types.v1 import recordings_pb2, types_pb2
from signalbox.g711 import A_LAW, RATE
from signalbox.ivr.medialinks import MediaLinks
from signalbox.ivr.metrics import IvrMetrics
from signalbox.media.voice.server import VoiceServer
from signalbox.recorder.pool import Pool
from signalbox.settings import ClientTlsSettings, ObjectsSettings, VoiceSettings
from signalbox.store import codec, keys
from signalbox.store.base import Put
from signalbox.store.memory import MemoryStore
from signalbox.store.objectstore import ObjectStore
from signalbox_local.rtp_party import FRAME

from support.capturing import NODE_NUMBER, CaptureNode
from support.ivr_media import media_node
from support.line_calls import world
from support.ports import free_address
from support.recording_work import Bench
from support.wait import until

if TYPE_CHECKING:
    from collections.abc import AsyncIterator
    from pathlib import Path

    from numpy.typing import NDArray
    from signalbox.api.types.v1.recordings_pb2 import Recording
    from signalbox.media.recordings import Recordings

    from support.ivr_media import Desk
    from support.line_calls import World

WAIT_S = 30.0
QUIET = A_LAW.encode(np.zeros(FRAME, dtype=np.int16))
"""20 ms."""
SILENT = 100
"""Samples up to that are."""
NODE = f"media-{NODE_NUMBER}"


def said(seconds: float, seed: int = 1) -> bytes:
    """Noise, A-law, no part of which is like another; no sample of it is silent."""
    generator = np.random.default_rng(seed)
    count = round(seconds * RATE) // FRAME * FRAME
    noise = generator.uniform(2 * SILENT, 8_000, count) * generator.choice([-1, 1], count)
    return A_LAW.encode(noise.astype(np.int16))


@dataclass
class Site:
    """``here``: worker, caller and lines."""

    here: World
    captures: CaptureNode
    bench: Bench
    voice: VoiceServer

    def flow(self, *steps: routing_pb2.ContinueResponse) -> None:
        """Of calls from now on."""
        self.here.flow(*steps)

    async def recording(self, id: str) -> Recording:
        """Wait until it is stored."""
        async with asyncio.timeout(WAIT_S):
            while True:
                found = await self.bench.catalog.get(id)
                if found is not None and found.recording.state == recordings_pb2.RECORDING_STATE_STORED:
                    return found.recording
                await asyncio.sleep(0.05)

    async def sides(self, id: str) -> NDArray[np.int16]:
        """What was recorded: caller and line, a column each."""
        with wave.open(io.BytesIO(await self.bench.audio(id))) as file:
            assert (file.getnchannels(), file.getframerate()) == (2, RATE)
            return np.frombuffer(file.readframes(file.getnframes()), dtype=np.int16).reshape(-1, 2)

    async def caller_side(self, id: str) -> bytes:
        """What was heard of the caller, A-law, without silence before and after it."""
        left = (await self.sides(id))[:, 0]
        loud = np.flatnonzero(np.abs(left) > SILENT)
        return A_LAW.encode(np.ascontiguousarray(left[loud[0] : loud[-1] + 1]))

    async def nothing_captured(self) -> None:
        """Wait until there is nothing on the node's disk."""
        async with asyncio.timeout(WAIT_S):
            while (await self.captures.list()).captures:  # noqa: ASYNC110, only asking tells
                await asyncio.sleep(0.05)


@contextlib.asynccontextmanager
async def speaking(directory: Path, recordings: Recordings | None) -> AsyncIterator[VoiceServer]:
    """What serves workers, beside what captures."""
    settings = VoiceSettings(
        cache_dir=directory / "audio", cache_mb=64, listen="127.0.0.1:0", keys_listen=free_address()
    )
    objects = ObjectStore.open(ObjectsSettings(location=str(directory / "objects")))
    voice = VoiceServer(settings, objects, CollectorRegistry(), recordings)
    await voice.start()
    try:
        yield voice
    finally:
        await voice.stop()


@contextlib.asynccontextmanager
async def site(desk: Desk, directory: Path, *lines: str, captures: bool = True) -> AsyncIterator[Site]:
    """All of it. ``captures``: False: the node's sidecar captures nothing."""
    async with contextlib.AsyncExitStack() as stack:
        store = MemoryStore()
        tenant = types_pb2.Tenant(id="acme")
        tenant.recording.format = types_pb2.RECORDING_FORMAT_WAV
        await store.commit([], [Put(keys.tenant("acme"), codec.encode(tenant))])
        bench = await stack.enter_async_context(Bench.open(store, directory, pool=Pool()))
        node = await stack.enter_async_context(CaptureNode(desk.server))
        voice = await stack.enter_async_context(speaking(directory, node.server.recordings if captures else None))
        where = {"records": True, "voice_address": voice.address, "captures_address": node.server.address}
        told = media_node(desk.server.control, NODE_NUMBER, **where)
        await store.commit([], [Put(keys.live_media(NODE), codec.encode(told))])
        links = MediaLinks("w1", desk.nodes, ClientTlsSettings(), IvrMetrics(CollectorRegistry()))
        await links.update([told])
        linked = asyncio.create_task(links.run())
        stack.push_async_callback(_ended, linked)
        await until(lambda: links.up == 1, WAIT_S)
        bench.start()
        here = await stack.enter_async_context(world(desk, *lines))
        here.ports.recordings = links
        yield Site(here, node, bench, voice)


async def _ended(task: asyncio.Task[None]) -> None:
    task.cancel()
    await asyncio.wait([task])


def voicemail(
    id: str = "night",
    *,
    silence_s: float = 30.0,
    longest_s: float = 60.0,
    least_s: float = 0.5,
    finish_keys: str = "",
    beep: bool = False,
) -> routing_pb2.ContinueResponse:
    """A step that takes a message, defaults filled in as routing does."""
    step = routing_pb2.ContinueResponse(node_id=id)
    step.node.id = id
    node = step.node.voicemail
    node.prompt, node.finish_keys, node.no_beep = "before", finish_keys, not beep
    node.max_duration.FromMilliseconds(round(longest_s * 1000))
    node.max_silence.FromMilliseconds(round(silence_s * 1000))
    node.min_duration.FromMilliseconds(round(least_s * 1000))
    return step
