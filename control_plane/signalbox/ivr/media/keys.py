"""Keys that a party presses (RFC 4733 events, as the media node tells them), and what they make together."""

from __future__ import annotations

import asyncio
import enum
from collections import deque
from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable

    from signalbox.ivr.media.errors import MediaError
    from signalbox.ivr.media.playback import Playback

KEYS = frozenset("0123456789*#ABCD")
WAITING_MAX = 64
"""Keys that nobody has asked for yet; of more, the oldest are forgotten."""


@dataclass(frozen=True, slots=True)
class Key:
    """One key. ``duration_ms``: how long it was held, as far as that was told."""

    digit: str
    duration_ms: int = 0


class Ended(enum.Enum):
    """Why a collection ended."""

    FULL = "full"
    """As many keys as were asked for, or as could be of use."""
    TERMINATED = "terminated"
    """By the terminator, which is none of the digits."""
    TIMEOUT = "timeout"
    """Nothing was pressed in time; what was before is told."""


@dataclass(frozen=True, slots=True)
class Collected:
    """What was pressed."""

    digits: str
    ended: Ended


class Keys:
    """The keys of one party, for one who waits for them at a time."""

    def __init__(self) -> None:
        self._waiting: deque[Key] = deque(maxlen=WAITING_MAX)
        self._something = asyncio.Event()
        self._error: MediaError | None = None
        self._late = ""
        """Terminators of digits that were whole without one: if one comes yet, it belongs to those."""
        self._late_until = 0.0

    def pressed(self, key: Key) -> None:
        """A key came. What is none is not taken."""
        late, self._late = self._late, ""
        if key.digit in KEYS and not (key.digit in late and _now() < self._late_until):
            self._waiting.append(key)
            self._something.set()

    def fail(self, error: MediaError) -> None:
        """No more keys can come: who waits, or will wait, gets this."""
        self._error = error
        self._something.set()

    @property
    def waiting(self) -> bool:
        """Something was pressed that nobody has asked for yet."""
        return bool(self._waiting)

    def forget(self) -> None:
        """What was pressed and not asked for does not count."""
        self._waiting.clear()

    async def next(self, timeout_s: float | None = None) -> Key | None:
        """The next key, one that came before at once; None: none within the time. Raises MediaLostError."""
        return await self._next(timeout_s, None)

    async def collect(
        self,
        most: int,
        *,
        first_timeout_s: float,
        next_timeout_s: float,
        terminator: str = "",
        is_whole: Callable[[str], bool] | None = None,
        playback: Playback | None = None,
        barge_in: bool = True,
    ) -> Collected:
        """Up to ``most`` digits. Times count from the end of the playback, and from each key to the next.

        ``terminator``: keys of which any ends it; one that follows digits which were whole without it, within
        ``next_timeout_s``, is no key for anybody else. ``is_whole``: no key need be waited for after these digits.
        ``barge_in``: the first key stops the playback; without, keys that are pressed while it lasts don't count. Keys
        from before are the first ones: :meth:`forget` them if they are not meant. Raises MediaLostError.
        """
        if playback is not None and not barge_in:
            await playback.done()
            self.forget()
        digits = ""
        key = await self._next(first_timeout_s, playback)
        if playback is not None:
            await playback.stop()
        while key is not None:
            if key.digit in terminator:
                return Collected(digits, Ended.TERMINATED)
            digits += key.digit
            if len(digits) >= most or (is_whole is not None and is_whole(digits)):
                self._await_terminator(terminator, next_timeout_s)
                return Collected(digits, Ended.FULL)
            key = await self._next(next_timeout_s, None)
        return Collected(digits, Ended.TIMEOUT)

    def _await_terminator(self, terminator: str, timeout_s: float) -> None:
        if not self._waiting:
            self._late, self._late_until = terminator, _now() + timeout_s
        elif self._waiting[0].digit in terminator:
            self._waiting.popleft()

    async def _next(self, timeout_s: float | None, playback: Playback | None) -> Key | None:
        """The time does not run while something is played."""
        if playback is not None:
            playback.when_over(self._something.set)
            while not playback.over and not self._waiting:
                await self._wait()
        try:
            async with asyncio.timeout(timeout_s):
                while not self._waiting:
                    await self._wait()
        except TimeoutError:
            return None
        return self._waiting.popleft()

    async def _wait(self) -> None:
        if self._error is not None:
            raise self._error
        self._something.clear()
        await self._something.wait()
        if self._error is not None:
            raise self._error


def _now() -> float:
    return asyncio.get_running_loop().time()
