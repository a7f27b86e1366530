"""What every long-lived process does alike: settings, logging, uvloop, signals, supervised tasks, exit codes.

Exit codes: 0 after SIGTERM or SIGINT and a graceful stop, 1 after the unexpected death of a task, 2 for a wrong
setting. A second SIGINT ends the process at once, with code 1: somebody does not want to wait.
"""

from __future__ import annotations

import asyncio
import gc
import os
import signal
import sys
from typing import TYPE_CHECKING, Any

import structlog
import uvloop

from signalbox import log
from signalbox.errors import ConfigurationError

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Coroutine

    from signalbox.settings import Settings

logger = structlog.get_logger(__name__)


class Supervisor:
    """Named long-lived tasks: one dying (or returning before the stop) stops the process with an error."""

    def __init__(self) -> None:
        self._tasks: set[asyncio.Task[None]] = set()
        self._cancelling = False
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
        error = asyncio.CancelledError() if task.cancelled() else task.exception()
        ending = self._cancelling or self.stopping.is_set()
        if ending and (error is None or task.cancelled()):
            return
        logger.error("task_died", task=task.get_name(), exc_info=error)
        self.failed = True
        self.stopping.set()

    async def cancel(self) -> None:
        """Cancel what still runs and wait for it."""
        self._cancelling = True
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

        interrupted = False

        def stop(number: signal.Signals) -> None:
            nonlocal interrupted
            # Not for SIGTERM: a process may well get it from its parent and from who stops the whole group.
            if number is signal.SIGINT and interrupted:
                os._exit(1)
            interrupted = number is signal.SIGINT or interrupted
            supervisor.stopping.set()

        for number in (signal.SIGTERM, signal.SIGINT):
            loop.add_signal_handler(number, stop, number)
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
    except Exception as error:
        logger.error("process_died", exc_info=error)
        code = 1
    sys.exit(code)
