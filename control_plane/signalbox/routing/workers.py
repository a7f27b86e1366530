"""Several workers that share the port (SO_REUSEPORT): the parent starts them, starts dead ones again, stops them."""

from __future__ import annotations

import asyncio
import signal
import socket
import sys
import time
from asyncio.subprocess import PIPE, Process
from contextlib import suppress
from typing import TYPE_CHECKING

import structlog

from signalbox import address, process
from signalbox.errors import ConfigurationError
from signalbox.routing.worker import Role, start_line

if TYPE_CHECKING:
    from signalbox.process import Supervisor
    from signalbox.settings import Settings

logger = structlog.get_logger(__name__)

FIRST_PAUSE_S = 0.1
LONGEST_PAUSE_S = 10.0
LIVED_S = 30.0
"""A worker that lived this long is started again without regard to how often it died before."""

WRONG_SETTING = 2
"""Exit code of a worker that it would be no use to start again."""

STOP_LIMIT_S = 5.0
"""Workers that have not ended this long after their time to drain are killed."""


def serve(settings: Settings) -> None:
    """Run ``routing.workers`` workers until SIGTERM. Does not return."""

    async def main(supervisor: Supervisor) -> None:
        await Workers(settings).run(supervisor)

    process.run(settings, "routing", main)


class Workers:
    """The parent's side. It takes no part in routing and has no side door."""

    def __init__(self, settings: Settings) -> None:
        self._settings = settings
        self._children: dict[int, Process] = {}

    async def run(self, supervisor: Supervisor) -> None:
        """Keep the workers alive until ``supervisor.stopping``, then stop them."""
        _require_free(self._settings.routing.listen)
        for index in range(self._settings.routing.workers):
            supervisor.spawn(f"worker-{index}", self._keep(index, supervisor))
        await supervisor.stopping.wait()
        await self._stop()

    async def _keep(self, index: int, supervisor: Supervisor) -> None:
        starts, pause = 0, FIRST_PAUSE_S
        while not supervisor.stopping.is_set():
            starts, began = starts + 1, time.monotonic()
            child = await self._start(Role(index, starts, shared=True))
            code = await child.wait()
            if supervisor.stopping.is_set():
                return
            if code == WRONG_SETTING:
                raise ConfigurationError(f"worker {index} can't start with these settings")
            pause = FIRST_PAUSE_S if time.monotonic() - began > LIVED_S else min(pause * 2, LONGEST_PAUSE_S)
            logger.error("worker_died", worker=index, pid=child.pid, exit_code=code, starts=starts, pause_s=pause)
            await asyncio.sleep(pause)

    async def _start(self, role: Role) -> Process:
        child = await asyncio.create_subprocess_exec(sys.executable, "-m", "signalbox.routing.worker", stdin=PIPE)
        self._children[role.index] = child
        assert child.stdin is not None
        # A child that dies before it has read this is seen by its exit.
        with suppress(ConnectionError):
            child.stdin.write(start_line(self._settings, role))
            await child.stdin.drain()
        logger.info("worker_started", worker=role.index, pid=child.pid, starts=role.starts)
        return child

    async def _stop(self) -> None:
        children = list(self._children.values())
        _signal(children, signal.SIGTERM)
        with suppress(TimeoutError):
            routing = self._settings.routing
            async with asyncio.timeout(max(routing.drain_s, routing.drain_min_s) + STOP_LIMIT_S):
                await asyncio.gather(*(child.wait() for child in children))
        _signal(children, signal.SIGKILL)
        await asyncio.gather(*(child.wait() for child in children))


def _signal(children: list[Process], number: signal.Signals) -> None:
    for child in children:
        if child.returncode is None:
            with suppress(ProcessLookupError):
                child.send_signal(number)


def _require_free(listen: str) -> None:
    """Raise ConfigurationError if somebody else has the port: sharing it would mix two services without a word."""
    host, port = address.split(listen)
    if not port:
        raise ConfigurationError("routing.listen: several workers need a port of their own to share, not 0")
    try:
        family, kind, protocol, _, target = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)[0]
        with socket.socket(family, kind, protocol) as probe:
            probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            probe.bind(target)
    except OSError as error:
        raise ConfigurationError(f"routing.listen: {listen}: {error}") from error
