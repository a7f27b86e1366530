"""All numbers of all ranges in memory, to be searched; kept in step with the store by a watch.

For ten million numbers: 10 MB of states, 10 MB of classes, 40 MB of tenants (of which only rows with numbers that are
somebody's take memory), and 2.5 MB of bits.
"""

from __future__ import annotations

import asyncio
from bisect import bisect_right
from collections import defaultdict
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
import structlog

from signalbox.api.types.v1 import inventory_pb2
from signalbox.domain.inventory import ORDINARY, State, Terms
from signalbox.domain.numbersearch import CHUNK, ROW, Shelf, interval, select
from signalbox.errors import RulesNotLoadedError
from signalbox.provisioning.inventory import validate
from signalbox.provisioning.inventory.ranges import Classes, terms
from signalbox.provisioning.inventory.transitions import contains
from signalbox.store import codec, keys
from signalbox.store.inventory import PAGE, decode_page
from signalbox.store.mirror import SLICE, Mirror

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

    from numpy.typing import NDArray

    from signalbox.domain.numbersearch import Bits
    from signalbox.store.base import Change, Entry, Listing, Store

logger = structlog.get_logger(__name__)

_TIMED = (State.RESERVED, State.QUARANTINED)


@dataclass(frozen=True)
class Classified:
    """The classes of the numbers of a stock."""

    places: NDArray[np.uint8]
    """Of each number a position in ``terms``."""
    terms: Sequence[Terms]
    """Ordinary ones first, then those of the classes by rank."""

    def place(self, id: str) -> int | None:
        """The place of a class; None: there is none of this id."""
        return next((place for place, one in enumerate(self.terms) if one.number_class == id), None)


