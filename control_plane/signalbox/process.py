"""What every long-lived process does alike: settings, logging, uvloop, signals, supervised tasks, exit codes.

Exit codes: 0 after SIGTERM or SIGINT and a graceful stop, 1 after the unexpected death of a task, 2 for a wrong setting.
"""

from __future__ import annotations

import asyncio
import gc
import signal
import sys
from collections.abc import Awaitable, Callable, Coroutine
from typing import TYPE_CHECKING, Any

import structlog
import uvloop

from signalbox import log
from signalbox.errors import ConfigurationError

if TYPE_CHECKING:
    from signalbox.settings import Settings

logger = structlog.get_logger(__name__)


class Supervisor:
    """Named long-lived tasks: one dying (or returning before the stop) stops the process with an error."""

    def __init__(self) -> None:
        self._tasks: set[asyncio.Task[None]] = set()
        self.stopping = asyncio.Event()
        self.failed = False

    def spawn(self, name: str, coroutine: Coroutine[Any, Any, None]) -> asyncio.Task[None]:
        """Start a task that must live as long as the process."""
        task = asyncio.create_task(coroutine, name=name)
        self._tasks.add(task)
        task.add_done_callback(self._done)
        return task

    def _done(self, task: asyncio.Task[None]) -> None:
        self._tasks.discard(task)
        if task.cancelled() or (self.stopping.is_set() and task.exception() is None):
            return
        logger.error("task_died", task=task.get_name(), exc_info=task.exception())
        self.failed = True
        self.stopping.set()

    async def cancel(self) -> None:
        """Cancel what still runs and wait for it."""
        tasks = list(self._tasks)
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)


def run(settings: Settings, name: str, main: Callable[[Supervisor], Awaitable[None]]) -> None:
    """Run a process until it is told to stop, then exit.

    ``main`` starts everything with ``supervisor.spawn``, waits for ``supervisor.stopping``, drains and returns.
    """
    log.configure(settings.log, name)

    async def body() -> int:
        supervisor = Supervisor()
        loop = asyncio.get_running_loop()
        for number in (signal.SIGTERM, signal.SIGINT):
            loop.add_signal_handler(number, supervisor.stopping.set)
        try:
            await main(supervisor)
        finally:
            await supervisor.cancel()
        return 1 if supervisor.failed else 0

    try:
        gc.freeze()
        code = uvloop.run(body())
    except ConfigurationError as error:
        print(f"signalbox {name}: {error}", file=sys.stderr)
        code = 2
    sys.exit(code)
