"""Patterns over millions of numbers at once.

Numbers of one length lie in rows of 10,000: those that share all digits but the last four. A set of numbers is a matrix
of bits with a row for each, 1,250 bytes wide. A word of a pattern comes to windows, places where its shape may be; of a
window

* what it asks of digits before the last four picks rows,
* what it asks of the last four is one row of bits, made once,
* what it asks of one of each is a row of bits, looked up in a table by the digit of the row.

So a pattern takes a few passes over the bits, whatever it is and however many numbers fit.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from functools import lru_cache
from typing import TYPE_CHECKING

import numpy as np

from signalbox.domain.numberpattern import TAIL, Pattern, Relation, Shape

if TYPE_CHECKING:
    from numpy.typing import NDArray

    Bits = NDArray[np.uint8]
    Rows = NDArray[np.bool_]

LOW = 4
"""Digits within a row."""
ROW = 10**LOW
ROW_BYTES = ROW // 8
CHUNK = 128
"""Rows dealt with at once: what is looked at stays in the processor's cache."""

_RELATIONS = tuple(Relation)


def _low_digits() -> NDArray[np.uint8]:
    numbers = np.arange(ROW)
    return np.stack([(numbers // 10 ** (LOW - 1 - place) % 10).astype(np.uint8) for place in range(LOW)])


def _stand(relation: Relation, first: NDArray[np.uint8], second: NDArray[np.uint8]) -> Rows:
    """See ``numberpattern.stand``."""
    stand: Rows
    match relation:
        case Relation.EQUAL:
            stand = first == second
        case Relation.DIFFERENT:
            stand = first != second
        case Relation.RISING:
            stand = second == first + 1
        case Relation.FALLING:
            stand = second + 1 == first
    return stand


_DIGITS = _low_digits()
_BY_DIGIT: dict[Relation, list[Bits]] = {
    relation: [
        np.packbits(_stand(relation, np.arange(10, dtype=np.uint8)[:, None], _DIGITS[place][None, :]), axis=1)
        for place in range(LOW)
    ]
    for relation in _RELATIONS
}
"""By relation and place within the row: for each digit before it the numbers of a row that stand to it so."""


@dataclass(frozen=True)
class _Window:
    """A shape at one place."""

    allowed: tuple[tuple[int, tuple[int, ...]], ...]
    """Places in the row's own digits, and the digits that may be there."""
    related: tuple[tuple[int, int, Relation], ...]
    """Places in the row's own digits."""
    low: Bits | None
    """What is asked of the last four; None: nothing."""
    mixed: tuple[tuple[int, int, Relation], ...]
    """A place in the row's own digits, and one in the last four."""


@lru_cache(maxsize=512)
def _compiled(pattern: Pattern, length: int) -> tuple[tuple[_Window, ...], ...]:
    """The windows of each word, those of the words first that take the least time."""
    words = [tuple(_window(word.shape, at, length) for at in word.places(length)) for word in pattern.words]
    if pattern.without:
        allowed = frozenset(range(10)) - pattern.without
        tail = min(TAIL, length)
        shape = Shape(tail, tuple((offset, allowed) for offset in range(tail)))
        words.append((_window(shape, length - tail, length),))
    return tuple(sorted(words, key=lambda windows: sum(1 + 4 * len(window.mixed) for window in windows)))


def _window(shape: Shape, at: int, length: int) -> _Window:
    head = length - LOW
    allowed, related, mixed = [], [], []
    low = np.ones(ROW, dtype=np.bool_)
    for offset, digits in shape.allowed:
        if at + offset < head:
            allowed.append((at + offset, tuple(sorted(digits))))
        else:
            low &= np.isin(_DIGITS[at + offset - head], list(digits))
    for one, two, relation in shape.related:
        first, second = at + one, at + two
        if second < head:
            related.append((first, second, relation))
        elif first < head:
            mixed.append((first, second - head, relation))
        else:
            low &= _stand(relation, _DIGITS[first - head], _DIGITS[second - head])
    bits = None if low.all() else np.packbits(low)
    return _Window(tuple(allowed), tuple(related), bits, tuple(mixed))


def select(pattern: Pattern, length: int, digits: NDArray[np.uint8], bits: Bits) -> Bits:
    """Of a set those that fit.

    ``digits``: the rows' own, a row each; ``bits``: the set, which may be changed.
    """
    for windows in _compiled(pattern, length):
        alive = np.flatnonzero(bits.any(axis=1))
        if not len(alive):
            break
        if len(windows) == 1:
            _keep(windows[0], digits, bits)
        else:
            found = np.zeros((len(alive), ROW_BYTES), dtype=np.uint8)
            for window in windows:
                _add(window, digits[alive], found)
            bits[alive] &= found
    return bits


def _picked(window: _Window, digits: NDArray[np.uint8]) -> Rows:
    picked = np.ones(len(digits), dtype=np.bool_)
    for place, allowed in window.allowed:
        picked &= np.isin(digits[:, place], allowed)
    for one, two, relation in window.related:
        picked &= _stand(relation, digits[:, one], digits[:, two])
    return picked


def _keep(window: _Window, digits: NDArray[np.uint8], bits: Bits) -> None:
    """Take out of the bits what does not fit at the one place."""
    picked = _picked(window, digits)
    bits[~picked] = 0
    if window.low is not None:
        bits &= window.low
    for place, within, relation in window.mixed:
        bits &= _BY_DIGIT[relation][within][digits[:, place]]


def _add(window: _Window, digits: NDArray[np.uint8], found: Bits) -> None:
    """Add what fits at one of several places."""
    picked = np.flatnonzero(_picked(window, digits))
    if not len(picked):
        return
    if not window.mixed:
        if len(picked) == len(digits):
            found |= 255 if window.low is None else window.low
        else:
            found[picked] |= 255 if window.low is None else window.low
        return
    own = digits[picked]
    fitting: Bits | None = None
    for place, within, relation in window.mixed:
        looked_up = _BY_DIGIT[relation][within][own[:, place]]
        fitting = looked_up if fitting is None else np.bitwise_and(fitting, looked_up, out=fitting)
    assert fitting is not None, "there is a relation"
    if window.low is not None:
        fitting &= window.low
    found[picked] |= fitting


@dataclass
class Shelf:
    """The rows of the numbers of one length, in order."""

    length: int
    heads: NDArray[np.int64]
    """The rows' own digits as numbers, rising."""
    digits: NDArray[np.uint8] = field(init=False)
    """The same digit by digit."""

    def __post_init__(self) -> None:
        places = self.length - LOW
        columns = [self.heads // 10 ** (places - 1 - place) % 10 for place in range(places)]
        self.digits = np.stack(columns, axis=1).astype(np.uint8)

    def __len__(self) -> int:
        return len(self.heads)

    def row(self, head: int) -> int | None:
        """The position of a row."""
        found = int(np.searchsorted(self.heads, head))
        return found if found < len(self.heads) and self.heads[found] == head else None

    def empty(self) -> Bits:
        """A set of none of its numbers."""
        return np.zeros((len(self.heads), ROW_BYTES), dtype=np.uint8)

    def text(self, row: int, low: int) -> str:
        """A number as digits."""
        return f"{int(self.heads[row]) * ROW + low:0{self.length}d}"


@dataclass
class Found:
    """What a search has found so far: the first numbers in order, and how many there are in all."""

    limit: int
    numbers: list[str] = field(default_factory=list)
    more: bool = False
    """True: there are more after the last of ``numbers``."""
    total: int = 0


Source = Callable[[slice], "Bits"]
"""The bits of some rows of the set that is searched: a copy, which may be changed."""


def scan(shelf: Shelf, pattern: Pattern, source: Source, after: str, found: Found) -> Iterator[None]:
    """Search one shelf, chunk by chunk: whoever drives it may do other things between.

    ``after``: the numbers listed come after this one of the same length ("": from the first); all count in the total.
    """
    if not all(len(word.places(shelf.length)) for word in pattern.words):
        return
    begin = int(after) + 1 if after else 0
    for start in range(0, len(shelf), CHUNK):
        rows = slice(start, start + CHUNK)
        bits = select(pattern, shelf.length, shelf.digits[rows], source(rows))
        count = int(np.bitwise_count(bits).sum())
        found.total += count
        if count and not found.more:
            _collect(shelf, start, bits, begin, found)
        yield


def _collect(shelf: Shelf, start: int, bits: Bits, begin: int, found: Found) -> None:
    for offset in np.flatnonzero(bits.any(axis=1)):
        row = start + int(offset)
        first = int(shelf.heads[row]) * ROW
        if first + ROW <= begin:
            continue
        lows = np.flatnonzero(np.unpackbits(bits[offset]))
        lows = lows[lows >= begin - first]
        room = found.limit - len(found.numbers)
        found.numbers += [shelf.text(row, int(low)) for low in lows[:room]]
        if len(lows) > room:
            found.more = True
            return


def interval(shelf: Shelf, rows: slice, first: str, last: str) -> Bits:
    """The bits of some rows for the numbers from one to another, both included."""
    heads = shelf.heads[rows]
    low, high = (np.clip(int(end) - heads * ROW, -1, ROW) for end in (first, last))
    numbers = np.arange(ROW)
    return np.packbits((numbers >= low[:, None]) & (numbers <= high[:, None]), axis=1)
