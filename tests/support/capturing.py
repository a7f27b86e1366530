"""The part of a media sidecar that looks after captures, in the test's own process, beside a real rtpengine; and calls
that are recorded through it.

::

    node = Rtpengine(tmp_path / "rtpengine", recording_dir=tmp_path / "spool").start()
    async with CaptureNode(node) as captures, RecordedCall.open(captures.client, "call-1") as call:
        await call.speak(50)
        await call.end()
        claimed = await captures.claim()
"""

from __future__ import annotations

import asyncio
import base64
import contextlib
import itertools
import socket
import struct
from typing import TYPE_CHECKING, Any

from prometheus_client import CollectorRegistry
from signalbox.api.recording.v1 import recording_pb2, recording_pb2_grpc
from signalbox.media.capture_server import CaptureServer
from signalbox.ng import NgClient
from signalbox.process import Supervisor
from signalbox.rpc import channel
from signalbox.settings import CapturesSettings, ClientTlsSettings, MediaSettings, ServerTlsSettings

from support.rtpengine import STRICT, media_address, sdp

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    from support.rtpengine import Rtpengine

NODE_NUMBER = 7
BURST = 20


def metadata(
    line: str = "line-1",
    caller: str = "13912345678",
    *,
    tenant: str = "acme",
    number: str = "4001234567",
    answered: str = "1795365481.250",
) -> str:
    """What a proxy gives rtpengine with a call of tags "caller" and "line"."""
    encoded = base64.b64encode(caller.encode()).decode()
    fields = ("sb1", answered, line, str(NODE_NUMBER), tenant, number, "caller", "line", "127.0.0.1:4000", "-", encoded)
    return ",".join(fields)


class CaptureNode:
    """Started and ended as often as one likes; ending it is like killing it, for it leaves all as it is."""

    def __init__(self, node: Rtpengine, *, dead_s: int = 60, tls: ServerTlsSettings | None = None, **more: Any) -> None:
        """``more`` are settings of media.captures."""
        captures = CapturesSettings(
            **{"spool_dir": node.recording_dir, "free_percent": 0, "free_mb": 1, **more},
            listen="127.0.0.1:0",
            tls=tls or ServerTlsSettings(),
        )
        self.settings = MediaSettings(control=node.control, dead_after_s=dead_s, captures=captures)
        self._client_tls = ClientTlsSettings()
        self.promised: list[bool] = []
        """Every change of whether the node promises to record."""

    async def __aenter__(self) -> CaptureNode:
        self.registry = CollectorRegistry()
        self.client = await NgClient.connect(self.settings.control)
        self.server = CaptureServer(
            self.settings, self.client, lambda: NODE_NUMBER, self.promised.append, self.registry
        )
        await self.server.start()
        self._supervisor = Supervisor()
        self.server.spawn(self._supervisor)
        self._channel = channel(self.server.address, self._client_tls)
        self.stub: Any = recording_pb2_grpc.CaptureServiceStub(self._channel)
        return self

    async def __aexit__(self, *_: object) -> None:
        await self._supervisor.cancel()
        await self._channel.close()
        await self.server.stop()
        self.client.close()
        assert not self._supervisor.failed

    async def list(self) -> recording_pb2.ListCapturesResponse:
        """All captures."""
        answer: recording_pb2.ListCapturesResponse = await self.stub.ListCaptures(recording_pb2.ListCapturesRequest())
        return answer

    async def capture(self, call_id: str) -> recording_pb2.Capture | None:
        """The capture of a call."""
        return next((capture for capture in (await self.list()).captures if capture.call_id == call_id), None)

    async def claim(self, wait_ms: int = 20_000, lease_ms: int = 60_000) -> recording_pb2.ClaimCaptureResponse:
        """The next capture that is ready; waits for it."""
        request = recording_pb2.ClaimCaptureRequest(recorder="test", wait_ms=wait_ms, lease_ms=lease_ms)
        answer: recording_pb2.ClaimCaptureResponse = await self.stub.ClaimCapture(request)
        return answer

    async def read(self, claim: str, segment: str, offset: int = 0) -> bytes:
        """A segment of what was claimed."""
        request = recording_pb2.ReadSegmentRequest(claim=claim, segment=segment, offset=offset)
        return b"".join([piece.content async for piece in self.stub.ReadSegment(request)])

    async def confirm(self, claimed: recording_pb2.ClaimCaptureResponse) -> None:
        """It is stored."""
        request = recording_pb2.ConfirmCaptureRequest(claim=claimed.claim, call_id=claimed.capture.call_id)
        await self.stub.ConfirmCapture(request)

    async def pause(self, call_id: str, paused: bool = True) -> None:
        """Order a pause, or its end."""
        await self.stub.SetPaused(recording_pb2.SetPausedRequest(call_id=call_id, paused=paused))

    def sample(self, name: str, **labels: str) -> float | None:
        """A metric."""
        return self.registry.get_sample_value(name, labels)