class Stock:
    """The numbers of one length."""

    def __init__(self, length: int, ranges: Sequence[inventory_pb2.NumberRange]) -> None:
        """All of them available. ``ranges`` are those of the length."""
        spans = [np.arange(int(one.first) // ROW, int(one.last) // ROW + 1) for one in ranges]
        self.shelf = Shelf(length, np.unique(np.concatenate(spans)))
        rows = len(self.shelf)
        self.states: NDArray[np.uint8] = np.zeros((rows, ROW), dtype=np.uint8)
        self.owners: NDArray[np.uint32] = np.zeros((rows, ROW), dtype=np.uint32)
        self.classified: Classified | None = None
        """None: not worked out yet."""
        self.open = self.shelf.empty()
        """Numbers of ranges that take reservations."""
        for one in ranges:
            if not one.disabled:
                self.mark(self.open, one)
        self.free = self.open.copy()

    def mark(self, bits: Bits, one: inventory_pb2.NumberRange) -> None:
        """Add the numbers of a range to a set."""
        first, last = (int(np.searchsorted(self.shelf.heads, int(end) // ROW)) for end in (one.first, one.last))
        bits[first + 1 : last] = 255
        for row in {first, last}:
            bits[row] |= interval(self.shelf, slice(row, row + 1), one.first, one.last)[0]

    def take(self, older: Stock) -> None:
        """Take the states over of the rows that were there before."""
        _, mine, theirs = np.intersect1d(self.shelf.heads, older.shelf.heads, return_indices=True)
        self.states[mine] = older.states[theirs]
        held = np.flatnonzero(self.states.any(axis=1))
        position = dict(zip(mine.tolist(), theirs.tolist(), strict=True))
        for row in held.tolist():
            # Rows without anybody's numbers are left untouched: they take no memory.
            self.owners[row] = older.owners[position[row]]
            self.refresh(row)

    def put(self, head: int, states: NDArray[np.uint8], owners: NDArray[np.uint32]) -> None:
        """The present state of a page of numbers; ``head`` are their digits but the last two."""
        row = self.shelf.row(head // (ROW // PAGE))
        if row is None:
            return
        place = head % (ROW // PAGE) * PAGE
        self.states[row, place : place + PAGE] = states
        if owners.any() or self.owners[row, place : place + PAGE].any():
            self.owners[row, place : place + PAGE] = owners
        self.refresh(row)

    def refresh(self, row: int) -> None:
        """Work out anew which numbers of a row are free."""
        self.free[row] = np.packbits(self.states[row] == State.AVAILABLE) & self.open[row]


class Index:
    """Follows ranges, classes and pages."""

    def __init__(self, store: Store) -> None:
        self.ranges: dict[str, inventory_pb2.NumberRange] = {}
        self.stocks: dict[int, Stock] = {}
        """By length, shortest first."""
        self._classes: dict[str, inventory_pb2.NumberClass] = {}
        self._ranked: Sequence[inventory_pb2.NumberClass] = ()
        self._sorted: Sequence[inventory_pb2.NumberRange] = ()
        self._tenants: dict[str, int] = {"": 0}
        self._deadlines: dict[str, int] = {}
        self._stale = asyncio.Event()
        self._classified = asyncio.Event()
        self._mirror = Mirror(store, keys.INVENTORY, on_reset=self._reset, on_changes=self._change)

    async def run(self) -> None:
        """Long-lived coroutine."""
        async with asyncio.TaskGroup() as group:
            group.create_task(self._mirror.run(), name="inventory_mirror")
            group.create_task(self._classify(), name="inventory_classes")

    def check(self) -> None:
        """Raise RulesNotLoadedError until everything was read once."""
        if not self._mirror.synced.is_set():
            raise RulesNotLoadedError("the inventory is not read yet")

    @property
    def ready(self) -> bool:
        """Everything was read, and the classes are worked out."""
        return self._mirror.synced.is_set() and not self._stale.is_set()

    async def wait(self) -> None:
        """Wait until everything was read and the classes are worked out."""
        await self._mirror.synced.wait()
        await self._classified.wait()

    @property
    def revision(self) -> int:
        """The revision of the store that is reached."""
        return self._mirror.revision

    def range_of(self, number: str) -> inventory_pb2.NumberRange | None:
        """The range that a number lies in, as far as is known."""
        place = bisect_right(self._sorted, (len(number), number), key=_beginning) - 1
        found = self._sorted[place] if place >= 0 else None
        return found if found is not None and contains(found, number) else None

    def range_id(self, number: str) -> str:
        """The id of the range that a number lies in; "" if none is known."""
        found = self.range_of(number)
        return found.id if found else ""

    def terms(self, number: str) -> Terms:
        """The terms of a free number, as far as is known."""
        stock = self.stocks.get(len(number))
        row = stock.shelf.row(int(number) // ROW) if stock else None
        if stock is not None and row is not None and stock.classified is not None:
            return stock.classified.terms[int(stock.classified.places[row, int(number) % ROW])]
        found = self.range_of(number)
        return Classes.of(self._ranked).terms(number, found.number_class if found else "")

    def owner(self, tenant: str) -> int | None:
        """What stands for a tenant in Stock.owners; None: it has no number."""
        return self._tenants.get(tenant)

    def due(self, now: int) -> Sequence[str]:
        """Keys of the pages in which the time of a number has passed."""
        return [key for key, until in self._deadlines.items() if until <= now]

    async def _reset(self, listing: Listing) -> None:
        self.ranges, self._classes, self._deadlines = {}, {}, {}
        pages = [entry for entry in listing.entries if not self._put(entry.key, entry)]
        stocks = self._built({})
        for position, entry in enumerate(pages):
            self._put_page(entry, stocks)
            if position % SLICE == 0:
                await asyncio.sleep(0)
        self._replace(stocks)

    async def _change(self, changes: Sequence[Change], revision: int) -> None:
        pages = [change for change in changes if not self._put(change.key, change.entry)]
        if len(pages) < len(changes):
            self._replace(self._built(self.stocks))
        for change in pages:
            if change.entry is not None:
                self._put_page(change.entry, self.stocks)

    def _put(self, key: str, entry: Entry | None) -> bool:
        """Take a range or a class in; False: it is neither."""
        families: Sequence[tuple[str, Any, dict[str, Any]]] = (
            (keys.NUMBER_RANGES, inventory_pb2.NumberRange, self.ranges),
            (keys.NUMBER_CLASSES, inventory_pb2.NumberClass, self._classes),
        )
        for prefix, kind, known in families:
            if key.startswith(prefix):
                known.pop(keys.last_part(key), None)
                try:
                    if entry is not None:
                        known[keys.last_part(key)] = _checked(codec.decode(kind, entry), key)
                except codec.DamagedValueError as error:
                    logger.error("inventory_value_damaged", key=key, error=str(error))
                return True
        return False

    def _put_page(self, entry: Entry, stocks: Mapping[int, Stock]) -> None:
        try:
            page = decode_page(entry)
        except codec.DamagedValueError as error:
            logger.error("inventory_value_damaged", key=entry.key, error=str(error))
            return
        stock = stocks.get(len(page.head) + 2)
        if stock is not None:
            ids = [0, *(self._tenants.setdefault(tenant, len(self._tenants)) for tenant in page.tenants)]
            owners = np.array(ids, dtype=np.uint32)[np.array(page.owners)]
            stock.put(int(page.head), np.frombuffer(page.states, dtype=np.uint8), owners)
        ends = [until for state, until in zip(page.states, page.until, strict=True) if state in _TIMED]
        if ends:
            self._deadlines[entry.key] = min(ends)
        else:
            self._deadlines.pop(entry.key, None)

    def _built(self, older: Mapping[int, Stock]) -> dict[int, Stock]:
        """The stocks of the ranges as they are, with what is known of their numbers."""
        by_length: dict[int, list[inventory_pb2.NumberRange]] = defaultdict(list)
        for one in self.ranges.values():
            by_length[len(one.first)].append(one)
        stocks = {}
        for length in sorted(by_length):
            stocks[length] = Stock(length, by_length[length])
            if length in older:
                stocks[length].take(older[length])
        return stocks

    def _replace(self, stocks: dict[int, Stock]) -> None:
        self.stocks = stocks
        self._ranked = sorted(self._classes.values(), key=lambda one: one.rank)
        self._sorted = sorted(self.ranges.values(), key=_beginning)
        self._classified.clear()
        self._stale.set()

    async def _classify(self) -> None:
        """Long-lived coroutine: works out the classes of all numbers when ranges or classes have changed."""
        while True:
            await self._stale.wait()
            stocks, ranked, ranges = self.stocks, self._ranked, list(self.ranges.values())
            for stock in stocks.values():
                stock.classified = await _classified(stock, ranked, ranges)
            if self.stocks is stocks and self._ranked is ranked:
                self._stale.clear()
                self._classified.set()


def _checked(message: Any, key: str) -> Any:
    """A range or a class that can be counted on. Raises DamagedValueError."""
    find = validate.number_range if isinstance(message, inventory_pb2.NumberRange) else validate.number_class
    for violation in find(message):
        raise codec.DamagedValueError(key, f"{violation.field} {violation.reason}")
    return message


async def _classified(
    stock: Stock, ranked: Sequence[inventory_pb2.NumberClass], ranges: Iterable[inventory_pb2.NumberRange]
) -> Classified:
    """The class of each number."""
    shelf = stock.shelf
    classes: NDArray[np.uint8] = np.zeros((len(shelf), ROW), dtype=np.uint8)
    places = {one.id: place for place, one in enumerate(ranked, 1)}
    fixed = _fixed(stock, ranges, places)
    patterns = [(place, pattern) for place, (_, found) in enumerate(Classes.of(ranked).by_rank, 1) for pattern in found]
    for start in range(0, len(shelf), CHUNK):
        rows = slice(start, start + CHUNK)
        left = np.full_like(stock.open[rows], 255)
        for place, bits in fixed.items():
            _assign(classes[rows], place, bits[rows])
            left &= ~bits[rows]
        for place, pattern in patterns:
            fitting = select(pattern, shelf.length, shelf.digits[rows], left.copy())
            _assign(classes[rows], place, fitting)
            left &= ~fitting
            await asyncio.sleep(0)
        await asyncio.sleep(0)
    return Classified(classes, [ORDINARY, *map(terms, ranked)])


def _beginning(one: inventory_pb2.NumberRange) -> tuple[int, str]:
    return len(one.first), one.first


def _fixed(stock: Stock, ranges: Iterable[inventory_pb2.NumberRange], places: Mapping[str, int]) -> dict[int, Bits]:
    """The numbers of ranges that have a class of their own, by its place."""
    fixed: dict[int, Bits] = {}
    for one in ranges:
        place = places.get(one.number_class)
        if place and len(one.first) == stock.shelf.length:
            stock.mark(fixed.setdefault(place, stock.shelf.empty()), one)
    return fixed


def _assign(classes: NDArray[np.uint8], place: int, bits: Bits) -> None:
    rows = np.flatnonzero(bits.any(axis=1))
    for row in rows.tolist():
        classes[row, np.flatnonzero(np.unpackbits(bits[row]))] = place
