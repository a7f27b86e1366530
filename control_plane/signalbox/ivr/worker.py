"""The calls of a worker: taken by SIP, each run by a coroutine, and run out or ended when the worker stops."""

from __future__ import annotations

import asyncio
import time
from dataclasses import replace
from typing import TYPE_CHECKING

import structlog

from signalbox import address
from signalbox.ivr import runner
from signalbox.ivr.ending import RETRY_AFTER_S
from signalbox.sip.outgoing import OutgoingCall
from signalbox.sip.transactions.layer import Transactions
from signalbox.sip.transport import Transports
from signalbox.sip.useragent import UserAgent

if TYPE_CHECKING:
    from collections.abc import Sequence

    from signalbox.api.media.v1 import media_pb2
    from signalbox.ivr.media.nodes import MediaNodes
    from signalbox.ivr.metrics import IvrMetrics
    from signalbox.ivr.ports import Audio, Ports, Prepared
    from signalbox.settings import IvrSettings
    from signalbox.sip.incoming import IncomingCall

logger = structlog.get_logger(__name__)

POLL_S = 0.1
END_S = 10.0
"""At the end calls that are broken off have so long to free what they have."""
LAST_S = 3.0
"""At the end the other parties have so long to take our BYE."""


class Worker:
    """To be made within the event loop. Until :meth:`serve` INVITEs are answered 503.

    Whoever sends an INVITE needs a cursor, which routing has signed for that call and checks at its first step: it is
    asked for, and not where the INVITE comes from. A proxy may have addresses that it does not advertise.
    """

    def __init__(self, settings: IvrSettings, nodes: MediaNodes, ports: Ports, metrics: IvrMetrics) -> None:
        self._settings = settings
        self._nodes = nodes
        self._ports = ports
        self._metrics = metrics
        self._transports = Transports()
        self._transactions = Transactions(self._transports)
        self._ua: UserAgent | None = None
        self._flows: set[asyncio.Task[None]] = set()
        metrics.calls.set_function(lambda: self.calls)
        metrics.legs.set_function(lambda: self.legs)
        metrics.capacity.set(settings.capacity)
        metrics.follow_sip(self._transports.stats)

    @property
    def calls(self) -> int:
        """Calls whose flows run."""
        return len(self._flows)

    @property
    def legs(self) -> int:
        """Lines that are being called, or have a call."""
        return 0 if self._ua is None else sum(isinstance(call, OutgoingCall) for call in self._ua.calls)

    @property
    def sip_address(self) -> str:
        """Where the proxies find it. Raises ConfigurationError for what they could not send to."""
        told = self._settings.advertise or self._settings.listen
        return address.join(*address.setting("ivr.advertise" if self._settings.advertise else "ivr.listen", told))

    async def listen(self) -> None:
        """Open the sockets. Raises ConfigurationError."""
        host, port = address.setting("ivr.listen", self._settings.listen)
        advertised = self.sip_address if self._settings.advertise else ""
        await self._transports.listen_udp(str(host), port, advertised=advertised)
        await self._transports.listen_tcp(str(host), port, advertised=advertised)

    def serve(self) -> None:
        """Take calls from now on."""
        self._ua = UserAgent(self._transactions, self._take)

    async def drain(self) -> None:
        """Take no more calls; return when those that there are have ended, or after ``drain_s``."""
        if self._ua is None:
            return
        self._ua.drain()
        try:
            async with asyncio.timeout(self._settings.drain_s):
                while self._flows:  # noqa: ASYNC110, calls end one by one
                    await asyncio.sleep(POLL_S)
        except TimeoutError:
            logger.warning("drained_with_calls_left", calls=self.calls)

    async def end(self) -> None:
        """End what is left, and close the sockets."""
        for flow in self._flows:
            flow.cancel()
        if self._flows:
            await asyncio.wait(self._flows, timeout=END_S)
        if self._ua is not None:
            await self._ua.close(LAST_S)
        self._transactions.close()
        await self._transports.close()

    async def _take(self, invite: IncomingCall) -> None:
        if not invite.request.headers.get(runner.CURSOR):
            self._metrics.refused("no_cursor")
            invite.reject(403)
        elif len(self._flows) >= self._settings.capacity:
            self._metrics.refused("full")
            invite.reject(503, headers=[("Retry-After", str(RETRY_AFTER_S))])
        else:
            await self._run(invite)

    async def _run(self, invite: IncomingCall) -> None:
        task = asyncio.current_task()
        assert task is not None
        assert self._ua is not None
        self._flows.add(task)
        ports = replace(self._ports, audio=_Timed(self._ports.audio, self._metrics))
        try:
            await runner.run(invite, self._ua, self._nodes, ports, self._settings.id)
        finally:
            self._flows.discard(task)


class _Timed:
    """The audio of one call: tells how long it took until there was something to be heard."""

    def __init__(self, audio: Audio, metrics: IvrMetrics) -> None:
        self._audio = audio
        self._metrics = metrics
        self._began: float | None = time.monotonic()

    async def prepare(self, node: str, parts: Sequence[media_pb2.AudioPart], *, anew: bool = False) -> Prepared:
        """As :meth:`signalbox.ivr.ports.Audio.prepare`."""
        prepared = await self._audio.prepare(node, parts, anew=anew)
        if self._began is not None:
            self._metrics.first_sound.observe(time.monotonic() - self._began)
            self._began = None
        return prepared
