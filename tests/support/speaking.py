"""The part of a media sidecar that serves workers with voice, in the test's own process, beside a real rtpengine; and
a caller who presses keys and hears what is played.

::

    node = SpeakingNode(tmp_path, objects)
    async with node, Caller.open(node.client, "ivr-1.7") as caller, Watch(node.address, "ivr-1") as watch:
        await caller.press("42#")
        assert await watch.digits(3) == "42#"
"""

from __future__ import annotations

import asyncio
import contextlib
import socket
import struct
from typing import TYPE_CHECKING, Any

import grpc
from prometheus_client import CollectorRegistry
from signalbox.api.media.v1 import media_pb2, media_pb2_grpc
from signalbox.media.voice.keydatagram import DIGITS
from signalbox.media.voice.server import VoiceServer
from signalbox.ng import NOBODY, NOBODY_PORT, NgClient
from signalbox.process import Supervisor
from signalbox.rpc import channel
from signalbox.settings import ClientTlsSettings, ServerTlsSettings, VoiceSettings

from support.ports import free_address
from support.rtpengine import STRICT, Rtpengine, media_address

if TYPE_CHECKING:
    from collections.abc import AsyncIterator
    from pathlib import Path

    from signalbox.store.objectstore import ObjectStore

DEADLINE_S = 20.0
EVENTS = 101
"""Payload type of telephone events."""
A_LAW = 8
FRAME = 160
PRESSED = 800
"""Ticks that a key is held: 100 ms."""


class SpeakingNode:
    """Its rtpengine lives as long as the object; what is beside it is started and ended with the context."""

    def __init__(self, directory: Path, objects: ObjectStore, tls: ServerTlsSettings | None = None) -> None:
        keys = free_address()
        self.settings = VoiceSettings(
            cache_dir=directory / "audio",
            cache_mb=64,
            listen="127.0.0.1:0",
            keys_listen=keys,
            tls=tls or ServerTlsSettings(),
        )
        self._objects = objects
        self.rtpengine = Rtpengine(directory / "rtpengine", keys=keys).start()

    async def __aenter__(self) -> SpeakingNode:
        self.registry = CollectorRegistry()
        self.client = await NgClient.connect(self.rtpengine.control)
        self.server = VoiceServer(self.settings, self._objects, self.registry)
        await self.server.start()
        self._supervisor = Supervisor()
        self.server.spawn(self._supervisor)
        self._channel = channel(self.server.address, ClientTlsSettings())
        self.stub: Any = media_pb2_grpc.VoiceServiceStub(self._channel)
        return self

    async def __aexit__(self, *_: object) -> None:
        await self._supervisor.cancel()
        await self.server.stop()
        await self._channel.close()
        self.client.close()
        assert not self._supervisor.failed

    @property
    def address(self) -> str:
        """Where workers find it."""
        return self.server.address

    async def prepare(self, *parts: media_pb2.AudioPart) -> media_pb2.PrepareAudioResponse:
        """A file to play."""
        request = media_pb2.PrepareAudioRequest(parts=parts)
        answer: media_pb2.PrepareAudioResponse = await self.stub.PrepareAudio(request)
        return answer

    def sample(self, name: str, **labels: str) -> float | None:
        """A metric."""
        return self.registry.get_sample_value(name, labels)


class Watch:
    """A worker's stream of keys. Made again of the one before it goes on where that ended."""

    def __init__(self, address: str, worker: str, before: Watch | None = None) -> None:
        self._address = address
        self._worker = worker
        self.instance = before.instance if before is not None else ""
        self.sequence = before.sequence if before is not None else 0
        self.keys: list[media_pb2.Key] = []

    async def __aenter__(self) -> Watch:
        """From now on no key is missed."""
        self._channel = channel(self._address, ClientTlsSettings())
        stub = media_pb2_grpc.VoiceServiceStub(self._channel)
        request = media_pb2.WatchKeysRequest(worker=self._worker, instance=self.instance, after_sequence=self.sequence)
        async with asyncio.timeout(DEADLINE_S):
            while True:
                self._call = stub.WatchKeys(request)
                try:
                    await self.take()
                    return self
                except grpc.aio.AioRpcError as error:
                    # On a connection that was cut, which gRPC had not noticed yet.
                    if error.code() is not grpc.StatusCode.UNAVAILABLE:
                        await self._channel.close()
                        raise
                await asyncio.sleep(0.05)

    async def __aexit__(self, *_: object) -> None:
        self._call.cancel()
        await self._channel.close()

    async def take(self) -> None:
        """The next response. Raises AioRpcError when the stream has ended."""
        async with asyncio.timeout(DEADLINE_S):
            response = await self._call.read()
        self.instance = response.instance
        for key in response.keys:
            assert key.sequence > self.sequence
            self.sequence = key.sequence
            self.keys.append(key)

    async def digits(self, count: int) -> str:
        """What has come, once there are so many keys."""
        while len(self.keys) < count:
            await self.take()
        return "".join(key.digit for key in self.keys)


