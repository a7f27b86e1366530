"""A file that is being played: when it will have ended is known, for rtpengine tells how long it is."""

from __future__ import annotations

import asyncio
import enum
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

    from signalbox.ivr.media.errors import MediaError


class End(enum.Enum):
    """How a playback ended."""

    FINISHED = "finished"
    """All of it was played."""
    STOPPED = "stopped"
    """By :meth:`Playback.stop`, or because the line was connected or dropped, or the session closed."""
    REPLACED = "replaced"
    """Another file was played to the same party."""


class Playback:
    """Made by ``MediaSession.play``. ``seconds``: how long it lasts; None: until it is stopped."""

    def __init__(self, seconds: float | None, stop: Callable[[Playback], Awaitable[None]]) -> None:
        self.seconds = seconds
        self._stop = stop
        self._over = asyncio.Event()
        self._how: End | None = None
        self._error: MediaError | None = None
        self._callbacks: list[Callable[[], None]] = []
        self._timer: asyncio.TimerHandle | None = None
        if seconds is not None:
            self._timer = asyncio.get_running_loop().call_later(seconds, self.ended, End.FINISHED)

    @property
    def over(self) -> bool:
        """True if nothing of it will be heard any more."""
        return self._over.is_set()

    async def done(self) -> End:
        """Wait until it has ended. Raises MediaLostError if the node was lost."""
        await self._over.wait()
        if self._error is not None:
            raise self._error
        assert self._how is not None
        return self._how

    async def stop(self) -> None:
        """Let the party hear no more of it. Nothing if it has ended. Raises MediaLostError."""
        if not self.over:
            await self._stop(self)

    def when_over(self, callback: Callable[[], None]) -> None:
        """Have something called when it has ended, at once if it has."""
        if self.over:
            callback()
        else:
            self._callbacks.append(callback)

    def ended(self, how: End | MediaError) -> None:
        """For the session: it has ended. The first word counts."""
        if self.over:
            return
        if isinstance(how, End):
            self._how = how
        else:
            self._error = how
        if self._timer is not None:
            self._timer.cancel()
        self._over.set()
        for callback in self._callbacks:
            callback()
