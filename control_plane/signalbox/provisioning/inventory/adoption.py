"""Takes numbers into the inventory that have rules already, as they are."""

from __future__ import annotations

import functools
from typing import TYPE_CHECKING

from signalbox.api.provisioning.v1 import inventory_pb2 as pb
from signalbox.api.types.v1 import inventory_pb2, types_pb2
from signalbox.domain.inventory import RULE_STATES, Actor, Facts, State, Transition, change, due
from signalbox.errors import NotFoundError
from signalbox.provisioning import pagetoken, validate
from signalbox.provisioning.inventory.agreement import state_of
from signalbox.provisioning.inventory.pagework import PageWork
from signalbox.provisioning.inventory.ranges import Classes, NumberRanges, classes
from signalbox.store import codec, keys
from signalbox.store.base import Compare
from signalbox.store.inventory import PAGE

if TYPE_CHECKING:
    from collections.abc import Sequence

    from signalbox.provisioning.access import Principal
    from signalbox.provisioning.collection import Clock
    from signalbox.provisioning.draft import Draft, Transactions
    from signalbox.store.base import Store
    from signalbox.store.turns import Turns

METHOD = "AdoptNumbers"
PAGES_AT_ONCE = 50
"""Pages of numbers that one request looks at."""
AT_ONCE = 20
"""Numbers in one commit: each is compared, and may be another tenant's, with a fence and a count."""


class Adoption:
    """Looks at the numbers of a range page by page."""

    def __init__(self, store: Store, transactions: Transactions, clock: Clock, turns: Turns) -> None:
        """``turns``: the queues of this process at pages."""
        self._store = store
        self._transactions = transactions
        self._clock = clock
        self._turns = turns

    async def __call__(self, principal: Principal, request: pb.AdoptNumbersRequest) -> pb.AdoptNumbersResponse:
        """One piece of a range. Raises NotFoundError and InvalidFieldError."""
        found = await self._range(request.range)
        width = len(found.first) - 2
        after = pagetoken.decode(METHOD, request.range, request.page_token)
        first = int(after) + 1 if after else int(found.first) // PAGE
        last = int(found.last) // PAGE
        heads = [f"{head:0{width}d}" for head in range(first, min(first + PAGES_AT_ONCE, last + 1))]
        answer = pb.AdoptNumbersResponse()
        for head in heads:
            await self._page(principal, found, head, answer)
        if heads and int(heads[-1]) < last:
            answer.next_page_token = pagetoken.encode(METHOD, request.range, heads[-1])
        return answer

    async def _range(self, id: str) -> inventory_pb2.NumberRange:
        validate.require(validate.identifier(id, "range"))
        entry = await self._store.get(keys.number_range(id))
        if entry is None:
            raise NotFoundError(NumberRanges.resource, id)
        return codec.decode(inventory_pb2.NumberRange, entry)

    async def _page(
        self, principal: Principal, found: inventory_pb2.NumberRange, head: str, answer: pb.AdoptNumbersResponse
    ) -> None:
        numbers = [f"{head}{low:02d}" for low in range(PAGE)]
        entries = await self._store.get_many([keys.number(number) for number in numbers])
        there = [
            number
            for number, entry in zip(numbers, entries, strict=True)
            if entry is not None and found.first <= number <= found.last
        ]
        for start in range(0, len(there), AT_ONCE):
            some = there[start : start + AT_ONCE]
            work = functools.partial(self._adopt, principal=principal, found=found, numbers=some)
            async with self._turns.at(keys.inventory_page(some[0])):
                (adopted, conflicts), _ = await self._transactions.run(work)
            answer.adopted += adopted
            answer.conflicts.extend(conflicts)

    async def _adopt(
        self, draft: Draft, principal: Principal, found: inventory_pb2.NumberRange, numbers: Sequence[str]
    ) -> tuple[int, list[str]]:
        """Of a page some numbers that have rules. How many were taken in, and which could not be."""
        now = int(self._clock().timestamp())
        draft.add([Compare(keys.number_range(found.id), int(found.etag))], [])
        known = Classes.of(await classes(draft))
        work = await PageWork.open(draft, numbers[0])
        entries = await draft.get_many([keys.number(number) for number in numbers])
        adopted, conflicts = 0, []
        for number, entry in zip(numbers, entries, strict=True):
            if entry is None:
                continue
            draft.add([Compare(entry.key, entry.revision)], [])
            rule = codec.decode(types_pb2.Number, entry)
            holding = work.page[number]
            late = due(holding, now)
            if late is not None:
                holding = work.record(number, late, change(holding, late, Actor.CLOCK, Facts(now)))
            if holding.state is State.AVAILABLE:
                terms = known.terms(number, found.number_class)
                facts = Facts(now, tenant=rule.tenant, terms=terms, rule=state_of(rule))
                changed = change(holding, Transition.ADOPT, Actor.OPERATOR, facts)
                work.record(number, Transition.ADOPT, changed, actor=principal.name or "operator")
                adopted += 1
            elif (RULE_STATES.get(holding.state), holding.tenant) != (state_of(rule), rule.tenant):
                conflicts.append(number)
        await work.close()
        return adopted, conflicts