class RecordedCall:
    """A call that rtpengine carries and captures, with a socket on either side."""

    def __init__(self, client: NgClient, id: str) -> None:
        self.id = id
        self._client = client
        self._sides = [socket.socket(socket.AF_INET, socket.SOCK_DGRAM) for _ in range(2)]
        self._numbers = itertools.count()
        self.targets: list[tuple[str, int]] = []
        """Where the caller sends to, and the line."""
        for side in self._sides:
            side.bind(("127.0.0.1", 0))

    @classmethod
    @contextlib.asynccontextmanager
    async def open(cls, client: NgClient, id: str, *, recorded: bool = True) -> AsyncIterator[RecordedCall]:
        """A call that has been answered."""
        call = cls(client, id)
        try:
            await call.connect()
            if recorded:
                await call.record()
            yield call
        finally:
            call.close()

    async def connect(self) -> None:
        """Offer and answer; again: a re-INVITE."""
        (host, caller), (_, line) = (side.getsockname() for side in self._sides)
        common = {"call-id": self.id, "from-tag": "caller", "flags": STRICT, "ICE": "remove"}
        offer = await self._client.request("offer", {**common, "sdp": sdp(host, caller)})
        answer = await self._client.request("answer", {**common, "to-tag": "line", "sdp": sdp(host, line)})
        if not self.targets:
            self.targets = [media_address(str(reply["sdp"])) for reply in (answer, offer)]

    @property
    def addresses(self) -> list[str]:
        """Where caller and line send from, ``address:port``."""
        return [f"{host}:{port}" for host, port in (side.getsockname() for side in self._sides)]

    async def record(self, text: str = "") -> None:
        """As the proxy asks for it."""
        arguments = {"call-id": self.id, "metadata": text or metadata()}
        await self._client.request("start recording", arguments)

    async def speak(self, packets: int) -> None:
        """Both sides send A-law, no faster than rtpengine takes: 50 of a stream at a time, or it leaves some."""
        for number in itertools.islice(self._numbers, packets):
            if number % BURST == 0:
                await asyncio.sleep(0.01)
            for source, (side, target) in enumerate(zip(self._sides, self.targets, strict=True)):
                header = struct.pack("!BBHII", 0x80, 8, number & 0xFFFF, number * 160, source + 1)
                side.sendto(header + bytes([0xD5]) * 160, target)

    async def end(self) -> None:
        """As the proxy ends it."""
        await self._client.request("delete", {"call-id": self.id, "from-tag": "caller"})

    def close(self) -> None:
        """Close the sockets."""
        for side in self._sides:
            side.close()


async def until_seen(node: CaptureNode, call_id: str, condition: Any = bool, timeout_s: float = 15.0) -> Any:
    """Wait until the capture of a call is so, and tell it."""
    async with asyncio.timeout(timeout_s):
        while not condition(capture := await node.capture(call_id)):  # noqa: ASYNC110, only asking tells
            await asyncio.sleep(0.02)
    return capture
