"""The HTTP side door of every process: ``/metrics`` (Prometheus text), ``/healthz`` (liveness) and ``/readyz``.

Liveness says that the event loop turned within the last :data:`HEARTBEAT_LIMIT_S` seconds; readiness is told by the
process itself as ``(ready, facts)`` and answered with 200 or 503 and the facts as JSON.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Mapping

from aiohttp import web
from prometheus_client import REGISTRY, CollectorRegistry
from prometheus_client.exposition import CONTENT_TYPE_LATEST, generate_latest

from signalbox import address

HEARTBEAT_INTERVAL_S = 1.0
HEARTBEAT_LIMIT_S = 10.0

Readiness = Callable[[], tuple[bool, Mapping[str, object]]]


class SideDoor:
    """Serves metrics, liveness and readiness of one process on ``host:port`` (port 0: any free one)."""

    def __init__(self, listen: str, readiness: Readiness, registry: CollectorRegistry = REGISTRY) -> None:
        self._listen = listen
        self._readiness = readiness
        self._registry = registry
        self._beat = time.monotonic()
        self._runner: web.AppRunner | None = None
        self.port = 0

    async def start(self) -> None:
        """Bind and serve. Raises OSError if the address is taken."""
        app = web.Application()
        app.router.add_get("/metrics", self._metrics)
        app.router.add_get("/healthz", self._healthz)
        app.router.add_get("/readyz", self._readyz)
        self._runner = web.AppRunner(app, access_log=None)
        await self._runner.setup()
        site = web.TCPSite(self._runner, *address.split(self._listen))
        await site.start()
        self.port = self._runner.addresses[0][1]

    async def stop(self) -> None:
        """Close the socket."""
        if self._runner is not None:
            await self._runner.cleanup()

    async def heartbeat(self) -> None:
        """Long-lived coroutine: proves that the loop turns."""
        while True:
            self._beat = time.monotonic()
            await asyncio.sleep(HEARTBEAT_INTERVAL_S)

    async def _metrics(self, request: web.Request) -> web.Response:
        return web.Response(body=generate_latest(self._registry), headers={"Content-Type": CONTENT_TYPE_LATEST})

    async def _healthz(self, request: web.Request) -> web.Response:
        age = time.monotonic() - self._beat
        return web.json_response({"heartbeat_age_s": round(age, 3)}, status=200 if age < HEARTBEAT_LIMIT_S else 503)

    async def _readyz(self, request: web.Request) -> web.Response:
        ready, facts = self._readiness()
        return web.json_response({"ready": ready, **facts}, status=200 if ready else 503)
