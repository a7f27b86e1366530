"""How much goes: the search for the greatest number of something at which a trial still succeeds."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

    Trial = Callable[[int], Awaitable[bool]]


async def greatest(trial: Trial, low: int, high: int, resolution: float = 0.05, end: int | None = None) -> int:
    """The greatest number that succeeded, between which and one that failed lies at most ``resolution`` of it.

    ``low`` and ``high`` are where it is believed to be: it goes down or up from there. 0: not even 1 goes. More than
    ``end`` are never tried; if these succeed, they are what is returned.
    """
    if end is not None:
        low, high = min(low, end), min(high, end)
    while not await trial(low):
        if low <= 1:
            return 0
        low, high = max(1, low * 3 // 4), low
    while await trial(high):
        if high == end:
            return high
        low, high = high, max(high + 1, high * 5 // 4)
        if end is not None:
            high = min(high, end)
    while high - low > max(1, resolution * low):
        middle = (low + high) // 2
        if await trial(middle):
            low = middle
        else:
            high = middle
    return low


async def first_failure(trial: Trial, start: int, factor: float, end: int) -> int:
    """The first of ``start``, ``start * factor``, ... that fails; ``end`` if none before it does."""
    number = start
    while number < end and await trial(number):
        number = max(number + 1, int(number * factor))
    return min(number, end)
