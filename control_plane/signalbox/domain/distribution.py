"""In which order the lines of a dial are tried.

What is random is drawn from the call's id: every replica draws the same for a call, however often it is asked.
"""

from __future__ import annotations

import math
import random
import zlib
from typing import TYPE_CHECKING

from signalbox.domain.claims import Order
from signalbox.domain.flow import Distribution

if TYPE_CHECKING:
    from collections.abc import Sequence
    from typing import TypeVar

    T = TypeVar("T")

_COUNTED = {
    Distribution.ROUND_ROBIN: Order.TURN,
    Distribution.LEAST_RECENT: Order.LEAST_RECENT,
    Distribution.STICKY: Order.STICKY,
}


def is_drawn(distribution: Distribution) -> bool:
    """True if calls differ in the order by chance."""
    return distribution in (Distribution.RANDOM, Distribution.WEIGHTED)


def order_of(distribution: Distribution) -> Order:
    """What of the order has to be counted; GIVEN: nothing."""
    return _COUNTED.get(distribution, Order.GIVEN)


def drawn(distribution: Distribution, lines: Sequence[T], weights: Sequence[int], seed: str) -> list[T]:
    """The lines in the order to try them as far as nothing has to be counted. ``seed``: equal ones give equal
    orders."""
    match distribution:
        case Distribution.RANDOM:
            return shuffled(lines, [1] * len(lines), seed)
        case Distribution.WEIGHTED:
            return shuffled(lines, weights, seed)
    return list(lines)


def shuffled(items: Sequence[T], weights: Sequence[int], seed: str) -> list[T]:
    """The items in random order: each is first in proportion to its weight, and so on among those that are left.

    By exponentially distributed keys (Efraimidis and Spirakis 2006). Python promises equal sequences of a generator of
    equal seed on every machine.
    """
    if len(items) < 2:
        return list(items)
    uniform = random.Random(zlib.crc32(seed.encode())).random
    keys = [-math.log(1.0 - uniform()) / weight for weight in weights]
    return [items[at] for at in sorted(range(len(items)), key=keys.__getitem__)]