class Caller:
    """A call of a worker: the caller's side is a socket here, the worker's is made up."""

    def __init__(self, client: NgClient, id: str) -> None:
        self.id = id
        self._client = client
        self._socket = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        self._socket.bind(("127.0.0.1", 0))
        self._socket.setblocking(False)
        self._sequence = 0
        # rtpengine takes an event at 0 for one that it has had.
        self._ticks = FRAME
        self._target = ("", 0)

    @classmethod
    @contextlib.asynccontextmanager
    async def open(cls, client: NgClient, id: str) -> AsyncIterator[Caller]:
        """Anchored at the rtpengine."""
        caller = cls(client, id)
        try:
            own, nowhere = caller._socket.getsockname(), (NOBODY, NOBODY_PORT)
            common = {"call-id": id, "from-tag": "caller", "flags": STRICT, "ICE": "remove"}
            await client.request("offer", {**common, "sdp": _sdp(*own)})
            answer = await client.request("answer", {**common, "to-tag": "ivr", "sdp": _sdp(*nowhere)})
            caller._target = media_address(str(answer["sdp"]))
            yield caller
            await client.request("delete", {"call-id": id, "from-tag": "caller"})
        finally:
            caller._socket.close()

    async def speak(self) -> None:
        """A frame of silence."""
        self._send(A_LAW, b"\xd5" * FRAME, self._ticks)
        self._ticks += FRAME

    async def press(self, digits: str, *, ends: int = 3) -> None:
        """Keys (RFC 4733 section 2.5): packets while it is held, then its end, thrice."""
        for digit in digits:
            await self.event(DIGITS.index(digit), ends=ends)

    async def event(self, event: int, *, ends: int = 3) -> None:
        """The same for any event."""
        for held in range(FRAME, PRESSED + 1, FRAME):
            self._send(EVENTS, struct.pack("!BBH", event, 10, held), self._ticks, marker=held == FRAME)
        for _ in range(ends):
            self._send(EVENTS, struct.pack("!BBH", event, 0x80 | 10, PRESSED), self._ticks)
        self._ticks += 2 * PRESSED
        # No faster than rtpengine takes.
        await asyncio.sleep(0.01)

    async def play(self, path: str) -> int:
        """Begin with a file; how long it plays, by rtpengine's word, milliseconds."""
        reply = await self._client.request("play media", {"call-id": self.id, "from-tag": "caller", "file": path})
        duration = reply["duration"]
        assert isinstance(duration, int)
        return duration

    async def hear(self, count: int) -> bytes:
        """So many samples, from the next packet on."""
        heard = bytearray()
        loop = asyncio.get_running_loop()
        async with asyncio.timeout(DEADLINE_S):
            while len(heard) < count:
                heard += (await loop.sock_recv(self._socket, 2048))[12:]
        return bytes(heard)

    def _send(self, payload_type: int, payload: bytes, ticks: int, *, marker: bool = False) -> None:
        self._sequence += 1
        head = struct.pack("!BBHII", 0x80, payload_type | marker << 7, self._sequence & 0xFFFF, ticks, 7)
        self._socket.sendto(head + payload, self._target)


def _sdp(host: str, port: int) -> str:
    return "\r\n".join(
        (
            "v=0",
            f"o=- 1 1 IN IP4 {host}",
            "s=-",
            f"c=IN IP4 {host}",
            "t=0 0",
            f"m=audio {port} RTP/AVP {A_LAW} {EVENTS}",
            f"a=rtpmap:{A_LAW} PCMA/8000",
            f"a=rtpmap:{EVENTS} telephone-event/8000",
            f"a=fmtp:{EVENTS} 0-16",
            "a=ptime:20",
            "",
        )
    )
