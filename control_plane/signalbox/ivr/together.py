"""Several things at once: errors come out as they are, and nothing runs on when it is over."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, TypeVar

if TYPE_CHECKING:
    from collections.abc import Coroutine, Sequence

T = TypeVar("T")


async def first_of(*works: Coroutine[object, object, T]) -> T:
    """What came of the first that is done; the others are cancelled. Of several, the one that is told first counts."""
    tasks = [asyncio.ensure_future(work) for work in works]
    try:
        await asyncio.wait(tasks, return_when=asyncio.FIRST_COMPLETED)
        return next(task for task in tasks if task.done()).result()
    finally:
        await _ended(tasks)


async def all_of(*works: Coroutine[object, object, object]) -> None:
    """Until all are done. The first error ends the others, and is raised."""
    tasks = [asyncio.ensure_future(work) for work in works]
    try:
        await asyncio.wait(tasks, return_when=asyncio.FIRST_EXCEPTION)
        for task in tasks:
            if task.done():
                task.result()
    finally:
        await _ended(tasks)


async def _ended(tasks: Sequence[asyncio.Future[T]]) -> None:
    for task in tasks:
        task.cancel()
    # Collected, so that no error of one that is not wanted any more is reported as forgotten.
    await asyncio.gather(*tasks, return_exceptions=True)
