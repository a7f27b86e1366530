"""Libraries raise CancelledError for reasons of their own, and swallow ours: who is cancelled is asked of the task."""

from __future__ import annotations

import asyncio


def cancelled() -> bool:
    """True if somebody cancels the task that runs.

    grpc.aio raises CancelledError also when a channel is closed under a call: that is no cancellation of ours.
    """
    task = asyncio.current_task()
    return task is not None and task.cancelling() > 0
