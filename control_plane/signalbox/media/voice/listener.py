"""Takes what rtpengine tells of keys, and keeps it for the workers whose calls they are of."""

from __future__ import annotations

import asyncio
import time
from typing import TYPE_CHECKING

import structlog

from signalbox import address
from signalbox.api.media.v1 import media_pb2
from signalbox.errors import ConfigurationError
from signalbox.media.voice import keydatagram
from signalbox.media.voice.metrics import KEY, MALFORMED, NO_KEY, NOBODYS

if TYPE_CHECKING:
    from signalbox.media.voice.keylog import KeyLogs
    from signalbox.media.voice.metrics import VoiceMetrics

logger = structlog.get_logger(__name__)

FORGET_INTERVAL_S = 1.0


class KeyListener(asyncio.DatagramProtocol):
    """Listens on a loopback address: only who is on this machine can tell of keys."""

    def __init__(self, logs: KeyLogs, metrics: VoiceMetrics) -> None:
        self._logs = logs
        self._metrics = metrics
        self._transport: asyncio.DatagramTransport | None = None
        self._warned = False

    async def start(self, listen: str) -> str:
        """Listen on ``host:port``; returns where. Raises ConfigurationError."""
        ip, port = address.setting("media.voice.keys_listen", listen, loopback=True, least_port=0)
        loop = asyncio.get_running_loop()
        try:
            self._transport, _ = await loop.create_datagram_endpoint(lambda: self, local_addr=(str(ip), port))
        except OSError as error:
            raise ConfigurationError(f"media.voice.keys_listen: {listen}: {error}") from error
        return address.join(ip, self._transport.get_extra_info("sockname")[1])

    def stop(self) -> None:
        """Listen no longer."""
        if self._transport is not None:
            self._transport.close()

    async def forget(self) -> None:
        """Long-lived coroutine: keys that nobody has asked for do not stay."""
        while True:
            self._logs.forget(time.monotonic())
            await asyncio.sleep(FORGET_INTERVAL_S)

    def datagram_received(self, data: bytes, addr: object) -> None:
        """A key was let go, by the word of rtpengine."""
        try:
            press = keydatagram.parse(data)
        except keydatagram.MalformedKeyError as error:
            self._metrics.heard(MALFORMED)
            if not self._warned:
                logger.warning("key_malformed", reason=str(error), size_bytes=len(data))
            self._warned = True
            return
        if not press.digit:
            self._metrics.heard(NO_KEY)
        elif not press.worker:
            # Of a call that passes through: rtpengine tells of all.
            self._metrics.heard(NOBODYS)
        else:
            self._metrics.heard(KEY)
            self._logs.add(press.worker, _key(press), time.monotonic())


def _key(press: keydatagram.KeyPress) -> media_pb2.Key:
    key = media_pb2.Key(
        call_id=press.call_id,
        tag=press.tag,
        digit=press.digit,
        duration_ms=press.duration_ms,
        volume_dbm0=-press.volume,
    )
    # rtpengine's own time has whole seconds.
    key.time.FromMilliseconds(time.time_ns() // 1_000_000)
    return key
