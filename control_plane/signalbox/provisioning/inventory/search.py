"""Finds numbers: free ones by pattern, and those that are somebody's."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

import numpy as np

from signalbox.api.provisioning.v1 import inventory_pb2 as pb
from signalbox.domain.inventory import Holding, State
from signalbox.domain.numbersearch import Found, scan
from signalbox.errors import FieldViolation, InvalidFieldError, RulesNotLoadedError
from signalbox.provisioning import pagetoken
from signalbox.provisioning import validate as common
from signalbox.provisioning.inventory import validate
from signalbox.provisioning.inventory.transitions import seen, told
from signalbox.provisioning.listing import page_size
from signalbox.store import keys
from signalbox.store.base import MAX_OPERATIONS
from signalbox.store.inventory import Page, terms_message

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from signalbox.domain.numberpattern import Pattern
    from signalbox.domain.numbersearch import Bits, Source
    from signalbox.provisioning.collection import Clock
    from signalbox.provisioning.inventory.index import Index, Stock
    from signalbox.store.base import Store

_ALL: Bits = np.full((1, 1), 255, dtype=np.uint8)
"""Any bits are within these."""


class Search:
    """Searches the index."""

    def __init__(self, store: Store, index: Index, clock: Clock) -> None:
        self._store = store
        self._index = index
        self._clock = clock

    async def free(self, request: pb.SearchNumbersRequest) -> pb.SearchNumbersResponse:
        """Free numbers. Raises InvalidFieldError, and RulesNotLoadedError while the index is not filled."""
        if request.ordinary and request.number_class:
            raise InvalidFieldError(FieldViolation("ordinary", "excludes number_class"))
        scope = "\0".join((request.pattern, request.number_class, str(request.ordinary), request.range))
        limited = self._limited(request.range)

        def source(stock: Stock) -> Source | None:
            limit = limited(stock)
            if limit is None:
                return None
            if not request.number_class and not request.ordinary:
                return lambda rows: stock.free[rows] & limit(rows)
            if stock.classified is None:
                raise RulesNotLoadedError("the classes of the numbers are being worked out")
            places, wanted = stock.classified.places, stock.classified.place(request.number_class)
            if wanted is None:
                reason = f"there is no class {request.number_class}"
                raise InvalidFieldError(FieldViolation("number_class", reason))
            return lambda rows: stock.free[rows] & limit(rows) & np.packbits(places[rows] == wanted, axis=1)

        found, token = await self._found("SearchNumbers", scope, request, validate.pattern(request.pattern), source)
        numbers = [
            pb.FreeNumber(number=number, terms=terms_message(self._index.terms(number))) for number in found.numbers
        ]
        return pb.SearchNumbersResponse(numbers=numbers, next_page_token=token, total_size=found.total)

    async def held(self, request: pb.ListInventoryNumbersRequest) -> pb.ListInventoryNumbersResponse:
        """Numbers that are not available, of one tenant or all. Raises as :meth:`free` does."""
        violations = list(common.enums(request, "request"))
        if request.tenant:
            violations += common.identifier(request.tenant, "tenant")
        common.require(violations)
        scope = "\0".join((request.tenant, str(request.state), request.pattern, request.range))
        limited = self._limited(request.range)
        owner = self._index.owner(request.tenant)
        state = State(request.state - 1) if request.state else None

        def source(stock: Stock) -> Source | None:
            limit = limited(stock)
            if limit is None or owner is None or state is State.AVAILABLE:
                return None

            def bits(rows: slice) -> Bits:
                states = stock.states[rows]
                fitting = states != State.AVAILABLE if state is None else states == state
                if owner:
                    fitting &= stock.owners[rows] == owner
                return np.packbits(fitting, axis=1) & limit(rows)

            return bits

        pattern = validate.pattern(request.pattern)
        found, token = await self._found("ListInventoryNumbers", scope, request, pattern, source)
        numbers = await self._read(found.numbers, request.tenant, state)
        return pb.ListInventoryNumbersResponse(inventory_numbers=numbers, next_page_token=token, total_size=found.total)

    def _limited(self, id: str) -> Callable[[Stock], Source | None]:
        """For a stock the bits of its rows within a range ("": all); None: it has none of them."""
        self._index.check()
        if not id:
            return lambda stock: lambda rows: _ALL
        one = self._index.ranges.get(id)
        if one is None:
            raise InvalidFieldError(FieldViolation("range", f"there is no range {id}"))

        def of(stock: Stock) -> Source | None:
            if stock.shelf.length != len(one.first):
                return None
            bits = stock.shelf.empty()
            stock.mark(bits, one)
            return lambda rows: bits[rows]

        return of

    async def _found(
        self,
        method: str,
        scope: str,
        request: pb.SearchNumbersRequest | pb.ListInventoryNumbersRequest,
        pattern: Pattern,
        source: Callable[[Stock], Source | None],
    ) -> tuple[Found, str]:
        """One page, and the token of the next. Others have their turn between chunks."""
        after = pagetoken.decode(method, scope, request.page_token)
        found = Found(page_size(request.page_size))
        for length, stock in list(self._index.stocks.items()):
            bits = source(stock)
            if bits is None:
                continue
            # Shorter numbers were on pages before; they count all the same.
            into = Found(0, more=True) if length < len(after) else found
            begin = after if length == len(after) else ""
            for _ in scan(stock.shelf, pattern, bits, begin, into):
                await asyncio.sleep(0)
            found.total += into.total if into is not found else 0
        return found, pagetoken.encode(method, scope, found.numbers[-1]) if found.more else ""

    async def _read(self, numbers: Sequence[str], tenant: str, state: State | None) -> list[pb.InventoryNumber]:
        """The numbers as they are stored, without those that are no longer as they were found."""
        places = list(dict.fromkeys(map(keys.inventory_page, numbers)))
        pages: dict[str, Page] = {}
        for start in range(0, len(places), MAX_OPERATIONS):
            some = places[start : start + MAX_OPERATIONS]
            for key, entry in zip(some, await self._store.get_many(some), strict=True):
                pages[key] = Page(keys.last_part(key), entry)
        now = int(self._clock().timestamp())

        def wanted(holding: Holding) -> bool:
            if holding.state is State.AVAILABLE or (tenant and holding.tenant != tenant):
                return False
            return state is None or holding.state is state

        shown = []
        for number in numbers:
            holding = seen(pages[keys.inventory_page(number)][number], now)
            if wanted(holding):
                shown.append(told(number, holding, self._index.range_of(number)))
        return shown
